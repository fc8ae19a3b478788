"""Compares scalars and relations with `math-verify` and sympy. Only ever imported inside a worker process.

Purpose: what spelling cannot decide. `math-verify` parses LaTeX and compares. It is preceded by a numeric check to 18
significant digits, because its own check rounds to six decimals (and takes 1/2004! for 1/2006!), and because
simplifying does not always find that a difference is zero.
Place in the flow: `grading.worker` calls one of `ASK` for each pair: our comparison, or plain math-verify as a second grader.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import parse as parse_latex
from math_verify import verify
from math_verify.parser import LatexExtractionConfig

from sei.grading.compare import QUICK, agrees, compare
from sei.grading.latex import Relation, parse

_DIGITS = 30
_TINY = sympy.Float(10) ** -18
# units are read by grading.latex: math-verify's rule takes the variable m for metres
_CONFIG = [
    LatexExtractionConfig(
        boxed_match_priority=0,
        normalization_config=NormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="all", equations=False
        ),
    )
]


class Symbolic:
    """Equality by symbols: True or False."""

    def scalars(self, gold: str, answer: str) -> bool:
        quick = QUICK.scalars(gold, answer)
        if quick is not None:
            return quick
        left, right = _expression(gold), _expression(answer)
        if left is None or right is None:
            return False
        numeric = _same_values(left, right)
        if numeric is not None:
            return numeric or _is_rounding(gold, answer, left, right)
        return bool(verify(left, right, timeout_seconds=None))

    def relations(self, gold: Relation, answer: Relation) -> bool:
        """Equal where the differences of the sides are proportional; for inequalities by a positive factor."""
        left, right = _difference(gold), _difference(answer)
        if left is None or right is None:
            return False
        ratios = []
        for point in _points(left.free_symbols | right.free_symbols, 5):
            first, second = _value(left, point), _value(right, point)
            if first is None or second is None or abs(first) < _TINY:
                continue
            ratios.append(second / first)
        if len(ratios) < 2 or left.free_symbols != right.free_symbols:
            return False
        constant = all(abs(ratio - ratios[0]) <= abs(ratios[0]) * _TINY for ratio in ratios) and abs(ratios[0]) > _TINY
        if gold.operator in ("=", "!="):
            return bool(constant)
        return bool(constant and abs(sympy.im(ratios[0])) < _TINY and sympy.re(ratios[0]) > 0)


@lru_cache(maxsize=512)
def _expression(latex: str) -> Any:
    """The sympy expression of one scalar, None if math-verify finds none."""
    latex = re.sub(r"(?<![\\a-zA-Z])(arc)?(sin|cos|tan|cot|sec|csc|log|ln|sqrt|pi)(?![a-zA-Z])", r"\\\1\2", latex)
    latex = re.sub(r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", latex)
    # math-verify reads 2(3) as a mixed number, which is 5
    latex = re.sub(
        r"(?:\)\s*(?=[(0-9])|\\pi\s*(?=\())|(?<![_^.0-9])[0-9]+(?:\.[0-9]+)?\s*(?=\()", r"\g<0>\\cdot ", latex
    )
    latex = re.sub(r"(\d*)\.(\d*)\\overline\s*\{(\d+)\}", _repeating_decimal, latex)
    latex = re.sub(r"(\d*)\.(\d+)", _exact_decimal, latex)
    found = parse_latex(f"\\boxed{{{latex}}}", extraction_config=_CONFIG, parsing_timeout=None)
    expression = next((item for item in found if not isinstance(item, str)), None)
    if not isinstance(expression, sympy.Expr):
        return None
    # math-verify reads the imaginary unit as a variable
    return expression.subs({symbol: sympy.I for symbol in expression.free_symbols if symbol.name == "i"})


def _exact_decimal(match: re.Match[str]) -> str:
    """A decimal as a fraction: sympy's floats hold 15 digits and would differ from the exact side."""
    return f"\\frac{{{int(match[1] + match[2])}}}{{{10 ** len(match[2])}}}"


def _repeating_decimal(match: re.Match[str]) -> str:
    """0.1\\overline{6} as a fraction, which is 16 - 1 over 90."""
    start, period = match[1] + match[2], match[3]
    top = int(start + period) - int(start or 0)
    return f"\\frac{{{top}}}{{{(10 ** len(period) - 1) * 10 ** len(match[2])}}}"


