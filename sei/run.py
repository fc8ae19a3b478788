"""One run, from a composed configuration to its report.

Place in the flow: `train.py` calls `run`; it validates, refuses what this machine cannot do, opens workspace and tracker,
runs the recipe and writes `results.json`. `status.json` says running, done or failed, and why.
"""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sei.config import validate
from sei.errors import UserError
from sei.plan import check_machine, plan
from sei.recipes import RECIPES
from sei.recipes.kit import Kit
from sei.recipes.results import Results
from sei.tracking import report
from sei.tracking.display import Display
from sei.tracking.tracker import Tracker
from sei.workspace import Workspace, write_json


def run(config: DictConfig, folder: Path, overrides: Sequence[str]) -> float | None:
    """Run one job in `folder`. Returns validation accuracy after training, None where nothing was trained.

    Raises UserError for what the user can mend.
    """
    display = Display()
    if config.dry_run:
        validate(config)
        plan(config, display)
        return None
    try:
        validate(config)
        check_machine(config)
        workspace = Workspace(folder, Path(config.cache_dir), on_stage=display.stage, on_note=display.note)
        workspace.write("status.json", {"status": "running"})
        figures = _run(config, folder, overrides, workspace, display)
        workspace.write("status.json", {"status": "done"})
    except BaseException as error:
        with contextlib.suppress(OSError):  # the folder may be what is wrong
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "status.json", {"status": "failed", "error": f"{type(error).__name__}: {error}"})
            if not isinstance(error, UserError):
                (folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        raise
    validation = figures["validation"]
    return validation["accuracy"] if validation else None


def _run(config: DictConfig, folder: Path, overrides: Sequence[str], workspace: Workspace, display: Display) -> dict:
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")
    composed = json.loads(json.dumps(OmegaConf.to_container(config, resolve=True), default=str))
    tracker = Tracker(
        config.logger.kind,
        folder,
        project=config.logger.project,
        name=folder.name,
        group=folder.parent.name,
        job_type=config.recipe.name,
        tags=[config.recipe.name, config.model.name, config.data.kind, *config.logger.tags],
        config=composed,
    )
    with tracker:
        kit = Kit(config, workspace, display, tracker)
        said = [f"{task} {kit.precisions[task]}" for task in ("training", "generation") if task in kit.precisions]
        if said:
            display.note(f"Precision: {', '.join(said)}")
        try:
            results: Results = RECIPES[config.recipe.name].run(kit)
        finally:
            kit.end()
        figures = report.collect(config, results, workspace.done, overrides, kit.precisions)
        written = (
            ("outcomes_before", results.before),
            ("outcomes", results.after),
            ("outcomes_second", results.second),
        )
        for when, outcomes in written:
            if when == "outcomes_second" and not outcomes:
                continue
            workspace.write_records(f"{when}.jsonl", [row for rows in outcomes.values() for row in rows])
        workspace.write("results.json", figures)
        tracker.summarize(*report.for_tracker(figures))
    report.show(display.console, figures, workspace.done, folder)
    return figures
