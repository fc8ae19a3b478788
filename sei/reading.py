r"""Reading an attempt: which part of a model's output is its solution of this problem.

Purpose: one place that says where a solution begins and ends. A model that is not stopped goes on with a next question, a
next chat turn, the text of its end token or the same line for ever; a reasoning model writes a draft first. None of that may
be graded, shown to a teacher as a step, or trained on.
Place in the flow: `sei.answers` grades what is read here, `stages.mine` and `paths` pass it on, `stages.assemble` trains on it.
`Attempt.output` is the output as it came, and whoever needs its solution reads it again, which is cheap; a `Mistake` has the
solution.

An output that needs no reading comes back unchanged. A heading such as `Question 2:` ends a solution only once it has given an
answer, or cannot be a heading of its own: solutions restate their problem, and split it into questions.

Example::

    read("6*3=18\n#### 18\n\nQuestion: And then?\n#### 25").text          # "6*3=18\n#### 18"
    read("<think>7? No.</think>\nShe has 8 left.").reasoning              # "7? No."
    read("6*3=18\nStep 2: #### 18\n" + 40 * "Step 3: #### 18\n").loops    # True
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sei.answers import Style

CutAt = Literal["end", "next_question", "turn", "end_token", "repetition"]


@dataclass(frozen=True)
class Reading:
    """An output, taken apart.

    `cut_at`: what the solution ends at; `end` is the end of the output. `loops`: the output ended in a loop, which is not part
    of `text`. `unclosed_reasoning`: a reasoning block had no end, so that what might have been a solution is in `reasoning`.
    """

    raw: str
    text: str
    cut_at: CutAt = "end"
    reasoning: str = ""
    unclosed_reasoning: bool = False
    loops: bool = False

    def unfinished(self, truncated: bool) -> bool:
        """Whether the solution lacks its end, given whether the output does (`truncated`: cut at the token limit).

        What comes after the solution may be cut. A loop has no end, whatever is said of the output.
        """
        return self.loops or (truncated and self.cut_at == "end")


def read(output: str, style: Style = "gsm8k") -> Reading:
    """The solution in `output`, and what was taken off it. Takes time linear in the output's length."""
    text, reasoning, unclosed, marker = _unwrapped(output)
    cut_at: CutAt = "end"
    if marker:
        cut_at = "turn" if _TURN_MARKER.search(marker) else "end_token"
    if (heading := _next_heading(text)) is not None:
        text, cut_at = _without_rules(text[: heading[0]]), heading[1]
    loop = _loop_start(text) if cut_at == "end" else None
    if loop is not None and not _is_answer_alone(text[loop : loop + 1000], style):
        # With its line break: an answer before the loop is a whole one.
        return Reading(output, text[:loop], "repetition", reasoning, unclosed, True)
    if (repeated := _repeated_answer(text, style)) is not None:
        text, cut_at = text[:repeated], "repetition"
    return Reading(output, text, cut_at, reasoning, unclosed)


# ------------------------------------------------------------------------------------------- reasoning, special tokens

