"""Finding the answer in an output.

Purpose: one place that decides which part of a text is its answer, the same for every model and every stage.
Place in the flow: `sei.answers` calls these functions and then compares what they find with the gold answer.
An explicit marker (`####`, `A:`, a box, "the answer is") beats the last number; of several markers the last one
counts, but none after the point where a model that was not stopped goes on to a new question.

Example::

    gsm8k("The answer is 12 because 12 = 3 * 4.")   # Found(text="12", marked=True, open_end=False)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sei.grading.numeric import NUMBER, SCALES, plain


@dataclass(frozen=True)
class Found:
    """An answer found in an output.

    `marked`: it follows an explicit marker, so it was meant as the answer. `open_end`: nothing follows it, so in
    an output that was cut at the token limit it may be incomplete (`#### 1` of `#### 18`).
    """

    text: str
    marked: bool
    open_end: bool


_WINDOW = 400  # an answer stands within this many characters after its marker; bounds the work on hostile text
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
_RUN_ON = re.compile(r"\n[ \t]*(?:#{1,6}[ \t]*)?(?:Question|Problem|Q|Instruction|Input)[ ]?:", re.IGNORECASE)
# the look-aheads pass over the Markdown heading "#### 1. First"
_STRONG = re.compile(r"####(?!\#)[ \t]*+(?![0-9]+[.)][ \t]+[A-Za-z])|\\f?boxed(?![a-z])")
_LINE = r"^[ \t>*_#]*(?:A|(?:final[ ])?answer)[*_ \t]*:[*_]*"
_PHRASE = r"\banswer(?:[ ](?:to|of)\b[^.\n]{0,80}?)?[*_ ]{0,4}(?:is|are|=|:)"
_WEAK = re.compile(rf"(?P<line>{_LINE})|(?P<phrase>{_PHRASE})", re.IGNORECASE | re.MULTILINE)
_LEAD = re.compile(r"(?:[\s*_`({\[\\]|\\text|\\mathbf|answer:|[A-Za-z][ ]?=)*", re.IGNORECASE)
_CURRENCY = r"(?:[$€£][ ]?)?"
_SIGNED = re.compile(
    rf"(?<![0-9A-Za-z_.])(?P<sign>[-+]?){_CURRENCY}(?P<inner>-?)(?P<number>{NUMBER})(?![0-9])(?!:[0-9])"
    rf"(?P<scale>[ ](?:{'|'.join(SCALES)})\b)?",
    re.IGNORECASE,
)
_LINK = re.compile(r"[ ]{0,3}(?:[a-z]{1,20}|%)?[ ]{0,3}(?P<operator>[-+*/x×÷=]|\\times|\\cdot)[ ]{0,3}(?=[-$€£.0-9])")
_SENTENCE_END = re.compile(r"\n|[.!?;](?=\s|$)")


def gsm8k(output: str) -> Found | None:
    """The number that `output` gives as its answer, or None if it contains no number that could be one."""
    text = output if output.isascii() and "\\" not in output else plain(output)
    if "<<" in text:
        text = _ANNOTATION.sub("", text)
    for markers, leading in ((_STRONG, True), (_WEAK, False)):
        first = markers.search(text)
        if not first:
            continue
        run_on = _RUN_ON.search(text, first.end())
        stop = run_on.start() if run_on else len(text)
        for marker in reversed(list(markers.finditer(text, first.start(), stop))):
            start, end = marker.end(), _stretch_end(text, marker.end(), stop, line=leading)
            if leading or marker["line"] is not None:
                start = _LEAD.match(text, start, end).end()  # type: ignore[union-attr]  # it matches the empty string
            if number := _leading_number(text, start, end, here=leading or marker["line"] is not None):
                return Found(number[0], True, text[number[1] :] in ("", ".", ","))
    numbers = list(_SIGNED.finditer(text))
    return Found(_text(numbers[-1]), False, numbers[-1].end() == len(text)) if numbers else None


def _stretch_end(text: str, start: int, stop: int, *, line: bool) -> int:
    """Where the line (or the sentence) that begins at `start` ends, at most _WINDOW characters further on."""
    limit = min(stop, start + _WINDOW)
    if line:
        newline = text.find("\n", start, limit)
        return limit if newline < 0 else newline
    end = _SENTENCE_END.search(text, start, limit)
    return end.start() if end else limit


def _leading_number(text: str, start: int, end: int, *, here: bool) -> tuple[str, int] | None:
    """The first number of a stretch (`here`: only at its very start), and where it ends; for `3 * 4 = 12`, the result."""
    found = _SIGNED.match(text, start, end) if here else _SIGNED.search(text, start, end)
    if not found:
        return None
    following: re.Match[str] | None = found
    position, equals = found.end(), False
    while link := _LINK.match(text, position, end):
        following = _SIGNED.match(text, link.end(), end)
        if following is None:
            break
        position, equals = following.end(), link["operator"] == "="
        if equals:
            found = following
    return _text(found), found.end()


def _text(match: re.Match[str]) -> str:
    sign = "-" if "-" in (match["sign"], match["inner"]) else ""
    return sign + match["number"] + (match["scale"] or "").lower()


_BOX = re.compile(r"\\f?boxed(?![a-zA-Z])\s*")
_JOIN = re.compile(
    r"[\s$,;.:()\\\[\]]*(?:(?:and|or|,|\\text\s*\{\s*(?:and|or)\s*\})[\s$,;\\()\[\]]*)?(?:[a-zA-Z](?:_\d)?\s*=\s*)?\$?\s*"
)
_MATH_PHRASE = re.compile(
    r"\banswer(?:[ ](?:to|of)\b[^.\n]{0,80}?)?[*_ ]{0,4}(?:is|are|:)[*_:\s]{0,4}"
    r"|^[ \t>*_#]*(?:A|answer)[*_ ]{0,3}:[*_ ]{0,3}"
    r"|####[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_MATH_END = re.compile(r"\n|[.!?](?=\s|$)|\b(?:because|since|which|where)\b")
_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


def boxes(text: str) -> list[tuple[str, int, int]]:
    """(content, start, end) of every closed box that is not empty, in order; of nested boxes, the outermost."""
    found, position = [], 0
    while match := _BOX.search(text, position):
        start = position = match.end()
        if text[start : start + 1] == "{":
            end = _closing_brace(text, start)
            if end < 0:
                break  # the output ends inside this box, so no later one can be closed
            content, position = text[start + 1 : end], end + 1
        else:
            bare = re.compile(r"\\[a-zA-Z]+\s*(?:\{[^{}]*\})*|[-+]?[\d.,]*\d|[^\s$\\]").match(text, start)
            content, position = (bare[0], bare.end()) if bare else ("", start)
        if content.strip():
            found.append((content.strip(), match.start(), position))
    return found


def math(output: str) -> Found | None:
    """The expression that `output` gives as its answer: boxes first, then "the answer is", then its last formula."""
    if joined := _last_boxes(output):
        return Found(joined, True, False)
    for marker in reversed(list(_MATH_PHRASE.finditer(output))):
        limit = min(len(output), marker.end() + _WINDOW)
        end = _MATH_END.search(output, marker.end(), limit)
        stop = end.start() if end else limit
        text = output[marker.end() : stop].strip(" *_`")
        if re.search(r"[0-9\\$]|^\(?[A-Za-z]\)?$", text):
            segments = [next(filter(None, each.groups())) for each in _SEGMENT.finditer(text)]
            return Found(", ".join(segments) if segments else text, True, stop == len(output))
    tail = output.rstrip()[-2000:].rpartition("\n\n")[2]
    segments = [next(filter(None, each.groups())) for each in _SEGMENT.finditer(tail)]
    if segments:
        return Found(segments[-1].rpartition("=")[2].strip(), False, False)
    sentence = re.split(r"\n|[.!?]\s", tail.rstrip(" .!?\n"))[-1]
    number = gsm8k(sentence)
    return Found(number.text, False, number.open_end) if number else None


def _last_boxes(text: str) -> str:
    """The last box, as one set with those just before it that "and", "or" or a comma joins to it."""
    found = boxes(text)
    if not found:
        return ""
    first = len(found) - 1
    while first > 0:
        between = text[found[first - 1][2] : found[first][1]]
        if len(between) > 60 or not re.search(r"\b(?:and|or)\b|,", between) or not _JOIN.fullmatch(between):
            break
        first -= 1
    contents = list(dict.fromkeys(content for content, _, _ in found[first:]))
    return contents[0] if len(contents) == 1 else "\\{" + ", ".join(contents) + "\\}"


def _closing_brace(text: str, start: int) -> int:
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return match.start()
    return -1


_LETTER = re.compile(
    r"[\s*_`(\[{$\\]*(?:\\?text(?:bf)?\s*\{)?(?:[\s*_(]*([A-J])(?![A-Za-z'’])(?!\s+[a-z]{2,})|\(([a-j])\))"
)
_CHOICE_PHRASE = re.compile(
    r"\b(?:answer|choice|option)(?:[ ](?:choice|option|letter))?(?:[ ](?:to|of)\b[^.\n]{0,80}?)?[*_ ]{0,4}"
    r"(?:(?:would|must|should|will|has to|can only)[ ]be|(?:is|:)?(?:[ ](?:probably|likely|clearly|therefore|thus|then))?)"
    r"[*_:\s]{0,4}(?:option|choice|letter)?\s?"
    r"|####[ \t]*|^[ \t>*_#]*A:[ ]?",
    re.IGNORECASE | re.MULTILINE,
)
_ENCLOSED = re.compile(r"\(([A-J])\)")
_ANOTHER = re.compile(r"[\s)*_]*(?:,|/|\bor\b|\band\b)\s*\(?[A-J](?:\)|\b(?!\s+[a-z]))")
_ALONE = re.compile(r"^[ \t*_(]*([A-J])(?:[).:*_\s]|$)(?![a-z])", re.MULTILINE)


def choice(output: str) -> Found | None:
    """The letter that `output` chooses, or the text after its "answer is" if it names an option without its letter."""
    if found := boxes(output):
        letter = _LETTER.match(found[-1][0])
        return Found((letter[1] or letter[2]).upper() if letter else found[-1][0], True, False)
    spoken = None
    for marker in reversed(list(_CHOICE_PHRASE.finditer(output))):
        letter = _LETTER.match(output, marker.end(), min(len(output), marker.end() + _WINDOW))
        if letter and (several := _ANOTHER.match(output, letter.end())):
            return Found(
                output[letter.start() : several.end()].strip(), True, False
            )  # naming two options is not a choice
        if letter:
            return Found((letter[1] or letter[2]).upper(), True, False)
        if spoken is None and re.search(r"answer", marker[0], re.IGNORECASE):
            end = _SENTENCE_END.search(output, marker.end(), min(len(output), marker.end() + _WINDOW))
            stop = end.start() if end else min(len(output), marker.end() + _WINDOW)
            text = output[marker.end() : stop].strip(" *_\"'")
            named = set(_ENCLOSED.findall(text))
            if len(named) == 1:  # "the answer is, as we saw, (B)"
                return Found(named.pop(), True, False)
            spoken = Found(text, True, stop == len(output)) if text else None
    for pattern in (_ENCLOSED, _ALONE):
        letters = list(pattern.finditer(output))
        if letters and (pattern is _ENCLOSED or len(output.strip()) < 200):
            return spoken or Found(letters[-1][1], False, letters[-1].end() == len(output))
    return spoken
