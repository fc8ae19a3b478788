"""Select: keep the synthetic problems that help the target most as a single demonstration.

Place in the flow: synthetic problems -> **selected examples** -> training examples (SEI step 5). Each candidate is put as
the one example before each of 10 problems the target got wrong and 10 it got right; its score is the mean of the two
accuracies; the top share is kept.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from sei.answers import Style, grade
from sei.records import Attempt, Mistake, Problem, Rejected, Synthetic, Verdict
from sei.stage import Output, stage
from sei.target.engine import Engine, Query, Sampling
from sei.target.formats import Formats
from sei.workspace import read_records, write_records

CHUNK = 100  # candidates saved at a time


def development_set(
    problems: Sequence[Problem],
    attempts: Sequence[Attempt],
    mistakes: Sequence[Mistake],
    candidates: Sequence[Synthetic],
    *,
    wrong: int,
    right: int,
    seed: int,
) -> tuple[list[Problem], list[Problem]]:
    """`wrong` problems of mistakes and `right` correctly solved ones, drawn by seed.

    Problems that are parents of a candidate come last, since a copy of itself is no fair demonstration.
    """
    draw = random.Random(f"development/{seed}")
    by_id = {problem.id: problem for problem in problems}
    parents = {parent for item in candidates for parent in item.parents}
    missed = [mistake.problem_id for mistake in mistakes if mistake.id not in parents]
    used = [mistake.problem_id for mistake in mistakes if mistake.id in parents]
    wrong_ids = _shuffled(missed, draw) + _shuffled(used, draw)
    failed = {mistake.problem_id for mistake in mistakes}
    solved = [a.problem_id for a in attempts if a.verdict is Verdict.CORRECT and a.problem_id not in failed]
    pick = lambda ids, count: [by_id[name] for name in list(dict.fromkeys(ids))[:count]]  # noqa: E731
    return pick(wrong_ids, wrong), pick(_shuffled(solved, draw), right)


@stage(Synthetic, "selected", on_top=True)
def select(
    candidates: Sequence[Synthetic],
    wrong: Sequence[Problem],
    right: Sequence[Problem],
    engine: Engine,
    formats: Formats,
    sampling: Sampling,
    *,
    keep: float,
    style: Style,
    scratch: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Output[Synthetic]:
    """The best `keep` share of the candidates (at least one), scored; the others are rejected as `low_score`.

    Ties at the border are broken by id, which is a hash and so unrelated to the content.
    """
    scored: list[Synthetic] = []
    for start in range(0, len(candidates), CHUNK):
        path = scratch / f"scored-{start:06d}.jsonl"
        if not path.is_file():
            write_records(
                path, _score(candidates[start : start + CHUNK], wrong, right, engine, formats, sampling, style)
            )
        scored += read_records(path, Synthetic)
        on_progress(min(start + CHUNK, len(candidates)), len(candidates))
    count = max(1, round(keep * len(scored))) if scored else 0
    ranked = sorted(scored, key=lambda item: (-(item.score or 0.0), item.id))
    rejected = [Rejected.make(item.id, "low_score", detail=f"score {item.score:.3f}") for item in ranked[count:]]
    scores = [item.score or 0.0 for item in ranked]
    numbers = {
        "mean_score": sum(scores) / len(scores) if scores else None,
        "lowest_kept_score": scores[count - 1] if count else None,
        "wrong_problems": len(wrong),
        "right_problems": len(right),
    }
    return Output(ranked[:count], received=len(candidates), rejected=rejected, numbers=numbers)


def _score(
    candidates: Sequence[Synthetic],
    wrong: Sequence[Problem],
    right: Sequence[Problem],
    engine: Engine,
    formats: Formats,
    sampling: Sampling,
    style: Style,
) -> list[Synthetic]:
    problems = [*wrong, *right]
    queries = [
        Query(formats.one_shot(item.question, item.solution, problem.question), problem.question)
        for item in candidates
        for problem in problems
    ]
    completions = iter(engine.complete(queries, sampling.until(formats.stop)))
    results = []
    for item in candidates:
        solved = [
            grade(text.text, problem.answer, style, truncated=text.truncated) is Verdict.CORRECT
            for problem in problems
            for text in next(completions)[:1]
        ]
        halves = [half for half in (solved[: len(wrong)], solved[len(wrong) :]) if half]
        score = sum(sum(half) / len(half) for half in halves) / len(halves)
        results.append(dataclasses.replace(item, score=round(score, 6)))
    return results


def _shuffled(items: Sequence[str], draw: random.Random) -> list[str]:
    return draw.sample(list(items), len(items))
