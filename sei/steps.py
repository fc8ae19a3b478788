"""Solutions as steps.

Place in the flow: the teacher points at a step by number, the correction format numbers them, and the diagnosis aligns
them; all three must count alike, so they all split here. A step is one line of text.

Solutions in GSM8K's manner already are lines: a step is a non-empty line that is not the answer line. Free text (MATH)
has sentences, formulas and lists; there a step is a sentence with the displayed equations it introduces and the
heading or list number that opens it. Nothing is lost: the steps hold the whole text, up to white space.

Example::

    split_steps("2+3=<<2+3=5>>5\\n#### 5")                          # (["2+3=<<2+3=5>>5"], "5")
    split_steps("Let $x=1.$ Then\n\\[x+1=2.\\]So 2.", "math")     # (["Let $x=1.$", "Then \\[x+1=2.\\]", "So 2."], None)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sei.answers import Style

_ANSWER_LINE = re.compile(r"^\s*(?:####|A:)\s*(?P<answer>.*)$")
# The last line of LeMa's format, as sei.target.formats writes it; as a last line of other text it says the same.
_ANSWER_SENTENCE = re.compile(
    r"The answer is (?:\$\\boxed\{(?P<box>.+)\}\$|\$(?P<formula>(?:\\.|[^$\\])+)\$|\((?P<letter>[A-J])\)"
    r"|(?P<number>-?[\d.,/]*\d))\.?"
)


def split_steps(solution: str, style: Style = "gsm8k") -> tuple[list[str], str | None]:
    """The steps of a solution and the text of its answer line (None where it has none).

    `gsm8k`: by lines; the answer line is the last that starts with `####` (GSM8K) or `A:` (the real 6B attempts), or a
    last line `The answer is 5.` (LeMa). `math` and `choice`: free text; the answer line is a last line `#### 5` or
    `The answer is $5$.`, and a boxed answer stays in its step.
    """
    lines = [line.strip() for line in solution.splitlines() if line.strip()]
    if lines and (match := _ANSWER_SENTENCE.fullmatch(lines[-1])):
        answer = next(filter(None, match.groups()))
    elif style == "gsm8k":
        return _at_answer_line(lines)
    elif lines and lines[-1].startswith("####"):
        answer = lines[-1].removeprefix("####").strip()
    else:
        return _free_steps(solution), None
    if style == "gsm8k":
        return lines[:-1], answer
    return _free_steps(solution.rstrip()[: -len(lines[-1])]), answer


def _at_answer_line(lines: list[str]) -> tuple[list[str], str | None]:
    for index in range(len(lines) - 1, -1, -1):
        if match := _ANSWER_LINE.match(lines[index]):
            return lines[:index], match["answer"].strip()
    return lines, None


_ONLY_AN_ANSWER = re.compile(
    r"[\s*_#>]*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+)?answer\b.*|<answer>.*"
    r"|[\s$.\\()\[\]]*boxed\s*\{.*\}[\s$.\\()\[\]]*"
    r"|[\s$€£*.\\()\[\]-]*[0-9][0-9.,/]*[\s%*.\\()\[\]$]*",
    re.IGNORECASE | re.DOTALL,
)
_REASON = re.compile(r"[0-9]\s*(?:[+*×÷=]|\s-\s)\s*[($]?[0-9]|\b(?:because|since)\b")


def only_an_answer(step: str) -> bool:
    """Whether a step says an answer and nothing of how it was reached."""
    return _ONLY_AN_ANSWER.fullmatch(step) is not None and _REASON.search(step) is None


def join_steps(steps: Sequence[str], answer: str) -> str:
    """A solution in GSM8K's format: one step a line, last line `#### answer`."""
    return "\n".join([*steps, f"#### {answer}"])


def number_steps(steps: Sequence[str], first: int = 1) -> str:
    """One line a step, `Step k: text`, counted from `first`."""
    return "\n".join(f"Step {first + offset}: {step}" for offset, step in enumerate(steps))


# ---------------------------------------------------------------------------------------------------------- free text

