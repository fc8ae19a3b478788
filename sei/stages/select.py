"""Select: keep the synthetic problems that help the target most as a single demonstration.

Place in the flow: synthetic problems -> **selected examples** -> training examples (SEI step 5). Each candidate is put as
the one example before each of 10 problems the target got wrong and 10 it got right; its score is the mean of the two
accuracies; the top share is kept. Who is sure to be among them, or can be no more, is asked nothing more
(`stages.race`). Answers are saved every few minutes (`stages.ask`).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

from sei.answers import Style, grade
from sei.records import Attempt, Mistake, Problem, Rejected, Synthetic, Verdict
from sei.stage import Output, stage
from sei.stages.ask import ask
from sei.stages.race import Race
from sei.target.engine import Completion, Engine, Query, Sampling
from sei.target.formats import Formats


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
    """The best `keep` share of the candidates (at least one); the others are rejected.

    Candidates race (`sei.stages.race`): who is sure to be among the best, or can be no more, is asked nothing more. Those
    selected are those of asking everyone everything; their scores are what they have at least, and they come in the order
    of these. `cannot_reach_cut` names the highest score that was still possible; `low_score` has been asked everything. Ties
    at the border are broken by id, which is a hash and so unrelated to the content.
    """
    if not candidates:
        return Output([], received=0)
    count = max(1, round(keep * len(candidates)))
    race = Race([item.id for item in candidates], [len(wrong), len(right)], count)
    problems, until = [*wrong, *right], sampling.until(formats.stop)
    total = race.problems * len(candidates)
    decided = rounds = 0
    while asked := race.next():
        pairs = [(candidates[item], problems[problem]) for item, problem in asked]
        queries = [Query(formats.one_shot(c.question, c.solution, p.question), p.question) for c, p in pairs]
        told = partial(lambda before, done, _: on_progress(before + done, total), decided)
        answers = ask(engine, queries, until, scratch, f"round{rounds:04d}", told)
        for (item, problem), completions in zip(asked, answers, strict=True):
            race.tell(item, problem, *_verdict(completions, problems[problem], style))
        decided, rounds = race.decided(), rounds + 1
    on_progress(total, total)
    ranked = race.ranked()
    kept = [dataclasses.replace(candidates[item], score=race.lowest[item]) for item in ranked[:count]]
    cut = race.lowest[ranked[count - 1]]
    numbers = {
        "mean_kept_score": fmean(race.lowest[item] for item in ranked[:count]),  # at least, as the next
        "lowest_kept_score": cut,
        "wrong_problems": len(wrong),
        "right_problems": len(right),
        "answers": race.answers,
        "answers_spared": total - race.answers,
        "output_tokens": sum(race.tokens),
    }
    rejected = [_rejected(candidates[item].id, race, item, cut) for item in ranked[count:]]
    return Output(kept, received=len(candidates), rejected=rejected, numbers=numbers)


def _verdict(completions: Sequence[Completion], problem: Problem, style: Style) -> tuple[bool | None, int]:
    """Whether the first completion is right, None where there is none, and its tokens."""
    if not completions:
        return None, 0
    one = completions[0]
    return grade(one.text, problem.answer, style, truncated=one.truncated) is Verdict.CORRECT, one.tokens


def _rejected(name: str, race: Race, item: int, cut: float) -> Rejected:
    bound, asked = race.highest[item], race.asked(item)
    if asked == race.problems:
        return Rejected.make(name, "low_score", detail=f"score {bound:.3f}; the cut is {cut:.3f}")
    found = f"score at most {bound:.3f} after {asked} of {race.problems} answers; the cut is {cut:.3f}"
    return Rejected.make(name, "cannot_reach_cut", detail=found)


def _shuffled(items: Sequence[str], draw: random.Random) -> list[str]:
    return draw.sample(list(items), len(items))
