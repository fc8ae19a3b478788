"""Which steps a right solution may have: the gold program's own, and those of other valid routes to the answer.

Place in the flow: `verdicts` holds the steps of a solution against these. A gold answer 3*4 + 5*4 can also be
reached through 3+5, a price less 20 % through 80 % of it. So the gold expressions are written as sums of products of
question numbers, and every partial sum, partial product and common factor of them may be a step of a right solution. Steps
are compared by their shadows (see `shadows`), not by their values.

Example::

    routes = Routes(gold_equations, gold_steps, quantities)
    routes.own & shadows.of(equation.expression)       # not empty: gold takes this step too
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations, islice, product

from sei.arithmetic import ArithmeticRefused, Expression, Negative, Number, Operation, evaluate
from sei.equations import ANNOTATION, Equation, read_equations
from sei.teacher.symbolic.quantities import Quantity
from sei.teacher.symbolic.shadows import Shadow, Shadows, combine, constant, negative

_MAX_TERMS, _MAX_FACTORS = 8, 6
_MOST_READINGS = 8  # of one partial sum or product
_PLAIN_NUMBER = re.compile(r"(?<![\d.,/])\d(?:[\d,]*\d)?(?:\.\d+)?(?![\d/])")
USUAL = {Fraction(n) for n in (*range(13), 24, 30, 52, 60, 100, 365, 1000)}  # numbers that need no explanation

# A product is a sign and factors with exponents; a sum of products is a list of products.
_Product = tuple[int, tuple[tuple[Fraction, int], ...]]
_Sum = list[_Product]


class Routes:
    """The shadows that steps of a right solution may have.

    `own` are those of gold's own steps; `others` those of partial sums and products that another way may go through,
    and that a wrong way may go through as well. `unexplained` are results that gold states without an equation.
    """

    def __init__(self, gold: Sequence[Equation], gold_steps: Sequence[str], quantities: Sequence[Quantity]) -> None:
        self.own: set[Shadow] = set()
        self.others: set[Shadow] = set()
        self.values: set[Fraction] = set()
        self.results: dict[Fraction, set[Shadow]] = defaultdict(set)
        self._shadows = Shadows(quantities)
        # A number of gold may be an earlier result or one of the question. It is read as a result always, and again only once.
        stated = {quantity.value for quantity in quantities}
        always: dict[Fraction, _Sum] = {}
        once: dict[Fraction, _Sum] = {}
        for equation in gold:
            for part, whole in _parts(equation.expression):
                self.values.add(evaluate(part))
                (self.own if whole else self.others).update(self._shadows.of(part))
            own = self._shadows.of(equation.expression)
            self._allow_own(equation.claimed, own)
            self.results[equation.claimed] |= own
            for known in (always, once):
                try:
                    products = _expand(equation.expression, known)
                except ArithmeticRefused:
                    continue
                if products is not None:
                    self._allow_parts(products)
                    known[equation.claimed] = products
            for value in stated.intersection(equation.operands) - {equation.claimed}:
                once.pop(value, None)
            self._shadows.learn(equation, own)
        for equation in read_equations([ANNOTATION.sub(_written, step) for step in gold_steps]):
            self._allow_own(
                equation.claimed, self._shadows.of(equation.expression)
            )  # what an annotation says otherwise
        self.unexplained = self._without_equation(gold, gold_steps, quantities)

    def _without_equation(
        self, gold: Sequence[Equation], gold_steps: Sequence[str], quantities: Sequence[Quantity]
    ) -> set[Fraction]:
        said = {Fraction(text.replace(",", "")) for step in gold_steps for text in _numbers_said(step)}
        said |= {value for equation in gold for value in equation.operands}
        stated = {reading for quantity in quantities for reading in quantity.readings}
        return said - stated - set(self.results) - USUAL

    def _allow_own(self, value: Fraction, shadows: Iterable[Shadow]) -> None:
        self.values.add(value)
        self.own.update(shadows)

    def _allow(self, products: Sequence[_Product]) -> None:
        """Allow the sum of `products` as a step of another route. A negative one is right only if gold has it."""
        value = Fraction(0)
        for sign, factors in products:
            part = _product_value(factors)
            if part is None:
                return
            value += sign * part
        self.values.add(abs(value))
        leaves = [sorted(self._shadows.of_number(factor)) for _, factors in products for factor, _ in factors]
        for way in islice(product(*leaves), _MOST_READINGS):
            if (shadow := _shadow_of(products, way)) is not None:
                self.others.add(negative(shadow) if value < 0 else shadow)

    def _allow_sums(self, products: _Sum) -> None:
        terms = [(sign, factors) for sign, factors in products if _product_value(factors)]
        for size in range(2, len(terms) + 1):
            for some in combinations(terms, size):
                self._allow(some)

    def _allow_parts(self, products: _Sum) -> None:
        for _, factors in products:
            for size in range(2, len(factors) + 1):
                for some in combinations(factors, size):
                    self._allow([(1, tuple(some))])
        if len(products) > 1:
            self._allow_sums(products)
            # Distributive law: take a common factor out of all terms, and allow the sums of what remains.
            common = set(products[0][1]).intersection(*(factors for _, factors in products[1:]))
            for factor in sorted(common):
                self._allow_sums([(sign, _without(factors, factor)) for sign, factors in products])


def _parts(expression: Expression, whole: bool = True) -> Iterator[tuple[Operation, bool]]:
    """The expression and all that is computed on the way to it; False with the beginning of a sum, which leaves amounts out."""
    if isinstance(expression, Negative):
        yield from _parts(expression.operand)
    elif isinstance(expression, Operation):
        goes_on = expression.operator in ("+", "-")
        left = expression.left
        begins = goes_on and isinstance(left, Operation) and left.operator in ("+", "-")
        yield from _parts(left, not begins)
        yield from _parts(expression.right)
        yield expression, whole


def _written(annotation: re.Match[str]) -> str:
    return annotation["written"] or annotation["right"]


def _numbers_said(step: str) -> list[str]:
    return _PLAIN_NUMBER.findall(ANNOTATION.sub(" ", step))


def _shadow_of(products: Sequence[_Product], leaves: Sequence[Shadow]) -> Shadow | None:
    """The shadow of a sum of products, of the shadows of its factors in reading order."""
    total: Shadow | None = constant(Fraction(0))
    remaining = iter(leaves)
    for sign, factors in products:
        part: Shadow | None = constant(Fraction(sign))
        for (_, exponent), leaf in zip(factors, remaining, strict=False):
            part = None if part is None else combine("*" if exponent > 0 else "/", part, leaf)
        total = None if total is None or part is None else combine("+", total, part)
    return total


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
