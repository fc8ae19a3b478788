"""Paths: sampled solutions that are right become further chains of thought.

Place in the flow: problems and sampled attempts (a teacher's or the target's) -> **paths** -> training examples, beside the
gold solutions (LeMa step 3). A path has the right answer, says it as an answer, gets there in steps, and takes other steps
than the gold solution and every other path of its problem.

Example::

    paths(problems, attempts, target=24_948, style="gsm8k", seed=0).records     # of each problem about as many
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import zip_longest

from sei.answers import Style, grade_many
from sei.reading import read
from sei.records import Attempt, Problem, Rejected, Verdict
from sei.stage import Output, stage
from sei.steps import only_an_answer, split_steps

_ANNOTATION = re.compile(r"<<[^<>\n]*>>")


@stage(Attempt, "paths")
def paths(
    problems: Sequence[Problem], attempts: Sequence[Attempt], *, target: int | None, style: Style, seed: int
) -> Output[Attempt]:
    """The attempts that are usable as chains of thought, in order, at most `target` of them (None: all).

    Rejected are, in this order: other verdicts than correct, under the verdict; `bad_format` (a solution cut at the token
    limit, no step beside the answer, or an answer that stands behind no marker such as `####`, a box or "the answer is");
    `same_as_gold` and `duplicate` (the same steps as the gold solution or an earlier path of the problem, up to white
    space, case and `<<...>>` annotations); `over_target`. What is over the target is drawn by `seed`, one path of every
    problem before a second of any. Numbers: problems that have a path, and paths per model.
    """
    by_id = {problem.id: problem for problem in problems}
    right = [item for item in attempts if item.verdict is Verdict.CORRECT]
    marked = dict(zip([item.id for item in right], _marked(right, by_id, style), strict=True))
    seen = {problem.id: {_key(problem.solution, style): "same_as_gold"} for problem in problems}
    usable: dict[str, list[Attempt]] = {}
    reasons: dict[int, str] = {}
    for index, item in enumerate(attempts):
        if item.verdict is not Verdict.CORRECT:
            reasons[index] = str(item.verdict)
            continue
        reading = read(item.output, style)
        key = _key(reading.text, style)
        if reading.unfinished(item.truncated) or not key or not marked[item.id]:
            reasons[index] = "bad_format"
        elif key in seen[item.problem_id]:
            reasons[index] = seen[item.problem_id][key]
        else:
            seen[item.problem_id][key] = "duplicate"
            usable.setdefault(item.problem_id, []).append(item)
    chosen = {item.id for item in _spread(list(usable.values()), seed)[:target]}
    kept, rejected = [], []
    for index, item in enumerate(attempts):
        if index not in reasons and item.id in chosen:
            kept.append(item)
        else:
            rejected.append(Rejected.make(item.id, reasons.get(index, "over_target"), raw=item.output))
    models = sorted({item.model for item in kept})
    numbers = {
        "problems": len({item.problem_id for item in kept}),
        "sources": {model: sum(item.model == model for item in kept) for model in models},
    }
    return Output(kept, received=len(attempts), rejected=rejected, numbers=numbers)


def _marked(attempts: Sequence[Attempt], by_id: dict[str, Problem], style: Style) -> list[bool]:
    """Whether each solution says that its answer is the answer.

    Graded as if cut after one more line, for then an answer counts only behind a marker.
    """
    pairs = [(read(item.output, style).text + "\n", by_id[item.problem_id].answer) for item in attempts]
    verdicts = grade_many(pairs, style, truncated=[True] * len(pairs))
    return [verdict is not Verdict.TRUNCATED for verdict in verdicts]


def _key(solution: str, style: Style) -> tuple[str, ...]:
    """The steps of a solution, equal for equal paths; () where it has none beside its answer."""
    steps = [step for step in split_steps(solution, style)[0] if not only_an_answer(step)]
    return tuple("".join(_ANNOTATION.sub("", step).split()).casefold() for step in steps)


def _spread(groups: Sequence[Sequence[Attempt]], seed: int) -> list[Attempt]:
    """All attempts, in rounds that take one from every group that has one left; both orders drawn by `seed`."""
    draw = random.Random(seed)
    shuffled = [draw.sample(group, len(group)) for group in draw.sample(groups, len(groups))]
    return [item for round in zip_longest(*shuffled) for item in round if item is not None]
