"""One teacher on solutions in which a person has marked the first wrong step, such as ProcessBench's.

Place in the flow: `command --labels` calls `calibrate_labels`, or `estimate_labels` for a dry run, and shows the figures that
`sei.locating` has counted. The configuration's data set gives the gold solutions that some teachers need.

Example::

    calibrate_labels(config, "processbench/gsm8k", count=None)[0].f1
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import cast

from sei import locating
from sei.answers import Style
from sei.calibrate.shared import dollars, positive, print_cost, print_csv
from sei.config import Config
from sei.data.arithmetic import Arithmetic
from sei.data.labelled import Labelled, read_labelled
from sei.data.overlap import content_key
from sei.errors import UserError
from sei.llm.shared import is_store, open_store
from sei.locating import Location, solutions_of
from sei.records import Problem, content_id
from sei.teacher.base import Charged, Locator, Place, Priced, can
from sei.tracking.display import Display

_LABELLED_STYLE: Style = "math"  # of labelled solutions: they may hold LaTeX


def calibrate_labels(config: Config, name: str, count: int | None) -> list[Location]:
    """Measure how well `config.teacher` finds the labelled steps of `name`. Raises UserError for what the user can fix."""
    choice, labelled = config.teacher, _labelled(config, name, count)
    gold = _gold(config)
    store = config.cache_dir / "teacher.sqlite"
    described = choice.open(Place(_LABELLED_STYLE, store, config.cache_dir)).fingerprint()
    account = content_id("labels", described, [one.id for one in solutions_of(labelled, gold)])
    teacher = choice.open(Place(_LABELLED_STYLE, store, config.cache_dir / "calibrations" / account))
    try:
        results = locating.measure(labelled, cast(Locator, teacher), gold, name=teacher.name, source=name)
        charged = teacher.charged() if isinstance(teacher, Charged) else {}
    finally:
        teacher.close()
    usd = None if charged is None else charged.get("locate", 0.0)
    # What a generator's share of the dollars was is not kept: the whole has it.
    return [dataclasses.replace(result, usd=usd if result.generator == "all" else None) for result in results]


def _labelled(config: Config, name: str, count: int | None) -> list[Labelled]:
    if not can(config.teacher, Locator):
        raise UserError(
            f"--labels: teacher={config.teacher.name} cannot look for a wrong step in solutions that may be right"
        )
    labelled = read_labelled(name)
    if count is None or count >= len(labelled):
        return labelled
    return random.Random(f"labels/{config.seed}").sample(labelled, positive(count))


def _gold(config: Config) -> dict[str, Problem]:
    """The problems of the data set with their gold solutions, by `content_key` of the question."""
    if isinstance(config.data, Arithmetic):
        return {}
    splits = config.data.load()
    problems = [*splits.train, *splits.validation, *(one for test in splits.tests.values() for one in test)]
    return {content_key(problem.question): problem for problem in problems}


def estimate_labels(config: Config, name: str, count: int | None, display: Display) -> None:
    """Print what `calibrate_labels` would cost, without asking the teacher."""
    choice, path = config.teacher, config.cache_dir / "teacher.sqlite"
    labelled = _labelled(config, name, count)
    if not isinstance(choice, Priced):
        display.note(f"{name}: {len(labelled):,} labelled solutions; teacher={choice.name} is free")
        return
    roles = choice.roles(_LABELLED_STYLE)
    with closing(open_store(path)) if is_store(path) else nullcontext() as store:
        jobs = [roles.locate(solution) for solution in solutions_of(labelled, {})]
        print_cost(f"{name}: ", "labelled solutions", choice.estimate(jobs, _LABELLED_STYLE, store=store), display)


def show_labels(results: Sequence[Location], display: Display) -> None:
    """Print a table on a terminal, CSV elsewhere."""
    if not display.console.is_terminal:
        print_csv([dataclasses.asdict(result) for result in results])
        return
    from rich.table import Table

    table = Table(title=f"Teacher {results[0].teacher} on the labels of {results[0].source}")
    for column in ("generator", "erroneous", "found", "correct", "passed", "F1", "decided", "right where named"):
        table.add_column(column, justify="left" if column == "generator" else "right")
    for one in results:
        table.add_row(
            one.generator,
            f"{one.erroneous:,}",
            _share(one.accuracy_erroneous),
            f"{one.correct:,}",
            _share(one.accuracy_correct),
            _share(one.f1, one.f1_low, one.f1_high),
            f"{one.decided:,}",
            _share(one.precision, one.precision_low, one.precision_high),
        )
    display.console.print(table)
    display.note(
        f"A gold solution is known for {results[0].with_gold:,} of them; a teacher over an API is not shown it"
    )
    if results[0].rejected:
        display.note(f"Undecided: {results[0].rejected}")
    if results[0].usd is None or results[0].usd > 0:
        display.note(f"US dollars: {dollars(results[0].usd)}")


def _share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"