def _difference(relation: Relation) -> Any:
    left, right = _expression(relation.left), _expression(relation.right)
    return None if left is None or right is None else left - right


def _same_values(left: Any, right: Any) -> bool | None:
    """Whether both have the same values at random points, to 18 digits; None if they cannot be evaluated.

    Points at which a root or logarithm leaves the real numbers count only where there are not enough others:
    \\sqrt{1/n} is 1/\\sqrt{n} although their principal values differ for negative n.
    """
    left, right = left.doit(), right.doit()
    if left.is_Rational and right.is_Rational:
        return bool(left == right)
    symbols = left.free_symbols | right.free_symbols
    enough = 2 if symbols else 1
    domain = _domain(left) | _domain(right) if symbols else set()
    inside: list[bool] = []
    outside: list[bool] = []
    for point in _points(symbols, 8 if symbols else 1):
        first, second = _value(left, point), _value(right, point)
        if first is None or second is None:
            continue
        scale = max(abs(first), abs(second))
        same = bool(scale == 0 or abs(first - second) <= scale * _TINY)
        real = all(_is_not_negative(part, point) for part in domain)
        (inside if real else outside).append(same)
        if real and not same:
            return False
        if len(inside) == 4:
            break
    compared = inside if len(inside) >= enough else inside + outside
    return False if not all(compared) else True if len(compared) >= enough else None


def _domain(expression: Any) -> set[Any]:
    """What must not be negative for the roots and logarithms in an expression to have real values."""
    logarithms = {part.args[0] for part in expression.atoms(sympy.log)}
    roots = {part.base for part in expression.atoms(sympy.Pow) if not part.exp.is_integer}
    return {part for part in logarithms | roots if part.free_symbols}


def _is_not_negative(expression: Any, point: dict[Any, Any]) -> bool:
    value = _value(expression, point)
    return value is not None and bool(value.is_real and value >= 0)


_SIGNS = ((1, 1), (-1, -1), (1, -1), (-1, 1))  # of the symbols at even and at odd places


def _points(symbols: Any, count: int) -> list[dict[Any, Any]]:
    """Seeded random rational points: all positive, all negative, signs mixed, and again."""
    generator = random.Random(0)
    ordered = sorted(symbols, key=str)
    return [
        {
            symbol: sympy.Rational(_SIGNS[index % 4][place % 2] * generator.randint(101, 997), 211)
            for place, symbol in enumerate(ordered)
        }
        for index in range(count)
    ]


def _value(expression: Any, point: dict[Any, Any]) -> Any:
    """The complex value at one point to 30 digits, None if it has none (poles, unknown functions)."""
    try:
        value = sympy.N(expression.doit().subs(point), _DIGITS)
    except (ArithmeticError, TypeError, ValueError, AttributeError, NotImplementedError, mpmath.libmp.NoConvergence):
        return None
    return value if value.is_number and value.is_finite else None


def _is_rounding(gold: str, answer: str, left: Any, right: Any) -> bool:
    """1.41421356 for \\sqrt{2}: a long decimal against the other side's value."""
    for decimal, exact in ((answer.strip(), left), (gold.strip(), right)):
        value = _value(exact, {}) if not exact.free_symbols else None
        if value is not None and value.is_real and not exact.doit().is_Rational:
            ratio = sympy.Rational(value)
            if agrees(decimal, Fraction(int(ratio.p), int(ratio.q))):
                return True
    return False


_SYMBOLIC = Symbolic()


def _answers(gold: str, answer: str) -> bool:
    return bool(compare(parse(gold), parse(answer), _SYMBOLIC))


def _math_verify(gold: str, output: str) -> bool:
    """Plain math-verify, used as its documentation says, but for its time limits, which are the worker's."""
    return bool(verify(_parsed_gold(gold), parse_latex(output, parsing_timeout=None), timeout_seconds=None))


@lru_cache(maxsize=2048)
def _parsed_gold(gold: str) -> Any:
    return parse_latex(f"${gold}$", parsing_timeout=None)


ASK: dict[str, Callable[[str, str], bool]] = {"answers": _answers, "math_verify": _math_verify}
"""What a pair may be asked, by name: (gold, answer) or (gold, output) to whether they are the same."""
