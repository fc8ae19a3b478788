"""Which steps a right solution may have: the gold program's own, and those of other valid routes to the answer.

Place in the flow: `diagnose` considers a step of a wrong solution right if it is one of these. A gold answer
3*4 + 5*4 can also be reached through 3+5, a price less 20 % through 80 % of it. So the gold expressions are
written as sums of products of question numbers, and every partial sum, partial product and common factor of them
counts as right. Equal values are not enough (24+12 is not 48-12): the question's numbers that went into a value, called
its *support*, must be the same too.

Example::

    routes = Routes(gold_equations, quantities)
    routes.allows(equation, attempt_supports)
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

from sei.arithmetic import ArithmeticRefused, Expression, Negative, Number, Operation, evaluate, numbers
from sei.equations import Equation, flatten, levels
from sei.teacher.symbolic.quantities import Quantity

_MAX_TERMS, _MAX_FACTORS = 8, 6

Support = frozenset[Fraction]
# A product is a sign and factors with exponents; a sum of products is a list of products.
_Product = tuple[int, tuple[tuple[Fraction, int], ...]]
_Sum = list[_Product]


class Supports:
    """The question numbers behind the results of one solution, followed from equation to equation."""

    def __init__(self, quantities: Sequence[Quantity]) -> None:
        self._stated: dict[Fraction, Fraction] = {}
        for quantity in quantities:
            for reading in quantity.readings:
                self._stated.setdefault(reading, quantity.value)
        for quantity in quantities:
            self._stated[quantity.value] = quantity.value
        self._results: dict[Fraction, Support] = {}

    def of_number(self, value: Fraction, *, results_first: bool) -> Support:
        """The support of one operand; constants such as 7 days or 100 per cent have none."""
        if value == 1:  # in 1/2 of a number, or in 1 + 1 + 1, a one needs no support of its own
            return frozenset()
        stated, result = self._stated.get(value), self._results.get(value)
        if result is not None and (results_first or stated is None):
            return result
        return frozenset() if stated is None else frozenset((stated,))

    def of(self, expression: Expression) -> set[Support]:
        """The supports that an expression may have: its operands are earlier results, or numbers of the question."""
        leaves = [number.value for number in numbers(expression)]
        return {
            frozenset().union(*(self.of_number(value, results_first=first) for value in leaves))
            for first in (True, False)
        }

    def learn(self, equation: Equation) -> None:
        """Remember the result of `equation` for the equations after it."""
        leaves = [number.value for number in numbers(equation.expression)]
        self._results[equation.claimed] = frozenset().union(
            *(self.of_number(value, results_first=True) for value in leaves)
        )


class Routes:
    """The values, each with its supports, that steps of a right solution may have."""

    def __init__(self, gold: Sequence[Equation], quantities: Sequence[Quantity]) -> None:
        self._allowed: dict[Fraction, set[Support]] = {}
        self._supports = Supports(quantities)
        expanded: dict[Fraction, _Sum] = {}
        for equation in gold:
            for level in levels(equation.expression):
                self._allow(evaluate(level), self._supports.of(level))
            own = self._supports.of(equation.expression)
            self._allow(equation.claimed, own | self._repeated(equation, own))
            try:
                products = _expand(equation.expression, expanded)
            except ArithmeticRefused:
                products = None
            if products is not None:
                self._allow_parts(products)
                expanded[equation.claimed] = products
            self._supports.learn(equation)

    @property
    def values(self) -> set[Fraction]:
        """All values of right steps. A negative one is right only if gold has it: 6-36 is not 36-6."""
        return set(self._allowed)

    def allows(self, value: Fraction, supports: set[Support]) -> bool:
        """Whether a right step may have this value, made from these numbers of the question."""
        return not supports.isdisjoint(self._allowed.get(value, ()))

    def _allow(self, value: Fraction, supports: set[Support]) -> None:
        self._allowed.setdefault(value, set()).update(supports)

    @staticmethod
    def _repeated(equation: Equation, supports: set[Support]) -> set[Support]:
        """The supports of 200 * 2 if gold has 200 + 200, and vice versa."""
        flat = flatten(equation.expression)
        if flat.kind == "sum" and len(set(flat.terms)) == 1:
            return {support | {Fraction(len(flat.terms))} for support in supports}
        counts = {value for value, exponent in flat.terms if exponent == 1 and value in (2, 3, 4, 5)}
        return {support - {count} for support in supports for count in counts} if flat.kind == "product" else set()

    def _allow_product(self, factors: Sequence[tuple[Fraction, int]]) -> None:
        if (value := _product_value(factors)) is not None:
            self._allow(abs(value), {self._support((1, tuple(factors)))})

    def _support(self, *products: _Product) -> Support:
        leaves = [value for _, factors in products for value, _ in factors]
        return frozenset().union(*(self._supports.of_number(value, results_first=False) for value in leaves))

    def _allow_sums(self, products: _Sum) -> None:
        terms = [(sign * value, (sign, factors)) for sign, factors in products if (value := _product_value(factors))]
        for size in range(2, len(terms) + 1):
            for some in combinations(terms, size):
                total = sum((value for value, _ in some), Fraction(0))
                self._allow(abs(total), {self._support(*(product for _, product in some))})

    def _allow_parts(self, products: _Sum) -> None:
        for _, factors in products:
            for size in range(2, len(factors) + 1):
                for some in combinations(factors, size):
                    self._allow_product(some)
        if len(products) > 1:
            self._allow_sums(products)
            # Distributive law: take a common factor out of all terms, and allow the sums of what remains.
            common = set(products[0][1]).intersection(*(factors for _, factors in products[1:]))
            for factor in sorted(common):
                self._allow_sums([(sign, _without(factors, factor)) for sign, factors in products])


def _without(
    factors: tuple[tuple[Fraction, int], ...], factor: tuple[Fraction, int]
) -> tuple[tuple[Fraction, int], ...]:
    position = factors.index(factor)
    return factors[:position] + factors[position + 1 :]


def _expand(expression: Expression, known: dict[Fraction, _Sum]) -> _Sum | None:
    """`expression` as a sum of products of numbers that no earlier equation computed; None if it grows too large."""
    if isinstance(expression, Number):
        return known.get(expression.value) or [(1, ((expression.value, 1),))]
    if isinstance(expression, Negative):
        inner = _expand(expression.operand, known)
        return None if inner is None else [(-sign, factors) for sign, factors in inner]
    left, right = _expand(expression.left, known), _expand(expression.right, known)
    if left is None or right is None:
        return None
    result = _combine(expression, left, right)
    if len(result) > _MAX_TERMS or any(len(factors) > _MAX_FACTORS for _, factors in result):
        return None
    return result


def _combine(expression: Operation, left: _Sum, right: _Sum) -> _Sum:
    if expression.operator in ("+", "-"):
        flip = 1 if expression.operator == "+" else -1
        return left + [(flip * sign, factors) for sign, factors in right]
    if expression.operator == "*":
        return [(a * b, p + q) for a, p in left for b, q in right]
    if expression.operator == "/":
        if len(right) > 1:  # division by a sum is not expanded: the divisor counts as one number
            right = [(1, ((evaluate(expression.right), 1),))]
        sign, factors = right[0]
        inverse = tuple((value, -exponent) for value, exponent in factors)
        return [(sign * a, p + inverse) for a, p in left]
    return [(1, ((evaluate(expression), 1),))]


def _product_value(factors: Sequence[tuple[Fraction, int]]) -> Fraction | None:
    value = Fraction(1)
    for factor, exponent in factors:
        if factor == 0 and exponent < 0:
            return None
        value *= factor**exponent
    return value
