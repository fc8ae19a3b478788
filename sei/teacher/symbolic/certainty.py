"""Whether the first wrong step that was found is certainly the first one, and certainly wrong.

Place in the flow: `diagnose` names a step only where nothing here speaks against it. What a step's words leave open is
asked of `doubts`; here the whole solution is weighed.

Example::

    doubt_about(comparison, index, step, verdict)      # "another_route", a key of `finding.DOUBTS`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sei.equations import flatten
from sei.teacher.symbolic.comparison import Comparison
from sei.teacher.symbolic.doubts import (
    called_otherwise,
    has_unknowns,
    made_up_number,
    says_the_same,
    states_a_result,
    written_otherwise,
)
from sei.teacher.symbolic.routes import USUAL
from sei.teacher.symbolic.verdicts import Verdict


def doubt_about(comparison: Comparison, index: int, step: int, verdict: Verdict | None) -> str:
    """Why a step before `step` may be the first wrong one, or this one right; "" where neither can be."""
    before = comparison.verdicts[:index]
    if verdict is not None and verdict.equation.holds and verdict.status == "wrong":
        if not comparison.gold_is_plain:
            return "unread_gold"
        if comparison.reaches_answer:
            return "right_answer"
        if _unused(comparison, index):
            return "unused"
        if _may_be_beside_the_point(comparison, index):
            return "true_sum"
        if any(
            later.status == "right" and verdict.equation.claimed in later.equation.operands
            for later in comparison.verdicts[index + 1 :]
        ):
            return "comes_right"
    if any(one.status == "open" and one.equation.step < step for one in before):
        return "another_route"
    if _unread(comparison, step, {one.equation.step for one in before}):
        return "unread_steps"
    if _repeats(before, step):
        return "said_twice"
    if any(_speaks_of_another(comparison, one) for one in before if one.equation.step < step):
        return "other_name"
    return ""


def _speaks_of_another(comparison: Comparison, verdict: Verdict) -> bool:
    """Whether the words of a right step say that its result is something else, or hold a number of their own."""
    own = comparison.steps[verdict.equation.step - 1]
    lines = [(comparison.gold_steps[equation.step - 1], equation) for equation in comparison.gold]
    so_far = (one for one in comparison.equations if one.step <= verdict.equation.step)
    known = {value for one in so_far for value in (*one.operands, one.claimed, one.written)} | comparison.stated
    return (
        called_otherwise(own, verdict.equation, lines, comparison.question, comparison.parts)
        or made_up_number(own, comparison.question, known | USUAL)
        or written_otherwise(own)
    )


def _repeats(before: Sequence[Verdict], step: int) -> bool:
    """Whether a result stands in two steps, of which one may have been meant to be of something else."""
    counted = [(one.equation.claimed, one.equation.step) for one in before if one.equation.step < step]
    values = Counter(value for value, _ in dict.fromkeys(counted))
    return any(one.status == "restated" and values[one.equation.claimed] > 1 for one in before)


def _unread(comparison: Comparison, step: int, read: set[int]) -> bool:
    """Whether a step up to `step` says more than its equations."""
    return any(
        has_unknowns(text) or (number < step and number not in read and states_a_result(text, comparison.question))
        for number, text in enumerate(comparison.steps[:step], start=1)
    )


def _may_be_beside_the_point(comparison: Comparison, index: int) -> bool:
    """Whether a step that is not the last adds up numbers of the question: a true sum that is not asked for."""
    equation = comparison.verdicts[index].equation
    flat = flatten(equation.expression)
    added = flat.kind == "sum" and all(sign > 0 for _, sign in flat.terms)
    if (
        not added
        or index == len(comparison.verdicts) - 1
        or any(one not in comparison.stated for one in equation.operands)
    ):
        return False
    return not any(says_the_same(comparison.steps[equation.step - 1], line) for line in comparison.gold_steps)


def _unused(comparison: Comparison, index: int) -> bool:
    """Whether nothing is made of an equation's result: it may be beside the point, and the mistake elsewhere."""
    if index == len(comparison.verdicts) - 1 or comparison.verdicts[index].equation.claimed in comparison.stated:
        return False
    return not any(index in later.parents for later in comparison.verdicts[index + 1 :])
