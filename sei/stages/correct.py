"""Correct: the teacher continues each wrong solution, right, from its first wrong step.

Place in the flow: mistakes and diagnoses -> **corrections** -> training examples (LeMa step 2). A correction is kept only
if its final answer is graded correct.
"""

from __future__ import annotations

from collections.abc import Sequence

from sei.answers import Style, grade_many
from sei.records import Correction, Diagnosis, Mistake, Rejected, Verdict
from sei.stage import Output, stage
from sei.teacher.base import Teacher
from sei.templates import marked


@stage(Correction, "corrections", on_top=True)
def correct(
    mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis], teacher: Teacher, *, style: Style
) -> Output[Correction]:
    """One correction a mistake. Mistakes without a diagnosis are rejected as `not_diagnosed`, corrections whose answer
    is not the gold answer as `answer_<verdict>`."""
    diagnosis_of = {diagnosis.mistake_id: diagnosis for diagnosis in diagnoses}
    rejected = [Rejected.make(mistake.id, "not_diagnosed") for mistake in mistakes if mistake.id not in diagnosis_of]
    treated = [mistake for mistake in mistakes if mistake.id in diagnosis_of]
    results = teacher.correct(treated, [diagnosis_of[mistake.id] for mistake in treated])
    written: list[tuple[Mistake, Correction]] = []
    for mistake, result in zip(treated, results, strict=True):
        if isinstance(result, Rejected):
            rejected.append(result)
        else:
            written.append((mistake, result))
    kept = []
    # The answer, not the whole solution: the student's kept steps may hold a box or a sentence that reads as an answer.
    verdicts = grade_many([(marked(one.answer, style), mistake.gold_answer) for mistake, one in written], style)
    for (mistake, correction), verdict in zip(written, verdicts, strict=True):
        if verdict is Verdict.CORRECT:
            kept.append(correction)
        else:
            rejected.append(Rejected.make(mistake.id, f"answer_{verdict}", raw=correction.solution))
    return Output(kept, received=len(mistakes), rejected=rejected)
