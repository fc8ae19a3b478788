"""Units of measurement, as they stand behind a number in an answer.

Place in the flow: `grading.latex` tells a unit from variables by this table, `grading.compare` converts by it.

Example::

    unit("square inches")     # ("length", 2, Fraction(16129, 25000000)): dimension, power, factor
    unit("apples")            # None
"""

from __future__ import annotations

import re
from fractions import Fraction

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


def unit(text: str) -> tuple[str, int, Fraction] | None:
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
