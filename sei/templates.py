r"""Thought templates: SuperCorrect's hierarchical solutions, read strictly and written in five styles.

Place in the flow: problems -> teacher -> **thought templates** -> training rows, and back: what the tuned target writes is
read here, graded from its answer, and taken apart into steps (arXiv 2410.09008, sections 3.1 and 4).

The five styles are the paper's ablation of prompts. Each differs from the one before in one thing:

    cot                        one step a line, last line `#### answer`
    hierarchical               + under a hard step, its key, indented
    hierarchical_generalized   + before the answer, after an empty line, the general approach
    not_xml                    the same parts, each behind a label (`Step 1:`, `Key:`, `Generalized:`, `Answer:`)
    xml                        the same parts in tags instead of labels: the paper's form, the default

Every part is one line of text. Escaping: mathematics is written as it is (`a<b`, `x & y`, `<<3*4=12>>`), since only the tags
named in `TAGS` are markup. A text that holds such a tag itself is shielded by a backslash, `<\Key>`, which reading takes
away again; in the styles without tags a line that begins like a label is shielded the same way. No XML parser is
involved, so there are no entities to expand.

Example::

    template = parse("<Step1>2+3=5<Key>Add.</Key></Step1>\n<Generalized>Join parts.</Generalized>\n<Answer>5</Answer>")
    template.steps[0].key              # "Add."
    write(template, "cot")             # "2+3=5\n#### 5"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sei import answers
from sei.records import Trace, content_id
from sei.steps import join_steps

TemplateStyle = Literal["cot", "hierarchical", "hierarchical_generalized", "not_xml", "xml"]
STYLES: tuple[TemplateStyle, ...] = get_args(TemplateStyle)
WITH_KEYS: tuple[TemplateStyle, ...] = ("hierarchical", "hierarchical_generalized", "not_xml", "xml")
WITH_GENERALIZED: tuple[TemplateStyle, ...] = ("hierarchical_generalized", "not_xml", "xml")

Fault = Literal[
    "no_steps",
    "step_number",  # steps must be numbered 1, 2, ... without gaps
    "nested_steps",
    "unclosed_tag",
    "misplaced_tag",  # a closing tag without its opening one, a key outside a step, a part out of order
    "two_keys",
    "two_generalized",
    "two_answers",
    "text_outside_tags",
    "empty_part",
    "no_generalized",
    "no_answer",
    "no_step_named",  # of checks, see `sei.target.thoughts`
]
PartName = Literal["step", "key", "generalized", "answer"]


@dataclass(frozen=True)
class Malformed:
    """Why a text is not what it should be: `reason` is a ledger's code, `detail` is fit to show to its author."""

    reason: Fault
    detail: str


@dataclass(frozen=True)
class Step:
    """One step of a template. `key` explains a hard one. Both are one line of text without space around it."""

    text: str
    key: str | None = None

    def __post_init__(self) -> None:
        _check_line("a step's text", self.text)
        if self.key is not None:
            _check_line("a step's key", self.key)


@dataclass(frozen=True)
class ThoughtTemplate:
    """A solution in steps, the approach in general terms ("" in styles without it), and the answer."""

    steps: tuple[Step, ...]
    generalized: str
    answer: str

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a thought template needs at least one step")
        if self.generalized:
            _check_line("the generalized part", self.generalized)
        _check_line("the answer", self.answer)

    @property
    def hard(self) -> tuple[int, ...]:
        """The 1-based numbers of the steps that carry a key."""
        return tuple(number for number, step in enumerate(self.steps, start=1) if step.key is not None)

    @property
    def solution(self) -> str:
        """The steps without keys as a solution in GSM8K's format."""
        return join_steps([step.text for step in self.steps], self.answer)

    def in_style(self, style: TemplateStyle) -> ThoughtTemplate:
        """What is left of it when it is written in `style` and read again."""
        steps = self.steps if style in WITH_KEYS else tuple(Step(step.text) for step in self.steps)
        return ThoughtTemplate(steps, self.generalized if style in WITH_GENERALIZED else "", self.answer)


def one_line(text: str) -> str:
    """`text` with every run of blank space, line breaks too, as one space."""
    return " ".join(text.split())


def _check_line(what: str, text: str) -> None:
    if not text or text != one_line(text):
        raise ValueError(f"{what} must be one line of text without extra space, found {text!r}: use one_line()")


# Writing


def write(template: ThoughtTemplate, style: TemplateStyle = "xml") -> str:
    """The template in `style`; what the style does not show is left out. Raises ValueError if it shows what is not there."""
    shown = template.in_style(style)
    if style in WITH_GENERALIZED and not shown.generalized:
        raise ValueError(f"style {style} needs a generalized part, and this template has none")
    steps = [write_step(step, number, style) for number, step in enumerate(shown.steps, start=1)]
    if style == "xml":
        parts = [enclose("Generalized", shown.generalized), enclose("Answer", shown.answer)]
    elif style == "not_xml":
        parts = [f"Generalized: {shown.generalized}", f"Answer: {shown.answer}"]
    else:
        general = ["", _shield_line(shown.generalized)] if shown.generalized else []
        parts = [*general, f"#### {shown.answer}"]
    return "\n".join([*steps, *parts])


