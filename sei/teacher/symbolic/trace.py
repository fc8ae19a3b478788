"""Correction traces without a language model, and the inspector that executes them.

Place in the flow: mistake -> trace (first wrong step, cause, correction) -> inspection. A trace is a diagnosis and its
correction in SuperCorrect's form, so it is made by `diagnose` and `correct`; the inspector relies on computation
alone: it executes the corrected solution and compares its answer, and the step named, with gold's.

Example::

    inspect_trace(mistake, trace(mistake)).correct
"""

from __future__ import annotations

from sei.records import Mistake, Rejected, Trace
from sei.steps import join_steps, split_steps
from sei.teacher.review import Inspection
from sei.teacher.symbolic.correct import correct
from sei.teacher.symbolic.diagnose import diagnose
from sei.teacher.symbolic.rewriting import inspect_solution
from sei.templates import make_trace


def trace(mistake: Mistake) -> Trace | Rejected:
    """The teacher's trace of a mistake, or why there is none."""
    diagnosis = diagnose(mistake)
    if isinstance(diagnosis, Rejected):
        return diagnosis
    correction = correct(mistake, diagnosis)
    if isinstance(correction, Rejected):
        return correction
    lines = "\n".join(correction.steps)
    return make_trace(mistake.id, "teacher", correction.step, correction.explanation, lines, correction.answer)


def inspect_trace(mistake: Mistake, version: Trace) -> Inspection | Rejected:
    """What is wrong with a trace; Rejected if the gold solution gives nothing to compare it with."""
    diagnosis = diagnose(mistake)
    if isinstance(diagnosis, Rejected):
        return diagnosis
    if diagnosis.step == 0 and split_steps(mistake.output)[0]:
        return Rejected.make(mistake.id, "first_wrong_step_in_doubt", diagnosis.explanation, mistake.output)
    if version.step == 0:
        return Inspection(
            False, (f"The answer is wrong, but no step is named; step {max(1, diagnosis.step)} is wrong.",)
        )
    faults = []
    if version.step != max(1, diagnosis.step):
        faults.append(f"The first wrong step is {max(1, diagnosis.step)}, not {version.step}.")
    if not version.cause:
        faults.append("The cause is missing.")
    right = split_steps(mistake.output)[0][: version.step - 1]
    whole = join_steps([*right, *version.correction.split("\n")], version.answer)
    faults += inspect_solution(whole, version.answer, mistake.gold_answer)
    return Inspection(not faults, tuple(faults))
