"""An expression that no right solution has: what it should have been, and which operand or operation is wrong.

Place in the flow: `diagnose` asks here about the first equation whose verdict is "wrong". The most similar gold equation
tells what was needed; the difference between the two is the kind of the mistake and its keyphrases.

Example::

    wrong_calculation(comparison, index, equation).kind      # "wrong_operation"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sei.arithmetic import evaluate, format_number
from sei.equations import Equation, Flat, flatten, levels
from sei.teacher.symbolic.comparison import Comparison
from sei.teacher.symbolic.finding import Finding, Kind
from sei.teacher.symbolic.wording import SCALES, Operation, operation_of
from sei.teacher.symbolic.wrong_result import is_power_of_ten

_STOP = frozenset("the a an of to and is in so for he she it they his her has have had was were this that then".split())


@dataclass(frozen=True)
class _Wrong:
    """A wrong equation of the solution, beside the gold equation most like it."""

    index: int  # of the equation
    equation: Equation
    mine: Flat  # the level of the equation that is wrong
    gold: Equation
    flat: Flat  # the level of the gold equation that is most like `mine`
    goal: str
    reached: set[Fraction]  # results of the equations before

    @property
    def operation(self) -> Operation:
        return operation_of(self.mine)

    @property
    def gold_operation(self) -> Operation:
        return operation_of(self.flat)

    @property
    def extra(self) -> list[Fraction]:
        """Values that gold does not have."""
        return list((Counter(self.mine.values) - Counter(self.flat.values)).elements())

    @property
    def absent(self) -> list[Fraction]:
        """Values that only gold has."""
        return list((Counter(self.flat.values) - Counter(self.mine.values)).elements())


def wrong_calculation(comparison: Comparison, index: int, equation: Equation) -> Finding:
    """The finding about the equation at `index`, which no right solution has."""
    mine, reached = _culprit(comparison, equation), _reached(comparison, index)
    gold, flat, _ = max(
        (
            (candidate, level, _likeness(comparison, equation, mine, candidate, level, position, reached))
            for position, candidate in enumerate(comparison.gold)
            for level in _gold_levels(candidate)
        ),
        key=lambda item: item[2],
    )
    goal = comparison.goal(equation.step, gold)
    kind, phrases = _classify(comparison, _Wrong(index, equation, mine, gold, flat, goal, reached))
    right = format_number(gold.claimed)
    explanation = f"{equation.text} is the wrong calculation: for {goal} it takes {gold.text}, that is {right}."
    return Finding(equation.step, kind, tuple(dict.fromkeys(phrases)), explanation)


def _reached(comparison: Comparison, index: int) -> set[Fraction]:
    return {equation.claimed for equation in comparison.equations[:index]}


def _culprit(comparison: Comparison, equation: Equation) -> Flat:
    """The innermost level of the expression that is wrong; the outermost if all inner ones are right."""
    for level in levels(equation.expression):
        if evaluate(level) not in comparison.right and evaluate(level) not in comparison.stated:
            return flatten(level)
    return flatten(equation.expression)


def _gold_levels(equation: Equation) -> list[Flat]:
    return [flatten(level) for level in levels(equation.expression)] or [flatten(equation.expression)]


def _likeness(
    comparison: Comparison,
    equation: Equation,
    mine: Flat,
    gold: Equation,
    flat: Flat,
    position: int,
    reached: set[Fraction],
) -> float:
    shared = sum((Counter(mine.values) & Counter(flat.values)).values())
    score = 2 * shared / (len(mine.terms) + len(flat.terms))
    score += 0.3 * (operation_of(mine) is operation_of(flat))
    mine_words, gold_words = _words(comparison.steps[equation.step - 1]), _words(comparison.gold_steps[gold.step - 1])
    score += 0.6 * len(mine_words & gold_words) / max(1, len(mine_words | gold_words))
    score -= 0.5 * (gold.claimed in reached)
    return score - 0.01 * position


def _words(step: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z]{3,}", step.lower()) if word not in _STOP}


def _mine_name(comparison: Comparison, wrong: _Wrong, value: Fraction) -> str:
    if value not in map(abs, wrong.equation.operands):
        return "an inner result"
    return comparison.name(value, comparison.equations[: wrong.index], comparison.steps[wrong.equation.step - 1])


def _gold_name(comparison: Comparison, wrong: _Wrong, value: Fraction) -> str:
    name = comparison.name(value, comparison.before(wrong.gold), comparison.gold_steps[wrong.gold.step - 1])
    return "an unstated number" if name == "a number found nowhere" else name


def _classify(comparison: Comparison, wrong: _Wrong) -> tuple[Kind, list[str]]:
    """The kind of the mistake, and its keyphrases."""
    mine, goal, extra, absent = wrong.mine, wrong.goal, wrong.extra, wrong.absent
    same_operation = wrong.operation is wrong.gold_operation
    same_kind = mine.kind == wrong.flat.kind
    if (scale := _scale(wrong.equation.claimed, wrong.gold.claimed)) and same_operation:
        return "unit_or_rounding", [f"{SCALES[scale]} when finding {goal}"]
    percents = [quantity.value for quantity in comparison.quantities if quantity.percent]
    if mine.kind == "sum" and any(value in percents or value * 100 in percents for value in extra):
        return "wrong_operation", [f"{wrong.operation.verb} a percentage as if it were an amount, for {goal}"]
    if not extra and not absent:
        return _same_operands(comparison, wrong)
    if same_operation and len(extra) == 1 and len(absent) == 1:
        return _one_operand(comparison, wrong, extra[0], absent[0])
    if same_kind and not extra and (same_operation or len(mine.terms) == 1):
        phrase = f"leaves {_gold_name(comparison, wrong, absent[0])} out of a {wrong.gold_operation.noun}, for {goal}"
        return "missing_step", [phrase]
    if same_kind and not absent:
        name = _mine_name(comparison, wrong, extra[0])
        return "extra_step", [f"{wrong.operation.verb} {name} that does not belong, for {goal}"]
    return _several_operands(comparison, wrong)


def _same_operands(comparison: Comparison, wrong: _Wrong) -> tuple[Kind, list[str]]:
    """The numbers are gold's; what is done with them is not."""
    if wrong.mine.kind == wrong.flat.kind and wrong.operation is wrong.gold_operation:
        word = "subtracts" if wrong.mine.kind == "sum" else "divides"
        return "wrong_order", [f"{word} the wrong way round when finding {wrong.goal}"]
    name = _gold_name(comparison, wrong, min(wrong.flat.values))
    phrase = f"{wrong.operation.verb} {name} instead of {wrong.gold_operation.gerund}, for {wrong.goal}"
    return "wrong_operation", [phrase]