def write_step(step: Step, number: int, style: TemplateStyle = "xml") -> str:
    """One step as it stands in a template of `style`."""
    key = step.key if style in WITH_KEYS else None
    if style == "xml":
        inner = "" if key is None else enclose("Key", key)
        return f"<Step{number}>{shield(step.text)}{inner}</Step{number}>"
    if style == "not_xml":
        return f"Step {number}: {step.text}" + ("" if key is None else f"\nKey: {key}")
    return _shield_line(step.text) + ("" if key is None else f"\n  {key}")


TAGS = r"(?:Step[0-9]{1,4}|Key|Generalized|Answer|Cause|Correction)"
_SHIELD = re.compile(rf"<(?=\\*/?{TAGS}>)")
_UNSHIELD = re.compile(rf"<\\(?=\\*/?{TAGS}>)")
_LABEL = r"(?:####|(?:Step [0-9]+|Key|Generalized|Answer|A):)"
_LABEL_START = re.compile(rf"\\*(?={_LABEL})")


def enclose(tag: str, text: str) -> str:
    """`text` in a tag, shielded."""
    return f"<{tag}>{shield(text)}</{tag}>"


def shield(text: str) -> str:
    r"""`text` so that none of it reads as a tag: `<Key>` becomes `<\Key>`, and `<\Key>` becomes `<\\Key>`."""
    return _SHIELD.sub(lambda match: "<\\", text)


def unshield(text: str) -> str:
    """The text that `shield` was given."""
    return _UNSHIELD.sub("<", text)


def _shield_line(text: str) -> str:
    return "\\" + text if _LABEL_START.match(text) else text


def _unshield_line(text: str) -> str:
    return text[1:] if text.startswith("\\") and _LABEL_START.match(text) else text


# Reading


def parse(text: str, style: TemplateStyle = "xml") -> ThoughtTemplate | Malformed:
    """The template that `text` is, or what is wrong with it. Blank space around tags, and more of it within, is no fault."""
    parts = _tagged(text) if style == "xml" else _lines(text, style)
    steps: list[Step] = []
    generalized, answer = "", ""
    for part in parts:
        if isinstance(part, Malformed):
            return part
        name, content, number = part
        if not content:
            return Malformed("empty_part", f"an empty part ({name}) after step {len(steps)}")
        if answer:
            return Malformed(
                "two_answers" if name == "answer" else "misplaced_tag", f"a part ({name}) after the answer"
            )
        if name == "answer":
            answer = content
        elif generalized:
            fault: Fault = "two_generalized" if name == "generalized" else "misplaced_tag"
            return Malformed(fault, f"a part ({name}) between the generalized part and the answer")
        elif name == "generalized":
            generalized = content
        elif name == "step":
            if number != len(steps) + 1:
                return Malformed("step_number", f"after step {len(steps)} comes step {number}")
            steps.append(Step(content))
        elif not steps:
            return Malformed("misplaced_tag", "a key before the first step")
        elif steps[-1].key is not None:
            return Malformed("two_keys", f"step {len(steps)} has a second key")
        else:
            steps[-1] = Step(steps[-1].text, content)
    if not steps:
        return Malformed("no_steps", "there is no step")
    if style in WITH_GENERALIZED and not generalized:
        return Malformed("no_generalized", "there is no generalized part after the steps")
    if not answer:
        return Malformed("no_answer", "there is no answer at the end")
    return ThoughtTemplate(tuple(steps), generalized, answer)


Part = tuple[PartName, str, int]  # what it is, its text, and the number of a step (0 for other parts)
_TAG = re.compile(rf"<(?P<slash>/?)(?P<name>{TAGS})>")
_LABELLED = re.compile(r"(?P<label>Step (?P<number>[0-9]{1,4})|Key|Generalized|Answer):(?P<text>.*)", re.DOTALL)


def _tagged(text: str) -> Iterator[Part | Malformed]:
    """The parts of a text with tags; a step comes before its key. Ends with the first fault."""
    open_tag, in_key, position = "", False, 0
    content: list[str] = []
    keys: list[str] = []
    for tag in _TAG.finditer(text):
        piece, name, closes = text[position : tag.start()], tag["name"], bool(tag["slash"])
        position = tag.end()
        if not open_tag and piece.strip():
            yield Malformed("text_outside_tags", f"text before <{tag['slash']}{name}>: {piece.strip()[:40]!r}")
            return
        if in_key:
            keys[-1] += piece
        else:
            content.append(piece)
        is_key = name == "Key"
        if closes and name == ("Key" if in_key else open_tag):
            if in_key:
                in_key = False
                continue
            yield _part(name, content)
            for key in keys:
                yield "key", one_line(unshield(key)), 0
            open_tag, keys = "", []
        elif closes:
            fault: Fault = "unclosed_tag" if open_tag else "misplaced_tag"
            yield Malformed(fault, f"</{name}> where {f'</{open_tag}>' if open_tag else 'no tag'} is open")
            return
        elif is_key and open_tag.startswith("Step") and not in_key:
            in_key = True
            keys.append("")
        elif open_tag and not is_key:
            nested = name.startswith("Step") and open_tag.startswith("Step")
            yield Malformed("nested_steps" if nested else "unclosed_tag", f"<{name}> inside <{open_tag}>")
            return
        elif is_key or name in ("Cause", "Correction"):
            yield Malformed("misplaced_tag", f"<{name}> does not belong here")
            return
        else:
            open_tag, content = name, []
    if open_tag:
        yield Malformed("unclosed_tag", f"<{'Key' if in_key else open_tag}> is not closed")
    elif text[position:].strip():
        yield Malformed("text_outside_tags", f"text at the end: {text[position:].strip()[:40]!r}")


