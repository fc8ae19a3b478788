"""The page of a sweep: `report.html` in its folder, with every job, its status and a link to its own page.

Place in the flow: `sei.compare` hands over runs and figures; `train.py` has it do so whenever a job of the sweep has ended. Jobs
that end at the same time write one after the other, so that the last one has seen all of them. Example::

    write_sweep_page(Path("multirun/sweep-1a2b3c4d"), lambda: {"jobs": [...], "sets": [...], "tests": [...], ...})
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from sei.tracking.page.folder import Json, RunFolder
from sei.tracking.page.overview import scale
from sei.tracking.page.render import write_page

_LONGEST_WAIT = 60  # seconds for other jobs' pages; where locks do not work, the page is written all the same


def write_sweep_page(folder: Path, figures: Callable[[], Json]) -> Path:
    """Write `report.html` into a sweep's folder, whole or not at all. Returns its path.

    `figures` reads the runs and returns `jobs` (folder, label, seed, error), `sets`, `shares`, `tests` and `remarks`, see
    page.html; it is called once no other job writes the page.
    """
    lock = FileLock(folder / ".report.lock", timeout=_LONGEST_WAIT)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Timeout, OSError, NotImplementedError):
            stack.enter_context(lock)
        return write_page(folder / "report.html", _sweep_data(folder, figures()))


def _sweep_data(folder: Path, figures: Json) -> Json:
    jobs = [_job(folder, **job) for job in figures["jobs"]]
    rows = [row for entry in figures["sets"] for row in entry["rows"]]
    axis = scale([figure for row in rows for figure in (row, *row["seeds"], {"accuracy": row["before"]})])
    for entry in figures["sets"]:  # one axis, so that sets can be compared by eye
        entry["scale"] = axis
    counts = {
        status: sum(job["status"] == status for job in jobs) for status in dict.fromkeys(j["status"] for j in jobs)
    }
    return {
        "page": "sweep",
        "title": f"Sweep of {len(jobs)} " + ("run" if len(jobs) == 1 else "runs"),
        "name": folder.resolve().name,
        "counts": counts,
        "jobs": jobs,
        "command": f"python -m sei.compare {folder}",
        **{key: figures[key] for key in ("sets", "shares", "tests", "remarks")},
    }


def _job(folder: Path, *, run: Path, label: str, seed: int, error: str | None) -> Json:
    own = RunFolder(run)
    place = run.resolve().relative_to(folder.resolve()).as_posix()
    page = "report.html" if place == "." else f"{place}/report.html"
    results = own.results
    return {
        "name": place,
        "label": label,
        "seed": seed,
        "status": own.status["status"],
        "error": error if own.status["status"] in ("failed", "interrupted") else None,
        "href": quote(page) if (run / "report.html").is_file() and place != "." else None,
        "validation": results.get("validation"),
        "after": {name: entry["after"] for name, entry in results.get("eval", {}).items() if entry["after"]},
        "tokens": results.get("tokens_trained"),
        "seconds": sum(stage.manifest["seconds"] for stage in own.stages) if own.stages else None,
    }
