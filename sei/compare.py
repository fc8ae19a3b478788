"""Compare recipes over seeds: `python -m sei.compare PATH [PATH ...]`.

Place in the flow: after a sweep (`python train.py -m recipe=cot,sei seed=0,1,2`). Finds every run folder below the paths,
groups runs by recipe and by whatever other override differs, and prints per group and evaluation set the accuracy before
and after with an interval over seeds (and the paper's figure, where the runs' `expected` has one), then the paired tests
on the same test items: McNemar within each pair of equal seeds, and a bootstrap over items and seeds. Several recipes are
tested each against each; variants of one recipe, such as an ablation's, each against the first label, which is the plain
recipe if it was run; with `--baseline`, each group against that one. Writes `compare.csv`, `compare.png` and, for one
folder, the page `report.html` into the first path.
On a terminal it prints tables; elsewhere standard output is exactly `compare.csv`, and remarks go to standard error.

Example::

    python -m sei.compare multirun/sweep-1a2b3c4d
    python -m sei.compare multirun/sweep-1a2b3c4d --baseline "correction, recipe.rounds=3"
    python -m sei.compare multirun/sweep-1a2b3c4d | grep '^paired'
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, TextIO

from rich.table import Table

from sei.config import WHERE_AND_HOW
from sei.errors import UserError, printable
from sei.records import Outcome
from sei.run_files import read_checked, read_object, understood
from sei.stages.evaluate import score
from sei.statistics import Interval, mcnemar, mean_interval, paired_bootstrap, shares_interval
from sei.terminal import Terminal
from sei.tracking.page.run import try_to_write
from sei.tracking.page.sweep import write_sweep_page

# Overrides that do not make two runs different experiments: these, which are compared over, and WHERE_AND_HOW.
_COMPARED_OVER = ("recipe", "seed")

Scores = Mapping[str, float]  # problem id -> share of its samples that are right: 0 or 1 where there is one


@dataclass(frozen=True)
class Run:
    """One run folder. `before` and `after` hold scores by evaluation set; both are empty unless the run is done."""

    folder: Path
    recipe: str
    seed: int
    settings: dict[str, str]  # overrides that may set it apart
    error: str | None = None  # why it has no results; None where it is done
    tokens: int = 0
    before: Mapping[str, Scores] = field(default_factory=dict)
    after: Mapping[str, Scores] = field(default_factory=dict)
    shares: Mapping[tuple[str, str], float] = field(default_factory=dict)  # (evaluation set, what) -> share in [0, 1]
    model: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)  # composed, as config.yaml has it

    def composed(self, key: str) -> Any:
        """The value or group at `key` of the composed configuration, None where it has none."""
        found: Any = self.config
        for name in key.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


@dataclass(frozen=True)
class Row:
    """One line of `compare.csv`; columns that its kind does not use are empty. Accuracies and differences are in [0, 1].

    accuracy: one group on one evaluation set. `after` with its interval `low`, `high` is Student's over seeds, or over
    items (after Wilson) where there is one seed. `paper` is the paper's figure for `after`, and `remark`
    cites it.
    paired: `difference` is `recipe` minus `against`, bootstrap interval and p.
    share: something else measured for one group, named in `remark`: its second pass, the checks of its mistakes.
    mcnemar: the same two groups for one seed, if items have one sample; `only_recipe` and `only_against` count items that
    only one of them got right.
    """

    kind: Literal["accuracy", "share", "paired", "mcnemar", "failed"]
    eval_set: str = ""
    recipe: str = ""
    against: str = ""
    seeds: str = ""  # the seeds, separated by spaces
    items: int | None = None
    before: float | None = None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    difference: float | None = None
    only_recipe: int | None = None
    only_against: int | None = None
    tokens_trained: float | None = None
    paper: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Comparison:
    """Groups of runs by label, the figures about them, and remarks that a reader needs to know."""

    groups: dict[str, list[Run]]
    rows: list[Row]
    remarks: list[str]


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """Every run folder at or below `paths`, by folder name. Raises UserError where there is none."""
    folders: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            raise UserError(
                f"{path}: no such folder. Give a run folder, or a sweep's folder such as multirun/sweep-..."
            )
        for name in ("results.json", "status.json"):
            folders |= {file.parent for file in path.rglob(name)}
    if not folders:
        raise UserError(
            f"{', '.join(map(str, paths))}: no run folders below (none holds results.json or status.json). "
            "Run a sweep first: python train.py -m recipe=cot,sei seed=0,1,2"
        )
    return [_read_run(folder) for folder in sorted(folders)]


def compare(runs: Sequence[Run], baseline: str | None = None, *, tests: bool = True) -> Comparison:
    """Accuracies and paired tests, against `baseline` (a group's label) where given; `tests=False` leaves these out.

    Raises UserError where runs answered different test items, and for a baseline that is not a group.
    """
    remarks: list[str] = []
    groups = _grouped([run for run in runs if run.error is None], remarks)
    rows = [*_accuracy_rows(groups), *_share_rows(groups)]
    rows += _paired_rows(groups, _pairs(groups, baseline)) if tests else []
    rows += [Row("failed", recipe=run.recipe, seeds=str(run.seed), remark=run.error) for run in runs if run.error]
    remarks += _remarks(groups, rows)
    return Comparison(groups, rows, remarks)


def write_csv(rows: Sequence[Row], file: TextIO) -> None:
    """All rows under one header."""
    writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = {key: value for key, value in asdict(row).items() if value is not None}
        writer.writerow({key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()})


def show(comparison: Comparison, console: Terminal) -> None:
    """The tables for a person."""
    by_kind: dict[str, list[Row]] = {"accuracy": [], "share": [], "paired": [], "mcnemar": [], "failed": []}
    for row in comparison.rows:
        by_kind[row.kind].append(row)
    for eval_set, rows in _by_set(by_kind["accuracy"]):
        title = f"Accuracy on {eval_set}: {rows[0].items:,} items, mean over seeds, 95 % interval"
        paper = any(row.paper is not None for row in rows)
        columns = ("measured", "interval", "paper") if paper else ("after", "interval")
        table = _table(title, "recipe", numbers=("seeds", "before", *columns, "change", "tokens trained"))
        for row in rows:
            table.add_row(
                row.recipe,
                str(len(row.seeds.split())),
                _percent(row.before),
                _percent(row.after),
                _range(row.low, row.high),
                *([_percent(row.paper)] if paper else []),
                _points(row.difference),
                f"{row.tokens_trained:,.0f}",
            )
        console.print(table)
    for eval_set, rows in _by_set(by_kind["share"]):
        names = list(dict.fromkeys(row.remark for row in rows))
        table = _table(f"Also measured on {eval_set}: %, mean over seeds, 95 % interval", "recipe", numbers=names)
        for label in dict.fromkeys(row.recipe for row in rows):
            found = {row.remark: row for row in rows if row.recipe == label}
            table.add_row(label, *(_share(found.get(name)) for name in names))
        console.print(table)
    for eval_set, rows in _by_set(by_kind["paired"]):
        title = f"Paired tests on {eval_set}: difference in points on the same items, 95 % bootstrap interval"
        table = _table(title, "recipe - against", numbers=("seeds", "difference", "interval", "p"))
        table.add_column("McNemar p by seed")
        for row in rows:
            key = (eval_set, row.recipe, row.against)
            tests = [test for test in by_kind["mcnemar"] if (test.eval_set, test.recipe, test.against) == key]
            table.add_row(
                f"{row.recipe} - {row.against}",
                str(len(row.seeds.split())),
                _points(row.difference),
                _range(row.low, row.high, signed=True),
                f"{row.p:.4f}",
                " ".join(f"{test.p:.3f}" for test in tests),
            )
        console.print(table)
    if by_kind["failed"]:
        table = _table("Failed", "recipe", "seed", "error")
        for row in by_kind["failed"]:
            table.add_row(row.recipe, row.seeds, row.remark)
        console.print(table)


def plot(comparison: Comparison, path: Path) -> None:
    """One panel per evaluation set: a grey line before, one dot per seed after, mean and interval beside the dots."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in comparison.rows if row.kind == "accuracy"]
    sets = list(dict.fromkeys(row.eval_set for row in rows))
    labels = list(comparison.groups)
    figure, axes = pyplot.subplots(
        1, len(sets), figsize=(1.5 + (1.0 + 0.9 * len(labels)) * len(sets), 4.2), squeeze=False, layout="constrained"
    )
    for axis, eval_set in zip(axes[0], sets, strict=True):
        for row in (row for row in rows if row.eval_set == eval_set):
            place = labels.index(row.recipe)
            colour = f"C{place % 10}"
            before = [100 * _accuracy(run.before[eval_set]) for run in comparison.groups[row.recipe]]
            axis.plot([place - 0.3, place + 0.3], [_mean(before)] * 2, color="0.6", linewidth=1.5, label="before")
            after = [
                100 * _accuracy(run.after[eval_set]) for run in comparison.groups[row.recipe] if eval_set in run.after
            ]
            if row.after is None or row.low is None or row.high is None:
                continue
            # Seeds lie side by side in their order, so that equal accuracies stay visible.
            offsets = [
                place - 0.15 + 0.1 * (i - (len(after) - 1) / 2) / max(1, len(after) - 1) for i in range(len(after))
            ]
            axis.plot(offsets, after, "o", color=colour, alpha=0.55, markersize=5, label="seed")
            errors = [[100 * (row.after - row.low)], [100 * (row.high - row.after)]]
            axis.errorbar(place + 0.1, 100 * row.after, errors, fmt="D", color=colour, capsize=4, label="mean, 95 %")
        axis.set_title(
            f"{eval_set.replace('_', ' ')} ({next(r.items for r in rows if r.eval_set == eval_set):,} items)"
        )
        axis.set_xticks(range(len(labels)), [label.replace(", ", "\n").replace("_", "\n") for label in labels])
        axis.set_xlim(-0.6, len(labels) - 0.4)
        axis.grid(axis="y", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("accuracy, %")
    legend = dict(zip(*reversed(axes[0][0].get_legend_handles_labels()), strict=True))  # one entry a label
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def update_page(sweep: Path) -> Path:
    """The sweep's page when one of its jobs has ended: without paired tests, which take seconds each. Returns its path."""

    def figures() -> dict[str, Any]:
        runs = find_runs([sweep])
        try:
            return _for_page(runs, compare(runs, tests=False))
        except UserError as error:  # runs that cannot be compared are listed all the same
            return _for_page(runs, Comparison({}, [], [str(error)]))

    return write_sweep_page(sweep, figures)


def _for_page(runs: Sequence[Run], comparison: Comparison) -> dict[str, Any]:
    """What the sweep's page shows: see `tracking.page.sweep`."""
    of_kind = {kind: [row for row in comparison.rows if row.kind == kind] for kind in ("accuracy", "share", "paired")}
    label_of = {run.folder: label for label, group in comparison.groups.items() for run in group}

    def figure(row: Row, **more: Any) -> dict[str, Any]:
        low, high = (None if end is None or math.isnan(end) else end for end in (row.low, row.high))
        return {"label": row.recipe, "accuracy": row.after, "low": low, "high": high, **more}

    def seeds(row: Row) -> list[dict[str, Any]]:
        scores = [(run.seed, run.after.get(row.eval_set)) for run in comparison.groups[row.recipe]]
        return [{"seed": seed, "accuracy": _accuracy(own) if own else None} for seed, own in scores]

    sets = [
        {
            "name": name,
            "size": rows[0].items,
            "paper": any(row.paper is not None for row in rows),
            "rows": [
                figure(row, seeds=seeds(row), before=row.before, paper=row.paper, tokens=row.tokens_trained)
                for row in rows
            ],
        }
        for name, rows in _by_set(of_kind["accuracy"])
    ]
    keys = ("recipe", "against", "difference", "low", "high", "p")
    return {
        "jobs": [
            {"run": run.folder, "label": label_of.get(run.folder, run.recipe), "seed": run.seed, "error": run.error}
            for run in runs
        ],
        "sets": sets,
        "shares": [figure(row, what=row.remark, set=row.eval_set) for row in of_kind["share"]],
        "tests": [
            {"set": row.eval_set, "seeds": len(row.seeds.split()), **{key: getattr(row, key) for key in keys}}
            for row in of_kind["paired"]
        ],
        "remarks": comparison.remarks,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: tables (or CSV) to standard output; compare.csv, compare.png and report.html in the first path."""
    parser = argparse.ArgumentParser(prog="python -m sei.compare", description="Compare recipes over seeds.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="run folders, or folders that hold them")
    parser.add_argument("--baseline", metavar="LABEL", help="test each group against this one, named as in the tables")
    options = parser.parse_args(arguments)
    paths: list[Path] = options.paths
    try:
        runs = find_runs(paths)
        comparison = compare(runs, options.baseline)
        text = io.StringIO()
        write_csv(comparison.rows, text)
        try:
            (paths[0] / "compare.csv").write_text(text.getvalue(), encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{paths[0]}: cannot write compare.csv ({error.strerror}). Give a writable first path."
            ) from error
    except UserError as error:
        sys.exit(f"error: {error}")
    written = "compare.csv"
    if any(row.kind == "accuracy" for row in comparison.rows):
        plot(comparison, paths[0] / "compare.png")
        written += " and compare.png"
    # A run's own page is not written over, nor does a page stand above runs that are not below it.
    sweep = len(paths) == 1 and not (paths[0] / "status.json").exists()
    if sweep and try_to_write(lambda: write_sweep_page(paths[0], lambda: _for_page(runs, comparison)), _remark):
        written = f"{written.replace(' and', ',')} and report.html"
    if sys.stdout.isatty():
        show(comparison, Terminal())
    else:
        sys.stdout.write(text.getvalue())
    for remark in (*comparison.remarks, f"wrote {written} to {paths[0]}"):
        _remark(remark)


def _remark(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _read_run(folder: Path) -> Run:
    status = read_object(folder / "status.json") if (folder / "status.json").exists() else {"status": "done"}
    composed = _composed(folder)
    if status.get("status") != "done" or not (folder / "results.json").exists():
        error = str(status.get("error", "did not finish: killed, or still running"))
        recipe = str((composed.get("recipe") or {}).get("name", folder.name))
        return Run(folder, recipe, composed.get("seed", 0), {}, error)
    results = read_object(folder / "results.json")
    with understood(folder / "results.json"):
        overrides = dict(override.lstrip("+~").split("=", 1) for override in results["overrides"] if "=" in override)
        settings = {
            key: value
            for key, value in overrides.items()
            if key not in _COMPARED_OVER and not _where_and_how(key) and not _nothing_chosen(key, value)
        }
        return Run(
            folder,
            str(results["recipe"]),
            int(results["seed"]),
            settings,
            tokens=int(results["tokens_trained"]),
            before=_scores(folder / "outcomes_before.jsonl"),
            after=_scores(folder / "outcomes.jsonl"),
            shares=_shares(results),
            model=str(results["model"]),
            config=composed,
        )


def _composed(folder: Path) -> dict[str, Any]:
    """The composed configuration, {} if the run has none. Of a run that failed nothing else is left."""
    for path in (folder / "config.yaml", folder / ".hydra" / "config.yaml"):
        if path.exists():
            composed = read_object(path)
            with understood(path):
                dict(composed.get("recipe") or {}), int(composed.get("seed", 0)), dict(composed.get("data") or {})
                list(composed.get("expected") or ())
            return composed
    return {}


def _where_and_how(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in WHERE_AND_HOW)


def _nothing_chosen(key: str, value: str) -> bool:
    """Whether an override such as `experiment=null` or `ablation=none` chooses nothing from its group."""
    return ("." not in key and value.strip("'\"") == "null") or (key, value) == ("ablation", "none")


def _scores(path: Path) -> Mapping[str, Scores]:
    records = read_checked(path, Outcome)
    sets: dict[str, dict[str, float]] = {}
    for record in records:
        sets.setdefault(record.eval_set, {})[record.problem_id] = score(record)
    return sets


def _grouped(runs: Sequence[Run], remarks: list[str]) -> dict[str, list[Run]]:
    """Runs by label: the recipe, and each setting that is not the same in all runs; by seed within a label.

    Of several runs with the same label and seed the latest counts. A remark names runs that share a label although their
    configurations differ (a file in `conf/` was edited between them).
    """
    own = {run.folder: _own_settings(run, runs) for run in runs}
    keys = sorted({key for settings in own.values() for key in settings})
    differing = [key for key in keys if len({settings.get(key) for settings in own.values()}) > 1]
    latest: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: (run.folder / "results.json").stat().st_mtime_ns):
        settings = own[run.folder]
        label = ", ".join([run.recipe, *(f"{key}={settings[key]}" for key in differing if key in settings)])
        if (label, run.seed) in latest:
            remarks.append(f"{latest[label, run.seed].folder} is left out: {run.folder} is the same job, run later")
        latest[label, run.seed] = run
    groups: dict[str, list[Run]] = {}
    for (label, _), run in sorted(latest.items(), key=lambda item: item[0]):
        groups.setdefault(label, []).append(run)
    for label, group in groups.items():
        first, *others = [dict(_leaves(run.config)) for run in group if run.config] or [{}]
        unsaid = sorted(
            {key for other in others for key in first.keys() | other.keys() if first.get(key) != other.get(key)}
        )
        if unsaid:
            remarks.append(
                f"{label}: its runs differ in {', '.join(unsaid[:5])}, although no override of theirs sets it"
            )
    return groups


def _own_settings(run: Run, runs: Sequence[Run]) -> dict[str, str]:
    """The overrides of `run`, without those that another run of the same recipe has by default."""
    plain = [other for other in runs if other.recipe == run.recipe]

    def is_default(key: str) -> bool:
        value = run.composed(key)
        return value is not None and any(key not in other.settings and other.composed(key) == value for other in plain)

    return {key: value for key, value in run.settings.items() if not is_default(key)}


def _leaves(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key and value of a configuration that decides what is run, except the seed."""
    for name, value in config.items():
        key = f"{above}{name}"
        if key == "seed" or _where_and_how(key):
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _pairs(groups: Mapping[str, list[Run]], baseline: str | None) -> list[tuple[str, str]]:
    """Which groups are tested: the second of each pair against the first."""
    if baseline is not None and baseline not in groups:
        raise UserError(f"--baseline {baseline!r}: no such group. Choose one of: {'; '.join(groups)}")
    if baseline is None and len({group[0].recipe for group in groups.values()}) == 1:
        baseline = next(iter(groups))  # the label without settings comes first
    if baseline is None:
        return list(combinations(groups, 2))
    return [(baseline, label) for label in groups if label != baseline]


def _paper(run: Run, eval_set: str, second_pass: bool = False) -> tuple[float | None, str]:
    """The paper's accuracy for this job in [0, 1] and its source, from the run's `expected`.

    An entry has model, recipe, set, accuracy (percent) and source. It is about the unchanged method;
    one about an ablation names the ablation (`ablation: without_step`), one about models trained on certain data names the
    data (`data: gsm8k`). Raises UserError for an entry that lacks a key it is matched by.
    """
    data = (run.composed("data") or {}).get("kind")
    for entry in run.composed("expected") or ():
        if not isinstance(entry, Mapping) or not {"model", "recipe", "set", "accuracy"} <= entry.keys():
            raise UserError(
                f"{run.folder}/config.yaml: expected has {entry!r}; an entry needs model, recipe, set, accuracy"
            )
        about = (entry["model"], entry["recipe"], entry["set"], entry.get("ablation"), entry.get("second_pass", False))
        same = about == (run.model, run.recipe, eval_set, run.settings.get("ablation"), second_pass)
        if same and entry.get("data", data) == data:
            return entry["accuracy"] / 100, f"paper: {entry.get('source', 'source not given')}"
    return None, ""


def _accuracy_rows(groups: Mapping[str, list[Run]]) -> Iterator[Row]:
    for eval_set in _sets(groups):
        items = _common_items(eval_set, [run for group in groups.values() for run in group])
        for label, group in groups.items():
            runs = [run for run in group if eval_set in run.before]
            if not runs:
                continue
            before = _mean([_accuracy(run.before[eval_set]) for run in runs])
            after = [_accuracy(run.after[eval_set]) for run in runs if eval_set in run.after]
            paper, source = _paper(runs[0], eval_set)
            interval: Interval | None = None
            if len(after) == 1:
                scores = list(next(run.after[eval_set] for run in runs if eval_set in run.after).values())
                interval = shares_interval([scores])
            elif after:
                interval = mean_interval(after)
            yield Row(
                "accuracy",
                eval_set,
                label,
                seeds=" ".join(str(run.seed) for run in runs),
                items=len(items),
                before=before,
                after=interval and interval.mean,
                low=interval and interval.low,
                high=interval and interval.high,
                difference=interval and interval.mean - before,
                tokens_trained=_mean([run.tokens for run in runs]),
                paper=paper,
                remark=source if interval else "not trained",
            )


def _share_rows(groups: Mapping[str, list[Run]]) -> Iterator[Row]:
    for label, group in groups.items():
        for eval_set, what in dict.fromkeys(key for run in group for key in run.shares):
            runs = [run for run in group if (eval_set, what) in run.shares]
            interval = mean_interval([run.shares[eval_set, what] for run in runs])
            paper = _paper(runs[0], eval_set, second_pass=True)[0] if what == "second pass" else None
            yield Row(
                "share",
                eval_set,
                label,
                seeds=" ".join(str(run.seed) for run in runs),
                after=interval.mean,
                low=interval.low,
                high=interval.high,
                paper=paper,
                remark=what,
            )


def _shares(results: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """What `results.json` contains besides accuracies: the second pass, and the checks of the student's mistakes."""
    shares: dict[tuple[str, str], float] = {}
    for name, row in results.get("second_pass", {}).items():
        shares[name, "second pass"] = row["second"]["accuracy"]
        shares[name, "right to wrong"] = row["right_to_wrong"] / row["n"]
        shares[name, "wrong to right"] = row["wrong_to_right"] / row["n"]
    located = results.get("located", {})
    if located:
        last = list(located.values())[-1]  # the trained target's; the untrained student's comes before it
        shares[last["set"], "step found"] = last["located"]["mean"]
        shares[last["set"], "corrected"] = last["corrected"]["mean"]
    return shares


def _share(row: Row | None) -> str:
    if row is None or row.after is None or row.low is None or row.high is None:
        return ""
    interval = "" if math.isnan(row.low) else f" [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    paper = "" if row.paper is None else f" (paper {100 * row.paper:.1f})"
    return f"{100 * row.after:.1f}{interval}{paper}"


def _paired_rows(groups: Mapping[str, list[Run]], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    rows: list[Row] = []
    for eval_set in _sets(groups):
        for against, recipe in pairs:
            of_first = {run.seed: run.after[eval_set] for run in groups[against] if eval_set in run.after}
            of_second = {run.seed: run.after[eval_set] for run in groups[recipe] if eval_set in run.after}
            seeds = sorted(of_first.keys() & of_second.keys())
            if not seeds:
                continue
            items = sorted(of_first[seeds[0]])
            left = [[of_first[seed][item] for item in items] for seed in seeds]
            right = [[of_second[seed][item] for item in items] for seed in seeds]
            effect = paired_bootstrap(left, right)
            over = "bootstrap over items and seeds" if len(seeds) > 1 else "one seed: bootstrap over items only"
            named = {"eval_set": eval_set, "recipe": recipe, "against": against, "items": len(items)}
            rows.append(
                Row(
                    "paired",
                    **named,  # type: ignore[arg-type]
                    seeds=" ".join(map(str, seeds)),
                    low=effect.low,
                    high=effect.high,
                    p=effect.p,
                    difference=effect.difference,
                    remark=over,
                )
            )
            for seed, one, other in zip(seeds, left, right, strict=True):
                if not _single([*one, *other]):
                    continue
                test = mcnemar([value == 1 for value in one], [value == 1 for value in other])
                rows.append(
                    Row(
                        "mcnemar",
                        **named,  # type: ignore[arg-type]
                        seeds=str(seed),
                        p=test.p,
                        difference=(test.only_second - test.only_first) / len(items),
                        only_recipe=test.only_second,
                        only_against=test.only_first,
                    )
                )
    return rows


def _remarks(groups: Mapping[str, list[Run]], rows: Sequence[Row]) -> Iterator[str]:
    """Remarks on what limits the conclusions."""
    seeds = {run.seed for group in groups.values() for run in group}
    for label, group in groups.items():
        if missing := sorted(seeds - {run.seed for run in group}):
            yield f"{label} has no finished run of seed {', '.join(map(str, missing))}: tests with it use the common seeds only"
        if len(group) == 1:
            yield f"{label} has one seed: its interval is over items and says nothing about other seeds"
    paired = [row for row in rows if row.kind == "paired"]
    if any(len(row.seeds.split()) == 1 for row in paired):
        yield "tests with one common seed resample items only and say nothing about other seeds"
    tokens = [run.tokens for group in groups.values() for run in group if run.after]
    if tokens and max(tokens) > 1.02 * min(tokens):
        yield f"budgets differ: {min(tokens):,} to {max(tokens):,} training tokens; the recipes are not compared at equal cost"
    if len(paired) > 1:
        yield f"{len(paired)} paired tests: their p-values are not adjusted for their number"


def _sets(groups: Mapping[str, list[Run]]) -> list[str]:
    return list(dict.fromkeys(eval_set for group in groups.values() for run in group for eval_set in run.before))


def _common_items(eval_set: str, runs: Sequence[Run]) -> frozenset[str]:
    """The items that all runs answered, before and after. Raises UserError if they are not the same."""
    reference: tuple[Run, frozenset[str]] | None = None
    for run in runs:
        for outcomes in (run.before, run.after):
            if eval_set not in outcomes:
                continue
            items = frozenset(outcomes[eval_set])
            if reference is None:
                reference = run, items
            if items != reference[1]:
                raise UserError(
                    f"evaluation set {eval_set}: {run.folder} ({len(items)} items) and {reference[0].folder} "
                    f"({len(reference[1])} items) have {len(items & reference[1])} items in common, so they cannot be "
                    "compared item by item. Compare runs with the same data and eval settings, in separate calls."
                )
    return reference[1] if reference else frozenset()


def _accuracy(scores: Scores) -> float:
    return _mean(list(scores.values()))


def _single(scores: Sequence[float]) -> bool:
    """Whether each item has one sample (or samples that all agree), so that items are right or wrong."""
    return all(value in (0, 1) for value in scores)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _by_set(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for eval_set in dict.fromkeys(row.eval_set for row in rows):
        yield eval_set, [row for row in rows if row.eval_set == eval_set]


def _table(title: str, *text_columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in text_columns:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def _range(low: float | None, high: float | None, signed: bool = False) -> str:
    if low is None or high is None:
        return "-"
    return f"[{100 * low:+.1f}, {100 * high:+.1f}]" if signed else f"[{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