def _part(name: str, content: Sequence[str]) -> Part:
    text = one_line(unshield(" ".join(content)))
    if name.startswith("Step"):
        return "step", text, int(name.removeprefix("Step"))
    return ("generalized" if name == "Generalized" else "answer"), text, 0


def _lines(text: str, style: TemplateStyle) -> Iterator[Part | Malformed]:
    """The parts of a text without tags. Ends with the first fault."""
    steps, general = 0, False
    for line in text.strip("\n").split("\n"):
        if style == "not_xml":
            match = _LABELLED.fullmatch(line)
            if match is None:
                yield Malformed("text_outside_tags", f"a line without label: {line[:40]!r}")
                return
            number = int(match["number"] or 0)
            label: PartName = "step" if number else match["label"].lower()  # type: ignore[assignment]
            yield label, one_line(match["text"]), number
        elif line.startswith("####"):
            yield "answer", one_line(line.removeprefix("####")), 0
        elif not line.strip() and style == "hierarchical_generalized" and not general:
            general = True
        elif line.startswith(" ") and style != "cot":
            yield "key", one_line(line), 0
        elif general:
            yield "generalized", one_line(_unshield_line(line)), 0
        else:
            steps += 1
            yield "step", one_line(_unshield_line(line)), steps


# What a model wrote, well-formed or not


def answer_of(text: str, style: TemplateStyle = "xml") -> str | None:
    """The answer of a template, whatever else is wrong with it; None where it has none, an open one, or more than one."""
    found = _answer(text, style)
    return found[0] if found else None


def answer_line(text: str, style: TemplateStyle = "xml", grading: answers.Style = "gsm8k") -> str:
    """What `sei.answers.grade` should read of a template in place of its text: the answer behind a marker, or "".

    So an output without an answer part is graded no_answer, or truncated where it was cut; numbers of its steps are
    never taken for an answer.
    """
    found = _answer(text, style)
    if found is None:
        return ""
    answer, complete = found
    return marked(answer, grading) if complete else f"#### {answer}"


def marked(answer: str, grading: answers.Style) -> str:
    """An answer behind a marker that `sei.answers.grade` takes for a complete answer of that kind."""
    if grading == "math":
        return f"\\boxed{{{answer}}}"
    return f"#### {answer}\n"


def _answer(text: str, style: TemplateStyle) -> tuple[str, bool] | None:
    """The only answer of a text, and whether what follows it shows that it was not cut."""
    if style == "xml":
        closed = _CLOSED_ANSWER.findall(text)
        content = one_line(unshield(closed[0])) if len(closed) == 1 else ""
        return (content, True) if content else None
    lines = (_ANSWER_LABEL if style == "not_xml" else _ANSWER_MARK).findall(text)
    if len(lines) != 1 or not lines[0][0].strip():
        return None
    return one_line(lines[0][0]), bool(lines[0][1])


_CLOSED_ANSWER = re.compile(r"<Answer>((?:(?!</?Answer>).)*)</Answer>", re.DOTALL)
_ANSWER_LABEL = re.compile(r"^Answer:(.*)(\n?)", re.MULTILINE)
_ANSWER_MARK = re.compile(r"^####(.*)(\n?)", re.MULTILINE)
_CLOSED_STEP = re.compile(r"<Step([0-9]{1,4})>((?:(?!</?Step[0-9]).)*)</Step\1>", re.DOTALL)
_KEY = re.compile(r"<Key>.*?(?:</Key>|$)", re.DOTALL)


def steps_of(text: str, style: TemplateStyle = "xml") -> list[str]:
    """The texts of a template's steps, without keys, as far as they can be told: for outputs that may be malformed."""
    if style == "xml":
        found = [unshield(_KEY.sub(" ", match[2])) for match in _CLOSED_STEP.finditer(text)]
    else:
        parts = _lines(text, style)
        found = [part[1] for part in parts if not isinstance(part, Malformed) and part[0] == "step"]
    return [line for line in map(one_line, found) if line]


def make_trace(mistake_id: str, author: str, step: int, cause: str, correction: str, answer: str) -> Trace:
    """A trace with the id of its content; `correction` holds one step a line, without numbers."""
    lines = "\n".join(filter(None, map(one_line, correction.split("\n"))))
    parts = (mistake_id, author, step, one_line(cause), lines, answer)
    return Trace(content_id("trace", *parts), *parts)
