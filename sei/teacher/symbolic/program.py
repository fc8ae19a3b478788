"""A worked problem as a program: which numbers of its question the solution uses, and which of them may change.

Place in the flow: `retell` draws new numbers for a `Program` and writes question and solution for them. Two equal numbers of a
question are two quantities, and nothing shows which of them a step means: they stay. So does a number that could mean two things.

Example::

    program = read_program(question, solution, answer)          # a Program, or the code of the reason why there is none
    instance = program.instantiate(program.draw(rng))
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations, pairwise

from sei.arithmetic import ArithmeticRefused, Expression, Negative, Number, Operation, evaluate, parse_number
from sei.equations import ANNOTATION, Equation, flatten, levels, read_equations
from sei.steps import split_steps
from sei.teacher.symbolic.quantities import Quantity, read_quantities
from sei.teacher.symbolic.rewriting import FixedNumber, check_solution, recompute_step, substitute
from sei.teacher.symbolic.story.names import find_names
from sei.teacher.symbolic.wording import constant_meaning

Values = dict[Fraction, Fraction]
_TRIES = 60
_ROUND_STEPS = (1000, 500, 100, 50, 10, 5)


@dataclass(frozen=True)
class Instance:
    """A problem with its numbers filled in. The question has no annotations; the steps do."""

    question: str
    steps: tuple[str, ...]
    answer: Fraction


@dataclass(frozen=True)
class Program:
    """A seed that is understood well enough to be given other numbers."""

    question: str
    steps: tuple[str, ...]
    equations: tuple[Equation, ...]
    quantities: tuple[Quantity, ...]
    variables: tuple[Quantity, ...]  # one for each value that may change
    constants: frozenset[Fraction]  # values that must stay: facts, fixed words, fractions, and parts of them
    answer: Fraction

    def draw(self, rng: random.Random, forced: Mapping[Fraction, Fraction] | None = None) -> Values | None:
        """New values for some of the numbers, and the results that follow; None where no sensible ones were found.

        `forced` values are used as they are. Sensible: whole numbers stay whole at each step, positive ones positive,
        percentages below 100 stay below 100, sizes stay between half and six fifths, and the order among quantities of
        one sort is kept.
        """
        for attempt in range(_TRIES):
            values: Values = dict(forced or {})
            share = 0.85 if attempt < _TRIES / 3 else 0.45  # fewer changes at once are more often sensible
            for variable in self.variables:
                if variable.value not in values and rng.random() < share:
                    values |= self._readings(variable, _draw_value(variable, rng))
            if all(new == old for old, new in values.items()) or not self._keeps_order(values):
                continue
            if (complete := self._follow(values)) is not None:
                return complete
        return None

    def instantiate(self, values: Values) -> Instance | None:
        """The problem written with `values`, not yet executed; None if a number in the text cannot be replaced."""
        try:
            question = substitute(self.question, values)
            steps = tuple(recompute_step(step, values)[0] for step in self.steps)
        except (FixedNumber, ArithmeticRefused):
            return None
        answer = values.get(self.answer, self.answer)
        return Instance(question, steps, answer)

    def _keeps_order(self, values: Values) -> bool:
        return all(values.get(smaller, smaller) < values.get(larger, larger) for smaller, larger in self._ordered)

    def _readings(self, variable: Quantity, new: Fraction) -> Values:
        """The new value, and for a percentage what the solution derives from it without a step: .25, 75 and .75 from 25 %."""
        changed = replace(variable, value=new)
        pairs = zip(variable.readings, changed.readings, strict=True)
        return {old: reading for old, reading in pairs if old == variable.value or old in self._mentioned}

    @cached_property
    def _mentioned(self) -> frozenset[Fraction]:
        """The values of all numbers in the solution."""
        operands = {operand for equation in self.equations for operand in equation.operands}
        return frozenset(
            operands | {one.value for step in self.steps for one in read_quantities(ANNOTATION.sub(" ", step))}
        )

    @cached_property
    def _unchanged(self) -> Values:
        """Every stated number and constant, unchanged."""
        return {value: value for value in (*(quantity.value for quantity in self.quantities), *self.constants)}

    @cached_property
    def _ordered(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """Smaller and larger of each pair of neighbours among the sorted numbers of one sort."""
        by_sort: dict[str, set[Fraction]] = {}
        for quantity in self.quantities:
            by_sort.setdefault(quantity.sort, set()).add(quantity.value)
        return tuple(pair for same in by_sort.values() for pair in pairwise(sorted(same)))

    @cached_property
    def _levels(self) -> tuple[tuple[Equation, tuple[tuple[Expression, Fraction], ...]], ...]:
        """Every equation with its nested expressions and their values."""
        return tuple(
            (equation, tuple((level, evaluate(level)) for level in levels(equation.expression)))
            for equation in self.equations
        )

    def _follow(self, values: Values) -> Values | None:
        """`values` with every result; None if a result is no longer sensible or one old value would become two new ones."""
        known = self._unchanged | values
        for equation, inner in self._levels:
            new = equation.value
            for level, old in inner:
                try:
                    new = _evaluate(level, known)
                except ArithmeticRefused:
                    return None
                if not _as_sensible(old, new):
                    return None
            if known.setdefault(equation.claimed, new) != new:
                return None
        return known


@lru_cache(maxsize=4096)
def read_program(question: str, solution: str, answer: str) -> Program | str:
    """The program of a worked problem, or the code of the reason why it cannot be re-parameterized."""
    steps, _ = split_steps(solution)
    equations = read_equations(steps)
    if not any(equation.annotated for equation in equations):
        return "no_annotations"
    try:
        gold = parse_number(answer)
    except ArithmeticRefused:
        return "answer_not_a_number"
    if (problem := check_solution(solution, gold)) is not None:
        return f"gold_{problem}"
    if any(equation.value != equation.claimed for equation in equations):
        return "gold_rounds"
    quantities = read_quantities(question)
    stated = {reading for quantity in quantities for reading in quantity.readings}
    results: set[Fraction] = set()
    used: set[Fraction] = set()
    constants = {Fraction(1), Fraction(100), Fraction(1, 100)}
    known = Counter(quantity.value for quantity in quantities)  # how often each number is given, or computed so far
    for equation in equations:
        constants |= _in_two_roles(equation, known)
        known[equation.claimed] += 1
        text = f"{question} {steps[equation.step - 1]}"
        for operand in equation.operands:
            if constant_meaning(operand, text) is not None:
                constants.add(operand)  # it may be the fact, even if a result has the same value
            elif operand not in results | stated:
                if not _is_constant(operand, quantities):
                    return "numbers_not_grounded"
                constants.add(operand)
            used.add(operand)
        results.add(equation.claimed)
    for step in steps:
        for mention in read_quantities(ANNOTATION.sub(" ", step)):
            if mention.value not in results | stated | used and mention.kind != "fixed":
                return "numbers_not_grounded"
            if mention.kind == "fixed":
                constants.update(mention.readings)
    if set(find_names(solution)) - set(find_names(question)):
        return "names_differ"  # the gold solution mentions somebody who is not in the question
    if _has_hidden_relation(quantities, used, results):
        return "hidden_relation"
    for quantity in quantities:
        if quantity.kind in ("fixed", "fraction") or quantity.sort in ("year", "time of day"):
            constants.update(quantity.readings)
            constants.update((Fraction(quantity.value.numerator), Fraction(quantity.value.denominator)))
    variables = _variables(question, quantities, used, constants)
    if not variables:
        return "no_sensible_numbers"
    return Program(question, tuple(steps), tuple(equations), quantities, variables, frozenset(constants), gold)


def _in_two_roles(equation: Equation, known: Counter[Fraction]) -> set[Fraction]:
    """Factors that occur in a product more often than they are given: in 12 dodecagons * 12 sides one 12 is a fact.

    It is unclear which, so both stay. Terms of a sum do not count: 10+10 for two litters of 10 is one number.
    """
    found: set[Fraction] = set()
    for level in levels(equation.expression):
        flat = flatten(level)
        if flat.kind == "product":
            factors = Counter(abs(value) for value, _ in flat.terms)
            found |= {value for value, times in factors.items() if times > max(1, known[value])}
    return found


def _is_constant(value: Fraction, quantities: Sequence[Quantity]) -> bool:
    """Whether an operand that nothing states may stay as it is when the other numbers change."""
    if value in (1, 100, Fraction(1, 100)):
        return True
    if value.denominator != 1 or value < 3:
        return False
    # An unstated count (4 for "he and his 3 friends") depends on the stated numbers; a fact (a gross is 144) does not.
    stated = [quantity.value for quantity in quantities]
    near = {one + shift for one in stated for shift in (-2, -1, 1, 2)} | {2 * one for one in stated}
    near |= {one / 2 for one in stated} | {one + two for one, two in combinations(stated, 2)}
    near |= {abs(one - two) for one, two in combinations(stated, 2)} | {
        one * two for one, two in combinations(stated, 2)
    }
    return value not in near


def _has_hidden_relation(quantities: Sequence[Quantity], used: set[Fraction], results: set[Fraction]) -> bool:
    """Whether a number that the solution does not use depends on those it uses ("12 racquets": 3, 5 and 4 of a kind)."""
    stated = [quantity.value for quantity in quantities if used.intersection(quantity.readings)]
    for quantity in quantities:
        if used.intersection(quantity.readings) or quantity.value <= 2:
            continue
        if quantity.value in results:
            return True
        sums = (sum(some, Fraction(0)) for size in (2, 3) for some in combinations(stated, size))
        if quantity.value in sums:
            return True
    return False


def _variables(
    question: str, quantities: Sequence[Quantity], used: set[Fraction], constants: set[Fraction]
) -> tuple[Quantity, ...]:
    """The numbers that may change: used by the solution, written so that they can be replaced, and not tied to names."""
    names = len(find_names(question))
    by_value: dict[Fraction, list[Quantity]] = {}
    for quantity in quantities:
        by_value.setdefault(quantity.value, []).append(quantity)
    chosen = []
    for value, same in by_value.items():
        first = same[0]
        if value < 2 or value in constants or not used.intersection(first.readings) or len(same) > 1:
            continue
        # 50 % could be the part or the rest; and the rest of 25 % must not coincide with another number, 75.
        if first.percent and (value == 50 or by_value.keys() & set(first.readings[1:])):
            continue
        if any(quantity.sort == "headcount" and value in (names, names - 1) for quantity in same):
            continue
        chosen.append(first)
    return tuple(chosen)


def _draw_value(variable: Quantity, rng: random.Random) -> Fraction:
    grain, low, high = _range(variable)
    return grain * rng.randint(low, high)


@lru_cache(maxsize=16384)
def _range(variable: Quantity) -> tuple[Fraction, int, int]:
    """What the new value is a multiple of, and the least and largest multiple."""
    old = variable.value
    if variable.percent:
        if old.denominator != 1 or old > 100:
            return old, 1, 1
        return Fraction(5), max(1, round(old / 10)), max(1, min(19, int(old / 2)))
    if old.denominator != 1:
        grain = (
            Fraction(1, 2) if old.denominator == 2 else Fraction(1, 20) if old.denominator in (4, 5, 10, 20) else None
        )
        if grain is None:
            return old, 1, 1
        return grain, max(1, round(old / grain / 2)), round(old / grain * 2)
    step = next((step for step in _ROUND_STEPS if old % step == 0 and old >= 2 * step), 1)
    low, high = max(2, -(-int(old) // 2)), _highest(variable, int(old))
    lowest = -(-low // step)
    return Fraction(step), lowest, max(lowest, high // step)


def _highest(variable: Quantity, old: int) -> int:
    factor = Fraction(6, 5)  # larger numbers would add arithmetic slips to the error that the problem is meant to teach
    high = int(old * factor) + (2 if old < 5 else 0)
    if variable.sort == "number of days" and old <= 7:
        return 7
    if variable.sort == "time in hours or minutes" and old <= 60:
        return 60 if old > 12 else 12
    return high


def _evaluate(expression: Expression, values: Mapping[Fraction, Fraction]) -> Fraction:
    """`arithmetic.evaluate` with other numbers in place of the old ones."""
    return evaluate(_with_values(expression, values))


def _with_values(expression: Expression, values: Mapping[Fraction, Fraction]) -> Expression:
    if isinstance(expression, Number):
        return Number(values.get(expression.value, expression.value), expression.text, expression.start, expression.end)
    if isinstance(expression, Negative):
        return Negative(_with_values(expression.operand, values))
    left, right = _with_values(expression.left, values), _with_values(expression.right, values)
    return Operation(expression.operator, left, right)


def _as_sensible(old: Fraction, new: Fraction) -> bool:
    if old.denominator == 1 and new.denominator != 1:
        return False
    if new.denominator != 1 and (new * 1000).denominator != 1:
        return False
    if (old > 0) != (new > 0) or (old == 0) != (new == 0):
        return False
    return abs(new) <= 40 * abs(old) + 40
