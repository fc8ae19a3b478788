"""Sees to it that the error type's own mistake can be made in a new problem, by making it.

Place in the flow: story + keyphrases of the type -> how well it is aimed. The mistake of a keyphrase is made in the story's
solution (another operation, another number, a step left out, ...), the wrong solution must end in another well-formed answer,
and `diagnose` must call it what the type's mistakes are called.

Example::

    possible(story, "adds a unit price instead of multiplying, for a total cost").score        # 3: in these very words
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from sei.arithmetic import format_number
from sei.records import Mistake, Rejected
from sei.steps import join_steps
from sei.teacher.symbolic.diagnose import diagnose
from sei.teacher.symbolic.quantities import SORTS, read_quantities
from sei.teacher.symbolic.story.tell import Line, Story, step_text

_VERBS = {"adds": "+", "subtracts": "-", "multiplies": "*", "divides": "/"}
_GERUNDS = {"adding": "+", "subtracting": "-", "multiplying": "*", "dividing": "/"}
_NOUNS = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}
_V, _G, _N = ("|".join(words) for words in (_VERBS, _GERUNDS, _NOUNS))
# What a keyphrase says was done: the first pattern that fits. Names of numbers and goals are in no group, so that phrases are the
# same if their groups are.
_REASONS: tuple[tuple[str, str], ...] = (
    ("percentage", r"(\w+) a percentage as if it were an amount"),
    ("round", r"subtracts the wrong way round|divides the wrong way round"),
    ("operation", rf"({_V}) .+ instead of ({_G})"),
    ("late", rf"({_G}) by or with .+ comes too late"),
    ("skip", rf"skips ({_G}) .+ before finding"),
    ("stop", rf"stops (?:several steps )?early, before ({_G})"),
    ("operand", r"(takes) the wrong one of several"),
    ("operand", rf"({_V}) .+ where .+ belongs"),
    ("made up", r"makes up a number in place of|wrong number for|miscopies"),
    ("left out", rf"leaves .+ out of an? ({_N})"),
    ("extra", rf"({_V}) .+ that does not belong"),
    ("two", rf"({_V}) .+ which are not the ones needed|({_V}) .+, which the problem does not relate"),
    ("two", r"chooses the wrong amounts to (add|subtract|multiply|multiplie|divide)"),
    ("unit", r"divide[s]? .*by 100|unconverted|converts hours|loses a factor"),
    ("slip", rf"({_N}) of (.+) miscalculated"),
    ("cut", rf"rounds or cuts off the result of an? ({_N})|final answer rounded or cut"),
    ("after", rf"goes on after the answer and ({_V})"),
    ("comma", r"cut off at the thousands comma"),
    ("intermediate", r"gives an intermediate result|final answer is not the last"),
)
_COMPILED = tuple((reason, re.compile(pattern)) for reason, pattern in _REASONS)
_GOAL = re.compile(r",? (?:for|when finding|before finding|to find) [^,]*$")
_MOST_TRIED = 6  # wrong solutions diagnosed for one story


@dataclass(frozen=True)
class Aim:
    """How well a story is aimed at a keyphrase: 3 its very words, 2 but for the goal, 1 but for the numbers' names, 0 not."""

    score: int
    wrong: str = ""  # the solution with the mistake


@lru_cache(maxsize=4096)
def reason_of(phrase: str) -> tuple[str, tuple[str, ...]]:
    """What was done wrong, and the operations in question; "any" for mistakes that any problem allows."""
    for reason, pattern in _COMPILED:
        if match := pattern.search(phrase):
            return reason, tuple(group for group in match.groups() if group)
    return "any", ()


def operation_wanted(phrase: str) -> tuple[str, bool | None]:
    """The operation that a story needs for the mistake ("": none), and whether it comes last (None: anywhere)."""
    reason, groups = reason_of(phrase)
    if reason == "stop":
        return _GERUNDS[groups[0]], True
    if reason == "skip":
        return _GERUNDS[groups[0]], False
    if reason == "percentage":
        return f"{_VERBS.get(groups[0], '-')}%", None
    word = groups[-1] if groups else ""
    if reason == "slip":
        word = groups[0]
    return {**_VERBS, **_GERUNDS, **_NOUNS}.get(word, ""), None


