"""Answers of style `math` as small trees: lists, tuples, intervals, matrices, relations, units, numbers.

Purpose: `math-verify` compares expressions well and structures badly (it takes any overlap of two lists for equality,
a tuple for an interval, 50 for 50 %, tiny numbers for zero). So the structure is read and compared here, strictly, and
only scalar expressions are handed on, to `equal`, which is either a quick check of strings and numbers or sympy.
Place in the flow: `sei.answers` compares with `quick` first; what that leaves open goes to `grading.worker`.

Example::

    compare(parse("\\{2,5\\}"), parse("5, 2"), QUICK)        # True
    compare(parse("(0,1]"), parse("[0,1)"), QUICK)           # False
    compare(parse("2\\sqrt{3}"), parse("\\sqrt{12}"), QUICK) # None: needs symbols
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from typing import Protocol

from sei.grading import numeric

MAX_ITEMS = 64  # longer lists are noise, and comparing each item with each takes quadratic time


@dataclass(frozen=True)
class Scalar:
    """One expression, with the unit that follows it ("" for none, "%" for percent)."""

    text: str
    unit: str = ""


@dataclass(frozen=True)
class Text:
    """Words: a name, a choice, "even"."""

    text: str


@dataclass(frozen=True)
class Items:
    """Values whose order does not matter: a set, or a bare list such as "1, -2"."""

    items: tuple[Node, ...]
    is_set: bool


@dataclass(frozen=True)
class Bracketed:
    """A tuple, a point or an interval: order and kind of bracket matter."""

    left: str
    right: str
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Union:
    """A union of intervals or sets, in any order."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class Relation:
    """`left operator right`, where the operator is one of = != < <=; greater-than is turned around."""

    left: str
    operator: str
    right: str


@dataclass(frozen=True)
class Ratio:
    parts: tuple[Node, ...]


Node = Scalar | Text | Items | Bracketed | Union | Matrix | Relation | Ratio


class Equality(Protocol):
    """How scalars are compared: True, False, or None for "cannot say"."""

    def scalars(self, gold: str, answer: str) -> bool | None: ...

    def relations(self, gold: Relation, answer: Relation) -> bool | None: ...


# --- normal form of LaTeX ------------------------------------------------------------------------------------------

_UNICODE = str.maketrans(
    {
        "π": "\\pi ", "∞": "\\infty ", "≤": "\\leq ", "≥": "\\geq ", "≠": "\\neq ", "±": "\\pm ", "∓": "\\mp ",
        "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/", "∪": "\\cup ", "∈": "\\in ", "∅": "\\emptyset ",
        "°": "^\\circ ", "−": "-", "–": "-", "²": "^2", "³": "^3", "½": "\\frac{1}{2}", "θ": "\\theta ",
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "（": "(", "）": ")", "，": ",",
    }
)  # fmt: skip
_SUBSTITUTIONS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<!\\)\\\$", r" \\text{dollar} "),
        (r"\$|(?<!\\)\\[()\[\]]", " "),
        (r"\\(?:left|right|bigl|bigr|Bigl|Bigr|big|Big|displaystyle|limits|mathstrut)(?![a-zA-Z])\.?", ""),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"(?<=\d),\\!\s*(?=\d{3})", ","),
        (r"\{,\}", ","),
        (r"(?<!\\)\\!", ""),
        (r"(?<!\\)\\[,;: ]|\\q?quad(?![a-zA-Z])|~", " "),
        (r"\\(?:mbox|textbf|textit|textrm|textnormal|textsf|texttt|emph|hbox)(?![a-zA-Z])", r"\\text"),
        (r"\\(?:mathrm|operatorname|mathit|mathsf|rm)\s*\{\s*([a-zA-Z])\s*\}", r"\1"),
        (r"\\(?:mathrm|operatorname)\s*\{([^{}]*)\}", r"\\text{\1}"),
        (r"\\(?:mathbf|boldsymbol|vec|mathbb)\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:lt)(?![a-zA-Z])", "<"),
        (r"\\(?:gt)(?![a-zA-Z])", ">"),
        (r"\\(?:le|leqslant)(?![a-zA-Z])", r"\\leq"),
        (r"\\(?:ge|geqslant)(?![a-zA-Z])", r"\\geq"),
        (r"\\ne(?![a-zA-Z])", r"\\neq"),
        (r"<=", r"\\leq "),
        (r">=", r"\\geq "),
        (r"\\(?:lbrace)(?![a-zA-Z])", r"\\{"),
        (r"\\(?:rbrace)(?![a-zA-Z])", r"\\}"),
        (r"\\langle", "("),
        (r"\\rangle", ")"),
        (r"\\varnothing", r"\\emptyset"),
        (r"\\(?:infin|Infty)(?![a-zA-Z])", r"\\infty"),
        (r"\+\s*\\infty", r"\\infty"),
        (r"\\mid(?![a-zA-Z])", "|"),
        (r"\\colon(?![a-zA-Z])", ":"),
        (r"\\degree(?![a-zA-Z])", r"^\\circ"),
        (r"\^\s*\{?\s*\\circ\s*\}?", r"\\text{degree}"),
        (r"\\%", "%"),
        (r"\\sqrt\s*([0-9a-zA-Z])", r"\\sqrt{\1}"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
        (r"(\d)\s*\\text\s*\{\s*(?:st|nd|rd|th)\s*\}", r"\1"),
        (r"\\text\s*\{\s*(?:,\s*)?(and|or)\s*\}", r" \1 "),
        (r"\\cup(?![a-zA-Z])", r"\\cup "),
    )
]
_SPACES = re.compile(r"\s+")


