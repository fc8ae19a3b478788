"""How often mistakes are put right: by the model that made them and by the level of the problem.

Place in the flow: mistakes and corrections -> `correction_rates.csv` and `correction_rates.png` in the run folder
(LeMa, arXiv 2310.20689: success of corrections by level; GPT-4 corrects 37.5 % of LLaMA-2-70B's mistakes on MATH).

Example::

    write(run, rates(corrections, mistakes))
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sei.records import Correction, Mistake
from sei.statistics import wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("source", "level", "mistakes", "corrections", "rate", "low", "high")
_ALL = "all"


@dataclass(frozen=True)
class Rate:
    """Mistakes of one source at one level, and how many of them have a correction. None stands for all together."""

    source: str | None
    level: int | None  # 0 where unknown
    mistakes: int
    corrections: int
    rate: float  # corrections / mistakes, with its 95 % Wilson interval
    low: float
    high: float


def rates(
    corrections: Sequence[Correction], mistakes: Sequence[Mistake], level_of: Mapping[str, int] | None = None
) -> list[Rate]:
    """One rate for each source and level that has mistakes, then the sums: each source, each level, everything.

    `level_of` gives levels by problem id; without it they are the mistakes' own. Problems it does not name have level 0.
    A sum over a single source (or level) is not repeated. Raises ValueError for a correction of none of the mistakes.
    """
    if unknown := {correction.mistake_id for correction in corrections} - {mistake.id for mistake in mistakes}:
        raise ValueError(f"{len(unknown)} corrections of mistakes that are not given, among them of {min(unknown)}")
    corrected = {correction.mistake_id for correction in corrections}
    made: Counter[tuple[str | None, int | None]] = Counter()
    right: Counter[tuple[str | None, int | None]] = Counter()
    sources = {mistake.model for mistake in mistakes}
    levels = {_level(mistake, level_of) for mistake in mistakes}
    for mistake in mistakes:
        level = _level(mistake, level_of)
        for source in (mistake.model, *([None] if len(sources) > 1 else [])):
            for group in (level, *([None] if len(levels) > 1 else [])):
                made[source, group] += 1
                right[source, group] += mistake.id in corrected
    order = sorted(made, key=lambda key: (key[0] is None, key[0] or "", key[1] is None, key[1] or 0))
    return [Rate(*key, made[key], right[key], *wilson_interval(right[key], made[key])) for key in order]


def write(folder: Path, rates: Sequence[Rate]) -> None:
    """The table as `correction_rates.csv` and, where there is any rate, the figure as `correction_rates.png`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rates:
        source, level = row.source or _ALL, _ALL if row.level is None else row.level
        shares = (f"{value:.6f}" for value in (row.rate, row.low, row.high))
        writer.writerow([source, level, row.mistakes, row.corrections, *shares])
    (folder / "correction_rates.csv").write_text(text.getvalue(), encoding="utf-8")
    if rates:
        _draw(folder / "correction_rates.png", rates)


def _level(mistake: Mistake, level_of: Mapping[str, int] | None) -> int:
    return mistake.level if level_of is None else level_of.get(mistake.problem_id, 0)


def _draw(path: Path, rates: Sequence[Rate]) -> None:
    """Small multiples, one a source: bars of mistakes and corrections by level, the rate with its interval as a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[str | None, list[Rate]] = {}
    for row in rates:
        panels.setdefault(row.source, []).append(row)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(1.2 + 4.0 * columns, 0.9 + 3.0 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, (source, rows) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, "all sources" if source is None else source, rows)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    handles = [handle for axis in figure.axes for handle in axis.get_legend_handles_labels()[0]]
    labels = [label for axis in figure.axes for label in axis.get_legend_handles_labels()[1]]
    legend = dict(zip(labels, handles, strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside upper center", ncols=len(legend), frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _draw_panel(axis: Axes, title: str, rows: Sequence[Rate]) -> None:
    levels = [row for row in rows if row.level is not None]
    total = next((row for row in rows if row.level is None), levels[0])
    places = list(range(len(levels)))
    axis.bar([x - 0.2 for x in places], [row.mistakes for row in levels], 0.4, color="#b8c4d6", label="mistakes")
    axis.bar([x + 0.2 for x in places], [row.corrections for row in levels], 0.4, color="#4a6fa5", label="corrections")
    # A file's name or a model's may hold dollar signs, which matplotlib would read as formulas.
    name = title.replace("$", r"\$")
    axis.set_title(f"{name}\n{total.corrections:,} of {total.mistakes:,} = {100 * total.rate:.1f} %", fontsize=9)
    axis.set_xticks(places, ["unknown" if row.level == 0 else str(row.level) for row in levels])
    axis.set_xlabel("level")
    axis.set_ylabel("count")
    right = axis.twinx()
    # At a rate of 1 rounding can put the interval's end a hair below it, and a negative bar is refused.
    below = [max(0.0, 100 * (row.rate - row.low)) for row in levels]
    above = [max(0.0, 100 * (row.high - row.rate)) for row in levels]
    shares = [100 * row.rate for row in levels]
    right.errorbar(places, shares, [below, above], color="#c8553d", marker="o", capsize=3, label="rate (95 % interval)")
    right.set_ylim(0, 105)
    right.set_ylabel("rate, %")
