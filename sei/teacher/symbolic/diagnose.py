"""Finds the first wrong step of a solution and says in words what is wrong with it.

Place in the flow: mistake -> diagnosis, without a language model. The equations of the wrong solution are compared
with the gold program: a step is right if its value may occur in a right solution (see `routes`). The first other step is
the mistake, and the most similar gold equation tells which operand or operation it should have had.

Targets are trained on explanations, so these say nothing false: no equation of the wrong solution is repeated with its
result. Nor do they give the step's number, which is a field of its own and which an ablation removes (docs/lema.md).

Example::

    diagnose(mistake).kind      # "wrong_operation"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

from sei.answers import extract
from sei.arithmetic import ArithmeticRefused, evaluate, format_number, parse_number
from sei.equations import Equation, Flat, close_thousands, flatten, levels, read_equations
from sei.records import Diagnosis, Mistake, Rejected, content_id
from sei.steps import split_steps
from sei.teacher.base import Solution
from sei.teacher.symbolic.doubts import (
    called_otherwise,
    has_unknowns,
    made_up_number,
    says_the_same,
    states_a_result,
    written_otherwise,
)
from sei.teacher.symbolic.quantities import Quantity, read_quantities
from sei.teacher.symbolic.routes import USUAL, Routes
from sei.teacher.symbolic.verdicts import Verdict, verdicts

Kind = Literal[
    "arithmetic_slip",
    "wrong_operand",
    "wrong_operation",
    "missing_step",
    "extra_step",
    "wrong_order",
    "unit_or_rounding",
    "answer_not_last_result",
    "no_usable_work",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_GOALS: tuple[tuple[str, str], ...] = (  # what the step is for, by the first pattern that fits its words
    (r"profit|earn|income|salary|wage|paid|paycheck|commission", "earnings or profit"),
    (r"discount|coupon|\boff\b|save[sd]?\b|saving|cheaper", "a discount or saving"),
    (r"\btax|\btip\b|interest|\bfee\b", "a tax, tip or interest"),
    (r"average|mean\b", "an average"),
    (r"change\b.*\$|\$.*\bchange\b", "the change"),
    (r"years? old|\bage\b|\bages\b|older|younger", "an age"),
    (r"mph|miles per|speed|distance|\bmiles?\b|kilomet|\bkm\b|\bfeet\b|met(?:er|re)s\b", "a distance or speed"),
    (r"left|remain|rest\b|still (?:has|have|need)|need(?:s|ed)? .*more|more .*need", "what is left"),
    (r"cost|price|pay|\$|dollar|worth|bill", "a total cost"),
    (r"percent|%", "a percentage"),
    (r"times as|twice|double|triple|times more|half as", "a multiple of another amount"),
    (r"more than|less than|fewer than|difference|taller|longer|shorter", "a difference"),
    (
        r"per week|a week|each week|weekly|per month|a month|a year|per year|per day|a day|each day",
        "an amount per period",
    ),
    (r"hour|minute|second|\btime\b", "a time"),
    (r"\bdays?\b|\bweeks?\b|\bmonths?\b|\byears?\b", "a number of days or weeks"),
    (r"half|third|quarter|fourth|fifth|/\s?\d", "a fraction of an amount"),
    (r"pounds?\b|ounces?\b|weigh|gallons?|lit(?:er|re)s?|cups?\b|grams?", "a weight or volume"),
    (r"people|students?|children|kids|friends?|girls|boys|men\b|women|guests?", "a number of people"),
    (r"each\b|every\b|\bper\b", "an amount per unit"),
    (r"total|altogether|together|in all|combined|\bsum\b", "a total"),
)
_GOAL_RULES = tuple((re.compile(pattern, re.IGNORECASE), goal) for pattern, goal in _GOALS)
_CONSTANTS: dict[
    int, tuple[tuple[str, str], ...]
] = {  # a number that no question states, and the words that call for it
    2: (
        (r"twice|double|two times", "twice"),
        (r"half|halves|halved", "half"),
        (r"both|pairs?\b|couple|round trip|and back", "two of them"),
    ),
    3: (
        (r"triple|thrice|three times", "three times"),
        (r"third", "a third"),
        (r"yard", "feet in a yard"),
        (r"triangle", "sides of a triangle"),
        (r"tricycle", "wheels of a tricycle"),
    ),
    4: (
        (r"quarter|fourth", "a quarter"),
        (r"month", "weeks in a month"),
        (r"quadruple", "four times"),
        (r"\b(?:legs|wheels)\b", "legs or wheels"),
    ),
    5: (
        (r"weekday|work", "working days in a week"),
        (r"fifth", "a fifth"),
        (r"nickel", "cents in a nickel"),
        (r"pentagon", "sides of a pentagon"),
    ),
    6: ((r"hexagon", "sides of a hexagon"), (r"insect", "legs of an insect")),
    7: ((r"week|daily|every day|each day", "days in a week"),),
    8: (
        (r"eighth", "an eighth"),
        (r"pint|gallon|cup", "volume units"),
        (r"octagon", "sides of an octagon"),
        (r"spider", "legs of a spider"),
    ),
    10: (
        (r"dime", "cents in a dime"),
        (r"decade", "years in a decade"),
        (r"tenth", "a tenth"),
        (r"\bdecagon", "sides of a decagon"),
    ),
    12: (
        (r"dozen", "items in a dozen"),
        (r"year|month", "months in a year"),
        (r"f(?:ee|oo)t|inch", "inches in a foot"),
        (r"dodecagon", "sides of a dodecagon"),
    ),
    16: ((r"pound|ounce", "ounces in a pound"),),
    24: ((r"day|hour", "hours in a day"),),
    25: ((r"quarter", "cents in a quarter"),),
    30: ((r"month|april|june|september|november", "days in a month"),),
    31: ((r"month|january|march|may|july|august|october|december", "days in a month"),),
    36: ((r"yard", "inches in a yard"),),
    52: ((r"year|week", "weeks in a year"),),
    60: ((r"hour|minute|second", "minutes in an hour"),),
    100: ((r"%|percent", "a percentage"), (r"cent|dollar|\$", "cents in a dollar"), (r"cm|met(?:er|re)", "unit sizes")),
    365: ((r"year", "days in a year"),),
    1000: ((r"kilo|\bkm\b|\bkg\b|gram|lit(?:er|re)|met(?:er|re)", "thousands in a unit"),),
}
_SCALES: dict[Fraction, str] = {
    Fraction(100): "does not divide the percentage or cents by 100",
    Fraction(1, 100): "divides by 100 although the unit does not call for it",
    Fraction(60): "leaves minutes and hours unconverted",
    Fraction(1, 60): "converts hours and minutes the wrong way round",
    Fraction(1000): "loses a factor of 1000 between units",
    Fraction(1, 1000): "loses a factor of 1000 between units",
}
_STOP = frozenset("the a an of to and is in so for he she it they his her has have had was were this that then".split())
_RESULT_NAMES = {
    ("sum", True): "a subtotal",
    ("sum", False): "a remainder or difference",
    ("product", True): "a computed product",
    ("product", False): "a computed share",
}


def constant_meaning(value: Fraction, text: str) -> str | None:
    """What a number that `text` does not state may mean there (7: "days in a week"); None if nothing calls for it."""
    if value.denominator != 1:
        return None
    for pattern, meaning in _CONSTANTS.get(int(value), ()):
        if re.search(pattern, text, re.IGNORECASE):
            return meaning
    return None


def diagnose(mistake: Mistake) -> Diagnosis | Rejected:
    """The diagnosis of one mistake; Rejected if the gold solution or answer contains no arithmetic to compare with.

    Its step is 0 where it is in doubt which step goes wrong first: kind and keyphrases are then those of the first
    equation that is wrong.
    """
    steps, answer_text = split_steps(mistake.output)
    comparison = _compare(mistake.id, mistake.question, mistake.gold_solution, mistake.gold_answer, steps, answer_text)
    if isinstance(comparison, Rejected):
        return comparison
    finding = comparison.first_error() or comparison.judge_end()
    step, explanation = finding.step, finding.explanation
    if finding.doubt:
        step, explanation = 0, f"Which step goes wrong first is not certain: {DOUBTS[finding.doubt]}."
    return Diagnosis(
        id=content_id("diagnosis", mistake.id, step, finding.kind, finding.keyphrases),
        mistake_id=mistake.id,
        step=step,
        kind=finding.kind,
        keyphrases=finding.keyphrases,
        explanation=explanation,
    )


def locate(solution: Solution) -> int | Rejected:
    """The first wrong step of a solution that may be right: 0 if none is wrong, Rejected where that is in doubt."""
    if not solution.gold_solution:
        return Rejected.make(solution.id, "no_gold_solution", "nothing to compare with", solution.question)
    text = "\n".join(solution.steps)
    comparison = _compare(
        solution.id, solution.question, solution.gold_solution, solution.gold_answer, solution.steps, extract(text)
    )
    if isinstance(comparison, Rejected):
        return comparison
    finding = comparison.first_error()
    if finding is None and not (comparison.equations and comparison.reaches_answer):
        finding = comparison.judge_end()
    if finding is not None and finding.doubt:
        return Rejected.make(solution.id, f"in_doubt_{finding.doubt}", DOUBTS[finding.doubt], text)
    return 0 if finding is None else finding.step


def _compare(
    source_id: str, question: str, gold_solution: str, gold_answer: str, steps: Sequence[str], answer_text: str | None
) -> _Comparison | Rejected:
    gold_steps = [close_thousands(step) for step in split_steps(gold_solution)[0]]
    gold = read_equations(gold_steps)
    if not gold:
        return Rejected.make(source_id, "gold_has_no_equations", "nothing to align with", gold_solution)
    try:
        answer = parse_number(gold_answer)
    except ArithmeticRefused as refused:
        return Rejected.make(source_id, "gold_answer_not_a_number", str(refused), gold_answer)
    steps = [close_thousands(step) for step in steps]
    return _Comparison(close_thousands(question), gold, gold_steps, answer, steps, answer_text)


@dataclass(frozen=True)
class _Finding:
    step: int
    kind: Kind
    keyphrases: tuple[str, ...]
    explanation: str
    doubt: str = ""  # one of DOUBTS: why another step may be the first wrong one


DOUBTS = {
    "another_route": "a step before this one may belong to another way",
    "unread_steps": "not every step before this one can be read as plain arithmetic",
    "unread_gold": "the gold solution cannot be read as plain arithmetic",
    "said_twice": "a result before this one has been computed twice",
    "other_name": "a result before this one has another name than in the gold solution",
    "unused": "nothing comes of the first calculation that the gold solution does not have",
    "true_sum": "the first calculation that the gold solution does not have is a sum that may be true",
    "comes_right": "what comes of the first calculation that the gold solution does not have is right",
    "right_answer": "the answer is right all the same",
    "no_equations": "there is no equation to check",
}


@dataclass(frozen=True)
class _Operation:
    """The words for one operation."""

    verb: str  # "multiplies"
    gerund: str  # "multiplying"
    noun: str  # "multiplication"


_ADD = _Operation("adds", "adding", "addition")
_SUBTRACT = _Operation("subtracts", "subtracting", "subtraction")
_MULTIPLY = _Operation("multiplies", "multiplying", "multiplication")
_DIVIDE = _Operation("divides", "dividing", "division")


def _operation(flat: Flat) -> _Operation:
    negative = any(sign < 0 for _, sign in flat.terms)
    if flat.kind == "sum":
        return _SUBTRACT if negative else _ADD
    return _DIVIDE if negative else _MULTIPLY


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
    def operation(self) -> _Operation:
        return _operation(self.mine)

    @property
    def gold_operation(self) -> _Operation:
        return _operation(self.flat)

    @property
    def extra(self) -> list[Fraction]:
        """Values that gold does not have."""
        return list((Counter(self.mine.values) - Counter(self.flat.values)).elements())

    @property
    def absent(self) -> list[Fraction]:
        """Values that only gold has."""
        return list((Counter(self.flat.values) - Counter(self.mine.values)).elements())


@lru_cache(maxsize=16)
def _routes(question: str, gold_steps: tuple[str, ...]) -> Routes:
    """The right steps of a problem; several wrong solutions of one problem often come in a row."""
    return Routes(read_equations(gold_steps), gold_steps, read_quantities(question))


class _Comparison:
    """One wrong solution compared with its gold solution."""

    def __init__(
        self,
        question: str,
        gold: list[Equation],
        gold_steps: Sequence[str],
        answer: Fraction,
        steps: Sequence[str],
        answer_text: str | None,
    ) -> None:
        self.question = question
        self.quantities = read_quantities(question)
        self.gold, self.gold_steps, self.answer = gold, gold_steps, answer
        self.steps, self.answer_text = steps, answer_text
        self.equations = read_equations(steps)
        routes = _routes(question, tuple(gold_steps))
        self.verdicts = verdicts(self.equations, routes, self.quantities)
        self.right = routes.values | {answer}
        self.stated = {reading for quantity in self.quantities for reading in quantity.readings}
        self.parts = _parts_of_wholes(gold)
        self.gold_is_plain = (
            gold[-1].claimed == answer
            and not any(has_unknowns(step) for step in gold_steps)
            and not any(self._made_up(equation, gold[:index]) for index, equation in enumerate(gold))
        )

    def _made_up(self, equation: Equation, before: Sequence[Equation]) -> bool:
        """Whether gold adds or takes away a number that nobody stated."""
        flat = flatten(equation.expression)
        made = {one.claimed for one in before} | self.stated
        words = f"{self.gold_steps[equation.step - 1]} {self.question}"
        return flat.kind == "sum" and any(
            value not in made and value in equation.operands and not constant_meaning(value, words)
            for value in flat.values
        )

    @property
    def reaches_answer(self) -> bool:
        """Whether the solution ends with the gold answer, on its answer line or in its last equation."""
        last = self.equations[-1] if self.equations else None
        return self.answer == self._given_answer() or (last is not None and self.answer in (last.claimed, last.written))

    def first_error(self) -> _Finding | None:
        """The first equation that no right solution has, or that does not hold; None if there is none."""
        for index, verdict in enumerate(self.verdicts):
            equation = verdict.equation
            if not equation.holds:
                finding = self._wrong_value(index, verdict)
            elif equation.written != equation.claimed and not self._same_display(equation):
                finding = self._miswritten(equation)
            elif verdict.status == "wrong":
                finding = self._after_answer(index) or self._wrong_expression(index, equation)
            else:
                continue
            return replace(finding, doubt=self._doubt(index, equation.step, verdict))
        return None

    def _wrong_value(self, index: int, verdict: Verdict) -> _Finding:
        slip = self._slip(verdict.equation)
        if verdict.status != "wrong":
            return slip
        wrong = self._wrong_expression(index, verdict.equation)
        return replace(wrong, keyphrases=(*wrong.keyphrases, *slip.keyphrases))

    # -- what is in doubt ------------------------------------------------------------------------------------------

    def _doubt(self, index: int, step: int, verdict: Verdict | None) -> str:
        """Why a step before `step` may be the first wrong one, or this one right; "" where neither can be."""
        before = self.verdicts[:index]
        if verdict is not None and verdict.equation.holds and verdict.status == "wrong":
            if not self.gold_is_plain:
                return "unread_gold"
            if self.reaches_answer:
                return "right_answer"
            if self._unused(index):
                return "unused"
            if self._may_be_beside_the_point(index):
                return "true_sum"
            if any(
                later.status == "right" and verdict.equation.claimed in later.equation.operands
                for later in self.verdicts[index + 1 :]
            ):
                return "comes_right"
        if any(one.status == "open" and one.equation.step < step for one in before):
            return "another_route"
        if self._unread(step, {one.equation.step for one in before}):
            return "unread_steps"
        if self._repeats(before, step):
            return "said_twice"
        if any(self._speaks_of_another(one) for one in before if one.equation.step < step):
            return "other_name"
        return ""

    def _speaks_of_another(self, verdict: Verdict) -> bool:
        """Whether the words of a right step say that its result is something else, or hold a number of their own."""
        own = self.steps[verdict.equation.step - 1]
        lines = [(self.gold_steps[equation.step - 1], equation) for equation in self.gold]
        so_far = (one for one in self.equations if one.step <= verdict.equation.step)
        known = {value for one in so_far for value in (*one.operands, one.claimed, one.written)} | self.stated
        return (
            called_otherwise(own, verdict.equation, lines, self.question, self.parts)
            or made_up_number(own, self.question, known | USUAL)
            or written_otherwise(own)
        )

    @staticmethod
    def _repeats(before: Sequence[Verdict], step: int) -> bool:
        """Whether a result stands in two steps, of which one may have been meant to be of something else."""
        counted = [(one.equation.claimed, one.equation.step) for one in before if one.equation.step < step]
        values = Counter(value for value, _ in dict.fromkeys(counted))
        return any(one.status == "restated" and values[one.equation.claimed] > 1 for one in before)

    def _unread(self, step: int, read: set[int]) -> bool:
        """Whether a step up to `step` says more than its equations."""
        return any(
            has_unknowns(text) or (number < step and number not in read and states_a_result(text, self.question))
            for number, text in enumerate(self.steps[:step], start=1)
        )

    def _may_be_beside_the_point(self, index: int) -> bool:
        """Whether a step that is not the last adds up numbers of the question: a true sum that is not asked for."""
        equation = self.verdicts[index].equation
        flat = flatten(equation.expression)
        added = flat.kind == "sum" and all(sign > 0 for _, sign in flat.terms)
        if not added or index == len(self.verdicts) - 1 or any(one not in self.stated for one in equation.operands):
            return False
        return not any(says_the_same(self.steps[equation.step - 1], line) for line in self.gold_steps)

    def _unused(self, index: int) -> bool:
        """Whether nothing is made of an equation's result: it may be beside the point, and the mistake elsewhere."""
        if index == len(self.verdicts) - 1 or self.verdicts[index].equation.claimed in self.stated:
            return False
        return not any(index in later.parents for later in self.verdicts[index + 1 :])

    # -- one equation ----------------------------------------------------------------------------------------------

    @staticmethod
    def _same_display(equation: Equation) -> bool:
        """Whether the number after the annotation is the claim, perhaps rounded."""
        return abs(equation.written - equation.claimed) < Fraction(1, 2)

    def _goal(self, step: int, gold: Equation | None = None) -> str:
        text = self.gold_steps[gold.step - 1] if gold else self.steps[step - 1]
        for pattern, goal in _GOAL_RULES:
            if pattern.search(text):
                return goal
        return "a total" if gold and gold is self.gold[-1] else "an intermediate amount"

    def _miswritten(self, equation: Equation) -> _Finding:
        written = format_number(equation.written)
        explanation = f"{equation.text} is {equation.claimed_text}, but the text goes on with {written}."
        return _Finding(
            equation.step, "arithmetic_slip", ("copies a computed result wrongly into the text",), explanation
        )

    def _slip(self, equation: Equation) -> _Finding:
        operation = _operation(flatten(equation.expression))
        off = equation.claimed - equation.value
        if 0 < abs(off) < 1:
            phrase = f"rounds or cuts off the result of a {operation.noun}"
            explanation = f"The result is rounded: {equation.text} is {format_number(equation.value)}."
            return _Finding(equation.step, "unit_or_rounding", (phrase,), explanation)
        size = "decimals" if any(value.denominator != 1 for value in equation.operands) else self._size(equation)
        how = ""
        if equation.value and off and _is_power_of_ten(equation.claimed / equation.value):
            how = ", wrong number of zeros or place of the point"
        elif abs(off) in (1, 10, 100):
            how = ", off by a carry"
        phrase = f"{operation.noun} of {size} miscalculated{how}"
        explanation = f"The result is wrong: {equation.text} is {format_number(equation.value)}."
        return _Finding(equation.step, "arithmetic_slip", (phrase,), explanation)

    @staticmethod
    def _size(equation: Equation) -> str:
        if len(equation.operands) > 2:
            return "several numbers"
        digits = max(len(str(int(abs(value)))) for value in equation.operands)
        return {1: "one-digit numbers", 2: "two-digit numbers", 3: "three-digit numbers"}.get(digits, "large numbers")

    # -- an expression that no right solution has ------------------------------------------------------------------

    def _reached(self, index: int) -> set[Fraction]:
        return {equation.claimed for equation in self.equations[:index]}

    def _wrong_expression(self, index: int, equation: Equation) -> _Finding:
        mine, reached = self._culprit(equation), self._reached(index)
        gold, flat, _ = max(
            (
                (candidate, level, self._likeness(equation, mine, candidate, level, position, reached))
                for position, candidate in enumerate(self.gold)
                for level in self._gold_levels(candidate)
            ),
            key=lambda item: item[2],
        )
        goal = self._goal(equation.step, gold)
        kind, phrases = self._classify(_Wrong(index, equation, mine, gold, flat, goal, reached))
        right = format_number(gold.claimed)
        explanation = f"{equation.text} is the wrong calculation: for {goal} it takes {gold.text}, that is {right}."
        return _Finding(equation.step, kind, tuple(dict.fromkeys(phrases)), explanation)

    def _culprit(self, equation: Equation) -> Flat:
        """The innermost level of the expression that is wrong; the outermost if all inner ones are right."""
        for level in levels(equation.expression):
            if evaluate(level) not in self.right and evaluate(level) not in self.stated:
                return flatten(level)
        return flatten(equation.expression)

    @staticmethod
    def _gold_levels(equation: Equation) -> list[Flat]:
        return [flatten(level) for level in levels(equation.expression)] or [flatten(equation.expression)]

    def _likeness(
        self, equation: Equation, mine: Flat, gold: Equation, flat: Flat, position: int, reached: set[Fraction]
    ) -> float:
        shared = sum((Counter(mine.values) & Counter(flat.values)).values())
        score = 2 * shared / (len(mine.terms) + len(flat.terms))
        score += 0.3 * (_operation(mine) is _operation(flat))
        mine_words, gold_words = self._words(self.steps[equation.step - 1]), self._words(self.gold_steps[gold.step - 1])
        score += 0.6 * len(mine_words & gold_words) / max(1, len(mine_words | gold_words))
        score -= 0.5 * (gold.claimed in reached)
        return score - 0.01 * position

    @staticmethod
    def _words(step: str) -> set[str]:
        return {word.rstrip("s") for word in re.findall(r"[a-z]{3,}", step.lower()) if word not in _STOP}

    def _name(self, value: Fraction, among: Sequence[Equation], context: str) -> str:
        """What sort of number `value` is: a quantity of the question, a result of `among`, a constant, or none of these."""
        value = abs(value)
        made = next((equation for equation in reversed(among) if abs(equation.claimed) == value), None)
        quantity = self._quantity(value)
        if quantity is not None and (made is None or value == abs(quantity.value)):
            article = "an" if quantity.sort[0] in "aei" else "a"
            return f"{article} {quantity.sort}"
        if made is not None:
            flat = flatten(made.expression)
            return _RESULT_NAMES[flat.kind, all(sign > 0 for _, sign in flat.terms)]
        if meaning := constant_meaning(value, context + " " + self.question):
            return f"the constant for {meaning}"
        return "a number found nowhere"

    def _quantity(self, value: Fraction) -> Quantity | None:
        exact = next((quantity for quantity in self.quantities if quantity.value == value), None)
        return exact or next((quantity for quantity in self.quantities if value in quantity.readings), None)

    def _mine_name(self, wrong: _Wrong, value: Fraction) -> str:
        if value not in map(abs, wrong.equation.operands):
            return "an inner result"
        return self._name(value, self.equations[: wrong.index], self.steps[wrong.equation.step - 1])

    def _gold_name(self, wrong: _Wrong, value: Fraction) -> str:
        name = self._name(value, self._before(wrong.gold), self.gold_steps[wrong.gold.step - 1])
        return "an unstated number" if name == "a number found nowhere" else name

    def _before(self, gold: Equation) -> list[Equation]:
        return self.gold[: self.gold.index(gold)]

    def _classify(self, wrong: _Wrong) -> tuple[Kind, list[str]]:
        """The kind of the mistake, and its keyphrases."""
        mine, goal, extra, absent = wrong.mine, wrong.goal, wrong.extra, wrong.absent
        same_operation = wrong.operation is wrong.gold_operation
        same_kind = mine.kind == wrong.flat.kind
        if (scale := self._scale(wrong.equation.claimed, wrong.gold.claimed)) and same_operation:
            return "unit_or_rounding", [f"{_SCALES[scale]} when finding {goal}"]
        percents = [quantity.value for quantity in self.quantities if quantity.percent]
        if mine.kind == "sum" and any(value in percents or value * 100 in percents for value in extra):
            return "wrong_operation", [f"{wrong.operation.verb} a percentage as if it were an amount, for {goal}"]
        if not extra and not absent:
            return self._same_operands(wrong)
        if same_operation and len(extra) == 1 and len(absent) == 1:
            return self._one_operand(wrong, extra[0], absent[0])
        if same_kind and not extra and (same_operation or len(mine.terms) == 1):
            phrase = f"leaves {self._gold_name(wrong, absent[0])} out of a {wrong.gold_operation.noun}, for {goal}"
            return "missing_step", [phrase]
        if same_kind and not absent:
            name = self._mine_name(wrong, extra[0])
            return "extra_step", [f"{wrong.operation.verb} {name} that does not belong, for {goal}"]
        return self._several_operands(wrong)

    def _same_operands(self, wrong: _Wrong) -> tuple[Kind, list[str]]:
        """The numbers are gold's; what is done with them is not."""
        if wrong.mine.kind == wrong.flat.kind and wrong.operation is wrong.gold_operation:
            word = "subtracts" if wrong.mine.kind == "sum" else "divides"
            return "wrong_order", [f"{word} the wrong way round when finding {wrong.goal}"]
        name = self._gold_name(wrong, min(wrong.flat.values))
        phrase = f"{wrong.operation.verb} {name} instead of {wrong.gold_operation.gerund}, for {wrong.goal}"
        return "wrong_operation", [phrase]

    def _one_operand(self, wrong: _Wrong, used: Fraction, needed: Fraction) -> tuple[Kind, list[str]]:
        """One number is used where another belongs."""
        goal = wrong.goal
        used_name, needed_name = self._mine_name(wrong, used), self._gold_name(wrong, needed)
        if self._scale(used, needed):
            return "unit_or_rounding", [f"{_SCALES[used / needed]} when finding {goal}"]
        if needed_name.startswith("the constant for"):
            meaning = needed_name.removeprefix("the constant for ")
            return "wrong_operand", [f"wrong number for {meaning} when finding {goal}"]
        if used_name == "a number found nowhere":
            if _is_garbled(used, needed):
                return "wrong_operand", [f"miscopies {needed_name} when finding {goal}"]
            return "wrong_operand", [f"makes up a number in place of {needed_name}, for {goal}"]
        skipped = self._skipped([needed], [used], self.gold, wrong.reached)
        if skipped is not None:
            return self._skip_finding(wrong.index, skipped, goal)
        if used_name == needed_name:
            return "wrong_operand", [f"takes the wrong one of several: {used_name.partition(' ')[2]}, for {goal}"]
        return "wrong_operand", [f"{wrong.operation.verb} {used_name} where {needed_name} belongs, for {goal}"]

    def _several_operands(self, wrong: _Wrong) -> tuple[Kind, list[str]]:
        """More than one number differs."""
        verb, goal, extra = wrong.operation.verb, wrong.goal, wrong.extra
        shared = len(wrong.mine.terms) > len(extra)
        skipped = self._skipped(wrong.absent, extra, self._before(wrong.gold), wrong.reached)
        if wrong.operation is wrong.gold_operation:
            if skipped is not None:
                return self._skip_finding(wrong.index, skipped, goal)
            if not shared:
                names = f"{self._mine_name(wrong, extra[0])} and {self._second_name(wrong, extra)}"
                return "wrong_operand", [f"{verb} {names} which are not the ones needed for {goal}"]
            return "wrong_operand", [f"chooses the wrong amounts to {verb.rstrip('s')}, for {goal}"]
        used = extra or list(wrong.mine.values)
        first = self._mine_name(wrong, used[0])
        if shared and wrong.absent:
            phrases = [f"{verb} {first} instead of {wrong.gold_operation.gerund}, for {goal}"]
            if skipped is not None:
                phrases.append(self._skip_finding(wrong.index, skipped, goal)[1][0])
            return "wrong_operation", phrases
        if skipped is not None:
            return self._skip_finding(wrong.index, skipped, goal)
        second = self._second_name(wrong, used)
        return "extra_step", [f"{verb} {first} and {second}, which the problem does not relate"]

    def _second_name(self, wrong: _Wrong, values: Sequence[Fraction]) -> str:
        return self._mine_name(wrong, values[1]) if len(values) > 1 else "another number"

    def _skipped(
        self, absent: list[Fraction], used: list[Fraction], before: Sequence[Equation], reached: set[Fraction]
    ) -> Equation | None:
        """The gold equation whose result the student needed, did not compute, and replaced by one of its own operands."""
        for equation in before:
            needed = abs(equation.claimed) in absent and equation.claimed not in reached
            if needed and any(value in map(abs, equation.operands) for value in used):
                return equation
        return None

    def _skip_finding(self, index: int, skipped: Equation, goal: str) -> tuple[Kind, list[str]]:
        flat = flatten(skipped.expression)
        operation = _operation(flat)
        context = self.gold_steps[skipped.step - 1]
        names = [self._name(value, self._before(skipped), context) for value in flat.values]
        name = next((name for name in names if "computed" not in name and "subtotal" not in name), names[0])
        for later in self.equations[index + 1 :]:
            if _operation(flatten(later.expression)) is operation and set(flat.values) & set(map(abs, later.operands)):
                return "wrong_order", [f"{operation.gerund} by or with {name} comes too late, for {goal}"]
        return "missing_step", [f"skips {operation.gerund} {name} before finding {goal}"]

    @staticmethod
    def _scale(value: Fraction, needed: Fraction) -> Fraction | None:
        if not needed:
            return None
        return next((scale for scale in _SCALES if value == needed * scale), None)

    # -- the end of a solution whose every step is right ---------------------------------------------------------

    def _after_answer(self, index: int) -> _Finding | None:
        """The gold answer was reached and the solution continued: this step was one too many."""
        extra = self.equations[index]
        final = sum(one.claimed == self.answer for one in self.gold) == 1  # else reaching it may be on the way
        reached = final and any(one.claimed == self.answer for one in self.equations[:index])
        if not reached or not any(abs(value) == abs(self.answer) for value in extra.operands):
            return None
        operation = _operation(flatten(extra.expression))
        others = [value for value in extra.operands if abs(value) != abs(self.answer)]
        name = self._name(others[0], self.equations[:index], self.steps[extra.step - 1]) if others else "itself"
        phrase = f"goes on after the answer and {operation.verb} {name}"
        answer = format_number(self.answer)
        explanation = f"The answer {answer} stood already before this step, which goes on with {extra.text}."
        return _Finding(extra.step, "extra_step", (phrase,), explanation)

    def judge_end(self) -> _Finding:
        """What is wrong where every equation is right."""
        if not self.equations:
            return self._no_work()
        doubt = self._doubt(len(self.verdicts), self.equations[-1].step, None)
        if not self.gold_is_plain:
            doubt = "unread_gold"
        elif any(states_a_result(step, self.question) for step in self.steps[self.equations[-1].step :]):
            doubt = "unread_steps"
        last = self.equations[-1]
        given = self._given_answer()
        values = {equation.claimed for equation in self.equations}
        if last.claimed == self.answer or (given is not None and given != last.claimed):
            return replace(self._answer_line(last, given, values), doubt=doubt)
        missing = [equation for equation in self.gold if equation.claimed not in values] or [self.gold[-1]]
        operations = [_operation(flatten(equation.expression)) for equation in missing]
        final = missing[-1]
        names = [
            self._name(value, self.gold, self.gold_steps[final.step - 1]) for value in flatten(final.expression).values
        ]
        goal = self._goal(0, final)
        many = "several steps early" if len(missing) > 2 else "early"
        phrase = f"stops {many}, before {operations[-1].gerund} {names[0]} to find {goal}"
        explanation = (
            "This result is not the answer yet: it takes "
            f"{'; '.join(f'{equation.text}, that is {format_number(equation.claimed)}' for equation in missing[-3:])}."
        )
        return _Finding(last.step, "missing_step", (phrase,), explanation, doubt)

    def _given_answer(self) -> Fraction | None:
        try:
            return parse_number(self.answer_text or "")
        except ArithmeticRefused:
            return None

    def _answer_line(self, last: Equation, given: Fraction | None, values: set[Fraction]) -> _Finding:
        if given is None:
            phrase = "gives no number as the final answer"
        elif last.claimed >= 1000 and str(int(last.claimed)).startswith(str(int(abs(given)))):
            phrase = "final answer cut off at the thousands comma"
        elif 0 < abs(given - last.claimed) < 1:
            phrase = "final answer rounded or cut to a whole number"
        elif given in values:
            phrase = "gives an intermediate result as the final answer"
        elif given in self.stated:
            phrase = "gives a number of the question as the final answer"
        else:
            phrase = "final answer is not the last computed result"
        kind: Kind = "unit_or_rounding" if "rounded" in phrase else "answer_not_last_result"
        result = format_number(last.claimed)
        explanation = f"The steps end with {result}, but the answer line says {self.answer_text!r}."
        return _Finding(last.step, kind, (phrase,), explanation)

    def _no_work(self) -> _Finding:
        if not self.steps:
            return _Finding(0, "no_usable_work", ("gives an answer without any step",), "There is no step to check.")
        given = self._given_answer()
        if given is not None and given in self.stated:
            phrase = "repeats a number of the question as the answer without computing"
        else:
            phrase = f"states a result without arithmetic when finding {self._goal(1)}"
        return _Finding(
            1, "no_usable_work", (phrase,), "No step holds an equation that can be checked.", "no_equations"
        )


def _parts_of_wholes(gold: Sequence[Equation]) -> set[Fraction]:
    """Results such as a discount: a share of an amount, that is then taken from it or added to it."""
    found = set()
    for index, equation in enumerate(gold):
        flat = flatten(equation.expression)
        if flat.kind == "product":
            for later in gold[index + 1 :]:
                bag = flatten(later.expression)
                if bag.kind == "sum" and equation.claimed in bag.values and set(equation.operands) & set(bag.values):
                    found.add(equation.claimed)
    return found


def _is_power_of_ten(ratio: Fraction) -> bool:
    return any(ratio in (Fraction(10**power), Fraction(1, 10**power)) for power in range(1, 7))


def _is_garbled(wrong: Fraction, right: Fraction) -> bool:
    """Whether `wrong` looks like a miscopied `right`: shifted point, digits swapped, or one digit off, lost or added."""
    if not right or not wrong:
        return False
    if _is_power_of_ten(wrong / right):
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
