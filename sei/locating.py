"""How well a teacher finds the first wrong step that a person has marked, as ProcessBench measures it (arXiv 2412.06559).

Purpose: a solution may be right, so a teacher can err in two ways: miss the step, or see one where none is wrong. ProcessBench's
F1 is the harmonic mean of the accuracy on erroneous solutions (exactly the labelled step is named) and on correct ones (none is
named). What a teacher leaves undecided counts as not found, in both; how much that is, and how often it is right where it does
name a step, stand beside it.
Place in the flow: `sei.calibrate --labels` measures here and prints the table.

Example::

    measure(read_labelled("labels.jsonl"), teacher, gold={})[0].f1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sei.data.labelled import Labelled
from sei.data.overlap import content_key
from sei.records import Problem, Rejected, content_id
from sei.statistics import Interval, harmonic_interval, wilson_interval
from sei.teacher.base import Locator, Solution


@dataclass(frozen=True)
class Location:
    """One teacher on the labelled solutions of one generator, or of all; the fields are the columns of the CSV.

    Shares are of all solutions of their kind. None where there is nothing to divide by.
    """

    teacher: str
    source: str
    generator: str  # a model, or "all"
    erroneous: int  # solutions with a wrong step, by label
    found: int  # of these, those where exactly this step was named
    accuracy_erroneous: float | None
    correct: int  # solutions without one
    passed: int  # of these, those in which no step was called wrong, and it was said so
    accuracy_correct: float | None
    f1: float | None  # harmonic mean of the two accuracies
    f1_low: float | None  # 95 % interval (bootstrap)
    f1_high: float | None
    with_gold: int  # solutions of problems whose gold solution is known, which only some teachers need
    decided: int  # solutions of either kind for which an answer was given
    named: int  # solutions in which a step was named
    precision: float | None  # share of the named steps that are the labelled ones
    precision_low: float | None  # 95 % interval (Wilson)
    precision_high: float | None
    rejected: str  # `reason count`, separated by `; `
    usd: float | None = 0.0  # what the answers have cost; None where no price is known


def solutions_of(labelled: Sequence[Labelled], gold: Mapping[str, Problem]) -> list[Solution]:
    """What a teacher is asked about. `gold` are the problems whose solutions are known, by `content_key` of the question."""
    found = []
    for one in labelled:
        problem = gold.get(content_key(one.problem))
        answer, solution = (problem.answer, problem.solution) if problem else ("", "")
        identity = content_id("solution", one.problem, one.steps)
        found.append(Solution(identity, one.problem, one.steps, answer, solution))
    return found


def measure(
    labelled: Sequence[Labelled], teacher: Locator, gold: Mapping[str, Problem], *, name: str = "", source: str = ""
) -> list[Location]:
    """The whole first, then each generator by name. `labelled` must not be empty."""
    solutions = solutions_of(labelled, gold)
    results = list(zip(labelled, solutions, teacher.locate(solutions), strict=True))
    generators = sorted({one.generator for one in labelled} - {""})
    groups = [("all", results)]
    if len(generators) > 1:
        groups += [(wanted, [one for one in results if one[0].generator == wanted]) for wanted in generators]
    return [_location(group, name, source, generator) for generator, group in groups]


def _location(
    results: Sequence[tuple[Labelled, Solution, int | Rejected]], teacher: str, source: str, generator: str
) -> Location:
    pairs = [(one, step) for one, _, step in results]
    erroneous = [step == one.label + 1 for one, step in pairs if one.label >= 0]
    correct = [step == 0 for one, step in pairs if one.label < 0]
    named = [step == one.label + 1 for one, step in pairs if isinstance(step, int) and step > 0]
    f1 = None
    if erroneous and correct:
        f1 = harmonic_interval((sum(erroneous), len(erroneous)), (sum(correct), len(correct)))
    precision = wilson_interval(sum(named), len(named)) if named else None
    reasons = Counter(step.reason for _, step in pairs if isinstance(step, Rejected))
    return Location(
        teacher,
        source,
        generator,
        len(erroneous),
        sum(erroneous),
        sum(erroneous) / len(erroneous) if erroneous else None,
        len(correct),
        sum(correct),
        sum(correct) / len(correct) if correct else None,
        *_three(f1),
        sum(bool(solution.gold_solution) for _, solution, _ in results),
        len(pairs) - sum(reasons.values()),
        len(named),
        *_three(precision),
        "; ".join(f"{reason} {count}" for reason, count in reasons.most_common()),
    )


def _three(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if interval is None else (interval.mean, interval.low, interval.high)