# Formulas are blanked out by these characters, one for one, so that all that follows sees plain prose at the same
# positions. The last character of a formula tells whether it ends in a full stop, as in "$x = 5.$ Then ...".
_INLINE, _INLINE_STOP, _DISPLAY, _DISPLAY_STOP = "\ue000\ue001\ue002\ue003"
_OPENING = re.compile(r"\\\\|\\\$|\\\[|\\\(|\\begin\{(?P<environment>[A-Za-z]+\*?)\}|\$\$|\$|\[asy\]|```")
_CLOSING = {"\\[": "\\]", "$$": "$$", "[asy]": "[/asy]", "```": "```"}
_MAX_INLINE = 2000  # characters; bounds the work on hostile text

_GAP = re.compile(rf"\s+|(?<=[{_DISPLAY}{_DISPLAY_STOP}])(?=[A-Z])")
_LABEL = r"(?:Step|Case|Part)\s+\w{1,4}\b"
_HEAD = re.compile(
    rf"#{{1,6}}\s|(?:\*\*)?(?:\d{{1,2}}[.)]\s|{_LABEL}\**[:.)])|[-*•+]\s|\*\*[A-Z]|[-*_]{{3,}}\s*(?:\n|$)"
)
_NUMBERED = re.compile(rf"[#*\s]*(?:\d{{1,2}}[.)]\s|{_LABEL})")
_BULLET = re.compile(r"[-*•+]\s")
_FORMULA = f"{_INLINE}-{_DISPLAY_STOP}"
_HEADING_ALONE = re.compile(
    rf"#{{1,6}}\s.*|[-*_]{{3,}}|(?:[-*•+]\s+)?(?:\d{{1,2}}[.)]\s*)?(?:\*\*[^*]+\*\*[:.]?|{_LABEL}\**[:.)]?[^.!?={_FORMULA}]*|)",
    re.DOTALL,
)
_LEAD_IN = re.compile(rf"[^.!?={_FORMULA}]{{1,60}}:")  # "Then, we subtract:"
_CLOSERS = "\"'”’)]*_"
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[Ee]\.g|[Ii]\.e|[Cc]f|vs|al|approx|resp|[Ff]igs?|[Ee]qs?|[Ee]qns?|[Nn]os?|[Tt]hm|[Ss]ec|[Pp]rob|pp?"
    r"|Dr|Mrs?|Ms|Prof|St|Q\.E|[A-Z](?:\.[A-Z])+)\.$"
)
_LIST_NUMBER = re.compile(r"(?:^|\n)[ \t]*(?:\*\*)?\d{1,2}[.)]$")
_WRAPPED = 60  # a line this long that does not end its sentence was wrapped by its writer


def _free_steps(text: str) -> list[str]:
    blanked = _blank_formulas(text)
    cuts = [0]
    for gap in _GAP.finditer(blanked):
        if gap.start() > 0 and gap.end() < len(blanked) and _ends_step(blanked, gap.start(), gap.end()):
            cuts.append(gap.end())
    pieces = list(zip(cuts, [*cuts[1:], len(text)], strict=True))
    steps: list[str] = []
    opening = ""  # headings that wait for the step they open
    for number, (start, end) in enumerate(pieces):
        piece, seen = " ".join(text[start:end].split()), blanked[start:end].strip()
        if not piece:
            continue
        following = blanked[end : pieces[number + 1][1]] if number + 1 < len(pieces) else ""
        if following.strip() and _opens_next(seen, following, text[start:end]):
            opening += piece + " "
        elif steps and not opening and _BULLET.match(seen) and seen[-1] not in f".!?{_INLINE_STOP}{_DISPLAY_STOP}":
            steps[-1] += " " + piece  # an item of a list that the sentence before it introduces
        else:
            steps.append(opening + piece)
            opening = ""
    return steps


