"""The teacher's part in LeMa's evolution: a somewhat harder problem from the program of an old one.

Place in the flow: seed problems -> **drafts** -> `sei.stages.evolve`. A seed gets other numbers, names and phrases as in
`synthesize`, bolder ones if it stays too close to the seed, and always one more step. Its solution is executed, so the
answer is right by construction, and several samples of a solution would all be the same.

Example::

    evolve([problem, problem], rouge_threshold=0.7, seed=0)      # two different drafts, or why there is none
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sei.arithmetic import format_number
from sei.data.overlap import SimilarityFilter
from sei.records import Problem, Rejected
from sei.steps import join_steps
from sei.teacher.base import Draft, Seed
from sei.teacher.symbolic.program import Program, read_program
from sei.teacher.symbolic.rewriting import check_solution
from sei.teacher.symbolic.synthesize import Source, Writer
from sei.teacher.symbolic.wording import find_names

_TRIES = 24  # wordings tried for one draft, each bolder than the one before
_BOLDEST = 4  # the last level of `Writer.reworded` that differs from the one before it


def evolve(seeds: Sequence[Problem], *, rouge_threshold: float, seed: int) -> list[Draft | Rejected]:
    """One draft per seed, in order, unlike the seed and its earlier drafts.

    A seed is rejected if it has no program (`read_program`'s codes), no other sensible numbers (`no_sensible_numbers`) or no
    further step to ask for (`no_further_step`), or if every wording is `too_similar`.
    """
    names = sorted({name for problem in seeds for name in find_names(problem.question)})
    distinct = {problem.id: problem for problem in seeds}
    rngs = {name: random.Random(f"{seed}/{name}") for name in distinct}
    taken = {name: SimilarityFilter(rouge_threshold, [problem.question]) for name, problem in distinct.items()}
    return [_evolve_one(problem, rngs[problem.id], names, taken[problem.id]) for problem in seeds]


def _evolve_one(
    problem: Problem, rng: random.Random, names: Sequence[str], similar: SimilarityFilter
) -> Draft | Rejected:
    program = read_program(problem.question, problem.solution, problem.answer)
    if not isinstance(program, Program):
        return Rejected.make(problem.id, program, "seed cannot be given other numbers", problem.solution)
    source = Source(Seed(problem.id, problem.question, problem.solution, problem.answer), program)
    writer = Writer(rng, [source], names)
    reason = "no_sensible_numbers"
    for attempt in range(_TRIES):
        instance = writer.reworded(program, min(attempt, _BOLDEST))
        if instance is None:
            break  # many draws have already been tried
        harder = writer.one_more_step(instance)
        if harder is None:
            if reason == "no_sensible_numbers":
                reason = "no_further_step"
            continue
        answer = format_number(harder.answer)
        solution = join_steps(list(harder.steps), answer)
        if (fault := check_solution(solution, harder.answer)) is not None:
            reason = f"draft_{fault}"
        elif similar.check(harder.question) is not None:
            reason = "too_similar"
        else:
            similar.add(harder.question)
            return Draft(harder.question, solution, answer, (problem.id,))
    return Rejected.make(problem.id, reason, raw=problem.question)
