"""Reading plain numbers exactly: the core of style `gsm8k` and the shortcut of style `math`.

Purpose: one pattern for the numbers people and models write (`-$1,440.00`, `1 1/2`, `.5`, `\\frac{1}{2}`) and their
exact value as a Fraction, so that 18 is not 18.5 and 0.1 + 0.2 is 0.3. Text is matched, never evaluated.
Place in the flow: `grading.extract` finds numbers with NUMBER, `sei.answers` compares their values.

Example::

    value("$1,440.00")        # Fraction(1440, 1)
    value("1 1/2")            # Fraction(3, 2)
"""

from __future__ import annotations

import re
from fractions import Fraction

SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}  # words after a number
MAX_DIGITS = 300  # longer strings of digits come from a model stuck in a loop, and int() takes quadratic time for them

_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3}){1,30}(?![0-9])"  # 1,440
_LAKHS = r"[0-9]{1,2}(?:,[0-9]{2}){1,6},[0-9]{3}(?![0-9])"  # 1,00,000
_WHOLE = rf"(?:{_GROUPED}|{_LAKHS}|[0-9]+)"
_DECIMAL = rf"(?:{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)"

NUMBER = rf"(?:{_WHOLE}[ ]+[0-9]+/[0-9]+|{_DECIMAL}(?:[ ]?/[ ]?{_DECIMAL})?)"
"""An unsigned number: whole, decimal, fraction or mixed number, with or without thousands commas."""

_MIXED = re.compile(rf"({_WHOLE})[ ]+([0-9]+)/([0-9]+)")
_RATIO = re.compile(rf"({_DECIMAL})(?:[ ]?/[ ]?({_DECIMAL}))?")
_LATEX_SIMPLE = re.compile(r"\\[dtc]?frac\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))")
_SPACING = re.compile(r"\\[!,;: ]|\\q?quad\b|~|\u00a0|\u202f|\u2009")
_MINUS = str.maketrans({"−": "-", "–": "-", "﹣": "-", "-": "-"})


def plain(text: str) -> str:
    """`text` with LaTeX's and Unicode's ways of writing numbers turned into ASCII ones (`9{,}500` -> `9,500`)."""
    text = text.translate(_MINUS)
    if "\\" in text or "{" in text:
        text = text.replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
        text = re.sub(r",\\!\s*", ",", text)
        text = _LATEX_SIMPLE.sub(_plain_fraction, text)
    return _SPACING.sub(" ", text)


def value(text: str) -> Fraction | None:
    """The exact value of a number as NUMBER matches it, with optional sign and currency; None if it is not a number.

    Also None if it has more than MAX_DIGITS characters or a denominator is zero.
    """
    text = text.strip().replace("$", "").replace("€", "").replace("£", "")
    sign = 1
    if text[:1] in "+-" and text:
        sign = -1 if text[0] == "-" else 1
        text = text[1:].lstrip()
    if len(text) > MAX_DIGITS:
        return None
    try:
        if mixed := _MIXED.fullmatch(text):
            whole, top, bottom = (Fraction(part.replace(",", "")) for part in mixed.groups())
            return sign * (whole + top / bottom)
        if ratio := _RATIO.fullmatch(text):
            top = Fraction(ratio[1].replace(",", ""))
            return sign * (top / Fraction(ratio[2].replace(",", "")) if ratio[2] else top)
    except ZeroDivisionError:
        return None
    return None


def _plain_fraction(match: re.Match[str]) -> str:
    top, bottom = match[1] or match[2], match[3] or match[4]
    # 1\frac{1}{2} is a mixed number: the blank keeps its parts apart
    return f" {top}/{bottom}"