def _one_operand(comparison: Comparison, wrong: _Wrong, used: Fraction, needed: Fraction) -> tuple[Kind, list[str]]:
    """One number is used where another belongs."""
    goal = wrong.goal
    used_name, needed_name = _mine_name(comparison, wrong, used), _gold_name(comparison, wrong, needed)
    if _scale(used, needed):
        return "unit_or_rounding", [f"{SCALES[used / needed]} when finding {goal}"]
    if needed_name.startswith("the constant for"):
        meaning = needed_name.removeprefix("the constant for ")
        return "wrong_operand", [f"wrong number for {meaning} when finding {goal}"]
    if used_name == "a number found nowhere":
        if _is_garbled(used, needed):
            return "wrong_operand", [f"miscopies {needed_name} when finding {goal}"]
        return "wrong_operand", [f"makes up a number in place of {needed_name}, for {goal}"]
    skipped = _skipped([needed], [used], comparison.gold, wrong.reached)
    if skipped is not None:
        return _skip_finding(comparison, wrong.index, skipped, goal)
    if used_name == needed_name:
        return "wrong_operand", [f"takes the wrong one of several: {used_name.partition(' ')[2]}, for {goal}"]
    return "wrong_operand", [f"{wrong.operation.verb} {used_name} where {needed_name} belongs, for {goal}"]


