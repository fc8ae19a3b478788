"""One run, from its configuration to its report.

Place in the flow: `train.py` calls `run`; it refuses what this machine cannot do, opens workspace and tracker, runs the recipe
and writes `results.json`. `status.json` says running, done, failed or interrupted, and why; `report.html` shows what there is
to see.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from sei.config import Config, Origin, plain_values
from sei.errors import UserError
from sei.lab import Lab
from sei.ledger import sums
from sei.plan import announce_engine, check_machine, plan
from sei.processes import ends_in_order
from sei.prospect import Nearby
from sei.rehearsal import rehearsed
from sei.run_files import read_object
from sei.state import at_work, code_of, read_status, running, spent, worker
from sei.terminal import Terminal
from sei.tracking import report
from sei.tracking.display import Display
from sei.tracking.names import labels
from sei.tracking.page.run import try_to_write, write_run_page
from sei.tracking.summary import summary
from sei.tracking.tables import tables
from sei.tracking.tracker import Tracker
from sei.workspace import Artifact, Workspace, write_json


def run(
    config: Config,
    folder: Path,
    overrides: Sequence[str],
    origin: Origin | None = None,
    *,
    nearby: Nearby | None = None,
    in_sweep: bool = False,
) -> float | None:
    """Run one job in `folder`. Returns validation accuracy after training, None where nothing was trained.

    `overrides` are the words of the command line that this job differs by, `origin` the experiment and the sweep that it
    belongs to, both for the record; `nearby` gives command lines near this one (`sei.compose.nearby`). Raises UserError for
    what the user can mend. The last lines name the page and, outside a sweep, the next command to try.
    """
    display = Display()
    for line in config.chosen:
        display.note(line)
    if config.left_out:
        display.note(f"recipe={config.recipe.name} has no use for {', '.join(config.left_out)}: left out.")
    if config.dry_run:
        with rehearsed(config, display.note) as config:
            plan(config, display, origin or Origin(), nearby)
        return None
    with ends_in_order(), contextlib.ExitStack() as rehearsal:
        try:
            config = rehearsal.enter_context(rehearsed(config, display.note))
            check_machine(config, nearby)
            workspace = Workspace(folder, config.cache_dir, on_stage=display.stage, on_note=display.note)
            rehearsal.enter_context(at_work(folder, display.note))
            code = code_of(vars(config).values())
            if in_sweep and not config.rehearsal and (earlier := _finished(config, folder, code)):
                display.note(
                    f"done before with this configuration, not run again: {folder} (to run it again, remove it)"
                )
                return _validation(earlier)
            workspace.write("status.json", running(folder))
            figures = _run(config, folder, overrides, origin or Origin(), workspace, display)
            workspace.write("status.json", {"status": "done", **_until_now(folder), "code": code})
        except BaseException as error:
            record_failure(folder, error)
            if isinstance(error, Exception):  # who interrupts a run does not wait for its page
                _write_page(folder, display)
            raise
        _write_page(folder, display)
    if config.rehearsal:
        display.note("That was a rehearsal. The real run: the same command without scale=rehearsal")
    alone = not in_sweep and not config.rehearsal
    if figures["error_types"] and alone:
        trace = shlex.join(["python", "-m", "sei.trace", str(folder)])
        display.note(f"next, which error types got fixed, and by which rows: {trace}")
    if config.trainer.enabled and alone:
        display.note(f"next, the same over seeds: {_over_seeds(overrides)}")
    return _validation(figures)


def _validation(figures: dict[str, Any]) -> float | None:
    """Accuracy on the validation split after training, None where nothing was trained."""
    validation = figures["validation"]
    return validation["accuracy"] if validation else None


_NO_DIFFERENCE = ("cache_dir", "dry_run", "expected")  # settings with which a finished job would find the same again


def _finished(config: Config, folder: Path, code: str) -> dict[str, Any] | None:
    """The results of a job that is done in `folder` with this configuration and this code; None where none is."""
    status, results = read_status(folder), folder / "results.json"
    if status.get("status") != "done" or status.get("code") != code or not results.is_file():
        return None
    wanted = yaml.safe_load(_as_yaml(config))
    found = read_object(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    keys = (wanted.keys() | found.keys()) - set(_NO_DIFFERENCE)
    return read_object(results) if all(wanted.get(key) == found.get(key) for key in keys) else None


def _as_yaml(config: Config) -> str:
    return yaml.safe_dump(plain_values(config), sort_keys=False, allow_unicode=True)


def _until_now(folder: Path) -> dict[str, float]:
    return spent(folder, time.time())


def _write_page(folder: Path, display: Display) -> None:
    if page := try_to_write(lambda: write_run_page(folder), display.note):
        display.note(f"report: {page}")


def _over_seeds(overrides: Sequence[str]) -> str:
    """The sweep that tells this job's effect from chance."""
    words = [word for word in overrides if not word.startswith("seed=")]
    return f"{shlex.join(['python', 'train.py', '-m', *words])} seed=0,1,2"