def possible(story: Story, phrase: str, others: Sequence[str] = ()) -> Aim:
    """The best way found to make a mistake of the sort of `phrase` in the story: that one, or one of the type's `others`."""
    reason, groups = reason_of(phrase)
    if reason == "any":
        return Aim(1)
    if reason == "comma":
        return Aim(3 if story.answer >= 1000 else 0)
    gold = join_steps(story.steps(visible=False), format_number(story.answer))
    named = not _sorts(phrase) - {quantity.sort for quantity in read_quantities(story.question)}
    best, tried = Aim(0), 0
    for lines in _mistakes(story, reason, groups, phrase):
        if not _well_formed(lines, story.answer, reason):
            continue
        # The answer is the last result, or an earlier one that is given instead of it.
        answer = format_number(lines[-1 if reason != "intermediate" else -2].value)
        wrong = join_steps([step_text(line, visible=False) for line in lines], answer)
        if (
            reason == "left out"
        ):  # `diagnose` takes a sum without one number for a right part of it, and says what comes later
            return Aim(1, wrong)
        mistake = Mistake("", "", "", story.question, format_number(story.answer), gold, wrong, answer)
        found = diagnose(mistake)
        if not isinstance(found, Rejected):
            score = max(_likeness(phrase, other, others) for other in found.keyphrases)
            if score == 1 and not named:  # the same mistake, but not with numbers of this sort
                score = 0
            best = max(best, Aim(score, wrong), key=lambda aim: aim.score)
        tried += 1
        if best.score >= 2 or tried == _MOST_TRIED:
            break
    return best


def _likeness(phrase: str, other: str, others: Sequence[str]) -> int:
    if phrase == other or other in others:
        return 3
    if (kernel := _kernel(other)) == _kernel(phrase) or kernel in map(_kernel, others):
        return 2
    return int(reason_of(phrase) == reason_of(other))


@lru_cache(maxsize=4096)
def _sorts(phrase: str) -> frozenset[str]:
    """The sorts of stated numbers that a keyphrase names."""
    return frozenset(sort for sort in SORTS if re.search(rf"\b{sort}\b", _kernel(phrase)))


@lru_cache(maxsize=16384)
def _kernel(phrase: str) -> str:
    """A keyphrase without what the step is for."""
    return _GOAL.sub("", phrase)


def _well_formed(lines: Sequence[Line], answer: Fraction, reason: str) -> bool:
    last = lines[-1].value
    if last == answer and reason not in ("after", "intermediate"):
        return False
    if reason == "round":
        return True
    return all(line.value > 0 and (line.value * 100).denominator == 1 for line in lines)


# -- making mistakes -------------------------------------------------------------------------------------------------------


def _mistakes(story: Story, reason: str, groups: tuple[str, ...], phrase: str) -> Iterator[list[Line]]:
    """Solutions with the mistake, the later lines going on with the wrong result."""
    lines = story.lines
    if reason == "stop":
        for cut in range(len(lines) - 1, 0, -1):
            if _op(lines[-1]) == _GERUNDS[groups[0]]:
                yield list(lines[:cut])
        return
    if reason == "intermediate":
        if len(lines) > 1 and lines[-2].value != story.answer:
            yield list(lines)
        return
    if reason == "after":
        numbers = [term for line in lines for term in line.terms[::2] if isinstance(term, Fraction)]
        for number in dict.fromkeys(numbers):
            if (line := _line(lines[-1], (story.answer, _VERBS[groups[0]], number))) is not None:
                yield [*lines, line]
        return
    for index in range(len(lines)):
        for wrong in _wrong_lines(story, index, reason, groups, phrase):
            if wrong is not None:
                yield _going_on(lines, index, wrong, drop=reason in ("skip", "percentage"))