def normalize(latex: str) -> str:
    """One spelling for the many ways LaTeX (and Unicode) has of writing the same thing."""
    text = latex.translate(_UNICODE)
    for pattern, replacement in _SUBSTITUTIONS:
        text = pattern.sub(replacement, text)
    text = _SPACES.sub(" ", text).strip()
    while text and text[-1] in ".,;:" and not text.endswith("\\,"):
        text = text[:-1].rstrip()
    return text


_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, ")]}"
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)


def balanced(text: str) -> bool:
    """Whether curly braces pair up (round and square brackets need not: `(0, 1]`)."""
    depth = 0
    for token in _TOKEN.findall(text):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0


def split_top(text: str, separators: Sequence[str]) -> tuple[list[str], list[str]]:
    """The pieces of `text` between separators that stand outside every bracket, and the separators found."""
    pieces: list[str] = []
    found: list[str] = []
    current: list[str] = []
    depth = 0
    for token in _TOKEN.findall(text):
        if token in ("(", "[", "{", "\\{", "\\begin"):
            depth += 1
        elif token in (")", "]", "}", "\\}", "\\end"):
            depth -= 1
        if depth == 0 and token in separators:
            pieces.append("".join(current))
            found.append(token)
            current = []
        else:
            current.append(token)
    return [*pieces, "".join(current)], found


# --- reading -------------------------------------------------------------------------------------------------------

_MATRIX = re.compile(r"\\begin\s*\{([pbBv]?matrix|array)\}(?:\s*\{[lcr|]*\})?(.*)\\end\s*\{\1\}", re.DOTALL)
_MEMBER = re.compile(r"[a-zA-Z]\s*\\in(?![a-zA-Z])(.*)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z][a-z]{3,}|[A-Z][a-z]{2,}")
_IDENTIFIER = re.compile(r"(?:[a-zA-Z]|\\[a-zA-Z]+)(?:_(?:\w|\{\w+\}))?'?(?:\((?:[a-zA-Z]|\\[a-zA-Z]+)\))?")
_VARIABLE = re.compile(r"[a-zA-Z]|\\(?:alpha|beta|gamma|theta|lambda|phi|mu|omega|varphi)")
_UNIT = re.compile(r"(.*?)\\text\s*\{([^{}]*)\}\s*(?:\^\s*\{?\s*([0-9])\s*\}?)?", re.DOTALL)
_BARE_UNIT = re.compile(
    r"([-+]?[0-9.,]+(?:\s*/\s*[0-9]+)?)\s+([a-zA-Z]{1,}(?:[ ./^][a-zA-Z0-9]+){0,3})|([-+]?[0-9.,]+)([a-z]{2,})"
)
_COUNTABLE = re.compile(r"(?=.*[aeiouy])[A-Za-z][a-z]{3,}")  # "cookies", but not the variables of "3xy" or "2abc"
_COUNTED = set(
    "per of in a an the to or and by red big new old box cup pen men car cow dog cat hat egg pie bag jar key toy ways sq".split()
)
_FUNCTIONS = set("sinh cosh tanh sqrt arcsin arccos arctan sin cos tan cot sec csc log exp max min".split())
_THOUSANDS = re.compile(r"[-+]?(?:\\text\s*\{dollar\}\s*)?[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9,])\D*")
_OPERATORS = {"=": "=", "\\neq": "!=", "<": "<", "\\leq": "<=", ">": ">", "\\geq": ">="}
_FLIP = {">": "<", ">=": "<="}
_EMPTY = {"\\emptyset", "\\{\\}", "nosolution", "nosolutions", "none", "emptyset"}
_CHOICE = re.compile(r"\(?\s*([A-J])\s*\)?")


