"""Comparing two answers of style `math`, part by part.

Purpose: `math-verify` compares expressions well and structures badly (it takes any overlap of two lists for equality,
a tuple for an interval, 50 for 50 %, tiny numbers for zero). So structures are compared here, strictly, and only scalar
expressions are handed on, to an `Equality`: either `QUICK`, a check of spelling and exact numbers, or sympy.
Place in the flow: `sei.answers` compares with `QUICK` first; what that leaves open goes to `grading.worker`.

Example::

    compare(parse("\\{2,5\\}"), parse("5, 2"), QUICK)        # True
    compare(parse("(0,1]"), parse("[0,1)"), QUICK)           # False
    compare(parse("2\\sqrt{3}"), parse("\\sqrt{12}"), QUICK) # None: needs symbols
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Protocol

from sei.grading.latex import (
    Bracketed,
    Items,
    Labelled,
    Matrix,
    Node,
    Ratio,
    Relation,
    Scalar,
    Text,
    Union,
    words,
)
from sei.grading.names import IDENTIFIER, is_name, is_quantity
from sei.grading.numeric import exact
from sei.grading.units import unit


class Equality(Protocol):
    """How scalars are compared: True, False, or None for "cannot say"."""

    def scalars(self, gold: str, answer: str) -> bool | None: ...

    def relations(self, gold: Relation, answer: Relation) -> bool | None: ...


def compare(gold: Node, answer: Node, by: Equality) -> bool | None:
    """Whether two answers are the same; None where `by` cannot say for some part that matters."""
    gold, answer = _single(gold, by), _single(answer, by)
    if isinstance(gold, Labelled) or isinstance(answer, Labelled):
        return _labelled(gold, answer, by)
    if isinstance(gold, Relation) != isinstance(answer, Relation):
        return _relation_against_value(gold, answer, by)
    match gold, answer:
        case Scalar(), Scalar():
            return _scalars(gold, answer, by)
        case Text(), Text():
            return gold.text.lower() == answer.text.lower()
        case (Text(text=one), Scalar(text=other)) | (Scalar(text=one), Text(text=other)):
            return words(one).replace(" ", "") == words(other).replace(" ", "") != ""
        case (Bracketed(left="(", items=values), Items(items=named)) | (
            Items(items=named),
            Bracketed(left="(", items=values),
        ):
            return _ordered_by_name(values, named, by, turned=isinstance(gold, Items))
        case Text(), Items() | Bracketed() | Ratio() | Matrix() | Union():
            return False
        case Items(), Items():
            return _unordered(gold.items, answer.items, by, distinct=gold.is_set or answer.is_set)
        case Union(), Union():
            return _unordered(gold.parts, answer.parts, by, distinct=False)
        case Bracketed(), Bracketed():
            if (gold.left, gold.right) != (answer.left, answer.right):
                return False
            return _ordered(gold.items, answer.items, by)
        case Matrix(), Matrix():
            if [len(row) for row in gold.rows] != [len(row) for row in answer.rows]:
                return False
            return _ordered(_cells(gold), _cells(answer), by)
        case Matrix(), Bracketed(left="(", right=")"):
            return _is_vector(gold) and _ordered(_cells(gold), answer.items, by)
        case Bracketed(left="(", right=")"), Matrix():
            return _is_vector(answer) and _ordered(gold.items, _cells(answer), by)
        case Relation(), Relation():
            return _relations(gold, answer, by)
        case Ratio(), Ratio():
            return _ratios(gold, answer, by)
        case Ratio(), Scalar():
            return _ratio_against_scalar(gold, answer)
        case Scalar(), Ratio():
            return _ratio_against_scalar(answer, gold)
        case (Items(is_set=True, items=items), _) | (_, Items(is_set=True, items=items)) if items:
            # symbolic comparison may yet find that all members of the set are one value
            return None if isinstance(by, Quick) else False
    return False


def _labelled(gold: Node, answer: Node, by: Equality) -> bool | None:
    if isinstance(gold, Labelled) and isinstance(answer, Labelled):
        return gold.letter == answer.letter
    if isinstance(gold, Labelled):
        same_letter = isinstance(answer, Text | Scalar) and answer.text == gold.letter
        return same_letter or compare(gold.content, answer, by)
    assert isinstance(answer, Labelled)
    return (isinstance(gold, Text | Scalar) and gold.text == answer.letter) or compare(gold, answer.content, by)


def _ordered_by_name(values: Sequence[Node], named: Sequence[Node], by: Equality, *, turned: bool) -> bool | None:
    """(1, 2) against "x = 1, y = 2": the point's coordinates in the order of their names."""
    known = {item.left: item.side(item.right) for item in named if isinstance(item, Relation) and item.operator == "="}
    if len(known) != len(named) or not all(map(IDENTIFIER.fullmatch, known)):
        return False
    ordered = [known[name] for name in sorted(known)]
    return _ordered(ordered, values, by) if turned else _ordered(values, ordered, by)


