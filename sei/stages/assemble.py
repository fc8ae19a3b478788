"""Assemble: records become training rows in the target's own format.

Place in the flow: problems, attempts, corrections, synthetic problems -> **training examples** -> adapter. One function a kind of
row; a recipe mixes what its method trains on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from sei.reading import read
from sei.records import (
    Attempt,
    Correction,
    Example,
    Mistake,
    Pair,
    Problem,
    Record,
    Synthetic,
    Template,
    Trace,
    Verdict,
    content_id,
)
from sei.steps import split_steps
from sei.target.formats import Formats
from sei.target.thoughts import ALL_RIGHT, Thoughts

R = TypeVar("R", bound=Record)


def from_problems(problems: Sequence[Problem], formats: Formats) -> list[Example]:
    """Chain-of-thought rows: question -> gold solution."""
    return [_solution_row(formats, p.question, p.solution, p.answer, "cot", (p.id,)) for p in problems]


def from_attempts(attempts: Sequence[Attempt], problems: Sequence[Problem], formats: Formats) -> list[Example]:
    """Chain-of-thought rows from sampled paths: question -> the attempt, for each attempt graded correct."""
    by_id = {problem.id: problem for problem in problems}
    return [
        _solution_row(formats, problem.question, solution, problem.answer, "path", (attempt.id, problem.id))
        for attempt in attempts
        if attempt.verdict is Verdict.CORRECT
        for problem, solution in ((by_id[attempt.problem_id], formats.read(attempt.output).text),)
    ]


def from_synthetic(items: Sequence[Synthetic], formats: Formats) -> list[Example]:
    """Rows from synthesized problems; each leads back to the synthetic record and its parent mistakes."""
    return [_solution_row(formats, s.question, s.solution, s.answer, "synthetic", (s.id, *s.parents)) for s in items]


def replay(problems: Sequence[Problem], rows: int, share: float, formats: Formats, *, seed: int) -> list[Example]:
    """Chain-of-thought rows to go with `rows` others, so that they make up `share` of all: drawn by seed, none twice."""
    count = min(len(problems), round(rows * share / (1 - share)))
    return from_problems(random.Random(f"replay/{seed}").sample(list(problems), count), formats)


def from_corrections(
    corrections: Sequence[Correction],
    mistakes: Sequence[Mistake],
    formats: Formats,
    *,
    explanation: bool = True,
    step: bool = True,
) -> list[Example]:
    """LeMa rows: question and wrong solution -> wrong step, explanation, corrected steps.

    LeMa's ablations: without `explanation` its line is left out; without `step` no step is named, and the corrected
    solution is given whole, from its first step.
    """
    by_id = {mistake.id: mistake for mistake in mistakes}
    rows = []
    for item in corrections:
        mistake = by_id[item.mistake_id]
        own, _ = split_steps(mistake.output, formats.dataset)
        response = formats.correct_response(
            item.step if step else None,
            item.explanation if explanation else None,
            item.steps if step else [*own[: item.step - 1], *item.steps],
            item.answer,
        )
        prompt = formats.correct(mistake.question, own, step=step)
        rows.append(_row(prompt, response, "correction", (item.id, mistake.id)))
    return rows


def corrected_paths(corrections: Sequence[Correction], mistakes: Sequence[Mistake], formats: Formats) -> list[Example]:
    """Chain-of-thought rows: question -> the whole corrected solution, as if it had been right at once (LeMa's CoT-45K)."""
    by_id = {mistake.id: mistake for mistake in mistakes}
    return [
        _solution_row(formats, by_id[c.mistake_id].question, c.solution, c.answer, "cot", (c.id, c.mistake_id))
        for c in corrections
    ]


def from_reflections(corrections: Sequence[Correction], mistakes: Sequence[Mistake], formats: Formats) -> list[Example]:
    """LEMMA's rows: question -> the wrong solution up to its wrong step, what is wrong with it, and the right one.

    Every other correction goes on from the wrong step ("fix and continue"), the others begin anew with the gold solution
    ("fresh and restart"); one whose problem has no worked solution goes on.
    """
    by_id = {mistake.id: mistake for mistake in mistakes}
    rows = []
    for number, item in enumerate(corrections):
        mistake = by_id[item.mistake_id]
        own, _ = split_steps(mistake.output, formats.dataset)
        gold, _ = split_steps(mistake.gold_solution, formats.dataset)
        right, first = (gold, 1) if number % 2 and gold else (list(item.steps), item.step)
        response = formats.reflection(own[: item.step], item.step, item.explanation, right, first, item.answer)
        rows.append(_row(formats.solve(mistake.question), response, "reflection", (item.id, mistake.id)))
    return rows


def from_templates(templates: Sequence[Template], problems: Sequence[Problem], thoughts: Thoughts) -> list[Example]:
    """SuperCorrect's first phase: question -> thought template."""
    question = {problem.id: problem.question for problem in problems}
    return [
        _row(thoughts.solve(question[t.problem_id]), thoughts.solve_response(t), "template", (t.id, t.problem_id))
        for t in templates
    ]


def from_checks(
    problems: Sequence[Problem],
    attempts: Sequence[Attempt],
    mistakes: Sequence[Mistake],
    traces: Sequence[Trace],
    thoughts: Thoughts,
    *,
    count: int,
    seed: int,
) -> list[Example]:
    """Rows that teach to check a solution, `count` at most: half of them right solutions, half wrong ones with their trace.

    `attempts` are in GSM8K's format, `traces` those of `mistakes` among them. Drawn by seed, none twice.
    """
    question = {problem.id: problem.question for problem in problems}
    right = [
        _row(thoughts.check(question[a.problem_id], steps), ALL_RIGHT, "check", (a.id, a.problem_id))
        for a in attempts
        if a.verdict is Verdict.CORRECT
        for steps in (split_steps(read(a.output).text)[0],)
        if steps
    ]
    by_id = {mistake.id: mistake for mistake in mistakes}
    wrong = [
        _row(
            thoughts.check(by_id[t.mistake_id].question, split_steps(by_id[t.mistake_id].output)[0]),
            thoughts.check_response(t),
            "check",
            (t.id, t.mistake_id),
        )
        for t in traces
    ]
    each = min(count // 2, len(right), len(wrong))
    return [*thin(right, each, seed=seed), *thin(wrong, each, seed=seed)]


def from_chosen(pairs: Sequence[Pair]) -> list[Example]:
    """The chosen side of pairs as supervised rows: what preference training has to beat."""
    return [
        Example(
            content_id("example", pair.prompt, pair.prefix, pair.chosen),
            pair.prompt,
            pair.chosen,
            "chosen",
            (pair.id, *pair.parents),
            pair.prefix,
        )
        for pair in pairs
    ]


def thin(records: Sequence[R], count: int, *, seed: int) -> list[R]:
    """`count` of the records at most, drawn by seed, in their order."""
    if count >= len(records):
        return list(records)
    return [records[index] for index in sorted(random.Random(f"thin/{seed}").sample(range(len(records)), count))]


def halve(problems: Sequence[Problem], share: float, *, seed: int) -> tuple[list[Problem], list[Problem]]:
    """Two disjoint parts, drawn by seed: `share` of the problems, and the others; each in their order."""
    first = {problem.id for problem in thin(problems, round(share * len(problems)), seed=seed)}
    return [p for p in problems if p.id in first], [p for p in problems if p.id not in first]


def _solution_row(
    formats: Formats, question: str, solution: str, answer: str, kind: str, parents: tuple[str, ...]
) -> Example:
    return _row(formats.solve(question), formats.solve_response(solution, answer), kind, parents)


def _row(prompt: str, response: str, kind: str, parents: tuple[str, ...]) -> Example:
    return Example(content_id("example", prompt, response), prompt, response, kind, parents)
