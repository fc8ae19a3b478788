"""One teacher on planted mistakes: how often it finds the first wrong step, how often it corrects them, at what price.

Place in the flow: `command` calls `calibrate`, or `estimate_costs` for a dry run, and shows the figures. One account for each
teacher and set of mistakes keeps what was paid.

Example::

    measure(arithmetic_items(100, seed=0), SymbolicTeacher(), "arithmetic").locate      # 0.99
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass

from sei.answers import Style
from sei.calibrate.planting import Item, annotated_items, arithmetic_items
from sei.calibrate.shared import dollars, positive, print_cost, print_csv
from sei.config import Config
from sei.data.arithmetic import Arithmetic
from sei.errors import UserError
from sei.llm.shared import is_store, open_store
from sei.records import Correction, Diagnosis, content_id
from sei.stage import Output
from sei.stages.correct import correct
from sei.stages.diagnose import diagnose
from sei.statistics import wilson_interval
from sei.teacher.base import Charged, Place, Priced, Teacher
from sei.tracking.display import Display

_STYLE: Style = "gsm8k"  # of the mistakes, those of the arithmetic world too


@dataclass(frozen=True)
class Calibration:
    """One teacher on the planted mistakes of one source; the fields are the columns of the CSV.

    Shares are of all `n` items, so what was rejected counts as not found. Dollars are None where no price is known.
    """

    teacher: str
    source: str  # arithmetic | gsm8k
    n: int
    located: int  # diagnoses that name exactly the first wrong step
    locate: float
    locate_low: float  # 95 % interval (Wilson)
    locate_high: float
    corrected: int  # corrections whose answer is the gold answer
    correct: float
    correct_low: float
    correct_high: float
    rejected_diagnoses: str  # `reason count`, separated by `; `
    rejected_corrections: str
    usd_per_1000_diagnoses: float | None
    usd_per_1000_corrections: float | None


def measure(items: Sequence[Item], teacher: Teacher, source: str) -> Calibration:
    """The teacher's diagnoses and corrections of `items`, compared with the truth. `items` must not be empty."""
    mistakes = [item.mistake for item in items]
    diagnosed = diagnose(mistakes, teacher)
    corrected = correct(mistakes, diagnosed.records, teacher, style=_STYLE)
    truth = {item.mistake.id: item.step for item in items}
    located = sum(diagnosis.step == truth[diagnosis.mistake_id] for diagnosis in diagnosed.records)
    locate, right = (wilson_interval(hits, len(items)) for hits in (located, len(corrected.records)))
    return Calibration(
        teacher.name,
        source,
        len(items),
        located,
        *locate,
        len(corrected.records),
        *right,
        _reasons(diagnosed),
        _reasons(corrected),
        0.0,
        0.0,
    )


def _reasons(output: Output[Diagnosis] | Output[Correction]) -> str:
    counts = Counter(rejected.reason for rejected in output.rejected)
    return "; ".join(f"{reason} {count}" for reason, count in counts.most_common())


def _priced(result: Calibration, items: Sequence[Item], teacher: Charged) -> Calibration:
    """`result` with what the API really charged for the answers used here, including those paid for in earlier runs."""
    dollars = teacher.charged()
    if dollars is None:
        return dataclasses.replace(result, usd_per_1000_diagnoses=None, usd_per_1000_corrections=None)
    return dataclasses.replace(
        result,
        usd_per_1000_diagnoses=1000 * dollars.get("diagnose", 0.0) / len(items),
        usd_per_1000_corrections=1000 * dollars.get("correct", 0.0) / len(items),
    )


def calibrate(config: Config, count: int, display: Display) -> list[Calibration]:
    """Measure `config.teacher` on `count` planted mistakes per source. Raises UserError for what the user can fix."""
    cache, choice = config.cache_dir, config.teacher
    store = cache / "teacher.sqlite"
    described = choice.open(Place(_STYLE, store, cache)).fingerprint()
    results = []
    for source, items in items_by_source(config, count).items():
        # One account for each teacher and set of mistakes, so that the sums are exact and a rerun counts nothing twice.
        account = content_id("calibration", described, [item.mistake.id for item in items])
        teacher = choice.open(Place(_STYLE, store, cache / "calibrations" / account))
        try:
            result = measure(items, teacher, source)
            results.append(_priced(result, items, teacher) if isinstance(teacher, Charged) else result)
        finally:
            teacher.close()
    return results


def items_by_source(config: Config, count: int) -> dict[str, list[Item]]:
    """The planted mistakes of every source in the configuration."""
    sources = {"arithmetic": arithmetic_items(positive(count), config.seed)}
    data = config.data
    if not isinstance(data, Arithmetic):
        sources[data.name] = annotated_items(data.load().train, count, config.seed)
        if not sources[data.name]:
            raise UserError(
                f"data={data.name}: no solution has exactly one plain annotation per step, so none can be spoiled"
            )
    return sources


def estimate_costs(config: Config, count: int, display: Display) -> None:
    """Print what `calibrate` would cost, without asking the teacher."""
    choice, path = config.teacher, config.cache_dir / "teacher.sqlite"
    sources = items_by_source(config, count)
    if not isinstance(choice, Priced):
        for source, items in sources.items():
            display.note(f"{source}: {len(items):,} mistakes; teacher={choice.name} is free")
        return
    roles = choice.roles(_STYLE)
    with closing(open_store(path)) if is_store(path) else nullcontext() as store:
        for source, items in sources.items():
            for what, role in (("diagnoses", roles.diagnose), ("corrections", roles.correct)):
                cost = choice.estimate([role(item.mistake) for item in items], _STYLE, store=store)
                print_cost(f"{source}: ", what, cost, display)


def show(results: Sequence[Calibration], display: Display) -> None:
    """Print a table on a terminal, CSV elsewhere."""
    if not display.console.is_terminal:
        print_csv([dataclasses.asdict(result) for result in results])
        return
    from rich.table import Table

    table = Table(title=f"Teacher {results[0].teacher} on planted mistakes")
    for column in (
        "source",
        "n",
        "first wrong step found",
        "corrected",
        "$ per 1,000 diagnoses",
        "$ per 1,000 corrections",
    ):
        table.add_column(column, justify="left" if column == "source" else "right")
    table.add_column("rejected")
    for result in results:
        table.add_row(
            result.source,
            f"{result.n:,}",
            f"{result.locate:.2f} [{result.locate_low:.2f}, {result.locate_high:.2f}]",
            f"{result.correct:.2f} [{result.correct_low:.2f}, {result.correct_high:.2f}]",
            dollars(result.usd_per_1000_diagnoses),
            dollars(result.usd_per_1000_corrections),
            "; ".join(filter(None, (result.rejected_diagnoses, result.rejected_corrections))) or "none",
        )
    display.console.print(table)
