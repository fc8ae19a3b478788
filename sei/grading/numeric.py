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
import unicodedata
from fractions import Fraction

SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}  # words after a number
SUFFIXES = {"k": 10**3, "K": 10**3, "M": 10**6, "mn": 10**6, "B": 10**9, "bn": 10**9}  # letters at a number
MAX_DIGITS = 300  # longer strings of digits come from a model stuck in a loop, and int() takes quadratic time for them

_APART = "[,'’ʼ‘´_٬]"  # thousands are set apart by a comma, an apostrophe, an underscore, or one space
_GROUPED = rf"[1-9][0-9]{{0,2}}(?:{_APART}[0-9]{{3}}){{1,30}}(?![0-9])"  # 1,440
_DOTTED = r"[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,30}(?![0-9]|\.[0-9])"  # 1.440.000
_SPACED = r"[1-9][0-9]{0,2}(?:[ ][0-9]{3}){1,30}(?![0-9]|[ ]?/|-[A-Za-z])"  # 1 440, but not "5 100-metre runs"
_LAKHS = r"[0-9]{1,2}(?:,[0-9]{2}){1,6},[0-9]{3}(?![0-9])"  # 1,00,000
_WHOLE = rf"(?:{_GROUPED}|{_DOTTED}|{_SPACED}|{_LAKHS}|[0-9]++)"
_DECIMAL = rf"(?:{_WHOLE}(?:\.[0-9]++)?|\.[0-9]++)"
_TIMES = r"[ ]{0,2}(?:[*x×·⋅]|\\times|\\cdot)[ ]{0,2}"
_RAISED = (
    r"[ ]?(?:\^[ ]?|\*\*)(?:\{[ ]?[-+]?[0-9]{1,4}[ ]?\}|\([ ]?[-+]?[0-9]{1,4}[ ]?\)|[-+]?[0-9]{1,4})(?![0-9]|\.[0-9])"
)
_E = r"[eE][-+]?[0-9]{1,4}(?![0-9A-Za-z])"

NUMBER = (
    rf"(?:{_WHOLE}[ ]+(?:and[ ])?[0-9]++/[0-9]++|{_DECIMAL}(?:{_TIMES}10{_RAISED}|{_RAISED}|{_E}|[ ]?/[ ]?{_DECIMAL})?)"
)
"""An unsigned number: whole, decimal, fraction, mixed number or power (`10^6`, `1.5e6`, `1.5 x 10^6`)."""

_MIXED = re.compile(rf"({_WHOLE})[ ]+(?:and[ ])?([0-9]+)/([0-9]+)")
_RATIO = re.compile(rf"({_DECIMAL})(?:[ ]?/[ ]?({_DECIMAL}))?")
_POWER = re.compile(rf"({_DECIMAL})(?P<raised>{_RAISED})")
_SCIENTIFIC = re.compile(rf"({_DECIMAL})(?:{_TIMES}10(?P<raised>{_RAISED})|(?P<e>{_E}))")
_NOT_DIGITS = re.compile(rf"{_APART}|[ ]")
_LATEX_SIMPLE = re.compile(
    r"\\(?:[dtcsx]|nice)?frac\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))"
)
_SPACING = re.compile(
    r"\{\\[,;: ]\}|\\[!,;: ]|\\(?:q?quad|thinspace)\b[ ]?|~"
    r"|&(?:nbsp|thinsp|#160|#8201|#8239|#xa0|#x202f);|[\u00a0\u2000-\u200a\u202f\u205f\u3000]",
    re.IGNORECASE,
)
_VULGAR_CODES = (0xBC, 0xBD, 0xBE, *range(0x2150, 0x215F))
VULGAR = {chr(code): unicodedata.normalize("NFKD", chr(code)).replace("⁄", "/") for code in _VULGAR_CODES}
_ASCII = str.maketrans(
    dict.fromkeys("−–﹣-", "-")
    | {"⁄": "/", "∕": "/", "，": ",", "．": ".", "＃": "#", "％": "%", "＄": "$"}
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
    | VULGAR
)
_MIXED_VULGAR = re.compile(f"(?<=[0-9])(?=[{''.join(VULGAR)}])")
_RAISED_DIGITS = re.compile(r"(?<=[0-9)])[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LOWERED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")


def plain(text: str) -> str:
    """`text` with LaTeX's and Unicode's ways of writing numbers turned into ASCII: `9{,}500` is `9,500`, `3½` is `3 1/2`."""
    text = _MIXED_VULGAR.sub(" ", text)  # 3½ is a mixed number: the blank keeps its parts apart
    text = _RAISED_DIGITS.sub(lambda match: "^" + match[0].translate(_LOWERED), text).translate(_ASCII)
    if "\\" in text or "{" in text:
        text = text.replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
        text = re.sub(r",\\!\s*", ",", text)
        text = _LATEX_SIMPLE.sub(_plain_fraction, text)
    return _SPACING.sub(" ", text)


def value(text: str) -> Fraction | None:
    """The exact value of a number as NUMBER matches it, with optional sign and currency; None if it is not a number.

    Also None if it has more than MAX_DIGITS digits or a denominator is zero.
    """
    text = text.strip().replace("$", "").replace("€", "").replace("£", "")
    sign = 1
    if text[:1] in "+-" and text:
        sign = -1 if text[0] == "-" else 1
        text = text[1:].lstrip()
    if len(text) > MAX_DIGITS:
        return None
    try:
        found = _unsigned(text)
    except ZeroDivisionError:
        return None
    return None if found is None else sign * found


def exact(text: str) -> Fraction | None:
    """As `value`, of a number however it is written: `9\\,500`, `\\frac{1}{2}`, `3½`."""
    return value(plain(text))


def _unsigned(text: str) -> Fraction | None:
    if mixed := _MIXED.fullmatch(text):
        whole, top, bottom = map(_fraction, mixed.groups())
        return whole + top / bottom
    if ratio := _RATIO.fullmatch(text):
        return _fraction(ratio[1]) / _fraction(ratio[2] or "1")
    if scientific := _SCIENTIFIC.fullmatch(text):
        exponent = int(scientific["e"][1:]) if scientific["e"] else _exponent(scientific["raised"])
        return _fraction(scientific[1]) * Fraction(10) ** exponent if abs(exponent) <= MAX_DIGITS else None
    if power := _POWER.fullmatch(text):
        exponent = _exponent(power["raised"])
        return _fraction(power[1]) ** exponent if abs(exponent) * len(power[1]) <= MAX_DIGITS else None
    return None


def _fraction(text: str) -> Fraction:
    """The value of a _DECIMAL."""
    if text.count(".") > 1:
        text = text.replace(".", "")
    return Fraction(_NOT_DIGITS.sub("", text))


def _exponent(raised: str) -> int:
    return int(raised.strip("^*{}() "))


def _plain_fraction(match: re.Match[str]) -> str:
    top, bottom = match[1] or match[2], match[3] or match[4]
    # 1\frac{1}{2} is a mixed number: the blank keeps its parts apart
    return f" {top}/{bottom}"
