"""Corrects a mistake: the student's right steps, the corrected one, and what the gold program still needs.

Place in the flow: mistake + diagnosis -> correction. If the wrong step only has a wrong number or result, the
student's own sentences are kept and recomputed; otherwise the remaining gold steps follow, written with the student's
signs. Every correction is executed: all equations hold and the last result is the gold answer.

Example::

    correct(mistake, diagnosis).solution
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

from sei.arithmetic import ArithmeticRefused, format_number, parse_number
from sei.equations import ANNOTATION, Equation, flatten, read_equations
from sei.records import Correction, Diagnosis, Mistake, Rejected, content_id
from sei.steps import join_steps, split_steps
from sei.teacher.symbolic.quantities import read_quantities
from sei.teacher.symbolic.rewriting import FixedNumber, check_solution, recompute_step

_TIMES = re.compile(r"(?<=[\d)%])(?P<before>\s*)(?P<sign>[*x×])(?P<after>\s*)(?=[$(.\d])")


def correct(mistake: Mistake, diagnosis: Diagnosis) -> Correction | Rejected:
    """The correction of one mistake, or why there is none that executes to the gold answer."""
    try:
        answer = parse_number(mistake.gold_answer)
    except ArithmeticRefused as refused:
        return Rejected.make(mistake.id, "gold_answer_not_a_number", str(refused), mistake.gold_answer)
    gold_steps, _ = split_steps(mistake.gold_solution)
    if problem := check_solution(mistake.gold_solution, answer):
        return Rejected.make(
            mistake.id, f"gold_{problem}", "the gold solution itself does not execute", mistake.gold_solution
        )
    steps, _ = split_steps(mistake.output)
    if steps and diagnosis.step == 0:
        return Rejected.make(mistake.id, "first_wrong_step_in_doubt", diagnosis.explanation, mistake.output)
    first = max(1, diagnosis.step)
    reason = "no_candidate"
    for new_steps in _candidates(mistake, diagnosis, steps, first, gold_steps, answer):
        whole = join_steps([*steps[: first - 1], *new_steps], mistake.gold_answer)
        reason = check_solution(whole, answer) or ""
        if not reason and new_steps:
            return Correction(
                id=content_id("correction", mistake.id, first, new_steps),
                mistake_id=mistake.id,
                step=first,
                explanation=diagnosis.explanation,
                steps=tuple(new_steps),
                solution=whole,
                answer=mistake.gold_answer,
            )
    return Rejected.make(
        mistake.id, f"correction_{reason}", "no continuation executes to the gold answer", mistake.output
    )


def _candidates(
    mistake: Mistake, diagnosis: Diagnosis, steps: list[str], first: int, gold_steps: list[str], answer: Fraction
) -> Iterator[list[str]]:
    """Continuations from step `first` on, the student's own words first."""
    gold, style = read_equations(gold_steps), _Style(steps)
    stated = {reading for quantity in read_quantities(mistake.question) for reading in quantity.readings}

    def remainder(done: Sequence[str]) -> list[str]:
        return [style.apply(step) for step in _still_needed(gold, gold_steps, read_equations(done), stated)]

    if diagnosis.kind == "answer_not_last_result" and first == len(steps):
        yield [steps[-1], *remainder(steps)]  # the last step is right, but its result was not given as the answer
    # A last step that stops too early is computed correctly, but its words call the result the answer: gold's words replace it.
    if diagnosis.step and diagnosis.kind != "missing_step":
        for repaired in _repairs(steps, first, gold):
            yield repaired
            yield [repaired[0], *remainder([*steps[: first - 1], repaired[0]])]
    kept = steps[: first - 1]
    if any(equation.claimed == answer for equation in read_equations(kept)):
        yield [f"This is already the final result, so the answer is {format_number(answer)}."]
    yield remainder(kept)
    yield [style.apply(step) for step in gold_steps]


def _still_needed(
    gold: Sequence[Equation], gold_steps: Sequence[str], done: Sequence[Equation], stated: set[Fraction]
) -> list[str]:
    """The gold steps that lead from the results in `done` to the answer."""
    have = {equation.claimed for equation in done}
    wanted = {gold[-1].claimed}
    lines: set[int] = set()
    for equation in reversed(gold):
        if equation.claimed in wanted and equation.claimed not in have:
            lines.add(equation.step)
            wanted.update(equation.operands)
    chosen = sorted(lines)
    # Steps without arithmetic give names or plain statements; they make sense only in a complete solution.
    if len(chosen) == len({equation.step for equation in gold}):
        return list(gold_steps)
    available = have | stated | {equation.claimed for equation in gold if equation.step in lines}
    constants = {value for equation in gold for value in equation.operands} - {equation.claimed for equation in gold}
    for equation in gold:
        if equation.step in lines and not set(equation.operands) <= available | constants:
            return list(gold_steps)
    return [gold_steps[line - 1] for line in chosen]


def _repairs(steps: list[str], first: int, gold: Sequence[Equation]) -> Iterator[list[str]]:
    """The student's steps from the wrong one on, recomputed after the one number that was wrong."""
    wrong = [equation for equation in read_equations(steps) if equation.step == first]
    if len(wrong) != 1 or not wrong[0].annotated:
        return
    changes: list[dict[Fraction, Fraction]] = [{}] if not wrong[0].holds else []
    mine = flatten(wrong[0].expression)
    for equation in gold:
        right = flatten(equation.expression)
        if right.kind != mine.kind or len(right.terms) != len(mine.terms):
            continue
        if sorted(sign for _, sign in right.terms) != sorted(sign for _, sign in mine.terms):
            continue
        extra, absent = Counter(mine.terms) - Counter(right.terms), Counter(right.terms) - Counter(mine.terms)
        if len(extra) == len(absent) == 1 and sum(extra.values()) == 1:
            (old, _), (new, _) = *extra, *absent
            if old in wrong[0].operands and wrong[0].operands.count(old) == 1:
                changes.append({old: new})
    for change in changes:
        try:
            yield _recomputed(steps[first - 1 :], change)
        except (ArithmeticRefused, FixedNumber):
            continue


def _recomputed(steps: list[str], change: dict[Fraction, Fraction]) -> list[str]:
    """`change` applies to the first step only; in later steps its result changes."""
    repaired, known = recompute_step(steps[0], change)
    results = {old: new for old, new in known.items() if old not in change}
    output = [repaired]
    for step in steps[1:]:
        repaired, results = recompute_step(step, results)
        output.append(repaired)
    return output


class _Style:
    """How a student writes a multiplication, so that gold steps can be written the same way."""

    def __init__(self, steps: Sequence[str]) -> None:
        visible = ANNOTATION.sub(" ", "\n".join(steps))
        signs = Counter(match[0].replace("\t", " ") for match in _TIMES.finditer(visible))
        self._times = signs.most_common(1)[0][0] if signs else None

    def apply(self, step: str) -> str:
        if self._times is None:
            return step
        pieces, position = [], 0
        for match in ANNOTATION.finditer(step):
            pieces += [_TIMES.sub(self._times, step[position : match.start()]), match[0]]
            position = match.end()
        return "".join([*pieces, _TIMES.sub(self._times, step[position:])])
