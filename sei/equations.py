"""The equations of a solution: what each step computes, what it claims, and the operands it uses.

Place in the flow: the symbolic teacher compares the equations of a wrong solution with those of the gold one, and checks by
them that what it wrote is true; so does the synthesis stage for any teacher. Annotations (`<<3*4=12>>`) are read first;
where a step has none, plain `3 boxes * 4 = 12` is read from its words.

Example::

    read_equations(["She has 3 * 4 = <<3*4=12>>12 pens"])[0].claimed      # Fraction(12)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from sei.arithmetic import ArithmeticRefused, Expression, Negative, Number, Operation, evaluate, numbers, parse

ANNOTATION = re.compile(r"<<(?P<left>[^<>=]*)=(?P<right>[^<>=]*)>>(?P<written>\s?\$?\d(?:[\d,]*\d)?(?:\.\d+)?)?")
_TOKEN = re.compile(
    r"(?P<number>\$?(?:\d(?:[\d,]*\d)?(?:\.\d+)?|\.\d+|[½⅓⅔¼¾⅕⅛])%?)|(?P<operator>[-+−–*×÷/]|(?<![A-Za-z])[xX](?![A-Za-z]))"
    r"|(?P<paren>[()])|(?P<equals>=)|(?P<word>[A-Za-z'’]+\.?)|(?P<space>\s+)|(?P<other>.)",
    re.DOTALL,
)
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d,])")
_SPEECH = re.compile(
    r"(?:[A-Za-z]+\s+){3,}=\s*\$?$"
)  # "1/4 as much as a manicure = " beside annotations is no equation
_MAX_STEP = 20_000  # characters; a longer "step" is a model in a loop, and has thousands of equations
_MAX_UNIT_WORDS = 6  # "3 boxes of red pens * 4": words allowed between a number and its operator


@dataclass(frozen=True)
class Equation:
    """One `expression = number` of a solution."""

    step: int  # 1-based
    text: str  # the expression as written
    expression: Expression
    value: Fraction  # what the expression is worth
    claimed: Fraction  # what the solution says it is worth
    claimed_text: str
    written: Fraction  # the number that follows the annotation in the text; `claimed` where none does
    annotated: bool

    @property
    def operands(self) -> tuple[Fraction, ...]:
        """The numbers of the expression, left to right."""
        return tuple(number.value for number in numbers(self.expression))

    @property
    def holds(self) -> bool:
        """Whether the claim is the expression's value, or that value rounded to the claim's own decimals."""
        return is_rounding(self.value, self.claimed, self.claimed_text)


def close_thousands(text: str) -> str:
    """`$350 000` as `$350000`: a space between thousands would make two numbers of one."""
    return _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", ""), text)


def is_rounding(value: Fraction, claimed: Fraction, claimed_text: str) -> bool:
    """Whether `claimed` is `value` exactly or, if it has decimals, to within one unit of its last one."""
    if value == claimed:
        return True
    _, point, decimals = claimed_text.strip(" %").partition(".")
    return bool(point) and abs(value - claimed) < Fraction(1, 10 ** min(len(decimals), 9))


def read_equations(steps: Sequence[str]) -> list[Equation]:
    """All equations in reading order. Annotations that are no plain arithmetic are left out."""
    return [equation for index, step in enumerate(steps, start=1) for equation in _read_step(index, step)]


@lru_cache(maxsize=16384)  # the same steps are read again for every draft made from them
def _read_step(index: int, step: str) -> tuple[Equation, ...]:
    if len(step) > _MAX_STEP:
        return ()
    found: list[tuple[int, Equation]] = []
    covered: set[int] = set()  # where a number that an annotation has explained stands
    for match in ANNOTATION.finditer(step):
        equation = _equation(index, match["left"], match["right"], match["written"], annotated=True)
        if equation is not None and isinstance(equation.expression, Operation):
            found.append((match.start(), equation))
            covered.update(range(match.start(), match.end() + 1))
    # An annotation such as <<32=32>> explains nothing: its visible text does.
    for left, (start, end), right in _plain(ANNOTATION.sub(_blank, step)):
        if start in covered or end - 1 in covered or (covered and _SPEECH.search(step[:start])):
            continue
        equation = _equation(index, left, right, None, annotated=False)
        if equation is not None and isinstance(equation.expression, Operation):
            found.append((start, equation))
    return tuple(equation for _, equation in sorted(found, key=lambda item: item[0]))


def _plain(text: str) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Expression, place of the result, and result of each `3 boxes * 4 pens = 12` of the text.

    From each `=` that a number follows it reads leftwards, number and operator in turn, over unit words.
    """
    tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup != "space" and match[0] != "$"]
    for position, token in enumerate(tokens[:-1]):
        right = tokens[position + 1]
        if token.lastgroup != "equals" or right.lastgroup != "number":
            continue
        quotient = tokens[position + 1 : position + 4]  # a result such as 2/5
        if len(quotient) == 3 and quotient[1][0] == "/" and quotient[2].lastgroup == "number":
            result = text[right.start() : quotient[2].end()]
            end = quotient[2].end()
        else:
            result, end = right[0], right.end()
            quotient = quotient[:1]
        following = tokens[position + 1 + len(quotient) : position + 3 + len(quotient)]
        if len(following) == 2 and following[0].lastgroup == "operator" and following[1].lastgroup == "number":
            continue  # a = b * c: what stands on the right is no result yet
        parts: list[str] = []
        words, open_parens = 0, 0
        for index in range(position - 1, -1, -1):
            kind, piece = tokens[index].lastgroup, tokens[index][0]
            after_number = bool(parts) and parts[-1][-1] in "0123456789½⅓⅔¼¾⅕⅛%."
            if kind == "word" or (piece in "/-–" and tokens[index + 1].lastgroup == "word"):
                words += 1
                if after_number or words > _MAX_UNIT_WORDS:
                    break
            elif (kind == "number" and not after_number) or (
                kind == "operator" and parts and (after_number or parts[-1] == "(")
            ):
                parts.append(piece)
                words = 0
            elif piece == ")":
                parts.append(piece)
                open_parens += 1
            elif piece == "(" and open_parens:
                parts.append(piece)
                open_parens -= 1
            else:
                break
        while parts and not (parts[-1][-1].isdigit() or parts[-1] == "(" or parts[-1][-1] in "½⅓⅔¼¾⅕⅛%."):
            parts.pop()
        if len(parts) > 1:
            yield "".join(reversed(parts)), (right.start(), end), result


