"""A saved W&B view of many runs, and a report of an ablation: `python -m sei.workspace_view ENTITY/PROJECT`.

Place in the flow: after the runs of a sweep are in a W&B project. The view groups runs by `variant` (all seeds of one method
together) and pins a baseline; the report has the same panels with what to look for. Both name metrics alone, the same for every
recipe, so new runs appear in them by themselves. `--print` shows them as JSON and sends nothing. Example::

    python -m sei.workspace_view team/sei --runs multirun/embedded_recipes --print
    python -m sei.workspace_view team/sei --group embedded_recipes
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sei.errors import UserError
from sei.tracking.journal import run_id
from sei.tracking.names import plain_key

INSTALL = 'pip install -c constraints.txt -e ".[workspace]"'
_CHOSEN_BY = ("seed", "recipe.training.learning_rate", "recipe.training.rank")  # settings that are often swept


@dataclass(frozen=True)
class Runs:
    """What a view needs to know of the runs it shows."""

    sets: tuple[str, ...]  # evaluation sets, as metrics name them
    rounds: int
    baseline: str | None  # id of the run that the others are compared with


def from_folders(path: Path, baseline: str) -> Runs:
    """The runs in the run folders at or below `path`. Raises UserError where none is finished."""
    found = []
    for file in sorted(path.rglob("results.json")):
        results = json.loads(file.read_text(encoding="utf-8"))
        found.append((list(results["eval"]), results["ledger"], results["recipe"], run_id(file.parent)))
    if not found:
        raise UserError(f"{path}: no run folder with a results.json lies there. Give the folder of a run or a sweep.")
    sets = dict.fromkeys(plain_key(name) for names, *_ in found for name in names)
    rounds = max(_rounds(ledger) for _, ledger, *_ in found)
    return Runs(tuple(sets), rounds, next((name for *_, recipe, name in found if recipe == baseline), None))


def from_project(path: str, group: str | None, baseline: str) -> Runs:
    """The runs of a W&B project, of one group where it is given. Raises UserError where W&B does not answer."""
    import wandb

    try:
        runs = list(wandb.Api().runs(path, filters={"group": group} if group else None))
        summaries = [dict(run.summary) for run in runs]
        variants = {run.config.get("variant"): run.id for run in runs}
    except Exception as error:
        raise UserError(
            f"{path}: W&B did not list its runs ({error}). Log in with `wandb login`, or name local folders with --runs and "
            "add --print."
        ) from error
    keys = dict.fromkeys(
        key.removesuffix("/after") for summary in summaries for key in summary if key.endswith("/after")
    )
    keys.pop("mean", None)
    rounds = max((int(summary.get("rounds") or 1) for summary in summaries), default=1)
    return Runs(tuple(keys), rounds, variants.get(baseline))


def _rounds(ledger: Mapping[str, Any]) -> int:
    return max((int(stage.partition(".round")[2] or 1) for stage in ledger), default=1)


def sections(runs: Runs) -> dict[str, list[Any]]:
    """The panels of view and report, by section."""
    import wandb_workspaces.reports.v2 as wr

    def bars(metric: str, title: str) -> Any:
        return wr.BarPlot(
            title=f"{title} (mean over seeds, standard error)",
            metrics=[wr.SummaryMetric(metric)],
            groupby=wr.Config("variant"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
        )

    def against(metric: str, title: str) -> Any:
        return wr.ScatterPlot(title=title, x=wr.SummaryMetric(metric), y=wr.SummaryMetric("mean/after"))

    def curve(title: str, x: str, *y: str) -> Any:
        return wr.LinePlot(
            title=title,
            x=x,
            y=list(y),
            groupby=wr.Config("variant"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
        )

    columns: list[Any] = [wr.Config(name) for name in _CHOSEN_BY]
    columns += [
        wr.SummaryMetric(name) for name in ("tokens_trained", "seconds/total", "usd/used", "validation/accuracy")
    ]
    rounds = range(1, runs.rounds + 1)
    return {
        "Result": [
            bars("mean/after", "accuracy, mean of all sets"),
            *(bars(f"{name}/after", f"accuracy, {name}") for name in runs.sets),
            *(bars(f"{name}/change", f"change by training, {name}") for name in runs.sets),
            bars("fixed", "test items fixed"),
            bars("broken", "test items broken"),
        ],
        "What it took": [
            against("tokens_trained", "accuracy against tokens"),
            against("usd/used", "accuracy against dollars"),
            curve("accuracy while tokens are trained on", "tokens_trained", *(f"eval/{name}" for name in runs.sets)),
            bars("usd/per_fixed", "dollars for each mistake fixed"),
        ],
        "Error types": [
            wr.WeavePanelSummaryTable(table_name=f"tables/{name}")
            for name in ("error_types_in_tests", "error_types", "items", "mistakes", "synthesized")
        ],
        "Choose by validation": [
            wr.ParallelCoordinatesPlot(
                title="settings, cost and validation accuracy",
                columns=[wr.ParallelCoordinatesPlotColumn(metric=column) for column in columns],
            )
        ],
        "Curves": [curve(f"loss, round {n}", f"round{n}/train/tokens", f"round{n}/train/loss") for n in rounds],
    }


def view(entity: str, project: str, runs: Runs, group: str | None) -> Any:
    """The saved view: runs grouped by variant, the baseline pinned."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    pinned: list[Any] = [runs.baseline] if runs.baseline else []
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Learning from errors{f', {group}' if group else ''}",
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections(runs).items()],
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("Group") == group) if group else "",
            groupby=[expr.Config("variant")],
            pinned_runs=pinned,
            baseline_run=runs.baseline,
        ),
    )