def _single(node: Node, by: Equality) -> Node:
    """A list of one value, or a set of several spellings of one value, is that value."""
    if isinstance(node, Items):
        items = _distinct(node.items, by) if node.is_set else node.items
        return items[0] if len(items) == 1 else node
    return node


def _cells(matrix: Matrix) -> tuple[Node, ...]:
    return tuple(cell for row in matrix.rows for cell in row)


def _is_vector(matrix: Matrix) -> bool:
    return len(matrix.rows) == 1 or all(len(row) == 1 for row in matrix.rows)


def _ordered(gold: Sequence[Node], answer: Sequence[Node], by: Equality) -> bool | None:
    if len(gold) != len(answer):
        return False
    results = []
    for left, right in zip(gold, answer, strict=True):
        result = compare(left, right, by)
        if result is False:
            return False
        results.append(result)
    return None if None in results else True


def _unordered(gold: Sequence[Node], answer: Sequence[Node], by: Equality, *, distinct: bool) -> bool | None:
    if distinct:
        gold, answer = _distinct(gold, by), _distinct(answer, by)
    if len(gold) != len(answer):
        # values that only symbolic comparison can tell to be equal may still coincide
        return None if distinct and isinstance(by, Quick) and gold and answer else False
    unused = list(range(len(answer)))
    unknown = False
    for item in gold:
        results = {index: compare(item, answer[index], by) for index in unused}
        hit = next((index for index, result in results.items() if result), None)
        if hit is not None:
            unused.remove(hit)  # equality is transitive, so the first match is as good as any
        elif None in results.values():
            unknown = True
        else:
            return False
    return None if unknown else True


def _distinct(items: Sequence[Node], by: Equality) -> list[Node]:
    kept: list[Node] = []
    for item in items:
        if not any(compare(other, item, by) for other in kept):
            kept.append(item)
    return kept


def _relations(gold: Relation, answer: Relation, by: Equality) -> bool | None:
    if gold.operator != answer.operator:
        return False
    if gold.left == answer.left and gold.operator == "=":
        return compare(gold.side(gold.right), answer.side(answer.right), by)
    return by.relations(gold, answer)


def _relation_against_value(gold: Node, answer: Node, by: Equality) -> bool | None:
    """`x = 5` against `5`, `f(x) = x^2` against `x^2`, `2^{10} = 1024` against `1024`. Other equations are not a value."""
    relation, value = (gold, answer) if isinstance(gold, Relation) else (answer, gold)
    assert isinstance(relation, Relation)
    if relation.operator != "=":
        return False

    def against(side: str) -> bool | None:
        other = relation.side(side)
        return compare(other, value, by) if relation is gold else compare(value, other, by)

    sides = (relation.left, relation.right)
    for left, right in (sides, sides[::-1]):
        if is_name(left) or is_quantity(left, right):
            return against(right)
    same = against(relation.right)
    if same is False or relation.chain:
        return same
    # "1 - \\frac14 = \\frac34", if that is true
    holds = compare(relation.side(relation.left), relation.side(relation.right), by)
    return False if holds is False else None if None in (same, holds) else True


def _ratios(gold: Ratio, answer: Ratio, by: Equality) -> bool | None:
    """Proportional ratios are equal, unless one looks like a time of day."""
    if len(gold.parts) != len(answer.parts):
        return False
    left, right = _values(gold), _values(answer)
    if left is None or right is None or _looks_like_time(gold) or _looks_like_time(answer):
        return _ordered(gold.parts, answer.parts, by)
    return all(a * d == b * c for (a, b), (c, d) in zip(pairwise(left), pairwise(right), strict=True))