# A reasoning block is told by a word in the name of its tag, whoever made the tag: <think>, <seed:think>, <|START_THINKING|>,
# <thought_process>, [THINK], and <|END_THINKING|> or </think> at its end.
_THINKS = (
    r"think(?:ing)?|thoughts?|reason(?:ing)?|scratch(?:[_ -]?pad)?|analysis|reflect(?:ion)?|monologue|cot|brainstorm"
)
_NAME = rf"(?:[a-z0-9]{{1,12}}[_:.-]){{0,3}}(?:{_THINKS})(?:[_:.-][a-z0-9]{{1,12}}){{0,2}}(?:[ ](?:[a-z]+=[^<>\n]{{0,80}})?)?"
_ENDS = r"/|end_|(?=[a-z_]{3,40}_(?:end|close)\b)"
# The text of special tokens, as it appears where nobody skipped it: <|im_end|>, </s>, [/INST], <end_of_turn> ...
_SPECIAL = (
    r"<[|｜][A-Za-z][\w▁ ./:-]{2,39}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|begin|end)_of_[a-z]{3,20}>"
    r"|<(?:bos|eos|pad|sep|eot|eom|eod|end|endoftext|im_start|im_end)>|\[(?:EOS|EOT|END|SEP|PAD)\]"
)
# Patterns of where a reasoning block begins and where it ends, to be compiled with IGNORECASE.
REASONING_BEGINS = (
    rf"(?:<|&lt;)[|｜]?{_NAME}[|｜]?(?:>|&gt;)|◁think▷|\[THINK(?:ING)?\]|<\|inner_prefix\|>|<unused94>thought|<\|channel>thought\b"
    r"|<\|channel\|>[ ]?(?:analysis|commentary)\b[^<>\n]{0,80}<\|message\|>|(?-i:\Aanalysis(?=[A-Z]))"
)
REASONING_ENDS = (
    rf"(?:<|&lt;)[|｜]?(?:{_ENDS})[|｜]?[ ]?{_NAME}[|｜]?(?:>|&gt;)|◁/think▷|\[/THINK(?:ING)?\]|<\|inner_suffix\|>|<unused95>"
    r"|<channel\|>|(?-i:assistantfinal(?![a-z]))"
)
_MARK = re.compile(
    rf"(?P<closing>{REASONING_ENDS})|(?P<opening>{REASONING_BEGINS})|(?P<special>{_SPECIAL})", re.IGNORECASE
)
_MAY_MARK = re.compile(r"[<\[◁][|｜/A-Za-z]|<<S|&lt;")  # quick: most outputs have none, nor the two bare words
_TURN_MARKER = re.compile(r"start|INST|SYS|user|human|assistant|system|model|channel|header", re.IGNORECASE)
_ROLE = re.compile(r"\s*(?:assistant|model|bot|final)?\s*", re.IGNORECASE)
_ROLE_LINE = re.compile(r"\s*(?:assistant|model|bot)[ \t]*\n\s*", re.IGNORECASE)


def _unwrapped(output: str) -> tuple[str, str, bool, str]:
    """Text without reasoning blocks up to the first special token after it, the reasoning, whether a block was left open, and
    that special token ("": none). Special tokens and role names before the text go too.

    A block that is closed and was never opened began in the prompt: all before it is reasoning, unless the output closes
    another one properly and nothing follows.
    """
    if not (_MAY_MARK.search(output) or output.startswith("analysis") or "assistantfinal" in output):
        return output, "", False, ""
    kept: list[str] = []
    reasoning: list[str] = []
    position, opening, closed, headed, ending = 0, "", False, False, ""
    last = len(output.rstrip())
    for mark in _MARK.finditer(output):
        if opening and not (mark["closing"] or (opening.startswith("<|channel") and mark[0] == "<|end|>")):
            continue
        piece = output[position : mark.start()]
        position = mark.end()
        if opening:
            reasoning.append(piece)
            opening, closed = "", True
        elif mark["opening"]:
            kept.append(piece)
            opening = mark[0]
        elif mark["special"]:
            kept.append(piece)
            if not _ROLE.fullmatch("".join(kept)):
                ending = mark[0]
                break
            kept, headed = [], True
        elif closed and position >= last:
            kept.append(piece)
        else:
            reasoning += [*kept, piece]
            kept = []
    else:
        (reasoning if opening else kept).append(output[position:])
    if not reasoning and not headed and not ending:
        return output, "", False, ""
    text = "".join(kept)
    if headed:
        text = _ROLE_LINE.sub("", text, count=1) if _ROLE_LINE.match(text) else text
    text = text.lstrip() if reasoning or headed else text
    return (text.rstrip() if ending or opening else text), "".join(reasoning).strip(), bool(opening), ending


# --------------------------------------------------------------------------------------------- next questions and turns

