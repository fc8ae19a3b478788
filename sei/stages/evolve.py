"""Evolve: the teacher writes new, somewhat harder problems from old ones.

Place in the flow: corrections and mistakes -> seeds -> **evolved problems** -> attempts of the next pass (LeMa step 4).
Correction-centric evolution draws its seeds from the problems whose mistakes were corrected, general evolution from all. A
new problem is kept if its solution reaches its answer and its question is unlike (ROUGE-L F below the threshold) every test,
validation and training problem and every new problem before it.

Example::

    drawn = seeds(problems, corrections, mistakes, strategy="correction_centric", count=10000, seed=0)
    evolve(drawn, teacher, problems, tests, style="gsm8k", samples=3, rouge_threshold=0.7, seed=0).records
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from sei.answers import Style, grade
from sei.data.overlap import SimilarityFilter
from sei.records import Correction, Mistake, Problem, Rejected, Verdict
from sei.stage import Output, stage
from sei.stages.synthesize import content
from sei.teacher.base import Draft, Evolver

Strategy = Literal["general", "correction_centric"]
Fault = Literal["answer_not_reached", "content_of_a_test_problem", "too_similar"]


def seeds(
    problems: Sequence[Problem],
    corrections: Sequence[Correction],
    mistakes: Sequence[Mistake],
    *,
    strategy: Strategy,
    count: int,
    seed: int,
) -> list[Problem]:
    """A bootstrap sample: `count` problems drawn with replacement, so some occur several times.

    General: from all `problems`. Correction-centric: from those that a correction's mistake was made at, each as likely as
    any other however many corrections it has. Empty where there is none to draw from.
    """
    pool = list(problems)
    if strategy == "correction_centric":
        corrected = {correction.mistake_id for correction in corrections}
        treated = {mistake.problem_id for mistake in mistakes if mistake.id in corrected}
        pool = [problem for problem in problems if problem.id in treated]
    return random.Random(f"{seed}/seeds").choices(pool, k=count) if pool else []


@stage(Problem, "evolved")
def evolve(
    seed_problems: Sequence[Problem],
    evolver: Evolver,
    training: Sequence[Problem],
    forbidden: Sequence[Problem],
    *,
    style: Style,
    samples: int = 3,
    rouge_threshold: float,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Output[Problem]:
    """At most one new problem per drawn seed; each other draw is rejected with the teacher's reason or the filter's.

    `training` are all problems so far, evolved ones of earlier rounds too; `forbidden` are the validation and test
    problems, of which no new problem may share the words or the arithmetic. A new problem has its seed's family and level,
    and the seed's id as its parent.
    """
    known = {problem.id: problem.question for some in (forbidden, training, seed_problems) for problem in some}
    similar = SimilarityFilter(rouge_threshold, known.values())
    tested = {content(problem.solution) for problem in forbidden}
    drafts = evolver.evolve(seed_problems, samples=samples, style=style, rouge_threshold=rouge_threshold, seed=seed)
    kept: list[Problem] = []
    rejected: list[Rejected] = []
    for done, (problem, draft) in enumerate(zip(seed_problems, drafts, strict=True), start=1):
        if isinstance(draft, Rejected):
            rejected.append(draft)
        elif (fault := _fault(draft, similar, tested, style)) is not None:
            rejected.append(Rejected.make(problem.id, fault, raw=draft.question))
        else:
            similar.add(draft.question)
            kept.append(
                Problem.make(
                    question=draft.question,
                    answer=draft.answer,
                    solution=draft.solution,
                    source="evolved",
                    family=problem.family,
                    level=problem.level,
                    parents=(problem.id,),
                )
            )
        on_progress(done, len(seed_problems))
    numbers = {"distinct_seeds": len({problem.id for problem in seed_problems}), "samples": samples}
    return Output(kept, received=len(seed_problems), rejected=rejected, numbers=numbers)


def _fault(draft: Draft, similar: SimilarityFilter, tested: set[tuple[str, ...]], style: Style) -> Fault | None:
    """Why a draft is not kept, or None. `tested` are the contents of the forbidden problems."""
    if grade(draft.solution, draft.answer, style) is not Verdict.CORRECT:
        return "answer_not_reached"
    if (computed := content(draft.solution)) and computed in tested:
        return "content_of_a_test_problem"
    return "too_similar" if similar.check(draft.question) is not None else None
