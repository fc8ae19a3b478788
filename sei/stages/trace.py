"""Trace: teacher and student each say where a mistake goes wrong, why, and how it should go on.

Place in the flow: mistakes -> **teacher traces**, **student traces** -> pairs (SuperCorrect, arXiv 2410.09008, section 4.2). The
teacher knows the gold solution, the student is asked what it will be asked in its second pass. How often the student finds
the step and reaches the answer is the paper's locate correctness and correction accuracy (`locate`).

Example::

    traces = student_traces(mistakes, engine, thoughts, sampling).records
    locate(mistakes, diagnoses, traces, style="gsm8k")["located"]["mean"]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sei.answers import Style, grade_many
from sei.records import Diagnosis, Mistake, Rejected, Trace, Verdict
from sei.stage import Output, stage
from sei.statistics import wilson_interval
from sei.target.engine import Completion, Engine, Query, Sampling
from sei.target.thoughts import Thoughts
from sei.teacher.review import Author
from sei.templates import Malformed, make_trace, marked


def as_solutions(mistakes: Sequence[Mistake], thoughts: Thoughts) -> list[Mistake]:
    """The mistakes with their outputs as solutions in GSM8K's format, under the same ids: what teachers read."""
    return [dataclasses.replace(mistake, output=thoughts.solution(mistake.output)) for mistake in mistakes]


@stage(Trace, "traces")
def trace(mistakes: Sequence[Mistake], author: Author, thoughts: Thoughts) -> Output[Trace]:
    """The teacher's traces, one a mistake, not yet inspected; what it cannot treat is rejected with its reason."""
    results = author.trace(as_solutions(mistakes, thoughts))
    return Output(
        [result for result in results if isinstance(result, Trace)],
        received=len(mistakes),
        rejected=[result for result in results if isinstance(result, Rejected)],
    )


@stage(Trace, "student_traces")
def student_traces(
    mistakes: Sequence[Mistake], engine: Engine, thoughts: Thoughts, sampling: Sampling
) -> Output[Trace]:
    """The student's traces, from its engine in one batch; step 0 where it finds every step right.

    Rejected are mistakes without readable steps (`no_steps`) or completion (`no_attempt`), and checks that are `truncated`
    or `malformed`, or name a step that the solution does not have (`no_such_step`).
    """
    steps_of = {mistake.id: thoughts.steps(mistake.output) for mistake in mistakes}
    rejected = [Rejected.make(m.id, "no_steps", raw=m.output) for m in mistakes if not steps_of[m.id]]
    asked = [mistake for mistake in mistakes if steps_of[mistake.id]]
    queries = [Query(thoughts.check(mistake.question, steps_of[mistake.id]), mistake.question) for mistake in asked]
    kept = []
    for mistake, answers in zip(asked, engine.complete(queries, sampling.until(thoughts.stop)), strict=True):
        result = _student_trace(mistake, answers, len(steps_of[mistake.id]), thoughts)
        if isinstance(result, Trace):
            kept.append(result)
        else:
            rejected.append(result)
    return Output(kept, received=len(mistakes), rejected=rejected)


@stage(Trace, "student_thoughts")
def student_thoughts(
    mistakes: Sequence[Mistake],
    truths: Sequence[Diagnosis | Trace],
    engine: Engine,
    thoughts: Thoughts,
    sampling: Sampling,
) -> Output[Trace]:
    """The student's traces of the steps that `truths` name as wrong, asked with the very prompt of preference training.

    A student that calls every step right leaves no thought to learn from; told which step is wrong, it writes one. For
    pairs alone: `locate` would be told the answer. Rejected as in `student_traces`, and `no_step_to_point_at`.
    """
    step_of = {truth.mistake_id: truth.step for truth in truths}
    rejected: list[Rejected] = []
    asked: list[tuple[Mistake, list[str]]] = []
    for mistake in mistakes:
        steps, step = thoughts.steps(mistake.output), step_of.get(mistake.id, 0)
        if 0 < step <= len(steps):
            asked.append((mistake, steps[: step - 1]))
        else:
            rejected.append(Rejected.make(mistake.id, "no_step_to_point_at"))
    queries = [
        Query(thoughts.check(mistake.question, right), mistake.question, thoughts.named(len(right) + 1))
        for mistake, right in asked
    ]
    kept = []
    for (mistake, right), answers in zip(asked, engine.complete(queries, sampling.until(thoughts.stop)), strict=True):
        named = [dataclasses.replace(one, text=thoughts.named(len(right) + 1) + one.text) for one in answers]
        result = _student_trace(mistake, named, len(right) + 1, thoughts)
        if isinstance(result, Trace):
            kept.append(result)
        else:
            rejected.append(result)
    return Output(kept, received=len(mistakes), rejected=rejected)


def _student_trace(mistake: Mistake, answers: Sequence[Completion], steps: int, thoughts: Thoughts) -> Trace | Rejected:
    if not answers:  # a recorded engine that has none for it
        return Rejected.make(mistake.id, "no_attempt")
    answer = answers[0]
    check = thoughts.read_check(answer.text)
    if isinstance(check, Malformed):
        reason = "truncated" if answer.truncated else "malformed"
        return Rejected.make(mistake.id, reason, f"{check.reason}: {check.detail}", answer.text)
    if check.step > steps:
        return Rejected.make(mistake.id, "no_such_step", f"step {check.step} of {steps}", answer.text)
    return make_trace(mistake.id, "student", check.step, check.cause, check.correction, check.answer)


def reaches_gold(traces: Sequence[Trace], mistakes: Sequence[Mistake], style: Style) -> dict[str, bool]:
    """For each trace's id, whether its answer is the gold answer."""
    gold = {mistake.id: mistake.gold_answer for mistake in mistakes}
    verdicts = grade_many([(marked(one.answer, style), gold[one.mistake_id]) for one in traces], style)
    return {
        one.id: bool(one.answer) and verdict is Verdict.CORRECT for one, verdict in zip(traces, verdicts, strict=True)
    }


def locate(
    mistakes: Sequence[Mistake], truths: Sequence[Diagnosis | Trace], traces: Sequence[Trace], *, style: Style
) -> dict[str, Any]:
    """The paper's two rates with n and 95 % Wilson intervals; a mistake without a (readable) trace counts against both.

    `located`: of the mistakes with a known first wrong step (`truths`), the share whose trace names it. `corrected`: of
    all mistakes, the share whose trace reaches the gold answer.
    """
    step_of = {truth.mistake_id: truth.step for truth in truths if truth.step > 0}
    trace_of = {one.mistake_id: one for one in traces}
    known = [mistake for mistake in mistakes if mistake.id in step_of]
    found = sum(m.id in trace_of and trace_of[m.id].step == step_of[m.id] for m in known)
    reached = reaches_gold(list(trace_of.values()), mistakes, style)
    return {"located": _rate(found, len(known)), "corrected": _rate(sum(reached.values()), len(mistakes))}


def _rate(successes: int, n: int) -> dict[str, Any]:
    interval = wilson_interval(successes, n)
    return {"n": n, "count": successes, "mean": interval.mean, "low": interval.low, "high": interval.high}