def parse(latex: str, depth: int = 0) -> Node:
    """The tree of an answer. Whatever has no structure known here is a Scalar; nothing raises an error."""
    text = normalize(latex) if depth == 0 else latex.strip()
    if depth > 8:
        return Scalar(text)
    text = _peel(text)
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text).strip()
    if re.sub(r"[\s.]", "", plain).lower() in _EMPTY:
        return Items((), True)
    if "\\text" in text and _CHOICE.fullmatch(plain):
        return Text(plain.strip("() "))
    if re.fullmatch(r"\\text\s*\{[^{}]*\}", text) or _WORD.fullmatch(text):
        return Text(_words(plain)) if not re.fullmatch(r"[-+0-9., ]+", plain) else parse(plain, depth + 1)
    if matrix := _MATRIX.fullmatch(text):
        rows = [split_top(row, ["&"])[0] for row in re.split(r"\\\\", matrix[2]) if row.strip()]
        if matrix[1] != "vmatrix":
            return Matrix(tuple(tuple(parse(cell, depth + 1) for cell in row) for row in rows))
    if member := _MEMBER.fullmatch(text):
        return parse(member[1], depth + 1)
    if _THOUSANDS.fullmatch(text):
        return _scalar(re.sub(r"(?<=\d),(?=\d{3})", "", text))
    separated = split_top(re.sub(r"\s(?:and|or)\s", " , ", text), [",", ";"])[0]
    if len(separated) > 1:
        return _list([piece for piece in separated if piece.strip()], depth)
    if (parts := split_top(text, ["\\cup"])[0]) and len(parts) > 1:
        return Union(tuple(parse(part, depth + 1) for part in parts))
    if bracketed := _bracketed(text, depth):
        return bracketed
    sides, signs = split_top(text, list(_OPERATORS))
    if signs:
        return _relation([side.strip() for side in sides], [_OPERATORS[sign] for sign in signs], depth)
    ratio = split_top(text, [":"])[0]
    if len(ratio) > 1 and all(part.strip() for part in ratio):
        return Ratio(tuple(parse(part, depth + 1) for part in ratio))
    if "\\pm" in text or "\\mp" in text:
        return _plus_minus(text, depth)
    return _scalar(text)


def _peel(text: str) -> str:
    """`text` without braces, boxes and grouping that enclose all of it."""
    while True:
        before = text
        text = re.sub(r"^\\f?boxed\s*(?=\{)", "", text).strip()
        if text.startswith("{") and _closing(text, 0) == len(text) - 1:
            text = text[1:-1].strip()
        if text == before:
            return text


def _closing(text: str, start: int) -> int:
    """Index of the bracket, round or square, that closes the one at `start`; -1 if none does."""
    depth, position = 0, start
    for token in _TOKEN.findall(text[start:]):
        if token in _OPEN or token == "\\{":
            depth += 1
        elif token in _CLOSE or token == "\\}":
            depth -= 1
            if depth == 0:
                return position + len(token) - 1
        position += len(token)
    return -1


