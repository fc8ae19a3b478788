"""What the left side of an equation is: a name, a quantity, or an expression in unknowns.

Purpose: "f(2) = 6" and "m + n = 34" state a value, "2x + 4y = 3" is a line. Only the first kind may be compared with a number.
Place in the flow: `grading.compare` asks when one answer is an equation and the other is not.

Example::

    is_name("|AB|")                  # True
    is_quantity("m + n", "34")       # True
    unknowns("2x + \\theta")        # {"x", "\\theta"}
"""

from __future__ import annotations

import re

from sei.grading.numeric import exact

IDENTIFIER = re.compile(r"(?:[a-zA-Z]|\\[a-zA-Z]+)(?:_(?:\w|\{\w+\}))?'?(?:\((?:[a-zA-Z]|\\[a-zA-Z]+)\))?")
"""The simplest names: x, a_1, f(x)."""

_GREEK = r"\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|varphi|omega|rho|sigma|tau)(?![a-zA-Z])"
_ARGUMENT = r"\((?:[^()]|\([^()]*\))*\)"
_FUNCTION = r"\\?(?:sin|cos|tan|cot|sec|csc|log|ln)"
_BAR = r"(?:\||\\[lr]?[vV]ert|\\\|)"
_LETTER = rf"(?:[a-zA-Z]|{_GREEK})"
_NAME = re.compile(
    rf"""
    # x, a_1, f'(2), f^{{-1}}(2)
    {_LETTER}(?:_(?:\w|\{{[^{{}}]*\}}))?'*(?:\^(?:\{{-1\}}|\{{?\*\}}?|\{{\(\w+\)\}}|\{{?\\prime\}}?))?(?:{_ARGUMENT})?
    # gcd(12, 18)
    | [a-zA-Z]{{2,}}{_ARGUMENT}
    # (x, y)
    | \(?{_LETTER}(?:,{_LETTER})+\)?
    # |AB|, a length
    | {_BAR}[A-Za-z_'{{}}]*(?:\\(?:vec|overline|mathbf)\{{?[A-Za-z]+\}}?)?{_BAR}
    | m?\(?\\(?:angle|measuredangle|triangle|overline|overrightarrow|widehat|hat|bar|arc)(?![a-zA-Z])[^-+*/^=]*
    # [ABC], an area
    | \[[A-Z]{{2,}}\]
    # {{}}_5C_2
    | (?:\{{\}}|[_^]?\{{?\d+\}}?)*[CP][_^]?\{{?\d+\}}?
    # 110_2
    | [0-9A-F]+_\{{?\d+\}}?
    # what is not computed here
    | \\(?:gcd|lcm|max|min|det|dim|deg|lim|sum|int|prod|sup|inf|Pr|arg|lfloor|lceil)(?![a-zA-Z])[^=]*
    """,
    re.VERBOSE,
)
_ANGLE_FUNCTION = re.compile(rf"{_FUNCTION}(?![a-zA-Z])(?:[_^]\{{?-?\w+\}}?)?(?:{_ARGUMENT}|[^-+*/()=]*)")


def unknowns(text: str) -> set[str]:
    """The letters and Greek letters of an expression that stand for numbers not known here."""
    bare = re.sub(r"\\[a-zA-Z]+", " ", text)
    return {*re.findall(_GREEK, text), *re.findall(r"[a-zA-Z]", bare)} - {"e", "i"}


def is_name(text: str) -> bool:
    """Whether `text` names something, so that "text = 5" says that it is 5: x, f(2), |AB|, an angle, words."""
    if "\\text" in text or re.fullmatch(r"[A-Za-z ]{2,}", text):
        return True
    bare = re.sub(r"(\\[a-zA-Z]+ )(?=[a-zA-Z])|\s", r"\1", text)
    return _NAME.fullmatch(bare) is not None or (
        _ANGLE_FUNCTION.fullmatch(bare) is not None and bool(unknowns(re.sub(_FUNCTION, "", bare)))
    )


_COORDINATE = re.compile(r"(?<![a-zA-Z\\])[xyz](?![a-zA-Z_])")
_SUM_OR_PRODUCT = re.compile(r"[-+a-zA-Z ]+")


def is_quantity(text: str, value: str) -> bool:
    """Whether `text` is made of named quantities, so that "m + n = 34" gives 34, while "2x + 4y = 34" is a line.

    x, y and z are coordinates where they stand with numbers or powers. An equation with 0 on one side never gives 0, but
    one with anything that is no plain number does: two different quantities are not 3R^2 by chance.
    """
    if not unknowns(text) or exact(value) == 0 or _COORDINATE.search(value):
        return False
    return exact(value) is None or not _COORDINATE.search(text) or _SUM_OR_PRODUCT.fullmatch(text) is not None