def _several_operands(comparison: Comparison, wrong: _Wrong) -> tuple[Kind, list[str]]:
    """More than one number differs."""
    verb, goal, extra = wrong.operation.verb, wrong.goal, wrong.extra
    shared = len(wrong.mine.terms) > len(extra)
    skipped = _skipped(wrong.absent, extra, comparison.before(wrong.gold), wrong.reached)
    if wrong.operation is wrong.gold_operation:
        if skipped is not None:
            return _skip_finding(comparison, wrong.index, skipped, goal)
        if not shared:
            names = f"{_mine_name(comparison, wrong, extra[0])} and {_second_name(comparison, wrong, extra)}"
            return "wrong_operand", [f"{verb} {names} which are not the ones needed for {goal}"]
        return "wrong_operand", [f"chooses the wrong amounts to {verb.rstrip('s')}, for {goal}"]
    used = extra or list(wrong.mine.values)
    first = _mine_name(comparison, wrong, used[0])
    if shared and wrong.absent:
        phrases = [f"{verb} {first} instead of {wrong.gold_operation.gerund}, for {goal}"]
        if skipped is not None:
            phrases.append(_skip_finding(comparison, wrong.index, skipped, goal)[1][0])
        return "wrong_operation", phrases
    if skipped is not None:
        return _skip_finding(comparison, wrong.index, skipped, goal)
    second = _second_name(comparison, wrong, used)
    return "extra_step", [f"{verb} {first} and {second}, which the problem does not relate"]


def _second_name(comparison: Comparison, wrong: _Wrong, values: Sequence[Fraction]) -> str:
    return _mine_name(comparison, wrong, values[1]) if len(values) > 1 else "another number"


def _skipped(
    absent: list[Fraction], used: list[Fraction], before: Sequence[Equation], reached: set[Fraction]
) -> Equation | None:
    """The gold equation whose result the student needed, did not compute, and replaced by one of its own operands."""
    for equation in before:
        needed = abs(equation.claimed) in absent and equation.claimed not in reached
        if needed and any(value in map(abs, equation.operands) for value in used):
            return equation
    return None


def _skip_finding(comparison: Comparison, index: int, skipped: Equation, goal: str) -> tuple[Kind, list[str]]:
    flat = flatten(skipped.expression)
    operation = operation_of(flat)
    context = comparison.gold_steps[skipped.step - 1]
    names = [comparison.name(value, comparison.before(skipped), context) for value in flat.values]
    name = next((name for name in names if "computed" not in name and "subtotal" not in name), names[0])
    for later in comparison.equations[index + 1 :]:
        if operation_of(flatten(later.expression)) is operation and set(flat.values) & set(map(abs, later.operands)):
            return "wrong_order", [f"{operation.gerund} by or with {name} comes too late, for {goal}"]
    return "missing_step", [f"skips {operation.gerund} {name} before finding {goal}"]


def _scale(value: Fraction, needed: Fraction) -> Fraction | None:
    if not needed:
        return None
    return next((scale for scale in SCALES if value == needed * scale), None)


def _is_garbled(wrong: Fraction, right: Fraction) -> bool:
    """Whether `wrong` looks like a miscopied `right`: shifted point, digits swapped, or one digit off, lost or added."""
    if not right or not wrong:
        return False
    if is_power_of_ten(wrong / right):
        return True
    one, two = (format_number(value).replace(".", "") for value in (wrong, right))
    if len(one) < 2 and len(two) < 2:
        return False
    if sorted(one) == sorted(two):
        return True
    if len(one) == len(two):
        return len(one) > 1 and sum(a != b for a, b in zip(one, two, strict=True)) == 1
    shorter, longer = sorted((one, two), key=len)
    return len(longer) - len(shorter) == 1 and any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))