def _bracketed(text: str, depth: int) -> Node | None:
    if text.startswith("\\{") and text.endswith("\\}") and _closing(text, 0) == len(text) - 1:
        inner = text[2:-2].strip()
        builder, found = split_top(inner, ["|", ":"])
        if found and len(builder) == 2 and re.fullmatch(r"\s*[a-zA-Z](?:\s*\\in.*)?\s*", builder[0]):
            return parse(builder[1], depth + 1)
        return _list([piece for piece in split_top(inner, [",", ";"])[0] if piece.strip()], depth, is_set=True)
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and _closing(text, 0) == len(text) - 1:
        pieces = split_top(text[1:-1], [",", ";"])[0]
        if len(pieces) == 1:
            return parse(pieces[0], depth + 1)
        return Bracketed(text[0], text[-1], tuple(parse(piece, depth + 1) for piece in pieces[:MAX_ITEMS]))
    return None


def _list(pieces: list[str], depth: int, *, is_set: bool = False) -> Node:
    items: list[Node] = []
    name = ""
    for piece in pieces[:MAX_ITEMS]:
        node = parse(piece, depth + 1)
        if isinstance(node, Relation) and node.operator == "=" and _IDENTIFIER.fullmatch(node.left):
            # "x = 2, x = 5" and "x = 2, 5" list values of one unknown; "x = 2, y = 5" does not
            if name in ("", node.left):
                name = node.left
                node = parse(node.right, depth + 1)
            else:
                return Items(tuple(parse(each, depth + 1) for each in pieces[:MAX_ITEMS]), is_set)
        items += node.items if isinstance(node, Items) and len(pieces) > 1 else [node]
    if all(isinstance(item, Bracketed | Union) and _is_interval(item) for item in items) and len(items) > 1:
        return Union(tuple(items))  # "x < 2 or x > 3"
    return Items(tuple(items), is_set)


def _is_interval(node: Node) -> bool:
    if isinstance(node, Union):
        return True
    ends = [item.text for item in node.items if isinstance(item, Scalar)] if isinstance(node, Bracketed) else []
    return len(ends) == 2 and any("\\infty" in end for end in ends)


def _relation(sides: list[str], operators: list[str], depth: int) -> Node:
    if set(operators) == {"="}:
        return Relation(sides[0], "=", sides[-1])
    if operators[0] in _FLIP and all(operator in _FLIP for operator in operators):
        sides, operators = sides[::-1], [_FLIP[operator] for operator in operators[::-1]]
    if all(operator in ("<", "<=") for operator in operators):
        if len(sides) == 3 and _VARIABLE.fullmatch(sides[1]) and _constant(sides[0]) and _constant(sides[2]):
            return _interval(sides[0], operators[0], operators[1], sides[2], depth)
        if len(sides) == 2 and _VARIABLE.fullmatch(sides[0]) and _constant(sides[1]):
            return _interval("-\\infty", "<", operators[0], sides[1], depth)
        if len(sides) == 2 and _VARIABLE.fullmatch(sides[1]) and _constant(sides[0]):
            return _interval(sides[0], operators[0], "<", "\\infty", depth)
    if len(sides) == 2:
        return Relation(sides[0], operators[0], sides[1])
    return Scalar("".join(part for pair in zip(sides, [*operators, ""], strict=True) for part in pair))


def _constant(text: str) -> bool:
    """Whether an expression contains no unknown: "x > y" is not an interval."""
    bare = re.sub(r"\\(?:frac|sqrt|pi|infty|log|ln|sin|cos|tan|cdot|times)(?![a-zA-Z])", "", text)
    return not re.search(r"\\?[a-df-zA-Z]", bare)


def _interval(low: str, low_operator: str, high_operator: str, high: str, depth: int) -> Node:
    left, right = "(" if low_operator == "<" else "[", ")" if high_operator == "<" else "]"
    return Bracketed(left, right, (parse(low, depth + 1), parse(high, depth + 1)))


def _plus_minus(text: str, depth: int) -> Node:
    signs = re.findall(r"\\pm(?![a-zA-Z])|\\mp(?![a-zA-Z])", text)
    pieces = re.split(r"\\pm(?![a-zA-Z])|\\mp(?![a-zA-Z])", text)
    if not signs or len(signs) > 3:
        return Scalar(text)
    if "\\mp" in signs:  # one choice decides all signs
        choices = [tuple("+-" if sign == "\\pm" else "-+") for sign in signs]
        combinations = list(zip(*choices, strict=True))
    else:
        combinations = list(product("+-", repeat=len(signs)))
    values = []
    for combination in combinations:
        joined = "".join(part for pair in zip(pieces, [*combination, ""], strict=True) for part in pair)
        values.append(parse(joined.strip().removeprefix("+"), depth + 1))
    return Items(tuple(values), is_set=True)