def _ratio_against_scalar(ratio: Ratio, scalar: Scalar) -> bool:
    values, value = _values(ratio), exact(scalar.text)
    return values is not None and len(values) == 2 and values[1] != 0 and value == values[0] / values[1]


def _values(ratio: Ratio) -> list[Fraction] | None:
    values = [exact(part.text) if isinstance(part, Scalar) else None for part in ratio.parts]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _looks_like_time(ratio: Ratio) -> bool:
    last = ratio.parts[-1]
    return isinstance(last, Scalar) and bool(re.fullmatch(r"[0-5][0-9]", last.text))


_BASE = re.compile(r"([0-9A-Fa-f]+)\s*_\s*\{?\s*(?:\\text\s*\{)?\s*([0-9]+|[a-z]+)\s*\}?\}?")


def _scalars(gold: Scalar, answer: Scalar, by: Equality) -> bool | None:
    if gold.unit == answer.unit == "":
        pass
    elif "%" in (gold.unit, answer.unit):
        if gold.unit == answer.unit:
            return by.scalars(gold.text, answer.text)
        percent, other = (gold, answer) if gold.unit == "%" else (answer, gold)
        # the sign may be dropped like a unit, or applied: 50 % is 50, or 0.5
        return _either(by.scalars(percent.text, other.text), by.scalars(f"\\frac{{{percent.text}}}{{100}}", other.text))
    elif gold.unit and answer.unit:
        return _quantities(gold, answer, by)
    left, right = _BASE.fullmatch(gold.text), _BASE.fullmatch(answer.text)
    if left or right:
        if left and right:
            return left.groups() == right.groups()
        if left:
            return left[1] == answer.text.strip()  # the base may be dropped, as a unit may
        assert right is not None
        return right[2] in ("10", "ten") and by.scalars(gold.text, right[1])
    return by.scalars(gold.text, answer.text)


def _either(first: bool | None, second: bool | None) -> bool | None:
    return True if first or second else None if None in (first, second) else False


def _quantities(gold: Scalar, answer: Scalar, by: Equality) -> bool | None:
    left, right = unit(gold.unit), unit(answer.unit)
    if gold.unit.startswith("mod ") and answer.unit.startswith("mod ") and gold.unit != answer.unit:
        return False
    if left is None or right is None:
        return by.scalars(gold.text, answer.text)  # an unknown unit is just a word, and counts as none
    if left[:2] != right[:2]:
        return False
    if left[2] == right[2]:
        return by.scalars(gold.text, answer.text)
    if 0 in (left[2], right[2]):
        return False
    factor = right[2] / left[2]
    value = exact(answer.text)
    converted = f"\\frac{{{factor.numerator}}}{{{factor.denominator}}}"
    if value is not None:
        value *= factor
        return by.scalars(gold.text, f"{value.numerator}/{value.denominator}")
    return by.scalars(gold.text, f"{converted}\\cdot ({answer.text})")


_LONG_DECIMAL = re.compile(r"-?[0-9]*\.([0-9]{6,})")


def is_rounding(decimal: str, exact: Fraction) -> bool:
    """Whether `decimal` has six places or more and is `exact` rounded or truncated to them: 0.3333333 for 1/3.

    An exact value with finitely many decimals is never rounded: 3.1415 is not 3.14159.
    """
    return not _terminates(exact) and agrees(decimal, exact)


def agrees(decimal: str, exact: Fraction) -> bool:
    """Whether `decimal` has six places or more that all agree with `exact`, apart from rounding in the last."""
    match = _LONG_DECIMAL.fullmatch(decimal)
    return match is not None and abs(Fraction(decimal) - exact) < Fraction(1, 10 ** len(match[1]))


def _terminates(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


_BLANK = re.compile(r"(?<![0-9]) +| +(?![0-9])")  # blanks, but for those between digits: 1 2 is not 12


class Quick:
    """Compares scalars by spelling and exact numbers: decides most answers without symbols, and returns None for the rest."""

    def scalars(self, gold: str, answer: str) -> bool | None:
        left, right = _BLANK.sub("", gold), _BLANK.sub("", answer)
        if left == right:
            return bool(left)
        if not right or not left:
            return False
        first, second = exact(gold), exact(answer)
        if first is None or second is None:
            return None
        return first == second or is_rounding(left, second) or is_rounding(right, first)

    def relations(self, gold: Relation, answer: Relation) -> bool | None:
        return True if gold == answer else None


QUICK = Quick()
