"""Pair: what is right beside what the student wrote, for preference training.

Place in the flow: mistakes, teacher traces, student traces -> **pairs** -> `stages` of preference training. Four kinds, which
compare ever larger pieces of text (SuperCorrect, arXiv 2410.09008, section 4.2, and its baselines; `check` is ours):

    thought    cause and correction of the first wrong step, after the problem and the right steps: the paper's cross-model DPO
    step       the corrected step, without cause, in place of the wrong one, after the same (step-DPO)
    check      the whole check with the step's name, after the problem and the whole wrong solution, which `thought` never shows
    instance   the whole corrected solution against the whole wrong one (plain DPO)

Example::

    pairs(mistakes, teacher_traces, student_traces, thoughts, "thought", style="gsm8k").records[0].chosen
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from sei.answers import Style
from sei.records import Mistake, Pair, Rejected, Trace, content_id
from sei.stage import Output, stage
from sei.stages.trace import reaches_gold
from sei.target.thoughts import Thoughts
from sei.templates import Malformed, Step, one_line, write, write_step

Kind = Literal["thought", "step", "check", "instance"]
LeftOut = Literal[
    "no_teacher_trace",
    "no_step_to_point_at",  # the teacher names none, or one that the solution does not have
    "no_student_trace",  # thought, check: the student's check could not be read
    "student_finds_none",  # thought: the student calls every step right, so there is no thought of it to compare
    "student_right",  # thought, check: the student's correction reaches the gold answer
    "another_step",  # thought: the student speaks of another step, so the two thoughts answer different questions
    "agree",  # both say the same
    "malformed_solution",  # instance: the student's output is no template to put the corrected steps into
]


@stage(Pair, "pairs")
def pairs(
    mistakes: Sequence[Mistake],
    teacher_traces: Sequence[Trace],
    student_traces: Sequence[Trace],
    thoughts: Thoughts,
    kind: Kind,
    *,
    style: Style,
) -> Output[Pair]:
    """One pair a mistake; those left out are rejected as one of `LeftOut`. `thought` and `check` read the student's traces."""
    by_teacher = {trace.mistake_id: trace for trace in teacher_traces}
    by_student = {trace.mistake_id: trace for trace in student_traces}
    right = reaches_gold(student_traces, mistakes, style)
    kept: list[Pair] = []
    rejected: list[Rejected] = []
    for mistake in mistakes:
        teacher, student = by_teacher.get(mistake.id), by_student.get(mistake.id)
        made: Pair | LeftOut
        steps = thoughts.steps(mistake.output)
        if teacher is None:
            made = "no_teacher_trace"
        elif not 0 < teacher.step <= len(steps):
            made = "no_step_to_point_at"
        elif kind == "thought":
            reached = student is not None and right[student.id]
            made = _thought(mistake, steps, teacher, student, thoughts, reached=reached)
        elif kind == "check":
            reached = student is not None and right[student.id]
            made = _check(mistake, steps, teacher, student, thoughts, reached=reached)
        elif kind == "step":
            made = _step(mistake, steps, teacher, thoughts)
        else:
            made = _instance(mistake, teacher, thoughts)
        if isinstance(made, Pair):
            kept.append(made)
        else:
            rejected.append(Rejected.make(mistake.id, made))
    return Output(kept, received=len(mistakes), rejected=rejected)


def _thought(
    mistake: Mistake, steps: list[str], teacher: Trace, student: Trace | None, thoughts: Thoughts, *, reached: bool
) -> Pair | LeftOut:
    if student is None:
        return "no_student_trace"
    if student.step == 0:
        return "student_finds_none"
    if reached:
        return "student_right"
    if student.step != teacher.step:
        return "another_step"
    chosen, rejected = thoughts.thought(teacher), thoughts.thought(student)
    if chosen == rejected or _first(student) == _first(teacher):
        return "agree"
    prompt = thoughts.check(mistake.question, steps[: teacher.step - 1])
    parents = (mistake.id, teacher.id, student.id)
    return _pair(prompt, chosen, rejected, "thought", parents, thoughts.named(teacher.step))


def _check(
    mistake: Mistake, steps: list[str], teacher: Trace, student: Trace | None, thoughts: Thoughts, *, reached: bool
) -> Pair | LeftOut:
    if student is None:
        return "no_student_trace"
    if reached:
        return "student_right"
    chosen, rejected = thoughts.check_response(teacher), thoughts.check_response(student)
    if chosen == rejected:
        return "agree"
    prompt = thoughts.check(mistake.question, steps)
    return _pair(prompt, chosen, rejected, "check", (mistake.id, teacher.id, student.id))


def _step(mistake: Mistake, steps: list[str], teacher: Trace, thoughts: Thoughts) -> Pair | LeftOut:
    style = thoughts.template_style
    right, wrong = steps[: teacher.step - 1], steps[teacher.step - 1]
    if _first(teacher) == wrong:
        return "agree"
    before = "".join(write_step(Step(step), number, style) + "\n" for number, step in enumerate(right, start=1))
    chosen, rejected = (write_step(Step(step), teacher.step, style) for step in (_first(teacher), wrong))
    return _pair(thoughts.solve(mistake.question), chosen, rejected, "step", (mistake.id, teacher.id), before)


def _instance(mistake: Mistake, teacher: Trace, thoughts: Thoughts) -> Pair | LeftOut:
    """What the correction does not touch (keys of right steps, the generalized part) stays the student's on both sides."""
    wrong = thoughts.template(mistake.output)
    if isinstance(wrong, Malformed):
        return "malformed_solution"
    corrected = [Step(line) for line in teacher.correction.split("\n")]
    steps = (*wrong.steps[: teacher.step - 1], *corrected)
    right = dataclasses.replace(wrong, steps=steps, answer=one_line(teacher.answer))
    chosen, rejected = (write(one, thoughts.template_style) for one in (right, wrong))
    if chosen == rejected:
        return "agree"
    return _pair(thoughts.solve(mistake.question), chosen, rejected, "instance", (mistake.id, teacher.id))


def _first(trace: Trace) -> str:
    return trace.correction.split("\n")[0]


def _pair(prompt: str, chosen: str, rejected: str, kind: Kind, parents: tuple[str, ...], prefix: str = "") -> Pair:
    identity = content_id("pair", kind, prompt, prefix, chosen, rejected)
    return Pair(identity, prompt, chosen, rejected, kind, parents, prefix)