_ASKS = r"Question|Problem|Q|问题|問題|题目|題目|質問|문제|Frage|Aufgabe|Pregunta|Problema|Problème|Вопрос|Задача"
_ASKS_TOO = r"Exercise|Example|Task|Puzzle|Riddle|Query|Instruction|Input|Prompt"
_COUNTED = r"[ ]?(?:(?:No\.?|Number|\#)[ ]?)?(?P<number>[0-9]{1,4})[*_ ]{0,3}(?:[:：.)(–—]|[ ]-[ ]|$)"
_HEADING = re.compile(
    rf"""
    ^[ \t]*+(?=\S)(?P<markup>[>#*_=-][ \t>#*_=-]{{0,12}})?
    (?:
        (?:(?:here(?:'s|[ ]is)|now)[ ])?(?:(?:the|an?|another|next|new|follow-up|similar)[ ]){{0,2}}
        (?P<word>{_ASKS}|{_ASKS_TOO})
        (?: {_COUNTED} | [*_ ]{{0,3}}[:：] | (?P<bare>[*_ ]{{0,3}}$) )
        | (?P<role>Human|User|Assistant|<(?:human|user|bot|assistant)>)[*_ ]{{0,3}}[:：]
        | (?P<alone>(?:human|user|assistant|system)[ \t]*$)
    )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
# Once an answer is given, a next question is told by less: any words that name or announce one, numbered in any way.
_NEXT = (
    r"next|new|another|follow-up|similar|extra|bonus|additional|related|other|different|harder|easier|final|last|more|random"
    r"|word|math(?:s|ematic(?:s|al))?|practice|sample|test|example|challenge"
    r"|two|three|four|five|second|third|fourth|fifth"
)
_LATER_HEADING = re.compile(
    rf"""
    ^[ \t]*+(?=\S)[>#*_=-]{{0,6}}[ \t]*+(?:\(?[0-9]{{1,3}}[.)][ ])?
    (?:
        (?:<(?:{_ASKS}|{_ASKS_TOO})>|\[(?:{_ASKS}|{_ASKS_TOO})\])
        | (?:(?:here(?:'s|[ ]is)|now)[ ])?(?:the[ ])?(?:(?:{_NEXT})[ ]){{0,3}}
          (?:{_ASKS}|{_ASKS_TOO}|Ques?|Inst|Challenge|Follow[ -]up)
          (?:[ ](?:statement|is))?
          (?:[ -]?[(\[#.]{{0,2}}[0-9]{{1,4}}(?:[./][0-9]{{1,4}})?[a-z]?[)\]]{{0,2}}|[ ](?:[IVX]{{1,4}}|[A-Z]|{_NEXT}))?
          [*_ ]{{0,3}}(?:[:：)]|[ ][-–—][ ]|[ \t]*$)
        | (?:(?:try|solve|consider|answer|now|let's|let[ ]us|here[ ]is|here's|can[ ]you|could[ ]you|please|the)\b[^\n.:!?]{{0,40}}
            \b(?:another|next|following|new|similar)|try[ ]this|below[ ]is[ ]an?)
          [ ](?:[a-z-]+[ ]){{0,2}}(?:one|question|problem|exercise|example|task|puzzle|instruction)\b[^\n.:!?]{{0,40}}[.:!?\n]
        | (?:GPT|ChatGPT|AI|Bot|System|Inst)[*_ ]{{0,3}}[:：]
    )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_RULE = frozenset("-=*_~ \t\r")  # of such characters is a line that parts two texts
# Where a turn was decoded without its special tokens, or a model forgot the line break, it follows the answer at once.
_GLUED = re.compile(
    r"(?<=[0-9.!?>)}\]$])"
    r"(?:(?:[Hh]uman|HUMAN|[Uu]ser|USER|[Aa]ssistant)(?:[ ]?:|[ \t]*\n)|(?:Question|Problem|Q)[ ]?[0-9]{0,4}[:.])"
)
_GIVEN = re.compile(
    r"####(?!\#)[ \t]*(?![0-9]+[.)][ \t]+[A-Za-z])(?:[^\sA-Za-z]|[A-J]\b)|\\f?boxed[ ]?\{|<answer>|^[ \t>*_]*A[*_ ]{0,3}:"
    r"|\banswer\b(?:[^\n]{0,80}?(?:\bis\b|\bare\b|[:=])|[*_ \t]*\n)",
    re.IGNORECASE | re.MULTILINE,
)
_WORK = re.compile(r"<<|[0-9][ ]?[-+*/×÷x][ ]?[$(]?[0-9][^\n=]{0,40}=")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n\Z")
_DIGIT = re.compile(r"[0-9]+")


def _next_heading(text: str) -> tuple[int, CutAt] | None:
    """Where a next question or turn begins, and which of the two."""
    end = len(text)
    cut_at: CutAt | None = None
    if (heading := _heading_on_a_line(text)) is not None:
        end, cut_at = heading.start(), "turn" if heading["role"] or heading["alone"] else "next_question"
    if (given := _GIVEN.search(text, 0, end)) is None:
        return None if cut_at is None else (end, cut_at)
    after = text.find("\n", given.end(), end)
    if (
        after >= 0
        and (later := _LATER_HEADING.search(text, after, end)) is not None
        and not _own_count(text, given.start())
    ):
        end, cut_at = later.start(), "next_question"
    if (glued := _GLUED.search(text, given.end(), end)) is not None:
        end, cut_at = glued.start(), "next_question" if glued[0][0] in "QP" else "turn"
    return None if cut_at is None else (end, cut_at)


def _own_count(text: str, end: int) -> bool:
    """Whether the solution counts questions of its own, from 1, before `end`."""
    return any(heading["number"] == "1" and _counts(heading) for heading in _HEADING.finditer(text, 0, end))


def _counts(heading: re.Match[str]) -> bool:
    return bool(heading["number"]) and heading["word"].lower() in ("question", "q")


def _without_rules(text: str) -> str:
    """`text` without the blank lines and the rules (`---`, `===`) at its end."""
    end = len(text)
    while end:
        line = text.rfind("\n", 0, end) + 1
        if line == 0 or not _RULE.issuperset(text[line:end]):
            break
        end = line - 1
    return text[:end].rstrip()


def _heading_on_a_line(text: str) -> re.Match[str] | None:
    """The first heading that belongs to a next question or turn."""
    first = answered = worked = counted = -1
    own_count = False  # the solution counts questions of its own, from 1
    for heading in _HEADING.finditer(text):
        if heading["bare"] is not None and not heading["markup"]:
            continue
        if first < 0:
            first = len(text) - len(text.lstrip())
            given = _GIVEN.search(text)
            answered, worked, counted = (
                found.end() if found else len(text) for found in (given, _WORK.search(text), _DIGIT.search(text))
            )
        counts = _counts(heading)
        if heading.start() > first:
            if heading.start() >= answered:
                if not (own_count and counts):
                    return heading
            elif _stands_apart(heading, text) and _cannot_be_its_own(
                heading, own_count, works=heading.start() >= worked, counts=heading.start() >= counted
            ):
                return heading
        own_count = own_count or (counts and heading["number"] == "1" and heading.start() < answered)
    return None


def _stands_apart(heading: re.Match[str], text: str) -> bool:
    return _BLANK_LINE.search(text, max(0, heading.start() - 8), heading.start()) is not None


def _cannot_be_its_own(heading: re.Match[str], own_count: bool, *, works: bool, counts: bool) -> bool:
    """Whether a heading is the next question's although no answer is marked before it: there only is a computation
    (`works`), or a number (`counts`)."""
    if heading["alone"]:
        return False
    if heading["role"]:
        return counts
    if heading["number"]:
        return re.fullmatch(_ASKS, heading["word"], re.IGNORECASE) is not None and (
            counts and heading["number"] != "1" and not own_count
        )
    return heading["word"].lower() in ("question", "q") and works


_ANSWER_LINE = re.compile(
    r"^[ \t>*_]*+(?=\S)(?:####(?!\#).{1,200}|(?:(?:so|thus|hence|therefore),?[ ])?(?:the[ ])?(?:final[ ])?answer\b.{1,200}"
    r"|[$\\\[( ]*\\f?boxed[ ]?\{.{1,200})$|^(?P<letter>A:.{1,200})$",
    re.IGNORECASE | re.MULTILINE,
)


def _answer_lines(text: str, style: Style) -> Iterator[re.Match[str]]:
    for line in _ANSWER_LINE.finditer(text):
        option = line["letter"] and style != "gsm8k"
        markdown = style == "math" and line[0].lstrip().startswith("####") and not re.search(r"[0-9\\$]", line[0])
        if not option and not markdown:
            yield line


def _repeated_answer(text: str, style: Style) -> int | None:
    """Where an answer line ends that the next answer line repeats; None where there is none."""
    previous: re.Match[str] | None = None
    for line in _answer_lines(text, style):
        if previous is not None and line[0].strip() == previous[0].strip():
            return previous.end()
        previous = line
    return None


def _is_answer_alone(loop: str, style: Style) -> bool:
    """Whether a loop repeats an answer line and nothing else: it comes after a solution, and is none that got stuck."""
    lines = [line for line in loop.splitlines() if line.strip()][:3]
    return len(set(lines)) == 1 and any(line[0] == lines[0] for line in _answer_lines(loop, style))


# --------------------------------------------------------------------------------------------------------------- loops

_WINDOW = 6000  # characters at the end in which a loop is looked for: four rounds of 1,500 characters
_FURTHEST = 200_000  # a loop as long as this leaves nothing before it that is worth reading
_SHORTEST, _ROUNDS = 40, 4  # a loop has at least so many tokens and so many rounds
_TOKEN = re.compile(r"[0-9]+(?:[.,][0-9]+)*|\#+|[^\W\d_]+|[^\s]")
_MARKED = frozenset({"####", "boxed", "answer"})
_BOUNDARY = re.compile(r"\n\s*|(?<=[.!?])\s+")


def _loop_start(text: str) -> int | None:
    """Where the loop begins that the text ends in, None where it ends in none.

    Rounds may differ in the numbers of their labels (`Step 2:`, `Step 3:`), and in all numbers if each gives an answer.
    """
    if not _may_loop(text):
        return None
    offset = max(0, len(text) - _WINDOW)
    _, words = _tokens(text, offset)
    alike = False
    period = _period(words)
    if period is None:
        alike, words = True, _without_numbers(words)
        period = _period(words)
        if period is None or _MARKED.isdisjoint(map(str.casefold, words[-period:])):
            return None
    offset = max(0, len(text) - _FURTHEST)
    starts, words = _tokens(text, offset)
    words = _without_numbers(words) if alike else words
    begin = len(words) - period
    while begin > 0 and words[begin - 1] == words[begin - 1 + period]:
        begin -= 1
    if offset and not begin:
        return 0
    # A round has no beginning of its own: of all places to cut in the first one, the end of a line or sentence is best.
    start = starts[begin]
    boundary = _BOUNDARY.search(text, start, starts[begin + period - 1])
    return boundary.end() if boundary and begin and text[start - 1] != "\n" else start


def _may_loop(text: str) -> bool:
    """A quick look: whether the last characters, numbers aside, stand in the text once more."""
    bare = _DIGIT.sub("", text[-_WINDOW:])
    return len(text) >= _SHORTEST and bare.count(bare[-20:]) > 1


def _tokens(text: str, offset: int) -> tuple[list[int], list[str]]:
    """Starts and texts of the tokens after `offset`, with labels' numbers taken out, without the last, which may be cut."""
    starts: list[int] = []
    words: list[str] = []
    fresh = 0  # tokens since the line began
    end = offset
    for match in _TOKEN.finditer(text, offset):
        start, word = match.start(), match[0]
        fresh = 0 if "\n" in text[end:start] else fresh + 1
        if fresh <= 1 and word[0].isdecimal() and text[match.end() : match.end() + 1] in (":", ".", ")"):
            word = ""
        starts.append(start)
        words.append(word)
        end = match.end()
    return starts[:-1], words[:-1]


def _without_numbers(words: list[str]) -> list[str]:
    return ["" if word[:1].isdecimal() else word for word in words]


def _period(words: list[str]) -> int | None:
    """The period of the end of `words`, if that is long enough for a loop: by the prefix function of the reversed list."""
    backwards = words[::-1]
    borders = [0] * len(backwards)
    border = 0
    for index in range(1, len(backwards)):
        while border and backwards[index] != backwards[border]:
            border = borders[border - 1]
        border += backwards[index] == backwards[border]
        borders[index] = border
        length = index + 1
        if length >= _SHORTEST and length >= _ROUNDS * (length - border):
            return length - border
    return None
