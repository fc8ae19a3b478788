"""Select: keep the synthetic problems that help the target most as a single demonstration.

Place in the flow: synthetic problems -> **selected examples** -> training examples (SEI step 5). Each candidate is put as
the one example before each of 10 problems the target got wrong and 10 it got right; its score is the mean of the two
accuracies; the top share is kept. Who cannot get there any more is asked nothing more (`stages.race`). Answers are saved in
chunks, so that an interrupted selection repeats at most one of them.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from sei.answers import Style, grade
from sei.records import Attempt, Mistake, Problem, Record, Rejected, Synthetic, Verdict, content_id
from sei.stage import Output, stage
from sei.stages.race import Race
from sei.target.engine import Engine, Query, Sampling
from sei.target.formats import Formats
from sei.workspace import read_records, write_records

CHUNK = 2000  # answers saved at a time


@dataclass(frozen=True)
class Answered(Record):
    """One answer with a candidate as demonstration: `right` is None where the target gave none."""

    right: bool | None
    tokens: int

    @staticmethod
    def name(candidate: Synthetic, problem: Problem) -> str:
        """The id of the answer to `problem` after `candidate`."""
        return content_id("answered", candidate.id, problem.id)


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
    """The best `keep` share of the candidates (at least one), scored, best first; the others are rejected.

    Candidates race (`sei.stages.race`): who cannot be among the best any more is asked nothing more, and the result is that
    of asking everyone everything. `cannot_reach_cut` says that, with the highest score that was still possible;
    `low_score` has been asked everything. Ties at the border are broken by id, which is a hash and so unrelated to the
    content.
    """
    if not candidates:
        return Output([], received=0)
    count = max(1, round(keep * len(candidates)))
    race = Race([item.id for item in candidates], [len(wrong), len(right)], count)
    ask = _Examiner([*wrong, *right], engine, formats, sampling.until(formats.stop), style)
    total = race.problems * len(candidates)
    requests = tokens = 0
    while asked := race.next():
        for start in range(0, len(asked), CHUNK):
            chunk = asked[start : start + CHUNK]
            path = scratch / f"answers-{requests:08d}.jsonl"
            if not path.is_file():
                write_records(path, ask([(candidates[item], problem) for item, problem in chunk]))
            for (item, problem), answer in zip(chunk, read_records(path, Answered), strict=True):
                race.tell(item, problem, right=answer.right, tokens=answer.tokens)
                tokens += answer.tokens
            requests += len(chunk)
            on_progress(race.decided(), total)
    on_progress(total, total)
    ranked = race.ranked()
    kept = [dataclasses.replace(candidates[item], score=race.bound(item)) for item in ranked[:count]]
    cut = race.bound(ranked[count - 1])
    numbers = {
        "mean_kept_score": fmean(race.bound(item) for item in ranked[:count]),
        "lowest_kept_score": cut,
        "wrong_problems": len(wrong),
        "right_problems": len(right),
        "answers": requests,
        "answers_spared": total - requests,
        "output_tokens": tokens,
    }
    rejected = [_rejected(candidates[item].id, race, item, cut) for item in ranked[count:]]
    return Output(kept, received=len(candidates), rejected=rejected, numbers=numbers)


def _rejected(name: str, race: Race, item: int, cut: float) -> Rejected:
    bound, asked = race.bound(item), race.asked(item)
    if asked == race.problems:
        return Rejected.make(name, "low_score", detail=f"score {bound:.3f}; the cut is {cut:.3f}")
    found = f"score at most {bound:.3f} after {asked} of {race.problems} answers; the cut is {cut:.3f}"
    return Rejected.make(name, "cannot_reach_cut", detail=found)


@dataclass(frozen=True)
class _Examiner:
    """Asks the target, with a candidate before each problem."""

    problems: Sequence[Problem]
    engine: Engine
    formats: Formats
    sampling: Sampling
    style: Style

    def __call__(self, asked: Sequence[tuple[Synthetic, int]]) -> list[Answered]:
        """One answer each, in order."""
        problems = [self.problems[number] for _, number in asked]
        queries = [
            Query(self.formats.one_shot(item.question, item.solution, problem.question), problem.question)
            for (item, _), problem in zip(asked, problems, strict=True)
        ]
        answers = []
        completed = self.engine.complete(queries, self.sampling)
        for (item, _), problem, completions in zip(asked, problems, completed, strict=True):
            right = None
            for one in completions[:1]:
                right = grade(one.text, problem.answer, self.style, truncated=one.truncated) is Verdict.CORRECT
            tokens = sum(one.tokens for one in completions[:1])
            answers.append(Answered(Answered.name(item, problem), right, tokens))
        return answers


def _shuffled(items: Sequence[str], draw: random.Random) -> list[str]:
    return draw.sample(list(items), len(items))
