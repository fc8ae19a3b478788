"""The target's thoughts: templates it solves with, and checks that find and mend a wrong step.

Place in the flow: `stages.template` and `stages.trace` make training rows and pairs of these texts, `stages.trace` and
`stages.second` ask the target with them and read what it answers (SuperCorrect, arXiv 2410.09008, section 4). One text serves
three ends: the response to a check is what the second pass reads, its cause and correction are what preference training
compares, so that what is trained is what is asked later::

    Step 2.
    <Cause>Step 2 adds where it should subtract.</Cause>
    <Correction>
    Step 2: Ann has <<12-2=10>>10 apples left.
    </Correction>
    <Answer>10</Answer>

The style `plain` keeps the words around it that the embedded target knows from pretraining (`formats.correct`).

Example::

    thoughts = Thoughts("plain")
    thoughts.read_check(thoughts.check_response(trace))       # the trace's step, cause, correction and answer
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sei import answers, prompts
from sei.reading import Reading, read
from sei.records import Template, Trace
from sei.steps import join_steps, number_steps
from sei.target.formats import STOP
from sei.templates import (
    Malformed,
    TemplateStyle,
    ThoughtTemplate,
    answer_line,
    answer_of,
    enclose,
    one_line,
    parse,
    shield,
    steps_of,
    unshield,
)

ALL_RIGHT = "All steps are right."


@dataclass(frozen=True)
class Check:
    """What a check finds: the first wrong step, 0 for none. `correction` holds one step a line, without numbers."""

    step: int
    cause: str = ""
    correction: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Thoughts:
    """Prompts and responses of templates and checks, in one style of prompt and one style of template."""

    style: Literal["plain", "alpaca"]
    template_style: TemplateStyle = "xml"

    # Solving

    def solve(self, question: str) -> str:
        """The prompt for a template."""
        return self._load(f"template_{self.template_style}").fill(question=question)

    @staticmethod
    def solve_response(template: Template) -> str:
        """The response to `solve`; the template's text must be in this object's template style."""
        return template.text.strip()

    @property
    def stop(self) -> tuple[str, ...]:
        """Where generation ends at the latest."""
        return STOP[self.style]

    def read_answer(self, output: str, grading: answers.Style = "gsm8k") -> str:
        """What to grade of an output: its answer part alone, see `templates.answer_line`."""
        return answer_line(read(output, grading).text, self.template_style, grading)

    @staticmethod
    def read(output: str) -> Reading:
        """The template in an output, well-formed or not."""
        return read(output)

    def steps(self, output: str) -> list[str]:
        """The steps of an output without their keys, as far as it can be read; empty where none can."""
        return steps_of(self.read(output).text, self.template_style)

    def template(self, output: str) -> ThoughtTemplate | Malformed:
        """The template that an output is, or what is wrong with it."""
        return parse(self.read(output).text, self.template_style)

    def solution(self, output: str) -> str:
        """An output as a solution in GSM8K's format, which teachers read; unchanged where it holds no readable step."""
        own = self.read(output).text
        steps, answer = steps_of(own, self.template_style), answer_of(own, self.template_style)
        if not steps:
            return output
        return "\n".join(steps) if answer is None else join_steps(steps, answer)

    # Checking

    def check(self, question: str, steps: Sequence[str]) -> str:
        """The prompt that asks to verify a solution step by step."""
        return self._load("check").fill(question=question, steps=number_steps(steps))

    @classmethod
    def check_response(cls, trace: Trace) -> str:
        """The response to `check`: where the solution goes wrong, or that it does not."""
        if trace.step == 0:
            return ALL_RIGHT
        return f"{cls.named(trace.step)}{cls.thought(trace)}"

    @staticmethod
    def named(step: int) -> str:
        """The line that names the wrong step: the start of a `check_response`, and the prefix of preference training."""
        return f"Step {step}.\n"

    @staticmethod
    def read_check(text: str) -> Check | Malformed:
        """The check that `text` is, or what is wrong with it; nothing may stand around or between its parts."""
        return _read_check(read(text).text)

    @staticmethod
    def thought(trace: Trace) -> str:
        """Cause, correction and answer of a trace: its `check_response` after the step's name, which `named` gives."""
        steps = number_steps(trace.correction.split("\n"), first=trace.step)
        parts = (enclose("Cause", trace.cause), f"<Correction>\n{shield(steps)}\n</Correction>")
        return "\n".join([*parts, enclose("Answer", trace.answer)])

    def reflect(self, question: str, steps: Sequence[str]) -> str:
        """Reflexion's prompt for a second try: the earlier solution, said to be wrong, then `solve`."""
        fill = self._load("reflect").fill
        return fill(question=question, steps=number_steps(steps), solve=self.solve(question))

    def fingerprint(self) -> dict[str, Any]:
        """Both styles, and the hash of each prompt file."""
        names = (f"template_{self.template_style}", "check", "reflect")
        prompts_used = {name: self._load(name).hash for name in names}
        return {"style": self.style, "template_style": self.template_style, "prompts": prompts_used}

    def _load(self, name: str) -> prompts.Prompt:
        return prompts.load(f"target/{self.style}/{name}")