def record_failure(folder: Path, error: BaseException) -> None:
    """Say in the run folder that the job failed or was interrupted, and why, unless another process is at work there."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    status: dict[str, Any] = {"status": "failed", "error": said}
    if isinstance(error, KeyboardInterrupt):
        status = {"status": "interrupted", "error": str(error) or "Interrupted. Run the same command to resume."}
    with contextlib.suppress(OSError):  # the folder may be what is wrong
        folder.mkdir(parents=True, exist_ok=True)
        if (other := worker(folder)) and not (other.here and other.pid == os.getpid()):
            return
        status |= _until_now(folder)
        try:
            write_json(folder / "status.json", status)
        except OSError:
            _overwrite(folder / "status.json", json.dumps(status | {"error": said[:_SHORT]}))
        if isinstance(error, Exception) and not isinstance(error, UserError):
            (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")


_SHORT = 500  # characters of an error, with which a status still fits into one block of a disk


def _overwrite(path: Path, text: str) -> None:
    """Write into the place that a file has on a full disk; where that fails too, no status is better than a false one."""
    try:
        with path.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)


def _run(
    config: Config, folder: Path, overrides: Sequence[str], origin: Origin, workspace: Workspace, display: Display
) -> dict[str, Any]:
    composed = plain_values(config)
    workspace.write_text("config.yaml", _as_yaml(config))
    tracker = Tracker(
        config.logger,
        folder,
        labels(config, overrides, origin),
        composed | {"overrides": list(overrides)},
        say=display.note,
        spent=lambda: asdict(sums(folder)),
    )

    def on_stage(artifact: Artifact[Any]) -> None:
        display.stage(artifact)
        tracker.stage(artifact)

    workspace.on_stage = on_stage
    with tracker:
        with Lab(config, workspace, display, tracker) as lab:
            precisions = lab.precisions
            said = [f"{task} {precisions[task]}" for task in ("training", "generation") if task in precisions]
            if said:
                display.note(f"Precision: {', '.join(said)}")
            announce_engine(lab)
            results = config.recipe.run(lab)
            tests = lab.splits.tests
            asked = {problem.id: problem for name in results.before for problem in lab.test(name)}
            workspace.write_records("test_problems.jsonl", list(asked.values()))
        figures = report.collect(config, results, workspace.done, overrides, precisions)
        written = (
            ("outcomes_before", results.before),
            ("outcomes", results.after),
            ("outcomes_second", results.second),
        )
        names = []
        for when, outcomes in written:
            if when == "outcomes_second" and not outcomes:
                continue
            names.append(f"{when}.jsonl")
            workspace.write_records(names[-1], [row for rows in outcomes.values() for row in rows])
        workspace.write_records("grader_disagreements.jsonl", report.grader_disagreements(results))
        workspace.write("results.json", figures)
        tracker.summarize(figures, summary(figures, workspace.done, tracker.spending()))
        tracker.show(tables(figures, results, workspace.done, tests, config.data.style), names)
    report.show(display.console, figures, workspace.done, folder)
    text = io.StringIO()
    report.show(Terminal(file=text, width=160), figures, workspace.done, folder)
    workspace.write_text("report.txt", text.getvalue())
    return figures
