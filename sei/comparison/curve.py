"""Accuracy along a key that a sweep varies: `python -m sei.compare SWEEP --curve data.train`.

Place in the flow: runs -> **curves** -> tables, figure, `curve.csv`. One line a recipe (or a recipe with other settings), one
place for each value of the key. At every place the others are tested against the baseline's run of the same seed on the same
items; seeds need not share their items with each other. Example::

    found = curves(find_runs([Path("multirun/embedded_scarcity")]), "data.train")
    found.places                       # (50.0, 100.0, 200.0)
    found.crossings[0].place           # 340.0: from there on its accuracy is below the baseline's
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sei.comparison.groups import grouped, with_baseline_first
from sei.comparison.rows import accuracy, mean
from sei.comparison.runs import Run, Scores
from sei.comparison.tables import Sheet
from sei.errors import UserError
from sei.statistics import CONFIDENCE, holm, mean_interval, nested_means, percentiles, shares_interval

_Lines = dict[str, dict[float, dict[int, Run]]]  # label -> place -> seed -> run


@dataclass(frozen=True)
class Point:
    """One recipe at one place: accuracy with its interval, and what sets it apart from the baseline. All in [0, 1].

    `low`, `high`: Student's over seeds, over items (Wilson) where there is one seed. `difference` is to the baseline's runs of
    the same seeds and items, with the interval and p of a bootstrap over seeds and, within each, items; None for the baseline.
    """

    eval_set: str
    recipe: str
    place: float
    seeds: str
    after: float
    low: float
    high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Crossing:
    """Where the difference to the baseline changes its sign for the last time, between two neighbouring places.

    place: interpolated (on a logarithmic axis where all places are above zero); None where the sign never changes. `low`,
    `high`: the same of those bootstrap draws that have such a place, `share` of all draws.
    """

    eval_set: str
    recipe: str
    place: float | None
    falls: bool  # ahead of the baseline before it, behind it after
    low: float | None
    high: float | None
    share: float


@dataclass(frozen=True)
class Curves:
    """Everything that is known along `key`. `tests` p-values were adjusted together."""

    key: str
    baseline: str
    places: tuple[float, ...]
    points: list[Point]
    crossings: list[Crossing]
    before: dict[str, float]  # by set: mean accuracy before training
    tests: int


def curves(runs: Sequence[Run], key: str, baseline: str | None = None) -> Curves:
    """Points and crossings of the finished runs. Raises UserError where no two of them differ in `key` as a number."""
    lines = _lines([run for run in runs if not run.error and run.after], key)
    places = tuple(sorted({place for line in lines.values() for place in line}))
    if len(places) < 2:
        raise UserError(
            f"--curve {key}: the finished runs have {'one value' if places else 'no number'} of it, and a curve needs two. "
            "Name a key that the sweep varies, such as data.train"
        )
    plain = {label: [run for runs in line.values() for run in runs.values()] for label, line in lines.items()}
    first = next(iter(with_baseline_first(plain, baseline)))
    sets = list(dict.fromkeys(name for group in plain.values() for run in group for name in run.after))
    points, crossings = [], []
    for name in sets:
        base = lines[first]
        for label, line in {first: base, **lines}.items():
            draws = {} if label == first else _draws(line, base, name)
            points += [_point(name, label, place, line[place], draws.get(place)) for place in sorted(line)]
            if len(draws) > 1:
                crossings.append(_crossing(name, label, draws))
    tested = [place for place, point in enumerate(points) if point.p is not None]
    for place, adjusted in zip(tested, holm([points[place].p or 0.0 for place in tested]), strict=True):
        points[place] = dataclasses.replace(points[place], p_holm=adjusted)
    before = {
        name: mean([accuracy(run.before[name]) for group in plain.values() for run in group if name in run.before])
        for name in sets
    }
    return Curves(key, first, places, points, crossings, before, len(tested))


def _lines(runs: Sequence[Run], key: str) -> _Lines:
    """The runs by label, which does not name `key`, by its value and by seed."""
    at: dict[float, list[Run]] = {}
    for run in runs:
        value = run.composed(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            settings = {name: given for name, given in run.settings.items() if name != key}
            at.setdefault(float(value), []).append(dataclasses.replace(run, settings=settings))
    lines: _Lines = {}
    for place in sorted(at):
        for label, group in grouped(at[place], [], []).items():
            lines.setdefault(label, {})[place] = {run.seed: run for run in group}
    return lines


def _point(
    name: str, label: str, place: float, runs: dict[int, Run], drawn: tuple[float, npt.NDArray[np.float64]] | None
) -> Point:
    scores = [run.after[name] for run in runs.values()]
    accuracies = list(map(accuracy, scores))
    one = len(scores) == 1
    found = shares_interval([list(scores[0].values())]) if one else mean_interval(accuracies, least=0.0, most=1.0)
    point = Point(name, label, place, " ".join(map(str, sorted(runs))), found.mean, found.low, found.high)
    if drawn is None:
        return point
    observed, draws = drawn
    low, high, p = percentiles(draws[~np.isnan(draws)])
    return dataclasses.replace(point, difference=observed, difference_low=low, difference_high=high, p=p)


def _draws(
    line: dict[float, dict[int, Run]], base: dict[float, dict[int, Run]], name: str
) -> dict[float, tuple[float, npt.NDArray[np.float64]]]:
    """By place: the mean difference to the baseline, and that of each bootstrap draw [draws], nan where it has no seed of it.

    A draw takes seeds with replacement, and within each seed items with replacement; both are the same at all places, because a
    seed's items are. With few seeds the interval comes out too narrow, as `statistics.paired_bootstrap` says of its own.
    """
    pairs = {
        place: {
            seed: (base[place][seed].after[name], run.after[name]) for seed, run in runs.items() if seed in base[place]
        }
        for place, runs in line.items()
        if place in base
    }
    pairs = {place: own for place, own in pairs.items() if own}
    for own in pairs.values():
        for before, after in own.values():
            if before.keys() != after.keys():
                raise UserError(
                    f"--curve: two runs of one seed answered different items of {name}, so they cannot be compared. Run both "
                    "with the same data and eval.limit"
                )
    places = sorted(pairs)
    groups = []
    for seed in sorted({seed for own in pairs.values() for seed in own}):
        changes = {place: _differences(*pairs[place][seed]) for place in places if seed in pairs[place]}
        if len({len(values) for values in changes.values()}) > 1:
            raise UserError(
                f"--curve: the runs of seed {seed} answered different numbers of items of {name}, so they cannot be drawn "
                "together. Run all with the same eval.limit"
            )
        none = np.full(len(next(iter(changes.values()))), np.nan)
        groups.append(np.stack([changes.get(place, none) for place in places], axis=1))  # [items, places]
    means = nested_means(groups)
    observed = np.nanmean(np.concatenate(groups), axis=0)
    return {place: (float(observed[number]), means[:, number]) for number, place in enumerate(places)}


def _differences(first: Scores, second: Scores) -> npt.NDArray[np.float64]:
    items = sorted(first)
    return np.array([second[item] - first[item] for item in items])


def _crossing(name: str, label: str, draws: dict[float, tuple[float, npt.NDArray[np.float64]]]) -> Crossing:
    places = np.array(list(draws))
    observed = np.array([draws[place][0] for place in draws])[None, :]
    resampled = np.stack([drawn for _, drawn in draws.values()], axis=1)  # [draws, places]
    resampled = resampled[~np.isnan(resampled).any(axis=1)]
    place, falls = _last_change(places, observed)
    drawn = _last_change(places, resampled)[0]
    known = drawn[~np.isnan(drawn)]
    low: float | None = None
    high: float | None = None
    if len(known):
        low, high = (float(np.quantile(known, end)) for end in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    point = None if math.isnan(place[0]) else float(place[0])
    return Crossing(name, label, point, bool(falls[0]), low, high, len(known) / max(1, len(resampled)))


def _last_change(
    places: npt.NDArray[np.float64], differences: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """For each row of differences [rows, places]: where it changes its sign last (nan: nowhere), and whether it falls there."""
    axis = np.log(places) if places.min() > 0 else places
    found, falls = np.full(len(differences), np.nan), np.zeros(len(differences), dtype=bool)
    for left in range(len(places) - 1):  # later ones overwrite earlier ones
        first, second = differences[:, left], differences[:, left + 1]
        changes = (first > 0) != (second > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            at = axis[left] + (axis[left + 1] - axis[left]) * first / (first - second)
        found = np.where(changes, at, found)
        falls = np.where(changes, first > second, falls)
    return (np.exp(found) if places.min() > 0 else found), falls


# Showing


def sheets(found: Curves) -> Iterator[Sheet]:
    """Accuracy and difference along the key, one table for each of them and set, and where lines cross the baseline's."""
    columns = (found.key, *(f"{place:,.10g}" for place in found.places))
    for name in dict.fromkeys(point.eval_set for point in found.points):
        own = [point for point in found.points if point.eval_set == name]
        labels = list(dict.fromkeys(point.recipe for point in own))
        at = {(point.recipe, point.place): point for point in own}
        rows = [[label, *(_accuracy(at.get((label, place))) for place in found.places)] for label in labels]
        title = f"Accuracy on {name}, % (mean over seeds); before training {100 * found.before[name]:.1f}"
        yield Sheet(title, columns, rows)
        if len(labels) > 1:
            rows = [[label, *(_difference(at.get((label, place))) for place in found.places)] for label in labels[1:]]
            title = (
                f"Difference to {found.baseline} on the same items of {name}, points [{100 * CONFIDENCE:.0f} % interval]; "
                f"* p < 0.05 after Holm, over {found.tests} tests"
            )
            yield Sheet(title, columns, rows)
    if found.crossings:
        rows = [[one.recipe, one.eval_set, *_said(one)] for one in found.crossings]
        columns = ("recipe", "set", f"level with {found.baseline} at {found.key}", "interval", "draws that cross, %")
        yield Sheet(f"Where a line crosses that of {found.baseline} for the last time", columns, rows, texts=2)


