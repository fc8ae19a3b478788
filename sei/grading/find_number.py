"""Finding the number that an output gives as its answer (style `gsm8k`).

Purpose: one place that decides which part of a text is its answer, the same for every model and every stage.
Place in the flow: `sei.answers` calls `number` and then compares its value with the gold answer.
An explicit marker (a tag, `####`, a box, `A:`, "the answer is") beats the last number; of several markers the last one
counts. A number is never cut: what goes on (`3\\\\sqrt{2}`, `2^n`, `3:30`) is found whole and has no value.

Example::

    number("The answer is 12 because 12 = 3 * 4.")   # Found(text="12", marked=True, open_end=False)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sei.grading.markers import Box, Found, Tag, backwards, boxes, stretch, tag
from sei.grading.numeric import NUMBER, SCALES, SUFFIXES, plain

_LONG = 2000  # characters; what is longer is no number in a box but a solution
_MARKUP = re.compile(r"[\\{~&]")
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
# the look-aheads pass over the Markdown heading "#### 1. First"
_LISTED = r"(?![0-9]+[.)][ \t]+[A-Za-z])"
_HASHES = re.compile(rf"####(?!\#)[ \t]*+{_LISTED}")
_LINE = r"^[ \t>*_#|]*(?:A|(?:the[ ])?(?:final[ ])?answer)[*_ \t]*(?::|(?<!A)\|)[*_]*"
_HEADING = r"^[ \t>*_#]*(?:the[ ])?(?:final[ ])?answer[*_ \t]*\r?$"
_PHRASE = (
    r"(?:\banswer(?:(?:[ ](?:to|of|in|for)\b[^.\n]{0,80}?)?[*_\"' ]{0,4}"
    r"(?:(?:is|was)(?P<denied>n['’]t|[ ]not)\b|is|are|was|(?:would|must|should|will)[ ]be|=|:)"
    r"|[*_ ]{0,4}-[ ])|答案(?:[是为為]|[ ]?[：:]))"
)
_WEAK = re.compile(rf"(?P<line>{_LINE}|{_HEADING})|(?P<phrase>{_PHRASE})", re.IGNORECASE | re.MULTILINE)
_LEAD = re.compile(r"(?:[\s*_`({\[\\=≈]|\\text|\\mathbf|\\approx|answer:|[A-Za-z][ ]?=)*+", re.IGNORECASE)
_CURRENCY = r"(?:[$€£][ ]?)?"
_IRRATIONAL = (
    r"(?:\\(?:sqrt|pi|frac|dfrac|tfrac|sin|cos|tan|log|ln|exp|infty|binom)(?![A-Za-z])(?:[ ]?\{[^{}]{0,40}\}){0,2}"
    r"|[√π∞][ ]?(?:[0-9.]++|\([^()]{0,40}\))?|(?:sqrt|pi)(?![A-Za-z])(?:\([^()]{0,40}\))?)"
)
_TOKEN = re.compile(
    # what follows a letter is part of a name, but 3 of "5x3" is a factor
    rf"(?<![0-9A-WYZa-wyz_.^])(?<![^0-9][xX])(?<!\A[xX])(?<!\^\{{)(?<!_\{{)(?<!sqrt[{{(])(?<!√)(?P<sign>[-+]?){_CURRENCY}(?P<inner>-?)(?P<number>{NUMBER})(?![0-9])"
    rf"(?P<tail>(?:,[0-9]{{1,2}})?[ ](?:{'|'.join(SCALES)})\b|(?-i:[ ]k\b)(?!\s*[=<>])|[ ]and[ ]an?[ ](?:half|quarter)\b"
    rf"|(?:,[0-9]{{1,2}})?(?-i:{'|'.join(SUFFIXES)})(?![A-Za-z0-9])"
    rf"|[ ]{{0,2}}(?:(?:\\cdot|\\times|[*·×])[ ]{{0,2}})?{_IRRATIONAL}"
    r"|[ ]?\^(?![ ]?\{?[ ]?(?:\\circ|\\prime))[^\s$]{0,20}|\*\*[0-9]++|\([0-9.]{1,20}\)|[ ]?\\over(?![A-Za-z])"
    r"|(?:[,.][0-9]++|:[0-5][0-9](?![0-9]))++)?",
    re.IGNORECASE,
)
_LINK = re.compile(r"[ ]{0,3}(?:[a-z]{1,20}|%)?[ ]{0,3}(?P<operator>[-+*/x×÷=]|\\times|\\cdot)[ ]{0,3}(?=[-$€£.0-9])")
_SENTENCE_END = re.compile(r"\n|[.!?;](?=\s|$)")
_LINE_END = re.compile(r"\n")
_DIGIT = re.compile(r"[0-9]")
_BUT = re.compile(r"[^\n.!?;]{1,80}?\bbut\b")
_MINUS = re.compile(r"(?:minus|negative)[ ](?=[$€£.0-9])", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"[ ]{0,3}(?:,|\b(?:to|or|and)\b)[ ]{0,3}(?=[-$€£.0-9])", re.IGNORECASE)
_NOTHING = re.compile(r"[\s.*_$)}]*(?:\n|\Z)")


def number(output: str) -> Found | None:
    """The number that `output` gives as its answer, or None if it contains no number that could be one."""
    text = output if output.isascii() and not _MARKUP.search(output) else plain(output)
    if "<<" in text:
        text = _ANNOTATION.sub("", text)
    for found in _marked(text):
        return found
    numbers = list(_TOKEN.finditer(text))
    return Found(_text(numbers[-1]), False, numbers[-1].end() == len(text)) if numbers else None


def _marked(text: str) -> Iterator[Found]:
    """Numbers after explicit markers, the one that counts first."""
    strong: list[tuple[int, Box | Tag | None]] = [(match.end(), None) for match in backwards(_HASHES, text)]
    if "boxed" in text:
        strong += [(box.start, box) for box in boxes(text)]
    if tagged := tag(text):
        strong.append((tagged.start, tagged))
    for start, place in sorted(strong, key=lambda item: item[0], reverse=True):
        found: Found | None = None
        if place is None:
            found = _after(text, start, begins=True, ends=_LINE_END)
        elif isinstance(place, Tag) and (inner := next(_marked(place.content), None)):  # it holds no tag itself
            found = inner
        elif result := _enclosed(place.content):
            found = Found(result, True, isinstance(place, Tag) and not place.closed)
        if found:
            yield found
    for marker in backwards(_WEAK, text):
        begins, start = marker["line"] is not None, marker.end()
        if marker["denied"]:  # "not 17 but 18"
            but = _BUT.match(text, start)
            if but is None:
                continue
            start = but.end()
        if found := _after(text, start, begins=begins, ends=_SENTENCE_END):
            yield found


def _after(text: str, start: int, *, begins: bool, ends: re.Pattern[str]) -> Found | None:
    """The number after a marker (`begins`: at the very beginning). On a line below the marker it must be all there is."""
    place = stretch(text, start, len(text), ends)
    if place.display:
        result = _enclosed(text[place.start : place.end])
        return Found(result, True, False) if result else None
    begin = place.start
    if begins or place.below:
        begin = _LEAD.match(text, begin, place.end).end()  # type: ignore[union-attr]  # it matches the empty string
    found = _first(text, begin, place.end, here=begins or place.below)
    if found is None:
        return None
    result, end = found
    if place.below and (_DIGIT.search(text, end, place.end) or not re.compile(_LISTED).match(text, begin)):
        return None
    return Found(result, True, text[end:] in ("", ".", ","))


def _enclosed(content: str) -> str | None:
    """The number that a box, a tag or a displayed formula holds: `x = 3 + 4 = 7`, `\\\\text{5 apples}`."""
    if len(content) > _LONG:
        return None
    for start in (0, content.rfind("=") + 1):
        begin = _LEAD.match(content, start).end()  # type: ignore[union-attr]  # it matches the empty string
        if found := _first(content, begin, len(content), here=True):
            return found[0]
    numbers = list(_TOKEN.finditer(content))
    return _text(numbers[-1]) if numbers else None


def _first(text: str, start: int, end: int, *, here: bool) -> tuple[str, int] | None:
    """The first number of a stretch (`here`: only at its very start), and where it ends.

    Of equations it is the last side that is one number: 12 of `3 * 4 = 12`, and of `12 = 3 * 4`. Where there is none
    (`3 * 4`, `10-12`), or where there are two to choose from (`5 or 6`), it is the whole of it, which has no value.
    """
    minus = _MINUS.match(text, start, end)
    start = minus.end() if minus else start
    found = _TOKEN.match(text, start, end) if here else _TOKEN.search(text, start, end)
    if not found:
        return None
    result: re.Match[str] | None = None  # the last side that is one number
    side: re.Match[str] | None = found  # the present side, as long as it is one number
    position = found.end()
    while link := _LINK.match(text, position, end):
        following = _TOKEN.match(text, link.end(), end)
        if following is None:
            break
        position = following.end()
        if link["operator"] == "=":
            result, side = side or result, following
        else:
            side = None
    if here and side is found and _is_choice(text, position, end):
        return text[found.start() : end], end
    if number := side or result:
        return ("-" if minus else "") + _text(number), number.end()
    return text[found.start() : position], position


def _is_choice(text: str, position: int, end: int) -> bool:
    """Whether a number that ends at `position` is followed by another one as its alternative, and by nothing else."""
    joint = _ALTERNATIVE.match(text, position, end)
    other = _TOKEN.match(text, joint.end(), end) if joint else None
    return other is not None and _NOTHING.match(text, other.end(), end) is not None


def _text(match: re.Match[str]) -> str:
    sign = "-" if "-" in (match["sign"], match["inner"]) else ""
    tail = match["tail"] or ""
    return sign + match["number"] + (tail.lower() if tail.split()[-1:] and tail.split()[-1].lower() in SCALES else tail)
