"""Diagnose: the teacher says where and why each mistake went wrong.

Place in the flow: mistakes -> **diagnoses** -> error types (SEI step 2).
"""

from __future__ import annotations

from collections.abc import Sequence

from sei.records import Diagnosis, Mistake, Rejected
from sei.stage import Output, stage
from sei.teacher.base import Teacher


@stage(Diagnosis, "diagnoses")
def diagnose(mistakes: Sequence[Mistake], teacher: Teacher) -> Output[Diagnosis]:
    """One diagnosis a mistake, in order; what the teacher cannot treat is rejected with its reason."""
    results = teacher.diagnose(mistakes)
    return Output(
        [result for result in results if isinstance(result, Diagnosis)],
        received=len(mistakes),
        rejected=[result for result in results if isinstance(result, Rejected)],
    )
