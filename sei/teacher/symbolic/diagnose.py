"""Finds the first wrong step of a solution and says in words what is wrong with it.

Place in the flow: mistake -> diagnosis, without a language model. The equations of the wrong solution are compared
with the gold program: a step is right if its value may occur in a right solution (see `routes`). The first other step is
the mistake, and the most similar gold equation tells which operand or operation it should have had.
In the order of the work: `comparison` (both solutions read), `wrong_result`, `wrong_calculation` and `ending` (what is wrong),
`certainty` (whether it is the first that is), with the words of `wording`.

Targets are trained on explanations, so these say nothing false: no equation of the wrong solution is repeated with its
result. Nor do they give the step's number, which is a field of its own and which an ablation removes (docs/lema.md).

Example::

    diagnose(mistake).kind      # "wrong_operation"
"""

from __future__ import annotations

from dataclasses import replace

from sei.answers import extract
from sei.records import Diagnosis, Mistake, Rejected, content_id
from sei.steps import split_steps
from sei.teacher.base import Solution
from sei.teacher.symbolic.certainty import doubt_about
from sei.teacher.symbolic.comparison import Comparison, compare
from sei.teacher.symbolic.ending import after_answer, judge_end
from sei.teacher.symbolic.finding import DOUBTS, Finding
from sei.teacher.symbolic.verdicts import Verdict
from sei.teacher.symbolic.wrong_calculation import wrong_calculation
from sei.teacher.symbolic.wrong_result import miswritten, same_display, slip


def diagnose(mistake: Mistake) -> Diagnosis | Rejected:
    """The diagnosis of one mistake; Rejected if the gold solution or answer contains no arithmetic to compare with.

    Its step is 0 where it is in doubt which step goes wrong first: kind and keyphrases are then those of the first
    equation that is wrong.
    """
    steps, answer_text = split_steps(mistake.output)
    comparison = compare(mistake.id, mistake.question, mistake.gold_solution, mistake.gold_answer, steps, answer_text)
    if isinstance(comparison, Rejected):
        return comparison
    finding = _first_error(comparison) or judge_end(comparison)
    step, explanation = finding.step, finding.explanation
    if finding.doubt:
        step, explanation = 0, f"Which step goes wrong first is not certain: {DOUBTS[finding.doubt]}."
    return Diagnosis(
        id=content_id("diagnosis", mistake.id, step, finding.kind, finding.keyphrases),
        mistake_id=mistake.id,
        step=step,
        kind=finding.kind,
        keyphrases=finding.keyphrases,
        explanation=explanation,
    )


def locate(solution: Solution) -> int | Rejected:
    """The first wrong step of a solution that may be right: 0 if none is wrong, Rejected where that is in doubt."""
    if not solution.gold_solution:
        return Rejected.make(solution.id, "no_gold_solution", "nothing to compare with", solution.question)
    text = "\n".join(solution.steps)
    comparison = compare(
        solution.id, solution.question, solution.gold_solution, solution.gold_answer, solution.steps, extract(text)
    )
    if isinstance(comparison, Rejected):
        return comparison
    finding = _first_error(comparison)
    if finding is None and not (comparison.equations and comparison.reaches_answer):
        finding = judge_end(comparison)
    if finding is not None and finding.doubt:
        return Rejected.make(solution.id, f"in_doubt_{finding.doubt}", DOUBTS[finding.doubt], text)
    return 0 if finding is None else finding.step


def _first_error(comparison: Comparison) -> Finding | None:
    """The first equation that no right solution has, or that does not hold; None if there is none."""
    for index, verdict in enumerate(comparison.verdicts):
        equation = verdict.equation
        if not equation.holds:
            finding = _wrong_value(comparison, index, verdict)
        elif equation.written != equation.claimed and not same_display(equation):
            finding = miswritten(equation)
        elif verdict.status == "wrong":
            finding = after_answer(comparison, index) or wrong_calculation(comparison, index, equation)
        else:
            continue
        return replace(finding, doubt=doubt_about(comparison, index, equation.step, verdict))
    return None


def _wrong_value(comparison: Comparison, index: int, verdict: Verdict) -> Finding:
    slipped = slip(verdict.equation)
    if verdict.status != "wrong":
        return slipped
    wrong = wrong_calculation(comparison, index, verdict.equation)
    return replace(wrong, keyphrases=(*wrong.keyphrases, *slipped.keyphrases))