def _wrong_lines(story: Story, index: int, reason: str, groups: tuple[str, ...], phrase: str) -> Iterator[Line | None]:
    line = story.lines[index]
    op, terms = _op(line), line.terms
    if reason == "operation" and op == _GERUNDS[groups[1]]:
        yield _line(line, tuple(_VERBS[groups[0]] if isinstance(term, str) else term for term in terms))
    elif reason == "percentage":
        for place, source in enumerate(line.sources):  # 80 - 25 in place of 80 - 20, which is 25 percent of it
            if source is not None and story.lines[source].terms[-1] == 100 and op == _VERBS.get(groups[0]):
                yield _line(line, _put(terms, place, story.lines[source].terms[-3]))
    elif reason == "round" and op in phrase_op(phrase):
        yield _line(line, terms[::-1])
    elif reason == "skip":
        for place, source in enumerate(line.sources):
            if source is not None and _op(story.lines[source]) == _GERUNDS[groups[0]]:
                for term in story.lines[source].terms[::2]:
                    yield _line(line, _put(terms, place, term))
    elif reason in ("operand", "late") and (groups[0] == "takes" or reason == "late" or _VERBS[groups[0]] == op):
        for place in range(len(terms) // 2 + 1):
            for number in _others(story, index):
                yield _line(line, _put(terms, place, number))
    elif reason == "made up":
        for place, term in enumerate(terms[::2]):
            if isinstance(term, Fraction) and line.sources[place] is None:
                yield _line(line, _put(terms, place, term + (10 if "miscopies" in phrase else 7)))
    elif reason == "left out" and op == _NOUNS[groups[0]] and len(terms) > 3:
        for place in range(len(terms) // 2 + 1):
            kept = terms[2:] if place == 0 else terms[: 2 * place - 1] + terms[2 * place + 1 :]
            yield _line(line, kept)
    elif reason == "extra" and op == _VERBS[groups[0]]:
        for number in _others(story, index):
            yield _line(line, (*terms, op, number))
    elif reason == "two":
        wanted = {"add": "+", "subtract": "-", "multiply": "*", "multiplie": "*", "divide": "/"} | _VERBS
        numbers = _others(story, index)
        for first in numbers:
            for second in (*numbers, *(term for term in terms[::2] if isinstance(term, Fraction))):
                if "chooses" in phrase and op == wanted[groups[0]] and first != second:
                    yield _line(line, (terms[0], op, first, op, second))
                elif first != second and (op == wanted[groups[0]] or "relate" in phrase):
                    yield _line(line, (first, wanted[groups[0]], second))
    elif reason == "unit":
        for factor in (100, 60, 1000):
            if 100 in terms or factor in terms:
                yield _line(line, terms[:-2]) if len(terms) > 3 else _line(line, terms[:1])
    elif reason == "slip" and op == _NOUNS[groups[0]]:
        off = 1 if "carry" in phrase else 3
        yield replace(line, value=line.value * 10 if "zeros" in phrase else line.value + off)
    elif reason == "cut" and line.value.denominator != 1 and (not groups or op == _NOUNS[groups[0]]):
        yield replace(line, value=Fraction(int(line.value)))


def phrase_op(phrase: str) -> str:
    """The operation that a phrase about the wrong way round speaks of."""
    return "-" if phrase.startswith("subtracts") else "/"


def _others(story: Story, index: int) -> list[Fraction]:
    """The numbers of the problem, and results before this line, that the line does not use."""
    own = set(story.lines[index].terms)
    found = [
        term
        for line in story.lines
        for term, source in zip(line.terms[::2], line.sources, strict=True)
        if source is None and isinstance(term, Fraction)
    ]
    found += [line.value for line in story.lines[:index]]
    return [number for number in dict.fromkeys(found) if number not in own]


def _going_on(lines: Sequence[Line], index: int, wrong: Line, *, drop: bool) -> list[Line]:
    """The solution with line `index` wrong, and what follows from it; a line that nothing uses any more is dropped."""
    changed = {index: wrong.value}
    written = list(lines[:index])
    if drop and index and index - 1 in lines[index].sources:
        written = written[:-1]
    written.append(wrong)
    for place in range(index + 1, len(lines)):
        terms = list(lines[place].terms)
        for number, source in enumerate(lines[place].sources):
            if source in changed:
                terms[2 * number] = changed[source]
        after = _line(lines[place], tuple(terms))
        if after is None:
            return [*written, replace(lines[place], value=Fraction(-1))]
        changed[place] = after.value
        written.append(after)
    return written


def _op(line: Line) -> str:
    """The operation of a line; a percentage is a division by 100 last."""
    operators = [term for term in line.terms[1::2] if isinstance(term, str)]
    return operators[-1] if operators else ""


def _put(terms: tuple[Fraction | str, ...], place: int, number: Fraction | str) -> tuple[Fraction | str, ...]:
    return (*terms[: 2 * place], number, *terms[2 * place + 1 :])


def _line(line: Line, terms: tuple[Fraction | str, ...]) -> Line | None:
    """The line with another calculation; None if it has no value."""
    if len(terms) < 3:
        return None
    value = Fraction(terms[0])
    for op, number in zip(terms[1::2], terms[2::2], strict=True):
        other = Fraction(number)
        if op == "/" and not other:
            return None
        value = (
            value + other
            if op == "+"
            else value - other
            if op == "-"
            else value * other
            if op == "*"
            else value / other
        )
    return replace(line, terms=terms, value=value)
