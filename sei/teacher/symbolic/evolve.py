"""The teacher's part in LeMa's evolution: a somewhat harder problem from the program of an old one.

Place in the flow: seed problems -> **drafts** -> `sei.stages.evolve`. The operations of a seed's solution and one more are
told as another story, in the way of `synthesize`: the further step is a step of the story. Its solution is executed, so the
answer is right by construction, and several samples of a solution would all be the same.

Example::

    evolve([problem, problem], rouge_threshold=0.7, seed=0)      # two different drafts, or why there is none
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sei.data.overlap import SimilarityFilter
from sei.records import Problem, Rejected
from sei.teacher.base import Draft, Seed
from sei.teacher.symbolic.story.author import Author
from sei.teacher.symbolic.story.outline import read_outline
from sei.teacher.symbolic.story.rules_plain import is_plain

_TRIES = 24  # stories told for one draft


def evolve(seeds: Sequence[Problem], *, rouge_threshold: float, seed: int) -> list[Draft | Rejected]:
    """One draft per seed, in order, unlike the seed and its earlier drafts.

    A seed is rejected if its solution is no program (`read_outline`'s codes), if no scene tells one more step (`no_story`),
    or if every story is `too_similar`.
    """
    distinct = {problem.id: problem for problem in seeds}
    examples = [Seed(problem.id, problem.question, problem.solution, problem.answer) for problem in distinct.values()]
    plain = is_plain([one.question for one in examples])
    authors = {one.id: Author(random.Random(f"{seed}/{one.id}"), [one], plain=plain) for one in examples}
    taken = {one.id: SimilarityFilter(rouge_threshold, [one.question]) for one in examples}
    by_id = {one.id: one for one in examples}
    return [_evolve_one(by_id[problem.id], authors[problem.id], taken[problem.id]) for problem in seeds]


def _evolve_one(seed: Seed, author: Author, similar: SimilarityFilter) -> Draft | Rejected:
    outline = read_outline(seed.question, seed.solution, seed.answer)
    if isinstance(outline, str):
        return Rejected.make(seed.id, outline, "the seed's solution cannot be read as a program", seed.solution)
    reason = "no_story"
    for _ in range(_TRIES):
        story = author.story(outline, harder=True)
        if story is None:
            continue
        if similar.check(story.question) is not None:
            reason = "too_similar"
        elif (draft := author.written(story, seed)) is not None:
            similar.add(story.question)
            return draft
    return Rejected.make(seed.id, reason, raw=seed.question)
