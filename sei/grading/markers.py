"""What says "here is the answer": boxes, tags, and the stretch of text after a marker.

Purpose: the parts that finding a number, a formula and a letter have in common, each written once.
Place in the flow: `find_number`, `find_formula` and `find_letter` look for their answers with these functions.
Everything takes time linear in the text: what follows a marker is read for WINDOW characters at most.

Example::

    boxes("so \\\\boxed{12}, marked with \\\\boxed as asked")    # [Box(content="12", start=3, end=13)]
    tag("<answer>18</answer>\\nI checked 3 times.")            # Tag(content="18", start=0, closed=True)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

WINDOW = 400  # an answer stands within this many characters after its marker; bounds the work on hostile text
_MOST = 1000  # markers that are read; an output with more is a model in a loop


@dataclass(frozen=True)
class Found:
    """An answer found in an output.

    `marked`: it follows an explicit marker, so it was meant as the answer. `open_end`: nothing follows it, so in
    an output that was cut at the token limit it may be incomplete (`#### 1` of `#### 18`).
    """

    text: str
    marked: bool
    open_end: bool


def backwards(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The matches of a marker, last first."""
    return list(pattern.finditer(text))[: -_MOST - 1 : -1]


class Box(NamedTuple):
    """A `\\\\boxed{content}`, from `start` to `end` in the text."""

    content: str
    start: int
    end: int


class Tag(NamedTuple):
    """An `<answer>content</answer>`. Not `closed`: the output ends first, or was stopped at the closing tag."""

    content: str
    start: int
    closed: bool


_BOX = re.compile(r"\\f?boxed(?![a-zA-Z])")
# Without braces a box holds the next number, command or symbol; what stands before a word is prose about boxes.
_BARE = re.compile(
    r"[ \t]*(\\(?:frac|sqrt|text|pi|infty|dfrac|tfrac|mathrm)(?![a-zA-Z])\s*(?:\{[^{}]{0,200}\})*"
    r"|[-+]?[0-9][0-9.,]*(?<![.,])|[A-Za-z](?=[ \t]*(?:[$.,;)\]\\]|\Z|\n)))"
)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
# "\boxed{...}", "\boxed{your answer}": a box that shows what boxes look like
_PLACEHOLDER = re.compile(
    r"(?:(?:the|your|my|this|final|correct|numeric(?:al)?|answer|result|solution|number|value|letter|expression|here|goes|text)"
    r"\b|\\(?:text|ldots|dots|cdots|square|quad|phantom|cdot|_)(?![a-z])|[\s.…?_{}\[\]<>()*$-])*",
    re.IGNORECASE,
)


def boxes(text: str) -> list[Box]:
    """Every closed box that holds something, in order; of nested boxes, the outermost."""
    found, position = [], 0
    while match := _BOX.search(text, position):
        position = match.end()
        braced = re.compile(r"\s*\{").match(text, position)
        if braced:
            end = closing_brace(text, braced.end() - 1)
            if end < 0:
                break  # the output ends inside this box, so no later one can be closed
            content, position = text[braced.end() : end], end + 1
        elif bare := _BARE.match(text, position):
            content, position = bare[1], bare.end()
        else:
            continue
        if not is_placeholder(content):
            found.append(Box(_stripped(content), match.start(), position))
    return found


def _stripped(content: str) -> str:
    """`content` without space around it; the blank of LaTeX's `\\ ` at the end is part of a command."""
    content = content.strip()
    return f"{content} " if content.endswith("\\") and not content.endswith("\\\\") else content


def closing_brace(text: str, start: int) -> int:
    """The index of the brace that closes the one at `start`, -1 if none does."""
    depth = 0
    for match in _BRACE.finditer(text, start):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return match.start()
    return -1


def is_placeholder(content: str) -> bool:
    """Whether what stands in a box or tag is no answer but shows where one goes: nothing, dots, "your answer"."""
    return len(content) < 100 and _PLACEHOLDER.fullmatch(content) is not None


# A tag may be escaped for Markdown or HTML, and have a little space in it; one in square brackets counts where it is closed.
_TAG_NAME = r"[ ]?(?:final[ _-]?)?answer[ ]?"
_OPENING = re.compile(rf"(?:\\?<|&lt;){_TAG_NAME}(?:\\?>|&gt;)|(?P<square>\[){_TAG_NAME}\]", re.IGNORECASE)
_CLOSING = re.compile(rf"(?:\\?<|&lt;)[ ]?\\?/{_TAG_NAME}(?:\\?>|&gt;)|\[/{_TAG_NAME}\]", re.IGNORECASE)


def tag(text: str) -> Tag | None:
    """The last answer tag that holds something: a closed one, or else the last opening one, to the end of the text."""
    openings = list(_OPENING.finditer(text))
    end = len(text)
    unclosed = [opening for opening in openings if not opening["square"]]
    for opening in reversed(openings):
        closing = _CLOSING.search(text, opening.end(), end)
        if closing and not is_placeholder(content := text[opening.end() : closing.start()]):
            return Tag(content.strip(), opening.start(), True)
        end = opening.start()
    if unclosed and not is_placeholder(content := text[unclosed[-1].end() :]) and not _CLOSING.search(content):
        return Tag(content.strip(), unclosed[-1].start(), False)
    return None


class Stretch(NamedTuple):
    """Where the text after a marker begins and ends. `below`: it begins on a line below the marker's."""

    start: int
    end: int
    below: bool
    display: bool


# On the lines below a marker, what begins a quotation, a table's row or a list's only item is passed over too.
_BLANK = re.compile(
    r"[ \t*_`:>|\"']*+(?:\r?\n[ \t*_`:>|]*+){0,4}(?:(?<=\n)[-+•][ ](?=[^\n]{1,80}(?:\n[ \t]*\n|\n?\Z)))?[*_`]{0,4}"
)
_DISPLAY = re.compile(r"\$\$|\\\[|\\begin[ ]?\{(?P<name>[a-z]{4,12}\*?)\}")


def stretch(text: str, start: int, stop: int, ends: re.Pattern[str]) -> Stretch:
    """What a marker that ends at `start` is followed by: a displayed formula, else the text until `ends` matches.

    Where nothing else is on the marker's line, it is what stands on the next line that is not empty.
    """
    limit = min(stop, start + WINDOW)
    blank = _BLANK.match(text, start, limit)
    assert blank is not None  # it matches the empty string
    below = "\n" in blank[0]
    begin = blank.end()
    if opening := _DISPLAY.match(text, begin, limit):
        name = opening["name"]
        closing = f"\\end{{{name}}}" if name else "$$" if opening[0] == "$$" else "\\]"
        end = text.find(closing, opening.end(), min(stop, begin + 4 * WINDOW))
        if end >= 0:
            inside = (begin, end + len(closing)) if name else (opening.end(), end)
            return Stretch(*inside, below, True)
    found = ends.search(text, begin, limit)
    return Stretch(begin, found.start() if found else limit, below, False)