def _blank(match: re.Match[str]) -> str:
    """Spaces for the annotation itself; the number written after it stays, at its place."""
    written = match["written"] or ""
    return " " * (len(match[0]) - len(written)) + written


def _equation(index: int, left: str, right: str, written: str | None, *, annotated: bool) -> Equation | None:
    try:
        expression = parse(left)
        claimed = evaluate(parse(right))
        value = evaluate(expression)
        shown = evaluate(parse(written)) if written else claimed
    except ArithmeticRefused:
        return None
    return Equation(index, left.strip(), expression, value, claimed, right, shown, annotated)


@dataclass(frozen=True)
class Flat:
    """One level of an expression as a bag: `a - b` is sum((a, 1), (b, -1)), `a / b` is product((a, 1), (b, -1)).

    Nested expressions of the other kind count as their value. `1/2` as a factor is a division by 2, and `n/100`,
    `n * .01` and `n%` are one number.
    """

    kind: Literal["sum", "product"]
    terms: tuple[tuple[Fraction, int], ...]

    @property
    def values(self) -> tuple[Fraction, ...]:
        return tuple(sorted(abs(value) for value, _ in self.terms))

    @property
    def signed(self) -> tuple[tuple[Fraction, int], ...]:
        """The terms without regard to order; a difference the other way round is another bag."""
        return tuple(sorted(self.terms))


def flatten(expression: Expression) -> Flat:
    """The top level of `expression`. May raise ArithmeticRefused through `evaluate`."""
    if isinstance(expression, Operation) and expression.operator in ("+", "-"):
        return Flat("sum", tuple(_sum_terms(expression, 1)))
    return Flat("product", _fold_percent(list(_factors(expression, 1))))


def levels(expression: Expression) -> Iterator[Expression]:
    """The expression and the nested ones that change between sums and products, inner ones first."""
    if isinstance(expression, Negative):
        yield from levels(expression.operand)
    elif isinstance(expression, Operation):
        additive = expression.operator in ("+", "-")
        for child in (expression.left, expression.right):
            for inner in levels(child):
                same = isinstance(inner, Operation) and inner is child and (inner.operator in ("+", "-")) == additive
                if not same:
                    yield inner
        yield expression


def _sum_terms(expression: Expression, sign: int) -> Iterator[tuple[Fraction, int]]:
    if isinstance(expression, Operation) and expression.operator in ("+", "-"):
        yield from _sum_terms(expression.left, sign)
        yield from _sum_terms(expression.right, sign if expression.operator == "+" else -sign)
    elif isinstance(expression, Negative):
        yield from _sum_terms(expression.operand, -sign)
    else:
        yield evaluate(expression), sign


def _factors(expression: Expression, exponent: int) -> Iterator[tuple[Fraction, int]]:
    if isinstance(expression, Operation) and expression.operator in ("*", "/"):
        yield from _factors(expression.left, exponent)
        yield from _factors(expression.right, exponent if expression.operator == "*" else -exponent)
    else:
        value = evaluate(expression)
        if isinstance(expression, Number) and value != 0 and abs(value.numerator) == 1 and value.denominator > 1:
            value, exponent = 1 / value, -exponent
        yield value, exponent


def _fold_percent(factors: list[tuple[Fraction, int]]) -> tuple[tuple[Fraction, int], ...]:
    """Joins a division by 100 with the number before it: 25/100 is one number, a quarter."""
    folded: list[tuple[Fraction, int]] = []
    for value, exponent in factors:
        if (value, exponent) == (100, -1) and folded and folded[-1][1] == 1 and len(factors) > 2:
            folded[-1] = (folded[-1][0] / 100, 1)
        else:
            folded.append((value, exponent))
    ones_out = [(value, exponent) for value, exponent in folded if value != 1]
    return tuple(ones_out or folded)
