"""One run, from its configuration to its report.

Place in the flow: `train.py` calls `run`; it refuses what this machine cannot do, opens workspace and tracker, runs the recipe
and writes `results.json`. `status.json` says running, done or failed, and why.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from sei.config import Config, plain_values
from sei.errors import UserError
from sei.lab import Lab
from sei.plan import check_machine, plan
from sei.tracking import report
from sei.tracking.display import Display
from sei.tracking.tracker import Tracker
from sei.workspace import Workspace, write_json


def run(config: Config, folder: Path, overrides: Sequence[str]) -> float | None:
    """Run one job in `folder`. Returns validation accuracy after training, None where nothing was trained.

    `overrides` are the words of the command line that this job differs by, for the record. Raises UserError for what the
    user can mend.
    """
    display = Display()
    if config.left_out:
        display.note(f"recipe={config.recipe.name} has no use for {', '.join(config.left_out)}: left out.")
    if config.dry_run:
        plan(config, display)
        return None
    try:
        check_machine(config)
        workspace = Workspace(folder, config.cache_dir, on_stage=display.stage, on_note=display.note)
        workspace.write("status.json", {"status": "running"})
        figures = _run(config, folder, overrides, workspace, display)
        workspace.write("status.json", {"status": "done"})
    except BaseException as error:
        record_failure(folder, error)
        raise
    validation = figures["validation"]
    return validation["accuracy"] if validation else None


def record_failure(folder: Path, error: BaseException) -> None:
    """Say in the run folder that the job failed, and why."""
    with contextlib.suppress(OSError):  # the folder may be what is wrong
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "status.json", {"status": "failed", "error": f"{type(error).__name__}: {error}"})
        if not isinstance(error, UserError):
            (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")


def _run(
    config: Config, folder: Path, overrides: Sequence[str], workspace: Workspace, display: Display
) -> dict[str, Any]:
    composed = plain_values(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(composed, sort_keys=False, allow_unicode=True), encoding="utf-8")
    tracker = Tracker(
        config.logger.kind,
        folder,
        project=config.logger.project,
        name=folder.name,
        group=folder.parent.name,
        job_type=config.recipe.name,
        tags=[config.recipe.name, config.model.name, config.data.name, *config.logger.tags],
        config=composed,
    )
    with tracker:
        with Lab(config, workspace, display, tracker) as lab:
            precisions = lab.precisions
            said = [f"{task} {precisions[task]}" for task in ("training", "generation") if task in precisions]
            if said:
                display.note(f"Precision: {', '.join(said)}")
            results = config.recipe.run(lab)
        figures = report.collect(config, results, workspace.done, overrides, precisions)
        written = (
            ("outcomes_before", results.before),
            ("outcomes", results.after),
            ("outcomes_second", results.second),
        )
        for when, outcomes in written:
            if when == "outcomes_second" and not outcomes:
                continue
            workspace.write_records(f"{when}.jsonl", [row for rows in outcomes.values() for row in rows])
        workspace.write_records("grader_disagreements.jsonl", report.grader_disagreements(results))
        workspace.write("results.json", figures)
        tracker.summarize(*report.for_tracker(figures))
    report.show(display.console, figures, workspace.done, folder)
    with (folder / "report.txt").open("w", encoding="utf-8") as file:
        report.show(Console(file=file, width=160), figures, workspace.done, folder)
    return figures
