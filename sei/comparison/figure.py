"""The figure of a comparison: accuracy of each group on each set, and against what it took.

Place in the flow: rows -> **figure** -> a PNG, PDF or SVG file. All panels have the same axis of accuracy, within 0 and 100.
Example::

    plot(comparison, Path("compare.pdf"))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sei.comparison.rows import Comparison, Row, accuracy, by_set, mean, with_size

_COSTS = {"tokens_trained": "training tokens", "seconds": "seconds, all stages", "dollars": "teacher, US dollars"}
_MARKS = "oDs^vP*X<>"
_LONGEST = 22  # characters of a label on a line


def plot(comparison: Comparison, path: Path) -> None:
    """One panel for each evaluation set (before, each seed, mean and interval), and below them accuracy against cost.

    What all groups have alike, such as the dollars of a teacher that costs nothing, has no panel.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = comparison.of_kind("accuracy")
    sets = list(by_set(rows))
    costs = [name for name in _COSTS if _differ([getattr(row, name) for row in rows])]
    labels = list(comparison.groups)
    widths = [max(2.6, 1.0 + 0.9 * len(own)) for _, own in sets]
    width = max(1.5 + sum(widths), 3.2 * len(costs))
    height = 4.1 + 0.17 * max(_short(label).count("\n") + 1 for label in labels)
    pyplot.rcParams["svg.hashsalt"] = "sei"  # the same figure is the same file
    figure: Any = pyplot.figure(figsize=(width, height + (3.4 if costs else 0)), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(height, 3.4)) if costs else (figure, None)
    panels = upper.subplots(1, len(sets), squeeze=False, sharey=True, width_ratios=widths)[0]
    for axis, (eval_set, own) in zip(panels, sets, strict=True):
        _panel(axis, comparison, eval_set, own, labels)
    panels[0].set_ylabel("accuracy, %")
    low, high = _ends(comparison, rows)
    panels[0].set_ylim(low, high)
    legend = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))  # one entry a label
    upper.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3, frameon=False)
    if lower is not None:
        _against_cost(lower, sets, labels, costs, (low, high))
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _differ(costs: Sequence[float | None]) -> bool:
    """Whether two groups' costs are further apart than budgets of the same size come out."""
    known = [cost for cost in costs if cost is not None]
    return len(known) > 1 and max(known) > 1.02 * min(known)


def _ends(comparison: Comparison, rows: Sequence[Row]) -> tuple[float, float]:
    """Where the axis of accuracy begins and ends: around all that is drawn, in steps of 5, within 0 and 100."""
    values = [value for row in rows for value in (row.before, row.after, row.low, row.high) if value is not None]
    groups = comparison.groups.values()
    values += [accuracy(scores) for group in groups for run in group for scores in run.after.values()]
    low, high = (100 * end for end in (min(values), max(values)))
    return max(0.0, 5 * math.floor((low - 1) / 5)), min(100.0, 5 * math.ceil((high + 1) / 5))


def _panel(axis: Any, comparison: Comparison, eval_set: str, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """A grey line before, one dot per seed after, mean and interval beside the dots, of the groups that answered this set."""
    for place, row in enumerate(rows):
        colour = f"C{labels.index(row.recipe) % 10}"
        runs = [run for run in comparison.groups[row.recipe] if eval_set in run.before]
        before = 100 * mean([accuracy(run.before[eval_set]) for run in runs])
        axis.plot([place - 0.3, place + 0.3], [before] * 2, color="0.6", linewidth=1.5, label="before")
        after = [100 * accuracy(run.after[eval_set]) for run in runs if eval_set in run.after]
        if row.after is None or row.low is None or row.high is None:
            continue
        # Seeds lie side by side in their order, so that equal accuracies stay visible.
        offsets = [place - 0.15 + 0.1 * (i - (len(after) - 1) / 2) / max(1, len(after) - 1) for i in range(len(after))]
        axis.plot(offsets, after, "o", color=colour, alpha=0.55, markersize=5, label="seed")
        errors = [[100 * (row.after - row.low)], [100 * (row.high - row.after)]]
        axis.errorbar(place + 0.1, 100 * row.after, errors, fmt="D", color=colour, capsize=4, label="mean, 95 %")
    axis.set_title(with_size(eval_set.replace("_", " "), rows[0]))
    axis.set_xticks(range(len(rows)), [_short(row.recipe) for row in rows])
    axis.set_xlim(-0.6, len(rows) - 0.4)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _against_cost(
    part: Any,
    sets: Sequence[tuple[str, list[Row]]],
    labels: Sequence[str],
    costs: Sequence[str],
    ends: tuple[float, float],
) -> None:
    """Accuracy after training against each cost: a colour for each group, a mark for each set."""
    from matplotlib.lines import Line2D

    panels = part.subplots(1, len(costs), squeeze=False, sharey=True)[0]
    for axis, name in zip(panels, costs, strict=True):
        for number, (_, rows) in enumerate(sets):
            for row in rows:
                cost = getattr(row, name)
                if cost is None or row.after is None:
                    continue
                mark = _MARKS[number % len(_MARKS)]
                axis.plot(cost, 100 * row.after, mark, color=f"C{labels.index(row.recipe) % 10}", alpha=0.8)
        axis.set_xlabel(_COSTS[name])
        axis.set_xlim(0, 1.08 * axis.dataLim.xmax)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy, %")
    panels[0].set_ylim(*ends)
    if len(sets) > 1:
        marks = [Line2D([], [], color="0.4", linestyle="", marker=_MARKS[n % len(_MARKS)]) for n in range(len(sets))]
        names = [name.replace("_", " ") for name, _ in sets]
        part.legend(marks, names, loc="outside lower center", ncols=5, frameon=False)


def _short(label: str) -> str:
    """A label in short lines, at its commas, underscores and dots."""
    lines: list[str] = []
    for part in label.split(", "):
        lines.append("")
        for word in part.replace("_", "_\n").replace(".", ".\n").replace("=", "=\n").split("\n"):
            if lines[-1] and len(lines[-1]) + len(word) > _LONGEST // 2:
                lines.append("")
            lines[-1] += word
    return "\n".join(lines)
