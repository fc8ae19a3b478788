"""The form of a rule: one operation of an outline, told as one event of a story.

Place in the flow: `planner` chooses a rule for each operation so that kinds fit; `tell` fills its words. A kind says what a
number is in the story: `made` (things that somebody makes, buys or has), `left`, `pool` (of two people), `cash`, `cost`, ...

An argument is `#range` for a number that the rule itself states, or the kinds that the number of another rule may have
(`made|left`), after `F:` of another person, after `U:` of another thing. Words in braces: `{S}`, `{F}`, `{G}` people, `{his}`;
`{a}`, `{b}` the numbers stated; `{T}`, `{t}`, `{U}` things; anything else is a word of the scene. `@name` is a text of the scene.

Example::

    Rule("left", "-", "made", "#loss", ("{S} gives {b} of the {T} to {F}.",), ("How many {T} does {S} have left?",),
         ("{S} has {} {T} left.",))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One operation as an event. Where `op` is empty, the number itself is told (`left` is its range)."""

    out: str
    op: str
    left: str
    right: str
    tell: Sequence[str]
    ask: Sequence[str]
    says: Sequence[str]  # the steps of the solution, `{}` being the calculation
    on: str = ""  # what a scene must have
    turns: bool = False  # what follows is said of the other person
    once: str = ""  # at most one rule with this mark in a story
    register: str = ""  # "plain": for seeds in plain words alone; "full": for others alone


# (least, largest, grain) of a number; a scene may have its own.
RANGES: dict[str, tuple[int, int, int]] = {
    "goods": (24, 96, 1),
    "some": (8, 40, 1),
    "lots": (3, 12, 1),
    "morelots": (2, 9, 1),
    "per": (4, 20, 1),
    "rate": (4, 15, 1),
    "hours": (2, 8, 1),
    "days": (2, 6, 1),
    "weeks": (2, 12, 1),
    "times": (2, 5, 1),
    "more": (4, 30, 1),
    "loss": (3, 30, 1),
    "friends": (2, 8, 1),
    "each": (2, 6, 1),
    "parts": (2, 5, 1),
    "pack": (3, 12, 1),
    "whole": (60, 400, 10),
    "percent": (10, 90, 5),
    "off": (10, 50, 5),
    "tax": (5, 20, 5),
    "price": (2, 9, 1),
    "packprice": (5, 25, 1),
    "bill": (20, 200, 10),
    "dear": (80, 600, 10),
    "cash": (30, 150, 5),
    "gift": (5, 60, 5),
    "wage": (9, 25, 1),
    "saving": (5, 40, 5),
    "fee": (3, 15, 1),
    "few": (2, 12, 1),
    "two": (2, 3, 1),
    "fewlots": (2, 5, 1),
    "morewhole": (8, 30, 1),
    "total": (60, 600, 1),
    "spent": (5, 60, 1),
    "speed": (40, 65, 5),
    "mpg": (20, 40, 1),
    "minutes": (2, 6, 1),
    "dish": (8, 40, 1),
    "cheap": (1, 3, 1),
    "sold": (5, 15, 1),
    "set": (0, 0, 1),  # so many times a price
}
PLAIN_RANGES: dict[str, tuple[int, int, int]] = RANGES | {
    "goods": (6, 30, 1), "some": (3, 18, 1), "lots": (2, 9, 1), "morelots": (2, 6, 1), "per": (2, 9, 1), "rate": (2, 9, 1),
    "hours": (2, 6, 1), "days": (2, 8, 1), "weeks": (2, 9, 1), "times": (2, 8, 1), "more": (2, 12, 1), "loss": (2, 12, 1),
    "friends": (2, 6, 1), "parts": (2, 8, 1), "pack": (2, 9, 1), "whole": (20, 90, 1), "percent": (5, 75, 5),
    "off": (5, 75, 5), "tax": (5, 50, 5), "price": (2, 9, 1), "packprice": (2, 9, 1), "bill": (20, 100, 10),
    "dear": (20, 90, 1), "cash": (5, 40, 1), "gift": (2, 20, 1), "wage": (2, 12, 1), "saving": (2, 9, 1), "fee": (2, 9, 1),
    "each": (2, 6, 1),
}  # fmt: skip
