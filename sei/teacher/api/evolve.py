"""What becomes of an evolved question: the answer that most of the teacher's own solutions reach.

Place in the flow: `ApiTeacher.evolve` asks for a new question per seed and for several solutions of each; here they turn into
a draft, or into the reason why the question has no answer to trust (LeMa step 4).

Example::

    majority(["#### 7", "#### 12", "7 in all.\\n#### 7.0"], "gsm8k", 3)       # (0, "7")
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from sei.answers import Style, equivalent_many, extract
from sei.records import Problem, Rejected
from sei.teacher.base import Draft

SOLVE_TEMPERATURE = 0.8  # ours; at 0 all solutions would be one

Fault = Literal["not_solved", "no_majority"]


def draw_numbers(seeds: Sequence[Problem], seed: int) -> list[int]:
    """A number for each draw that tells draws of the same problem, and runs with another `seed`, apart in the store."""
    drawn: Counter[str] = Counter()
    numbers = []
    for problem in seeds:
        drawn[problem.id] += 1
        numbers.append(random.Random(f"{seed}/{problem.id}/{drawn[problem.id]}").getrandbits(32))
    return numbers


def drafts_of(
    seeds: Sequence[Problem], questions: Sequence[str], solutions: Sequence[Sequence[str | Rejected]], style: Style
) -> list[Draft | Rejected]:
    """For each question a draft with the first solution of its majority; all arguments are aligned.

    Rejected: `not_solved` (no solution gives an answer), `no_majority` (no answer has more than half of the samples, those
    that failed included: with three, all differ).
    """
    results: list[Draft | Rejected] = []
    for problem, question, tries in zip(seeds, questions, solutions, strict=True):
        texts = [text for text in tries if isinstance(text, str)]
        found = majority(texts, style, len(tries))
        if isinstance(found, str):
            answers = ", ".join(str(extract(text, style)) for text in texts)
            detail = f"{len(texts)} of {len(tries)} solutions: {answers or 'none'}"
            results.append(Rejected.make(problem.id, found, detail, question))
        else:
            index, answer = found
            results.append(Draft(question, texts[index], answer, (problem.id,)))
    return results


def majority(texts: Sequence[str], style: Style, samples: int) -> tuple[int, str] | Fault:
    """The first text whose answer more than half of `samples` texts reach, and that answer; else why there is none."""
    answers = [(index, answer) for index, text in enumerate(texts) if (answer := extract(text, style)) is not None]
    if not answers:
        return "not_solved"
    for index, answer in answers:
        if 2 * sum(equivalent_many([(answer, other) for _, other in answers], style)) > samples:
            return index, answer
    return "no_majority"