def _scalar(text: str) -> Node:
    unit = ""
    text = text.strip()
    if text.startswith("\\text") and (leading := re.match(r"\\text\s*\{dollar\}", text)):
        unit, text = "dollar", text[leading.end() :].strip()
    if text.startswith("-") and (leading := re.match(r"-\s*\\text\s*\{dollar\}", text)):
        unit, text = "dollar", "-" + text[leading.end() :].strip()
    if (trailing := _UNIT.fullmatch(text)) and trailing[1].strip():
        word = trailing[2].strip()
        unit, text = (word + (f"^{trailing[3]}" if trailing[3] else "")) or unit, trailing[1].strip()
    elif (bare := _BARE_UNIT.fullmatch(text)) and _reads_as_unit(bare[2] or bare[4]):
        text, unit = (bare[1] or bare[3]).strip(), (bare[2] or bare[4]).strip()
    first, _, others = unit.partition(" ")
    if first.lower() in numeric.SCALES and (value := number(text)) is not None:
        text, unit = str(value * numeric.SCALES[first.lower()]), others.strip()
    if text.endswith("%") or unit.lower() in ("percent", "%"):
        text, unit = text.rstrip("% "), "%"
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    text = (
        re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
        if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", text)
        else text
    )
    return Scalar(text, unit)


def _reads_as_unit(text: str) -> bool:
    """Whether bare letters after a number are a unit or what was counted, rather than variables or a function."""
    words = re.findall(r"[a-zA-Z]+", text)
    known = all(_unit(word) or word.lower() in _COUNTED or _COUNTABLE.fullmatch(word) for word in words)
    return _unit(text) is not None or (known and not _FUNCTIONS.intersection(words))


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


# --- comparing -----------------------------------------------------------------------------------------------------


def compare(gold: Node, answer: Node, by: Equality) -> bool | None:
    """Whether two answers are the same; None where `by` cannot say for some part that matters."""
    gold, answer = _single(gold, by), _single(answer, by)
    if isinstance(gold, Relation) != isinstance(answer, Relation):
        return _relation_against_value(gold, answer, by)
    match gold, answer:
        case Scalar(), Scalar():
            return _scalars(gold, answer, by)
        case Text(), Text():
            return gold.text.lower() == answer.text.lower()
        case (Text(text=one), Scalar(text=other)) | (Scalar(text=one), Text(text=other)):
            return _words(one) == _words(other) != ""
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
        return compare(parse(gold.right, 1), parse(answer.right, 1), by)
    return by.relations(gold, answer)


def _relation_against_value(gold: Node, answer: Node, by: Equality) -> bool | None:
    """`x = 5` against `5`, `f(x) = x^2` against `x^2`. A relation between expressions is not a value."""
    relation, value = (gold, answer) if isinstance(gold, Relation) else (answer, gold)
    assert isinstance(relation, Relation)
    if relation.operator != "=":
        return False
    sides = (relation.left, relation.right)
    for name, side in (sides, sides[::-1]):
        bare = re.sub(r"^\(([^()]*)\)$", r"\1", name.replace(" ", ""))  # "(x, y) = (1, 2)"
        words = "\\text" in name or re.fullmatch(r"[A-Za-z ]{2,}", name)
        if _IDENTIFIER.fullmatch(bare) or words or re.fullmatch(r"[a-zA-Z](?:,[a-zA-Z])+", bare):
            other = parse(side, 1)
            pair = (other, value) if relation is gold else (value, other)
            return compare(*pair, by)
    return False


def _ratios(gold: Ratio, answer: Ratio, by: Equality) -> bool | None:
    """Proportional ratios are equal, unless one looks like a time of day."""
    if len(gold.parts) != len(answer.parts):
        return False
    left, right = _values(gold), _values(answer)
    if left is None or right is None or _looks_like_time(gold) or _looks_like_time(answer):
        return _ordered(gold.parts, answer.parts, by)
    return all(a * d == b * c for (a, b), (c, d) in zip(pairwise(left), pairwise(right), strict=True))