_CHECK_TAG = re.compile(r"<(/?)(Cause|Correction|Answer|Key|Generalized|Step[0-9]{1,4})>")
_STEP_NAMED = re.compile(r"Step ([1-9][0-9]{0,3})\.\s*")
_ORDER = ("Cause", "Correction", "Answer")


def _read_check(text: str) -> Check | Malformed:
    text = text.strip()
    if text == ALL_RIGHT:
        return Check(0)
    named = _STEP_NAMED.match(text)
    if named is None:
        return Malformed("no_step_named", f"neither {ALL_RIGHT!r} nor 'Step k.' at the start: {text[:40]!r}")
    step, position = int(named[1]), named.end()
    contents: list[str] = []
    open_tag = ""
    for tag in _CHECK_TAG.finditer(text, position):
        slash, name = tag.groups()
        piece, position = text[position : tag.start()], tag.end()
        if slash:
            if name != open_tag:
                return Malformed("unclosed_tag" if open_tag else "misplaced_tag", f"</{name}> closes nothing")
            contents.append(unshield(piece).strip())
            open_tag = ""
            if not contents[-1]:
                return Malformed("empty_part", f"<{name}> is empty")
            continue
        if open_tag:
            return Malformed("unclosed_tag", f"<{name}> inside <{open_tag}>")
        if piece.strip():
            return Malformed("text_outside_tags", f"text before <{name}>: {piece.strip()[:40]!r}")
        if len(contents) == len(_ORDER):
            return Malformed("two_answers" if name == "Answer" else "misplaced_tag", f"<{name}> after the answer")
        if name != _ORDER[len(contents)]:
            return Malformed("misplaced_tag", f"<{name}> where <{_ORDER[len(contents)]}> belongs")
        open_tag = name
    if open_tag:
        return Malformed("unclosed_tag", f"<{open_tag}> is not closed")
    if text[position:].strip():
        return Malformed("text_outside_tags", f"text at the end: {text[position:].strip()[:40]!r}")
    if len(contents) < len(_ORDER):
        return Malformed("no_answer", f"there is no <{_ORDER[len(contents)]}>")
    cause, correction, answer = contents
    steps = _unnumbered(correction, step)
    if isinstance(steps, Malformed):
        return steps
    return Check(step, one_line(cause), "\n".join(steps), one_line(answer))


def _unnumbered(correction: str, first: int) -> list[str] | Malformed:
    """The steps of a correction without their labels, which must count on from `first`."""
    steps = []
    for number, line in enumerate(filter(None, map(one_line, correction.split("\n"))), start=first):
        label = f"Step {number}:"
        if not line.startswith(label):
            return Malformed("step_number", f"a line of the correction does not begin with {label!r}: {line[:40]!r}")
        if line == label:
            return Malformed("empty_part", f"step {number} of the correction is empty")
        steps.append(line.removeprefix(label).strip())
    return steps