def _accuracy(point: Point | None) -> str:
    return "-" if point is None else f"{100 * point.after:.1f}"


def _difference(point: Point | None) -> str:
    if point is None or point.difference is None or point.difference_low is None or point.difference_high is None:
        return "-"
    star = "*" if point.p_holm is not None and point.p_holm < 0.05 else ""
    return (
        f"{100 * point.difference:+.1f}{star} [{100 * point.difference_low:+.1f}, {100 * point.difference_high:+.1f}]"
    )


def _said(one: Crossing) -> tuple[str, str, str]:
    if one.share < 0.5 or one.low is None or one.high is None:
        return "not said", "-", f"{100 * one.share:.0f}"
    where = "none" if one.place is None else f"{one.place:,.0f}, {'ahead' if one.falls else 'behind'} below it"
    return where, f"{one.low:,.0f} to {one.high:,.0f}", f"{100 * one.share:.0f}"


def plot(found: Curves, path: Path) -> None:
    """One panel for each set: accuracy against the key, one line a recipe with the band of its interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    names = list(dict.fromkeys(point.eval_set for point in found.points))
    labels = list(dict.fromkeys(point.recipe for point in found.points))
    pyplot.rcParams["svg.hashsalt"] = "sei"  # the same figure is the same file
    figure: Any = pyplot.figure(figsize=(1 + 4.6 * len(names), 4.4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(panels, names, strict=True):
        axis.axhline(100 * found.before[name], color="0.6", linewidth=1.2, linestyle="--", label="before training")
        for number, label in enumerate(labels):
            own = sorted(
                (point for point in found.points if (point.eval_set, point.recipe) == (name, label)),
                key=lambda point: point.place,
            )
            where = [point.place for point in own]
            colour = f"C{number % 10}"
            low, high = ([100 * getattr(point, end) for point in own] for end in ("low", "high"))
            axis.fill_between(where, low, high, color=colour, alpha=0.12, linewidth=0)
            axis.plot(where, [100 * point.after for point in own], "o-", color=colour, markersize=4, label=label)
        if found.places[0] > 0:
            axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(found.places))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel(found.key)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy after training, %")
    handles, said = panels[0].get_legend_handles_labels()
    figure.legend(handles, said, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
