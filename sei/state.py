"""What a run folder says of its job: who is at work in it, how long it has taken, and whether it is done.

Place in the flow: `sei.run` writes it, `python -m sei.sweep` reads it. One process works in a run folder at a time: a job that
Slurm puts in the queue again while its first process still lives waits for that one. Example::

    with at_work(folder, print):
        write_json(folder / "status.json", running(folder))        # {"status": "running", "started": ..., "earlier": 0.0}
        ...
        write_json(folder / "status.json", {"status": "done", **spent(folder)})
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sei.lease import Holder, Lease, holder

STATUS = "status.json"
_LEASE = "at_work.lease"
_SIGNS = (STATUS, "log.txt")  # files of which the later tells when a process that was killed still lived


@contextlib.contextmanager
def at_work(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """This process works in `folder`; waits for another one that does."""
    lease = Lease(folder / _LEASE)
    if not lease.take_now():
        say(f"This job is being run by another process ({lease.holder}); waiting for it.")
        lease.wait()
    try:
        yield
    finally:
        lease.release()


def worker(folder: Path) -> Holder | None:
    """Who is at work in a run folder, None where nobody is."""
    return holder(folder / _LEASE)


def running(folder: Path) -> dict[str, Any]:
    """The status of a job that starts, or goes on after what earlier processes did."""
    status: dict[str, Any] = {"status": "running", "started": time.time(), "earlier": spent(folder).get("seconds", 0.0)}
    environment = os.environ
    if "SLURM_ARRAY_JOB_ID" in environment and "SLURM_ARRAY_TASK_ID" in environment:
        status["slurm"] = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    elif "SLURM_JOB_ID" in environment:
        status["slurm"] = environment["SLURM_JOB_ID"]
    return status


def spent(folder: Path, now: float | None = None) -> dict[str, float]:
    """`{"seconds": ...}` that a job has taken, all its processes together; nothing where it never began. `now` while it runs."""
    status = read_status(folder)
    if "seconds" in status:
        return {"seconds": status["seconds"]}
    if "started" not in status:
        return {}
    signs = [path.stat().st_mtime for path in (folder / name for name in _SIGNS) if path.is_file()]
    return {"seconds": round(status["earlier"] + max(0.0, (now or max(signs)) - status["started"]), 1)}


def read_status(folder: Path) -> dict[str, Any]:
    """What `status.json` says, nothing where there is none or it cannot be read."""
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def code_of(parts: Iterable[object]) -> str:
    """A hash of this program's source, and of the files that define the classes of `parts`, which may be the user's own."""
    own = Path(__file__).parent
    others = {Path(path) for part in parts if (path := _source_of(type(part)))}
    digest = hashlib.sha256()
    for file in sorted({*own.rglob("*.py"), *own.rglob("*.txt"), *others}):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _source_of(kind: type) -> str | None:
    try:
        return inspect.getsourcefile(kind)
    except TypeError:  # a built-in
        return None
