"""Thought templates without a language model: the gold solution's steps, keys for the hard ones, and its program in words.

Place in the flow: problem -> thought template. Steps are classified by what they ask of a student (`StepKind`). Which kinds
are hard is measured on the target's own validation mistakes (`hard_kinds`), and steps of those kinds get a key: the
operation's rule and its trap. The generalized part lists the program's operations in order, without numbers.

Example::

    template(problem, hard=frozenset({"divide"}))       # a ThoughtTemplate, or Rejected
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Literal, get_args

from sei.arithmetic import ArithmeticRefused, parse_number
from sei.equations import Equation, flatten, read_equations
from sei.records import Diagnosis, Mistake, Problem, Rejected
from sei.steps import split_steps
from sei.teacher.review import Inspection
from sei.teacher.symbolic.quantities import read_quantities
from sei.teacher.symbolic.rewriting import check_solution, inspect_solution
from sei.templates import Step, ThoughtTemplate, one_line

StepKind = Literal["add", "subtract", "multiply", "divide", "several", "percentage", "unit"]
KINDS: tuple[StepKind, ...] = get_args(StepKind)
_LEAST_STEPS = 10  # of a kind, before it may be called hard

# Our wording. Each rule says when the operation is right, each trap what is wrongly done instead. They are short and use
# words that the embedded target's tokenizer knows: one key costs it 25 to 50 tokens.
KEYS: dict[StepKind, str] = {
    "add": "What belongs together is added, also what is more. Do not multiply.",
    "subtract": "A part taken from the whole leaves the rest. Do not add it.",
    "multiply": "The same number many times is a product. Do not add.",
    "divide": "To share, or to go back from times, we divide. Do not multiply.",
    "several": "It takes more than one operation here. Do not leave one out.",
    "percentage": "A percent is a part of 100: times the percent, divided by 100. It is the part, not yet the rest.",
    "unit": "The question does not say this number, we have to know it. Do not take another number.",
}
_GIVEN: dict[StepKind, str] = {
    "add": "add the given numbers",
    "subtract": "subtract the given numbers",
    "multiply": "multiply the given numbers",
    "divide": "divide the given numbers",
    "several": "combine the given numbers",
    "percentage": "find the given percent",
    "unit": "use a number that we have to know",
}
_RESULT: dict[StepKind, str] = {
    "add": "add to the result",
    "subtract": "subtract from the result",
    "multiply": "multiply the result",
    "divide": "divide the result",
    "several": "go on with the result",
    "percentage": "find the given percent of the result",
    "unit": "use a number that we have to know on the result",
}
_RESULTS: dict[StepKind, str] = {
    **_RESULT,
    "add": "add the results",
    "subtract": "subtract the results",
    "multiply": "multiply the results",
    "divide": "divide the results",
    "several": "combine the results",
}
_FROM_GIVEN = {"subtract": "subtract the result from a given number", "divide": "divide a given number by the result"}


def template(problem: Problem, hard: Collection[StepKind] = ()) -> ThoughtTemplate | Rejected:
    """The template of a problem whose gold solution executes, or why there is none (`gold_...`)."""
    try:
        answer = parse_number(problem.answer)
    except ArithmeticRefused as refused:
        return Rejected.make(problem.id, "gold_answer_not_a_number", str(refused), problem.answer)
    if fault := check_solution(problem.solution, answer):
        return Rejected.make(problem.id, f"gold_{fault}", "the gold solution does not execute", problem.solution)
    lines, _ = split_steps(problem.solution)
    kinds = step_kinds(problem.question, problem.solution)
    by_step: dict[int, list[StepKind]] = {}
    for equation, kind in kinds:
        by_step.setdefault(equation.step, []).append(kind)
    steps = []
    for number, line in enumerate(lines, start=1):
        keys = [KEYS[kind] for kind in dict.fromkeys(by_step.get(number, ())) if kind in hard]
        steps.append(Step(one_line(line), " ".join(keys) or None))
    return ThoughtTemplate(tuple(steps), _generalized(kinds), one_line(problem.answer))


def step_kinds(question: str, solution: str) -> list[tuple[Equation, StepKind]]:
    """The equations of a solution, in order, each with its kind."""
    quantities = read_quantities(question)
    stated = {reading for quantity in quantities for reading in quantity.readings}
    percents = {share for quantity in quantities if quantity.percent for share in quantity.readings}
    lines, _ = split_steps(solution)
    found: list[tuple[Equation, StepKind]] = []
    results: set[Fraction] = set()
    told = (
        0  # lines whose numbers are known: what an earlier line finds without an equation (x = 375) is not a constant
    )
    for equation in read_equations(lines):
        stated.update(quantity.value for line in lines[told : equation.step - 1] for quantity in read_quantities(line))
        told = equation.step - 1
        found.append((equation, _kind(equation, stated | results, percents)))
        results.add(equation.claimed)
    return found


def _kind(equation: Equation, known: Collection[Fraction], percents: Collection[Fraction]) -> StepKind:
    flat, operands = flatten(equation.expression), equation.operands
    hundred = any(value in (100, Fraction(1, 100)) for value in operands)
    if flat.kind == "product" and any(value in percents for value in operands) and (hundred or _has_share(operands)):
        return "percentage"
    if any(abs(value) not in known for value in operands):
        return "unit"
    ones = flat.kind == "product"  # times 1/2 is one operation, and flattening drops the 1
    if len(flat.terms) != len([value for value in operands if not (ones and value == 1)]):
        return "several"
    negative = sum(sign < 0 for _, sign in flat.terms)
    if flat.kind == "sum":
        return "subtract" if negative else "add"
    if 0 < negative < len(flat.terms) - 1:
        return "several"  # a * b / c
    return "divide" if negative else "multiply"


def _has_share(operands: Sequence[Fraction]) -> bool:
    return any(value.denominator != 1 for value in operands)


def _generalized(kinds: Sequence[tuple[Equation, StepKind]]) -> str:
    results: set[Fraction] = set()
    phrases = []
    for equation, kind in kinds:
        made = [value for value in equation.operands if value in results]
        if not made:
            phrase = _GIVEN[kind]
        elif len(made) == len(equation.operands):
            phrase = _RESULTS[kind]
        elif kind in _FROM_GIVEN and equation.operands[0] not in results:
            phrase = _FROM_GIVEN[kind]
        else:
            phrase = _RESULT[kind]
        phrases.append(phrase)
        results.add(equation.claimed)
    first, *others = phrases
    return one_line(f"First {first}" + "".join(f", then {other}" for other in others) + ".")


def step_rates(
    problems: Sequence[Problem], mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis]
) -> dict[StepKind, tuple[int, int]]:
    """For each kind: how often the target's first wrong step was of this kind, and how many steps of it there are.

    `problems` are all that were attempted, `mistakes` the failed attempts. The wrong step is counted for the first
    gold equation whose result the student's steps before it do not reach.
    """
    total: Counter[StepKind] = Counter()
    failed: Counter[StepKind] = Counter()
    for problem in problems:
        total.update(kind for _, kind in step_kinds(problem.question, problem.solution))
    step_of = {diagnosis.mistake_id: diagnosis.step for diagnosis in diagnoses}
    for mistake in mistakes:
        kinds = step_kinds(mistake.question, mistake.gold_solution)
        if not kinds or mistake.id not in step_of:
            continue
        before = split_steps(mistake.output)[0][: max(0, step_of[mistake.id] - 1)]
        reached = {equation.claimed for equation in read_equations(before)}
        open_kinds = [kind for equation, kind in kinds if equation.claimed not in reached]
        failed[open_kinds[0] if open_kinds else kinds[-1][1]] += 1
    return {kind: (failed[kind], total[kind]) for kind in KINDS if total[kind]}


def hard_kinds(rates: Mapping[StepKind, tuple[int, int]]) -> frozenset[StepKind]:
    """The kinds that fail more often than the average step; kinds with fewer than _LEAST_STEPS steps are not judged."""
    failed, total = (sum(counts) for counts in zip(*rates.values(), strict=True)) if rates else (0, 0)
    if not total:
        return frozenset()
    mean = failed / total
    return frozenset(kind for kind, (wrong, steps) in rates.items() if steps >= _LEAST_STEPS and wrong / steps > mean)


def inspect_template(problem: Problem, version: ThoughtTemplate) -> Inspection:
    """Execute a template's steps and compare it with the gold answer; a number in the generalized part is a fault."""
    faults = inspect_solution(version.solution, version.answer, problem.answer)
    if re.search(r"[0-9]", version.generalized):
        faults.append("The generalized part holds a number.")
    return Inspection(not faults, tuple(faults))
