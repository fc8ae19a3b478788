"""Verify: the teacher solves each synthetic problem again, several times and without seeing its solution.

Place in the flow: synthetic problems -> **verified problems** -> selection. Ours, not SEI's: a problem is kept when more than
half of its independent solutions reach the answer it came with. That costs `samples` calls a problem, so it is off unless
`recipe.synthesis.verify_samples` is set.

Example::

    verify(problems, teacher, samples=3, style="gsm8k").records     # those whose answer at least 2 of 3 solutions reach
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sei.answers import Style, equivalent_many, extract, grade
from sei.records import Rejected, Synthetic, Verdict
from sei.stage import Output, stage
from sei.teacher.base import Solver

TEMPERATURE = 0.8  # ours, as for the teacher's other calls that want variety; at 0 all solutions would be one

Fault = Literal["not_solved", "no_majority", "majority_disagrees"]


@stage(Synthetic, "verified")
def verify(candidates: Sequence[Synthetic], solver: Solver, *, samples: int, style: Style) -> Output[Synthetic]:
    """The candidates whose answer the majority of `samples` solutions reaches.

    The others are rejected: `majority_disagrees` (more than half reach one other answer), `no_majority`, `not_solved` (no
    solution gives an answer). A solution that failed counts among the samples, not among the answers.
    """
    questions = [item.question for item in candidates]
    solutions = solver.solve(questions, [item.id for item in candidates], samples, TEMPERATURE)
    kept, rejected = [], []
    for item, tries in zip(candidates, solutions, strict=True):
        texts = [text for text in tries if isinstance(text, str)]
        if (fault := _fault(item, texts, samples, style)) is None:
            kept.append(item)
        else:
            found = ", ".join(str(extract(text, style)) for text in texts)
            detail = f"own answer {item.answer}; {len(texts)} of {samples} solutions: {found or 'none'}"
            rejected.append(Rejected.make(item.id, fault, detail, raw=item.question))
    return Output(kept, received=len(candidates), rejected=rejected, numbers={"samples": samples})


def _fault(item: Synthetic, texts: Sequence[str], samples: int, style: Style) -> Fault | None:
    if 2 * sum(grade(text, item.answer, style) is Verdict.CORRECT for text in texts) > samples:
        return None
    answers = [answer for text in texts if (answer := extract(text, style)) is not None]
    if not answers:
        return "not_solved"
    for answer in dict.fromkeys(answers):
        if 2 * sum(equivalent_many([(answer, other) for other in answers], style)) > samples:
            return "majority_disagrees"
    return "no_majority"
