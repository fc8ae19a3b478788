"""The numbers of a question: where they are, what their values are, and what sort of quantity they are.

Place in the flow: `diagnose` names operands by their sort ("the price per item"), `synthesize` decides by kind and
sort which numbers may change and how.

Example::

    read_quantities("Three pens cost $4 each.")[1].sort     # "unit price"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

Kind = Literal["digits", "word", "fraction", "fixed"]

WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_VALUES = {word: index for index, word in enumerate(WORDS)} | _TENS | {"hundred": 100}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4}
_PARTS |= {"fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10}
_PARTS |= {"seventh": 7, "ninth": 9, "eleventh": 11, "twelfth": 12}
_MULTIPLES = {"twice": 2, "double": 2, "doubled": 2, "doubles": 2, "thrice": 3, "triple": 3, "tripled": 3, "triples": 3}
_MULTIPLES |= {"quadruple": 4, "dozen": 12, "dozens": 12, "pair": 2, "pairs": 2, "couple": 2, "both": 2}
_UNICODE = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8)}

_SMALL = "|".join(WORDS[1:])
_PART = "|".join(_PARTS)
_TOKEN = re.compile(
    r"(?P<clock>\b\d{1,2}:\d{2}\b|\b\d{1,2}\s?(?:[ap]\.?m\b|o'clock))"
    r"|(?P<ordinal>\b\d+(?:st|nd|rd|th)\b|#\s?\d+)"
    r"|(?P<mixed>\b\d+\s(?:and\s)?\d+/\d+|\b\d+\s?[½⅓⅔¼¾⅕⅛])"
    r"|(?P<ratio>\b\d+/\d+\b|[½⅓⅔¼¾⅕⅛])"
    r"|(?P<digits>(?:\$\s?)?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?|\$?\.\d+%?)"
    rf"|(?P<part>\b(?:(?:a|an|one|two|three|four|five)[ -])?(?:{_PART})\b)"
    rf"|(?P<multiple>\b(?:{'|'.join(_MULTIPLES)})\b)"
    rf"|(?P<word>\b(?:(?:{'|'.join(['twenty', *_TENS])})[ -](?:{'|'.join(WORDS[1:10])})|{_SMALL}"
    rf"|{'|'.join(_TENS)}|hundred)\b)",
    re.IGNORECASE,
)
_SORT_RULES: tuple[tuple[str, str], ...] = (  # the first pattern that fits the words after the number names its sort
    (r"^(?:%| ?percent)", "percentage"),
    (r"^[- ](?:years?[- ]old|years? (?:older|younger))", "age"),
    (r"^ ?(?:times|x)\b", "multiplier"),
    (r"^ ?(?:mph|miles (?:per|an) hour|km/h)", "speed"),
    (r"^ (?:more|fewer|less|extra|additional|taller|longer|shorter|older|younger|higher)\b", "difference"),
    (r"^[- ](?:cents?|dollars?|bucks)\b.{0,24}\b(?:each|per|every|an? |apiece)", "unit price"),
    (r"^[- ](?:cents?|dollars?|bucks|pounds sterling)\b", "amount of money"),
    (r"^[- ](?:hours?|minutes?|seconds?|mins?|hrs?)\b", "time in hours or minutes"),
    (r"^[- ](?:days?|nights?|weekdays?|mornings?)\b", "number of days"),
    (r"^[- ](?:weeks?|months?|years?|semesters?|decades?)\b", "number of weeks, months or years"),
    (r"^[- ](?:miles?|km|kilometers?|met(?:er|re)s?|feet|foot|inch(?:es)?|yards?|cm|blocks?|laps?)\b", "length"),
    (r"^[- ](?:pounds?|ounces?|oz|kgs?|kilograms?|grams?|lbs?|tons?)\b", "weight"),
    (r"^[- ](?:gallons?|lit(?:er|re)s?|cups?|pints?|quarts?|ml|tablespoons?|teaspoons?)\b", "volume"),
    (
        r"^ (?:\w+ ){0,2}(?:people|persons?|friends?|students?|children|kids|boys|girls|men|women|workers?|guests?"
        r"|players?|members?|brothers?|sisters?|siblings?|teachers?|employees?|customers?|classmates?|teams?|families)\b",
        "headcount",
    ),
    (r"^ (?:\w+ ){1,4}(?:each|per|every|apiece|a (?:day|week|month|year)|an hour)\b", "number per unit"),
)
SORTS = frozenset(sort for _, sort in _SORT_RULES) | {
    "fraction",
    "multiplier",
    "item count",
    "amount of money",
    "unit price",
}
_RULES = tuple((re.compile(pattern, re.IGNORECASE), sort) for pattern, sort in _SORT_RULES)
_EACH = re.compile(r"^[^.?!$\d]{0,24}\b(?:each|per|apiece|every|a piece|an? \w+)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Quantity:
    """One number of a question. `fixed` ones (clock times, ordinals, "half", "twice", "one") are never changed."""

    value: Fraction
    text: str
    start: int
    end: int
    kind: Kind
    sort: str
    percent: bool

    @property
    def readings(self) -> tuple[Fraction, ...]:
        """The numbers that a right solution may use for it: 25 % is 25, 0.25, 75, 0.75 and 1.25; a half is also 2."""
        if self.percent:
            share = self.value / 100
            return self.value, share, 100 - self.value, 1 - share, 1 + share, 100 + self.value
        if 0 < self.value < 1:
            return self.value, 1 / self.value, 1 - self.value, Fraction(self.value.numerator)
        return (self.value,)


@lru_cache(maxsize=16384)  # the same steps are read again for every draft made from them
def read_quantities(question: str) -> tuple[Quantity, ...]:
    """All numbers of the question in reading order."""
    return tuple(_quantity(question, match) for match in _TOKEN.finditer(question))


def _quantity(question: str, match: re.Match[str]) -> Quantity:
    group, text = match.lastgroup or "", match[0]
    before, after = question[: match.start()], question[match.end() :]
    lowered = text.lower()
    percent = text.endswith("%") or after.lower().startswith((" percent", "-percent"))
    kind: Kind = "fixed"
    if group == "digits":
        value = Fraction(lowered.strip("$% ").replace(",", ""))
        kind = "digits"
        if after[:1].isalpha() or before[-1:].isalpha() or before.endswith((".", "/", ":")) or after[:1] == "/":
            kind = "fixed"
    elif group == "word":
        value = Fraction(sum(_VALUES[part] for part in re.split("[ -]", lowered)))
        kind = "word" if 2 <= value <= 20 else "fixed"
    elif group == "part":
        count, _, part = re.sub("[ -]", " ", lowered).rpartition(" ")
        value = Fraction(_VALUES.get(count, 1), _PARTS[part])
    elif group == "multiple":
        value = Fraction(_MULTIPLES[lowered])
    elif group == "ratio":
        value, kind = _ratio(lowered), "fraction"
    elif group == "mixed":
        whole, _, rest = re.sub(r" and |\s", " ", lowered).partition(" ")
        value = Fraction(int(re.match(r"\d+", whole)[0])) + _ratio(rest or lowered[-1])  # type: ignore[index]
    else:
        value = Fraction(int(re.search(r"\d+", lowered)[0]))  # type: ignore[index]
    return Quantity(value, text, match.start(), match.end(), kind, _sort(group, value, text, after, percent), percent)


def _ratio(text: str) -> Fraction:
    if text in _UNICODE:
        return Fraction(*_UNICODE[text])
    top, bottom = text.split("/")
    return Fraction(int(top), int(bottom)) if int(bottom) else Fraction(0)


def _sort(group: str, value: Fraction, text: str, after: str, percent: bool) -> str:
    if percent:
        return "percentage"
    if group == "clock":
        return "time of day"
    if group == "multiple":
        return "multiplier"
    if group in ("part", "ratio", "mixed"):
        return "fraction"
    if "$" in text:
        return "unit price" if _EACH.match(after) else "amount of money"
    for pattern, sort in _RULES:
        if pattern.match(after):
            return sort
    return "year" if value.denominator == 1 and 1900 <= value <= 2100 and "," not in text else "item count"
