"""Answers of style `math` as small trees: lists, tuples, intervals, matrices, relations, units, numbers.

Purpose: the many spellings of LaTeX in one normal form, and the structure of an answer, which libraries read badly.
Place in the flow: `sei.answers` and `grading.worker` parse gold answer and answer, `grading.compare` compares the trees.

Example::

    parse("(0,1]")                      # Bracketed("(", "]", (Scalar("0"), Scalar("1")))
    parse("2x = 10 \\implies x = 5")    # Relation("x", "=", "5")
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from sei.grading import numeric
from sei.grading.names import IDENTIFIER
from sei.grading.units import unit

MAX_ITEMS = 64  # longer lists are noise, and comparing each item with each takes quadratic time
MAX_NESTED = 32  # brackets in brackets; deeper text is no answer, and more than parsers bear
_MAX_DEPTH = 8  # structures in structures that are read as such


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
    """`left operator right`, where the operator is one of = != < <=; greater-than is turned around.

    `chain`: there were sides between them, as in "2x + 3y = 2 + 6 = 8". The sides are text, and `side` reads one: `depth` is
    how deep the relation stands, so that relations in relations end as other structures do.
    """

    left: str
    operator: str
    right: str
    chain: bool = False
    depth: int = field(default=0, compare=False)

    def side(self, text: str) -> Node:
        """The tree of a side, which may be a relation itself."""
        return parse(text, self.depth + 1)


@dataclass(frozen=True)
class Ratio:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Labelled:
    """A choice given with its letter: `\\text{(C) }5`."""

    letter: str
    content: Node


Node = Scalar | Text | Items | Bracketed | Union | Matrix | Relation | Ratio | Labelled


# --- normal form of LaTeX ------------------------------------------------------------------------------------------

_UNICODE = str.maketrans(
    {
        "π": "\\pi ", "∞": "\\infty ", "≤": "\\leq ", "≥": "\\geq ", "≠": "\\neq ", "±": "\\pm ", "∓": "\\mp ",
        "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/", "∪": "\\cup ", "∈": "\\in ", "∅": "\\emptyset ",
        "°": "^\\circ ", "¢": "\\text{cents} ", "−": "-", "–": "-", "²": "^2", "³": "^3", "θ": "\\theta ",
        "（": "(", "）": ")", "，": ",", "⩽": "\\leq ", "⩾": "\\geq ", "≦": "\\leq ", "≧": "\\geq ", "⇒": "\\implies ",
        "⟹": "\\implies ", "∠": "\\angle ",
    }
    | dict.fromkeys("\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f\u205f", " ")
    | {char: f"\\frac{{{fraction.replace('/', '}{')}}}" for char, fraction in numeric.VULGAR.items()}
)  # fmt: skip
_SUBSTITUTIONS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<!\\)\\\$", r" \\text{dollar} "),
        (r"\$|(?<!\\)\\[()\[\]]", " "),
        (r"\\(?:left|right|bigl|bigr|Bigl|Bigr|big|Big|displaystyle|limits|mathstrut)(?![a-zA-Z])\.?", ""),
        (r"\\(?:[dtcsx]|nice)frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:text)?color\s*\{[a-zA-Z0-9!]{0,20}\}", ""),
        (r"\\(?:[lL]arge|LARGE|[hH]uge|small|normalsize|bf|it|boldmath|bfseries)(?![a-zA-Z])", ""),
        (r"\\(?:underline|bold|bm|pmb|ensuremath|uline)(?![a-zA-Z])\s*(?=[{0-9a-zA-Z\\])", ""),
        (r"\\log_\s*(?:\{\s*e\s*\}|e(?![a-zA-Z]))", r"\\ln "),
        (r"\\mathbb\s*(?:\{\s*R\s*\}|R(?![a-zA-Z]))|\\(?:R|Reals|reals)(?![a-zA-Z])|ℝ", r"\\Re "),
        (r"(?<=\d),\\!\s*(?=\d{3})", ","),
        (r"(?<=\d)\{,\}(?=\d)(?!\d{3}(?!\d))", "."),  # a decimal comma
        (r"\{,\}|\\text\s*\{,\s*\}", ","),
        (r"\{\s*\\[,;: ]\s*\}|\\(?:thinspace|checkmark|blacksquare|qed)(?![a-zA-Z])|[✓✔✅]", " "),
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
        (r"√\s*(?:([0-9]+|[a-zA-Z])|\(([^()]*)\)|\{([^{}]*)\})", r"\\sqrt{\1\2\3}"),
        (r"\\ne(?![a-zA-Z])|\\not\s*=", r"\\neq "),
        (r"(?<![0-9nkmN)!}])\s*!=|\s!=", r" \\neq "),
        (
            r"=>|\\(?:Rightarrow|Longrightarrow|iff|Leftrightarrow|Longleftrightarrow|therefore)(?![a-zA-Z])",
            r"\\implies ",
        ),
        (r"<=|=<", r"\\leq "),
        (r"\\equiv(?![a-zA-Z])|≡", "="),
        (r"\(?[ ]?\\[pb]?mod(?![a-zA-Z])\s*(?:\{\s*(\w+)\s*\}|(\w+))\s*\)?", r" \\text{mod \1\2}"),
        (
            r"\\text\s*\{\s*\(\s*mod\s*(\w+)\s*\)\s*\}|\(\s*(?:\\text\s*\{\s*)?mod\s*\}?\s*(\w+)\s*\)",
            r" \\text{mod \1\2}",
        ),
        (r"\\(?:lor|vee)(?![a-zA-Z])", " or "),
        (r"\\frac\s*\{\s*\\text\s*\{([^{}]*)\}\s*\}\s*\{\s*\\text\s*\{([^{}]*)\}\s*\}", r"\\text{\1/\2}"),
        (r"\.(\d{0,9}?)(\d{1,6}?)\2{2,9}\s*(?:\.\.\.|…|\\[lc]?dots(?![a-zA-Z]))", r".\1\\overline{\2}"),
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
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))", r"\\text{degree}"),
        (r"\\%", "%"),
        (r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}"),
        (r"\\sqrt\s*([0-9a-zA-Z])", r"\\sqrt{\1}"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
        (r"(?<=\d)(?:\s*\^?\s*\{?\s*\\text\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?|(?:st|nd|rd|th)\b)", ""),
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
_OPENING = frozenset(("(", "[", "{", "\\{", "\\begin"))
_ENDING = frozenset((")", "]", "}", "\\}", "\\end"))
_SEPARATOR = re.compile(r"[,;]|\\(?:cup|lor|vee)(?![a-zA-Z])|\b(?:and|or)\b")
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)


def readable(text: str) -> bool:
    """Whether curly braces pair up (round and square brackets need not: `(0, 1]`), and nothing is nested too deep."""
    depth = nested = 0
    for token in _TOKEN.findall(text):
        depth += (token == "{") - (token == "}")
        nested = max(0, nested + (token in _OPENING) - (token in _ENDING))
        if depth < 0 or nested > MAX_NESTED:
            return False
    return depth == 0


def crowded(text: str) -> bool:
    """Whether a text may hold more values than one list has: lists in lists, each compared with each."""
    return len(_SEPARATOR.findall(text)) > MAX_ITEMS


def split_top(text: str, separators: Sequence[str]) -> tuple[list[str], list[str]]:
    """The pieces of `text` between separators that stand outside every bracket, and the separators found."""
    pieces: list[str] = []
    found: list[str] = []
    current: list[str] = []
    depth = 0
    for token in _TOKEN.findall(text):
        depth += (token in _OPENING) - (token in _ENDING)
        if depth == 0 and token in separators:
            pieces.append("".join(current))
            found.append(token)
            current = []
        else:
            current.append(token)
    return [*pieces, "".join(current)], found


# --- reading -------------------------------------------------------------------------------------------------------

_BLOCK = re.compile(
    r"\\begin\s*\{(aligned|align|equation|gathered|gather|eqnarray|multline|split|cases)(\*?)\}(.*)\\end\s*\{\1\2\}",
    re.DOTALL,
)
_ROW_NOTE = re.compile(r"^\s*\[[^\]]*\]|\\(?:tag|label)\s*\{[^{}]*\}|\\(?:nonumber|notag)(?![a-zA-Z])")
_AMOUNT = re.compile(r"[-+]?\s*[0-9]*\.?[0-9]+(?![a-z]*[A-Z]|(?:st|nd|rd|th)\b)")  # "5", "5 apples", but not "3rd"
_LABEL = re.compile(  # "\text{Total: } 5", "\text{about } 5"
    r"(?:\\text\s*\{[^{}0-9]{1,60}\}\s*[a-zA-Z]\s*)?\\text\s*\{(?:[^{}0-9]*(?:\}\s*:|(?::|\bis|\bare)\s*\})|\s*(?:approximately|approx\.?|about|around|roughly|exactly)\s*\})(?=.)"
)
_ANSWER = re.compile(r"(?:the )?(?:final )?ans(?:wer)?(?: is|\s*:)\s*(?=.)", re.IGNORECASE)
_SAYS = re.compile(
    r"(?:the|it|this|there)\b.{0,200}\b(?:is|are|equals) ([^\s:]+?)\.?", re.IGNORECASE
)  # "The function is even."
_NAMES = re.compile(r"\w{1,20}(?:(?:\s*,\s*(?:and |or )?| (?:and|or) )\w{1,20})+")
_ALL_REALS = {"\\Re", "all real numbers", "all reals", "any real number", "all real x"}
_POINT = re.compile(r"[A-Z]'?\s*(?=\()")  # the name of a point: P(3, 4)
_LABELLED = re.compile(r"\\text\s*\{\s*(?:\(([A-J])\)|([A-J])[).:])\s*([^{}]*)\}|\(([A-J])\)(?=\s)")
_MATRIX = re.compile(r"\\begin\s*\{([pbBv]?matrix|array)\}(?:\s*\{[lcr|]*\})?(.*)\\end\s*\{\1\}", re.DOTALL)
_MEMBER = re.compile(r"[a-zA-Z]\s*\\in(?![a-zA-Z])(.*)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z][a-z]{3,}|[A-Z][a-z]{2,}|[A-Z]{3,}")
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
_GROUPS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_OPERATORS = {"=": "=", "\\neq": "!=", "<": "<", "\\leq": "<=", ">": ">", "\\geq": ">="}
_FLIP = {">": "<", ">=": "<="}
_EMPTY = {"\\emptyset", "\\{\\}", "nosolution", "nosolutions", "none", "emptyset"}
_CHOICE = re.compile(r"\(?\s*([A-J])\s*\)?")


def parse(latex: str, depth: int = 0) -> Node:
    """The tree of an answer. Whatever has no structure known here is a Scalar; nothing raises an error."""
    text = normalize(latex) if depth == 0 else latex.strip()
    if depth > _MAX_DEPTH:
        return Scalar(text)
    text = _peel(text)
    if block := _BLOCK.fullmatch(text):
        return parse(_rows(block[3], system=block[1] == "cases"), depth + 1)
    if "\\implies" in text:  # "2x = 10 \implies x = 5"
        text = next((part.strip() for part in reversed(split_top(text, ["\\implies"])[0]) if part.strip()), text)
    if label := _LABEL.match(text) or _ANSWER.match(text):
        text = text[label.end() :].strip() or text
    if (labelled := _LABELLED.match(text)) and (rest := (labelled[3] or "") + text[labelled.end() :].strip()):
        return Labelled(labelled[1] or labelled[2] or labelled[4], parse(rest, depth + 1))
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text).strip()
    if re.sub(r"[\s.]", "", plain).lower() in _EMPTY:
        return Items((), True)
    if "\\text" in text and _CHOICE.fullmatch(plain):
        return Text(plain.strip("() "))
    if plain in _ALL_REALS:
        return _interval("-\\infty", "<", "<", "\\infty", depth)
    if re.fullmatch(r"\\text\s*\{[^{}]*\}", text) or _WORD.fullmatch(text):
        if says := _SAYS.fullmatch(plain):
            return parse(f"\\text{{{says[1]}}}", depth + 1)
        structured = _AMOUNT.match(plain) or "=" in plain or _NAMES.fullmatch(plain)
        return parse(plain, depth + 1) if structured else Text(words(plain))
    if matrix := _MATRIX.fullmatch(text):
        rows = [split_top(row, ["&"])[0] for row in re.split(r"\\\\", matrix[2]) if row.strip()]
        if matrix[1] == "array" and [len(row) for row in rows] == [1]:
            return parse(rows[0][0], depth + 1)
        if matrix[1] != "vmatrix":
            return Matrix(tuple(tuple(parse(cell, depth + 1) for cell in row) for row in rows))
    if member := _MEMBER.fullmatch(text):
        return parse(member[1], depth + 1)
    if _THOUSANDS.fullmatch(text):
        return _scalar(re.sub(r"(?<=\d),(?=\d{3})", "", text))
    separated = split_top(re.sub(r"\s(?:and|or)\s", " , ", text), [",", ";"])[0]
    sides, signs = split_top(text, list(_OPERATORS))
    if signs and _GROUPS.search(text):
        separated = _regrouped(separated)  # "26 \\cdot 2250 = 58,500"
        sides = split_top(separated[0], list(_OPERATORS))[0] if len(separated) == 1 else sides
    if len(separated) > 1:
        either = re.search(r"\sor\s", text) is not None  # 3/4 or 0.75: one value
        node = _list([piece for piece in separated if piece.strip()], depth, is_set=either)
        return _overlap(node) if isinstance(node, Union) and not either else node
    if set(signs) == {"="}:
        return _relation([side.strip() for side in sides], ["="] * len(signs), depth)
    if (parts := split_top(text, ["\\cup"])[0]) and len(parts) > 1:
        return Union(tuple(parse(part, depth + 1) for part in parts))
    if bracketed := _bracketed(text, depth):
        return bracketed
    if (point := _POINT.match(text)) and isinstance(place := _bracketed(text[point.end() :], depth), Bracketed):
        return place
    if signs:
        return _relation([side.strip() for side in sides], [_OPERATORS[sign] for sign in signs], depth)
    ratio = split_top(text, [":"])[0]
    if len(ratio) > 1 and all(part.strip() for part in ratio):
        return Ratio(tuple(parse(part, depth + 1) for part in ratio))
    if "\\pm" in text or "\\mp" in text:
        return _plus_minus(text, depth)
    return _scalar(text)


def _regrouped(pieces: list[str]) -> list[str]:
    """Pieces of a list with those put together again that a comma within a number had parted."""
    joined = pieces[:1]
    for piece in pieces[1:]:
        if re.search(r"(?<![0-9.])[0-9]{1,3}$|[0-9]{4,}$", joined[-1]) and re.match(r"[0-9]{3}(?![0-9])", piece):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _rows(body: str, *, system: bool) -> str:
    """The rows of an aligned block as one line: the equations of a system, else the last step of a derivation."""
    rows: list[str] = []
    for row in split_top(body, ["\\\\"])[0]:
        bare = _ROW_NOTE.sub("", "".join(split_top(row, ["&"])[0])).strip(" .,;")
        if rows and re.match(r"[=<>]|\\(?:leq|geq|neq|implies|approx)(?![a-zA-Z])", bare):
            rows[-1] += " " + bare  # "x &= 2 + 3 \\ &= 5"
        elif bare:
            rows.append(bare)
    names = [row.partition("=")[0].strip() for row in rows]
    system = system or (all(map(IDENTIFIER.fullmatch, names)) and len(set(names)) == len(names))
    return ", ".join(rows if system else rows[-1:])


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
        if isinstance(node, Relation) and node.operator == "=" and IDENTIFIER.fullmatch(node.left):
            # "x = 2, x = 5" and "x = 2, 5" list values of one unknown; "x = 2, y = 5" does not
            if name in ("", node.left):
                name = node.left
                node = node.side(node.right)
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


def _overlap(union: Union) -> Node:
    """What two half-lines have in common, where they have: "x > 2 and x < 5". Else the union: "x < 2 and x > 5"."""
    lines = [part for part in union.parts if isinstance(part, Bracketed)]
    if len(lines) == len(union.parts) == 2:
        below, above = sorted(lines, key=lambda line: line.items[1] != Scalar("\\infty"), reverse=True)
        ends = [above.items[0], below.items[1]]
        low, high = (numeric.exact(end.text) if isinstance(end, Scalar) else None for end in ends)
        if below.items[0] == Scalar("-\\infty") and low is not None and high is not None and low < high:
            return Bracketed(above.left, below.right, tuple(ends))
    return union


def _relation(sides: list[str], operators: list[str], depth: int) -> Node:
    if set(operators) == {"="}:
        # a chain evaluates what it begins with: "2x + 3y = 2 + 6 = 8" is no line
        return Relation(sides[0], "=", sides[-1], chain=len(sides) > 2, depth=depth)
    if operators[0] in _FLIP and all(operator in _FLIP for operator in operators):
        sides, operators = sides[::-1], [_FLIP[operator] for operator in operators[::-1]]
    if all(operator in ("<", "<=") for operator in operators):
        if len(sides) == 3 and _VARIABLE.fullmatch(sides[1]) and _constant(sides[0]) and _constant(sides[2]):
            return _interval(sides[0], operators[0], operators[1], sides[2], depth)
        if len(sides) == 2 and _VARIABLE.fullmatch(sides[0]) and _constant(sides[1]):
            return _interval("-\\infty", "<", operators[0], sides[1], depth)
        if len(sides) == 2 and _VARIABLE.fullmatch(sides[1]) and _constant(sides[0]):
            return _interval(sides[0], operators[0], "<", "\\infty", depth)
    if operators == ["!="] and _VARIABLE.fullmatch(sides[0]) and _constant(sides[1]):
        return Union(
            (_interval("-\\infty", "<", "<", sides[1], depth), _interval(sides[1], "<", "<", "\\infty", depth))
        )
    if len(sides) == 2:
        return Relation(sides[0], operators[0], sides[1], depth=depth)
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
    behind = ""
    text = text.strip()
    if text.startswith("\\text") and (leading := re.match(r"\\text\s*\{dollar\}", text)):
        behind, text = "dollar", text[leading.end() :].strip()
    if text.startswith("-") and (leading := re.match(r"-\s*\\text\s*\{dollar\}", text)):
        behind, text = "dollar", "-" + text[leading.end() :].strip()
    if (trailing := _UNIT.fullmatch(text)) and trailing[1].strip():
        word = trailing[2].strip()
        behind, text = (word + (f"^{trailing[3]}" if trailing[3] else "")) or behind, trailing[1].strip()
    elif (bare := _BARE_UNIT.fullmatch(text)) and _reads_as_unit(bare[2] or bare[4]):
        text, behind = (bare[1] or bare[3]).strip(), (bare[2] or bare[4]).strip()
    first, _, others = behind.partition(" ")
    if first.lower() in numeric.SCALES and (value := numeric.exact(text)) is not None:
        text, behind = str(value * numeric.SCALES[first.lower()]), others.strip()
    if text.endswith("%") or behind.lower() in ("percent", "%"):
        text, behind = text.rstrip("% "), "%"
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    text = (
        re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
        if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", text)
        else text
    )
    return Scalar(text, behind)


def _reads_as_unit(text: str) -> bool:
    """Whether bare letters after a number are a unit or what was counted, rather than variables or a function."""
    parts = re.findall(r"[a-zA-Z]+", text)
    known = all(unit(word) or word.lower() in _COUNTED or _COUNTABLE.fullmatch(word) for word in parts)
    return unit(text) is not None or (known and not _FUNCTIONS.intersection(parts))


def words(text: str) -> str:
    """The words of a text, without anything else."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
