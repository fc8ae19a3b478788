"""What a story should have, so that the mistake of a keyphrase can be made in it.

Place in the flow: keyphrase -> **wish** -> `Author.story`, which heeds it from its third try on; `aim` then judges the story.

Example::

    Wish.of("skips multiplying a unit price before finding what is left")     # a multiplication, not as the last step
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sei.teacher.symbolic.story.aim import operation_wanted


@dataclass(frozen=True)
class Wish:
    """An operation that the story needs ("": none in particular), and where; how large its numbers may be."""

    phrase: str = ""
    op: str = ""
    last: bool | None = None  # the operation comes last, or does not; None: anywhere
    several: bool = False  # twice in a row, in one line
    scale: int = 1  # of usual numbers

    @classmethod
    def of(cls, phrase: str, scale: int = 1) -> Self:
        op, last = operation_wanted(phrase)
        large = "three-digit" in phrase or "large numbers" in phrase or "thousands" in phrase
        return cls(phrase, op, last, "several numbers" in phrase or phrase.startswith("leaves"), 4 if large else scale)