def _ratio_against_scalar(ratio: Ratio, scalar: Scalar) -> bool:
    values, value = _values(ratio), number(scalar.text)
    return values is not None and len(values) == 2 and values[1] != 0 and value == values[0] / values[1]


def _values(ratio: Ratio) -> list[Fraction] | None:
    values = [number(part.text) if isinstance(part, Scalar) else None for part in ratio.parts]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _looks_like_time(ratio: Ratio) -> bool:
    last = ratio.parts[-1]
    return isinstance(last, Scalar) and bool(re.fullmatch(r"[0-5][0-9]", last.text))


def number(text: str) -> Fraction | None:
    """The exact value of a scalar that is a plain number, fraction or mixed number."""
    return numeric.value(re.sub(r"(?<=\d) (?=\d{3}(?: |$))", "", numeric.plain(text).strip()))


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
        based, bare = (left, answer.text) if left else (right, gold.text)
        return based is not None and based[1] == bare.strip()  # the base may be dropped, as a unit may
    return by.scalars(gold.text, answer.text)


def _either(first: bool | None, second: bool | None) -> bool | None:
    return True if first or second else None if None in (first, second) else False


_UNITS: dict[str, tuple[str, Fraction]] = {}
for _dimension, _table in {
    "length": {"mm|millimeter": "1/1000", "cm|centimeter|centimetre": "1/100", "m|meter|metre": "1",
               "km|kilometer|kilometre": "1000", "in|inch|inche": "0.0254", "ft|foot|feet": "0.3048",
               "yd|yard": "0.9144", "mi|mile": "1609.344"},
    "time": {"s|sec|second": "1", "min|minute": "60", "h|hr|hour": "3600", "day": "86400", "week": "604800"},
    "speed": {"mph|mile per hour|miles per hour|miles/hour|mi/h": "1609.344", "m/s|meters per second": "3600",
              "km/h|kph|kmh|kilometers per hour": "1000"},
    "mass": {"mg|milligram": "1/1000", "g|gram": "1", "kg|kilogram": "1000"},
    "money": {"cent": "1/100", "dollar": "1"},
    "angle": {"degree": "1", "radian": "0"},  # 0: known, but not converted
    **{word: {word: "1"} for word in (  # each a kind of its own: none equals another
        "am", "pm", "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
        "november", "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
    )},
}.items():  # fmt: skip
    for _names, _factor in _table.items():
        for _name in _names.split("|"):
            _UNITS[_name] = (_dimension, Fraction(_factor))


def _unit(text: str) -> tuple[str, int, Fraction] | None:
    """(dimension, power, factor) of a known unit such as "cm^2", "square inches", "cents"."""
    words = text.lower().replace(".", "").replace("{", "").replace("}", "").strip()
    power = 1
    for prefix, value in (("square ", 2), ("sq ", 2), ("cubic ", 3), ("cu ", 3)):
        if words.startswith(prefix):
            words, power = words.removeprefix(prefix), value
    if exponent := re.fullmatch(r"(.*?)\s*\^?([23])", words):
        words, power = exponent[1], int(exponent[2])
    found = _UNITS.get(words) or _UNITS.get(words.removesuffix("s"))
    return (found[0], power, found[1] ** power) if found else None


def _quantities(gold: Scalar, answer: Scalar, by: Equality) -> bool | None:
    left, right = _unit(gold.unit), _unit(answer.unit)
    if left is None or right is None:
        return by.scalars(gold.text, answer.text)  # an unknown unit is just a word, and counts as none
    if left[:2] != right[:2]:
        return False
    if left[2] == right[2]:
        return by.scalars(gold.text, answer.text)
    if 0 in (left[2], right[2]):
        return False
    factor = right[2] / left[2]
    value = number(answer.text)
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


class Quick:
    """Compares scalars by spelling and exact numbers: decides most answers without symbols, and returns None for the rest."""

    def scalars(self, gold: str, answer: str) -> bool | None:
        left, right = gold.replace(" ", ""), answer.replace(" ", "")
        if left == right:
            return bool(left)
        if not right or not left:
            return False
        first, second = number(gold), number(answer)
        if first is None or second is None:
            return None
        return first == second or is_rounding(left, second) or is_rounding(right, first)

    def relations(self, gold: Relation, answer: Relation) -> bool | None:
        return True if gold == answer else None


QUICK = Quick()
