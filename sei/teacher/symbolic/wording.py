"""The words of keyphrases: what a step is for, what a number means, and how an operation is called.

Place in the flow: whoever finds a mistake (see `diagnose`) words it with these. Nothing here knows of a solution: numbers and
texts go in, phrases come out.

Example::

    constant_meaning(Fraction(7), "How much a week?")      # "days in a week"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from sei.equations import Flat

_GOALS: tuple[tuple[str, str], ...] = (  # what the step is for, by the first pattern that fits its words
    (r"profit|earn|income|salary|wage|paid|paycheck|commission", "earnings or profit"),
    (r"discount|coupon|\boff\b|save[sd]?\b|saving|cheaper", "a discount or saving"),
    (r"\btax|\btip\b|interest|\bfee\b", "a tax, tip or interest"),
    (r"average|mean\b", "an average"),
    (r"change\b.*\$|\$.*\bchange\b", "the change"),
    (r"years? old|\bage\b|\bages\b|older|younger", "an age"),
    (r"mph|miles per|speed|distance|\bmiles?\b|kilomet|\bkm\b|\bfeet\b|met(?:er|re)s\b", "a distance or speed"),
    (r"left|remain|rest\b|still (?:has|have|need)|need(?:s|ed)? .*more|more .*need", "what is left"),
    (r"cost|price|pay|\$|dollar|worth|bill", "a total cost"),
    (r"percent|%", "a percentage"),
    (r"times as|twice|double|triple|times more|half as", "a multiple of another amount"),
    (r"more than|less than|fewer than|difference|taller|longer|shorter", "a difference"),
    (
        r"per week|a week|each week|weekly|per month|a month|a year|per year|per day|a day|each day",
        "an amount per period",
    ),
    (r"hour|minute|second|\btime\b", "a time"),
    (r"\bdays?\b|\bweeks?\b|\bmonths?\b|\byears?\b", "a number of days or weeks"),
    (r"half|third|quarter|fourth|fifth|/\s?\d", "a fraction of an amount"),
    (r"pounds?\b|ounces?\b|weigh|gallons?|lit(?:er|re)s?|cups?\b|grams?", "a weight or volume"),
    (r"people|students?|children|kids|friends?|girls|boys|men\b|women|guests?", "a number of people"),
    (r"each\b|every\b|\bper\b", "an amount per unit"),
    (r"total|altogether|together|in all|combined|\bsum\b", "a total"),
)
_GOAL_RULES = tuple((re.compile(pattern, re.IGNORECASE), goal) for pattern, goal in _GOALS)
_CONSTANTS: dict[
    int, tuple[tuple[str, str], ...]
] = {  # a number that no question states, and the words that call for it
    2: (
        (r"twice|double|two times", "twice"),
        (r"half|halves|halved", "half"),
        (r"both|pairs?\b|couple|round trip|and back", "two of them"),
    ),
    3: (
        (r"triple|thrice|three times", "three times"),
        (r"third", "a third"),
        (r"yard", "feet in a yard"),
        (r"triangle", "sides of a triangle"),
        (r"tricycle", "wheels of a tricycle"),
    ),
    4: (
        (r"quarter|fourth", "a quarter"),
        (r"month", "weeks in a month"),
        (r"quadruple", "four times"),
        (r"\b(?:legs|wheels)\b", "legs or wheels"),
    ),
    5: (
        (r"weekday|work", "working days in a week"),
        (r"fifth", "a fifth"),
        (r"nickel", "cents in a nickel"),
        (r"pentagon", "sides of a pentagon"),
    ),
    6: ((r"hexagon", "sides of a hexagon"), (r"insect", "legs of an insect")),
    7: ((r"week|daily|every day|each day", "days in a week"),),
    8: (
        (r"eighth", "an eighth"),
        (r"pint|gallon|cup", "volume units"),
        (r"octagon", "sides of an octagon"),
        (r"spider", "legs of a spider"),
    ),
    10: (
        (r"dime", "cents in a dime"),
        (r"decade", "years in a decade"),
        (r"tenth", "a tenth"),
        (r"\bdecagon", "sides of a decagon"),
    ),
    12: (
        (r"dozen", "items in a dozen"),
        (r"year|month", "months in a year"),
        (r"f(?:ee|oo)t|inch", "inches in a foot"),
        (r"dodecagon", "sides of a dodecagon"),
    ),
    16: ((r"pound|ounce", "ounces in a pound"),),
    24: ((r"day|hour", "hours in a day"),),
    25: ((r"quarter", "cents in a quarter"),),
    30: ((r"month|april|june|september|november", "days in a month"),),
    31: ((r"month|january|march|may|july|august|october|december", "days in a month"),),
    36: ((r"yard", "inches in a yard"),),
    52: ((r"year|week", "weeks in a year"),),
    60: ((r"hour|minute|second", "minutes in an hour"),),
    100: ((r"%|percent", "a percentage"), (r"cent|dollar|\$", "cents in a dollar"), (r"cm|met(?:er|re)", "unit sizes")),
    365: ((r"year", "days in a year"),),
    1000: ((r"kilo|\bkm\b|\bkg\b|gram|lit(?:er|re)|met(?:er|re)", "thousands in a unit"),),
}
SCALES: dict[Fraction, str] = {
    Fraction(100): "does not divide the percentage or cents by 100",
    Fraction(1, 100): "divides by 100 although the unit does not call for it",
    Fraction(60): "leaves minutes and hours unconverted",
    Fraction(1, 60): "converts hours and minutes the wrong way round",
    Fraction(1000): "loses a factor of 1000 between units",
    Fraction(1, 1000): "loses a factor of 1000 between units",
}
_RESULT_NAMES = {
    ("sum", True): "a subtotal",
    ("sum", False): "a remainder or difference",
    ("product", True): "a computed product",
    ("product", False): "a computed share",
}


def constant_meaning(value: Fraction, text: str) -> str | None:
    """What a number that `text` does not state may mean there (7: "days in a week"); None if nothing calls for it."""
    if value.denominator != 1:
        return None
    for pattern, meaning in _CONSTANTS.get(int(value), ()):
        if re.search(pattern, text, re.IGNORECASE):
            return meaning
    return None


def goal_of(text: str) -> str | None:
    """What a step is for, by its words; None if they do not say."""
    for pattern, goal in _GOAL_RULES:
        if pattern.search(text):
            return goal
    return None


def result_name(flat: Flat) -> str:
    """What sort of number such a calculation gives."""
    return _RESULT_NAMES[flat.kind, all(sign > 0 for _, sign in flat.terms)]


@dataclass(frozen=True)
class Operation:
    """The words for one operation."""

    verb: str  # "multiplies"
    gerund: str  # "multiplying"
    noun: str  # "multiplication"


_ADD = Operation("adds", "adding", "addition")
_SUBTRACT = Operation("subtracts", "subtracting", "subtraction")
_MULTIPLY = Operation("multiplies", "multiplying", "multiplication")
_DIVIDE = Operation("divides", "dividing", "division")


def operation_of(flat: Flat) -> Operation:
    """Which operation a calculation is: a subtraction or division if it has any."""
    negative = any(sign < 0 for _, sign in flat.terms)
    if flat.kind == "sum":
        return _SUBTRACT if negative else _ADD
    return _DIVIDE if negative else _MULTIPLY