LOOK_FOR = {
    "Result": "Bars are means over seeds. Two methods differ where python -m sei.compare says so: it tests the same items.",
    "What it took": "The same accuracy for fewer tokens or dollars is the better method.",
    "Error types": "Which types have fewer mistakes after training, and the items behind them.",
    "Choose by validation": "Settings are chosen on the validation split, the last axis, never on a test set.",
    "Curves": "Loss of each round over the tokens it has trained on.",
}


def report(entity: str, project: str, runs: Runs, group: str | None) -> Any:
    """The report of an ablation: each section with what to look for."""
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces import expr

    filters = expr.And(expr.Metric("Group") == group) if group else ""
    blocks: list[Any] = []
    for name, panels in sections(runs).items():
        runset = wr.Runset(name="runs", groupby=["config.variant"], filters=filters)  # of the report's own project
        blocks += [wr.H2(name), wr.P(LOOK_FOR[name]), wr.PanelGrid(runsets=[runset], panels=panels)]
    return wr.Report(entity=entity, project=project, title=f"Ablation: {group or project}"[:128], blocks=blocks)


def as_json(saved: Any) -> Any:
    """What would be sent of a view or a report."""
    return json.loads(saved._to_model().model_dump_json(by_alias=True, exclude_none=True))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sei.workspace_view", description=__doc__.partition("\n")[0])
    parser.add_argument("project", metavar="ENTITY/PROJECT")
    parser.add_argument("--runs", type=Path, help="read what the runs have from these local folders instead of W&B")
    parser.add_argument("--group", help="only the runs of this W&B group, which is what a sweep is called")
    parser.add_argument("--baseline", default="cot", help="the variant that the others are compared with (cot)")
    parser.add_argument("--print", action="store_true", help="print view and report as JSON and send nothing")
    args = parser.parse_args(arguments)
    try:
        return _run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    entity, slash, project = args.project.partition("/")
    if not (entity and slash and project) or "/" in project:
        raise UserError(f"{args.project}: give ENTITY/PROJECT, as in the address of the project's page.")
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise UserError(f"This needs wandb-workspaces ({error}). Install it with: {INSTALL}") from error
    runs = (
        from_folders(args.runs, args.baseline) if args.runs else from_project(args.project, args.group, args.baseline)
    )
    saved = {"view": view(entity, project, runs, args.group), "report": report(entity, project, runs, args.group)}
    if args.print:
        print(json.dumps({name: as_json(one) for name, one in saved.items()}, indent=2))
        return 0
    for name, one in saved.items():
        one.save()
        print(f"{name}: {one.url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
