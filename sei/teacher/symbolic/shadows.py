"""What a result becomes when the question's numbers are changed: two calculations that agree then are the same one.

Place in the flow: `routes` and `verdicts` compare the steps of two solutions by it. Equal values show little (24+12 is not
48-12), and nor do equal values made of the same numbers (63+42+21 and 2*3*21 are both 126, of 21, 2 and 3). So every
number of the question is given two other values, the calculation is done again with each, and the pair of results is
called its *shadow*. Equal numbers of a question get equal values: which of them was meant cannot be told.

Example::

    shadows = Shadows(read_quantities("3 boxes of 12 pens"))
    shadows.of(parse("3*12")) & shadows.of(parse("12+12+12"))     # set(): not the same for another number of boxes
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import islice, product

from sei.arithmetic import Expression, Negative, Number, Operation
from sei.equations import Equation
from sei.teacher.symbolic.quantities import Quantity

Shadow = tuple[Fraction, ...]

_CHANGES = 2
_MOST_READINGS = 96  # ways to read the numbers of one expression; a bound for hostile text


@lru_cache(maxsize=4096)
def _changed(value: Fraction) -> Shadow:
    """Other values for a number of the question, the same ones for equal numbers."""
    chance = random.Random(f"shadow/{value}")
    return tuple(value * Fraction(chance.randint(701, 1399), 1000) for _ in range(_CHANGES))


def constant(value: Fraction) -> Shadow:
    """The shadow of a number that does not depend on the question."""
    return (value,) * _CHANGES


def combine(operator: str, left: Shadow, right: Shadow) -> Shadow | None:
    """The shadow of `left operator right`; None where it has no value."""
    found = []
    for a, b in zip(left, right, strict=True):
        if operator in ("/", "^") and (b == 0 or operator == "^"):
            if operator == "/" or b.denominator != 1 or not 0 <= b <= 4:
                return None
            found.append(a ** int(b))
        else:
            found.append({"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else a / b)
    return tuple(found)


def negative(shadow: Shadow) -> Shadow:
    """The shadow of the number with the other sign."""
    return tuple(-part for part in shadow)


class Shadows:
    """The shadows of one solution's numbers, followed from equation to equation."""

    def __init__(
        self, quantities: Sequence[Quantity], skipped: Mapping[Fraction, Iterable[Shadow]] | None = None
    ) -> None:
        """`skipped`: results that the solution may use without having computed them."""
        self._stated: dict[Fraction, set[Shadow]] = defaultdict(set)
        self._results: dict[Fraction, set[Shadow]] = {}
        self._skipped = skipped or {}
        for quantity in quantities:
            if quantity.value in (0, 1):  # in 1/2 of a number, or in 1 + 1 + 1, a one stands for itself
                continue
            as_read = _readings(quantity, quantity.value)
            changed = [_readings(quantity, value) for value in _changed(quantity.value)]
            for number, value in enumerate(as_read):
                self._stated[value].add(tuple(readings[number] for readings in changed))

    def of_number(self, value: Fraction) -> set[Shadow]:
        """What a number may stand for: an earlier result, a number of the question, or itself."""
        sign = -1 if value < 0 and value not in self._results else 1
        size = value * sign
        found = self._results.get(size, set()) | self._stated.get(size, set())
        found = found or set(self._skipped.get(size, ())) or {constant(size)}
        if size == 100:  # of a percentage or of cents, though it may be stated as well
            found = found | {constant(size)}
        return {negative(shadow) for shadow in found} if sign < 0 else found

    def of(self, expression: Expression) -> set[Shadow]:
        """The shadows that an expression may have, one for each way to read its numbers."""
        if isinstance(expression, Number):
            return self.of_number(expression.value)
        if isinstance(expression, Negative):
            return {negative(shadow) for shadow in self.of(expression.operand)}
        found = self._combined(expression.operator, self.of(expression.left), self.of(expression.right))
        left, right = expression.left, expression.right
        if expression.operator == "/" and isinstance(right, Number) and right.value:
            if isinstance(left, Number):  # 2/3, that may be what a stated third leaves
                found |= self._share(left.value, right.value)
            elif isinstance(left, Operation) and left.operator == "*" and isinstance(left.right, Number):  # n * 2 / 3
                found |= self._combined("*", self.of(left.left), self._share(left.right.value, right.value))
        terms = list(_terms(expression))
        if len(terms) > 1 and len({term.value for term in terms if term is not None}) == 1 and None not in terms:
            times = self.of_number(Fraction(len(terms)))  # 200 + 200 for two of 200
            found |= self._combined("*", self.of_number(terms[0].value), times)  # type: ignore[union-attr]
        return found

    @staticmethod
    def _combined(operator: str, left: Iterable[Shadow], right: Iterable[Shadow]) -> set[Shadow]:
        ways = islice(product(sorted(left), sorted(right)), _MOST_READINGS)
        return {shadow for a, b in ways if (shadow := combine(operator, a, b)) is not None}

    def _share(self, part: Fraction, whole: Fraction) -> set[Shadow]:
        proper = part.denominator == whole.denominator == 1 and 0 < part < whole
        return self._stated.get(part / whole, set()) if proper else set()

    def is_known(self, shadow: Shadow) -> bool:
        """Whether this is a number of the question in one of its readings, or an earlier result."""
        groups = (*self._stated.values(), *self._results.values())
        return any(shadow in group for group in groups)

    def leaves(self, shadow: Shadow, own: Collection[Shadow]) -> bool:
        """Whether this is what one of `own` leaves of an earlier result, such as the women where gold counts the men."""
        wholes = (whole for group in self._results.values() for whole in group)
        return any(combine("-", whole, shadow) in own for whole in wholes)

    def learn(self, equation: Equation, shadows: set[Shadow]) -> None:
        """Remember the result of `equation`, as computed and as written, for the equations after it."""
        for value in {equation.claimed, equation.written}:
            self._results[value] = set(shadows)


def _readings(quantity: Quantity, value: Fraction) -> tuple[Fraction, ...]:
    """What a solution may write for a quantity, if its value were `value`: as `Quantity.readings`, and n / 4 for 25 %."""
    if quantity.percent:
        share = value / 100
        return value, share, 100 - value, 1 - share, 1 + share, 100 + value, 1 / share
    if 0 < quantity.value < 1:
        return value, 1 / value, 1 - value, value * quantity.value.denominator
    return (value,)


def _terms(expression: Expression) -> Iterator[Number | None]:
    """The terms of a sum; None for one that is no plain number."""
    if isinstance(expression, Operation) and expression.operator == "+":
        yield from _terms(expression.left)
        yield from _terms(expression.right)
    else:
        yield expression if isinstance(expression, Number) else None
