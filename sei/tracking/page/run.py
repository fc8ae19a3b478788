"""The page of one run: `report.html` in its folder.

Place in the flow: `sei.run` calls `write_run_page` when a run has ended. Nothing here may fail a run; `try_to_write` says in one
line what went wrong. Example::

    write_run_page(Path("multirun/sei-tiny-arithmetic-seed0-e3b0c442"))     # .../report.html
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sei.errors import printable
from sei.tracking.page import overview, texts
from sei.tracking.page.folder import Json, RunFolder
from sei.tracking.page.render import write_page
from sei.tracking.page.types import members, types


def write_run_page(folder: Path) -> Path:
    """Write `report.html` into a run folder, whole or not at all. Returns its path."""
    return write_page(folder / "report.html", run_data(folder))


def run_data(folder: Path) -> Json:
    """Everything that the page of a run shows, as JSON values."""
    run = RunFolder(folder)
    kinds = types(run)
    numbers = {kind["id"]: kind["number"] for kind in kinds}
    records = {
        "items": texts.items(run, numbers),
        "mistakes": texts.mistakes(run, members(run, numbers)),
        "problems": texts.problems(run, numbers),
        "rows": texts.rows(run),
    }
    head = overview.headline(run)
    return {
        "page": "run",
        "title": _title(run),
        "name": folder.resolve().name,
        "status": run.status,
        "traceback": _text_of(folder / "traceback.txt") if run.status["status"] == "failed" else "",
        "headline": head,
        "scale": overview.scale([side for row in head["sets"] for side in (row["before"], row["after"]) if side]),
        "types": kinds,
        "counts": {"types": len(kinds)} | {kind: len(found) for kind, found in records.items()},
        "records": {kind: texts.at_most(found) for kind, found in records.items()},
        "flow": overview.flow(run),
        "curves": overview.curves(run),
        "configuration": overview.configuration(run),
    }


def _title(run: RunFolder) -> str:
    """`sei on llama2-7b, gsm8k, seed 0`, as far as it is known."""
    recipe, model, data = (run.part(group).get("name") for group in ("recipe", "model", "data"))
    if not recipe:
        return "Run"
    seed = run.config.get("seed")
    rehearsal = "Rehearsal, no figure means anything: " if run.config.get("rehearsal") else ""
    return rehearsal + ", ".join(filter(None, [f"{recipe} on {model}", data, None if seed is None else f"seed {seed}"]))


def try_to_write(write: Callable[[], Path], say: Callable[[str], None]) -> Path | None:
    """The page's path; None, and a line that says why, where it could not be written: a page fails no run."""
    try:
        return write()
    except Exception as error:
        reason = printable(" ".join(f"{type(error).__name__}: {error}".split()))
        say(f"report.html was not written ({reason[:300]}); nothing else of the run is affected.")
        return None


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