def _opens_next(seen: str, following: str, text: str) -> bool:
    """Whether a piece is a heading (or a leading drawing) and belongs to the piece after it."""
    if _NUMBERED.match(following) and (_NUMBERED.match(seen) or _LEAD_IN.fullmatch(seen)):
        return False
    drawing = text.startswith("[asy]") and set(seen) <= {_DISPLAY, _DISPLAY_STOP}
    return drawing or _HEADING_ALONE.fullmatch(seen) is not None or _LEAD_IN.fullmatch(seen) is not None


def _ends_step(blanked: str, start: int, end: int) -> bool:
    """Whether the white space blanked[start:end] lies between two steps."""
    gap, last, following = blanked[start:end], blanked[start - 1], blanked[end]
    if "\n" in gap and _HEAD.match(blanked, end):
        return True
    if following in f"{_DISPLAY}{_DISPLAY_STOP}|,;:.)]" or following.islower():
        return False
    if gap.count("\n") > 1 or last == _DISPLAY_STOP:
        return True
    if last == _DISPLAY:
        return following.isupper()
    before = blanked[max(0, start - _WRAPPED) : start].rstrip(_CLOSERS)
    if before.endswith((".", "!", "?", _INLINE_STOP)):
        if _ABBREVIATION.search(before) or _LIST_NUMBER.search(before):
            return False
        factorial = re.search(rf"[\w){_INLINE}]!$", before) is not None
        return (
            following.isupper()
            if factorial
            else following.isalnum() or following in f"{_INLINE}{_INLINE_STOP}\"'“‘(*[\\"
        )
    return "\n" in gap and following.isupper() and start - blanked.rfind("\n", 0, start) <= _WRAPPED


def _blank_formulas(text: str) -> str:
    parts, position = [], 0
    while opening := _OPENING.search(text, position):
        parts.append(text[position : opening.start()])
        end = _formula_end(text, opening)
        if end < 0:
            parts.append(opening[0])  # an escape, or a dollar sign that opens nothing
            position = opening.end()
            continue
        display = opening[0] not in ("$", "\\(")
        stops = re.search(r"[.!?][\s$\\()\[\]}]*$", text[max(opening.end(), end - 12) : end]) is not None
        blank, stop = (_DISPLAY, _DISPLAY_STOP) if display else (_INLINE, _INLINE_STOP)
        parts.append(blank * (end - opening.start() - 1) + (stop if stops else blank))
        position = end
    return "".join([*parts, text[position:]])


def _formula_end(text: str, opening: re.Match[str]) -> int:
    """Where the formula that `opening` begins ends; -1 where it begins none. What is never closed goes to the end."""
    start, kind = opening.end(), opening[0]
    if kind in ("\\\\", "\\$"):
        return -1
    if environment := opening["environment"]:
        depth = 1
        for mark in re.compile(rf"\\(begin|end)\{{{re.escape(environment)}\}}").finditer(text, start):
            depth += 1 if mark[1] == "begin" else -1
            if depth == 0:
                return mark.end()
        return len(text)
    if kind in _CLOSING:
        end = text.find(_CLOSING[kind], start)
        return len(text) if end < 0 else end + len(_CLOSING[kind])
    paragraph = text.find("\n\n", start, start + _MAX_INLINE)
    limit = start + _MAX_INLINE if paragraph < 0 else paragraph
    return _inline_end(text, start, limit, "\\)" if kind == "\\(" else "$")


def _inline_end(text: str, start: int, limit: int, closing: str) -> int:
    """The end of an inline formula, past words in braces such as \\text{if $x > 0$} that hold formulas of their own."""
    depth = 0
    words: list[int] = []
    for mark in re.compile(r"\\(?:text\w*|mbox)\{|\\\)|\\.|[{}$]", re.DOTALL).finditer(text, start, limit):
        if mark[0].endswith("{") and mark[0] != "\\{":
            depth += 1
            if len(mark[0]) > 1:
                words.append(depth)
        elif mark[0] == "}":
            if words and words[-1] == depth:
                words.pop()
            depth -= 1
        elif not words and mark[0] == closing:
            return mark.end()
        elif not words and mark[0] == "\\(":
            return -1
    return -1
