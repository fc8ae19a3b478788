"""The jobs of a sweep, wherever they run: which there are, how each stands, and what it has taken.

Place in the flow: the sweep's folder -> **jobs** -> `sei.sweep.steer`. Which jobs there are to be, the commands of the sweep
say (`sei.commands`); how each stands, its own folder does (`sei.state`). They are in the order of their names, which does not
depend on the command that added them. Example::

    [job.state for job in jobs_of(Path("multirun/mine"))]           # ["done", "running", "pending"]
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sei.commands import commands, named, swept_in, with_seed
from sei.config import WHERE_AND_HOW
from sei.errors import UserError
from sei.lease import Holder
from sei.ledger import sums
from sei.state import read_status, spent, worker
from sei.tracking.page.folder import RunFolder

State = Literal["pending", "running", "done", "failed", "interrupted"]
_TAIL = 8192  # bytes of a job's log in which its last line of progress is looked for
_PROGRESS = re.compile(
    r"^(?P<what>\S.*?): (?P<done>[\d,]+) of (?P<total>[\d,]+).*, (?P<passed>[\d:]+)(?: of about (?P<all>[\d:]+))?$"
)


@dataclass(frozen=True)
class Job:
    """One job of a sweep."""

    name: str  # the settings that the sweep varies
    overrides: tuple[str, ...]
    state: State
    folder: Path | None = None  # None where it has not begun
    error: str = ""  # the first line of it
    stage: str = ""  # what it works on, and how far it is
    left: str = ""  # how long that takes still
    seconds: float = 0.0
    dollars: float = 0.0  # that it paid
    worker: Holder | None = None
    slurm: str = ""  # the id of its Slurm job


def jobs_of(folder: Path) -> list[Job]:
    """The jobs of the sweep in `folder`, by name. Raises UserError where there is no sweep."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Give that of a sweep, such as multirun/sweep-recipe.")
    swept = swept_in(folder)
    found: dict[frozenset[str], Job] = {}
    for command in commands(folder).values():
        for overrides in map(tuple, command.jobs or ()):
            found[_identity(overrides)] = Job(named(overrides, swept), overrides, "pending")
    for path in folder.rglob("overrides.yaml"):
        if path.parent.name == ".hydra":
            run = RunFolder(path.parent.parent)
            given = [str(word) for word in run.hydra.get("overrides", {}).get("task", ())]
            overrides = tuple(with_seed(given, run.composed.get("seed", 0)))
            found[_identity(overrides)] = _standing(run.path, named(overrides, swept), overrides)
    if not found:
        raise UserError(f"{folder}: no sweep here (no job's folder below it, and no command that asks for any).")
    return sorted(found.values(), key=lambda job: _natural(job.name))


def identities(overrides: Iterable[Sequence[str]]) -> set[frozenset[str]]:
    """What tells jobs apart: their settings, in any order, without where and how they run."""
    return {_identity(words) for words in overrides}


def _identity(overrides: Iterable[str]) -> frozenset[str]:
    words = (word.lstrip("+") for word in overrides)
    return frozenset(word for word in words if re.split(r"[=.]", word)[0] not in WHERE_AND_HOW)


def _natural(text: str) -> list[tuple[int, str]]:
    """An order in which seed=2 stands before seed=10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _standing(folder: Path, name: str, overrides: tuple[str, ...]) -> Job:
    """How the job in `folder` stands."""
    status, who = read_status(folder), worker(folder)
    state: State = status.get("status", "pending")
    error = (str(status.get("error", "")).splitlines() or [""])[0]
    stage = left = ""
    if who is not None:
        state, error = "running", ""
        stage, left = _stage(folder)
    elif state == "running":
        state, error = "interrupted", "its process is gone, without a word"
    seconds = spent(folder, time.time() if who else None).get("seconds", 0.0)
    dollars = sums(folder).paid_usd
    slurm = str(status.get("slurm", "")) if who else ""
    return Job(name, overrides, state, folder, error, stage, left, seconds, dollars, who, slurm)


def _stage(folder: Path) -> tuple[str, str]:
    """What a running job works on, and how long that takes still, as far as its folder tells."""
    finished = RunFolder(folder).stages
    after = f"after {finished[-1].published}" if finished else "beginning"
    log = folder / "log.txt"
    if not log.is_file():
        return after, ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    last = _PROGRESS.match(lines[-1]) if lines else None  # an older one is of a stage that has ended
    if last is None:
        return after, ""
    left = _seconds(last["all"]) - _seconds(last["passed"]) if last["all"] else None
    return f"{last['what']}: {last['done']} of {last['total']}", "" if left is None else f"{left:,} s"


def _seconds(clock: str) -> int:
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return total


def script_of(folder: Path) -> str:
    """The program that the sweep's jobs are jobs of."""
    for command in reversed(list(commands(folder).values())):
        return next((word for word in command.command if word.endswith(".py")), "train.py")
    return "train.py"


def rerun(job: Job, sweep: Path) -> list[str]:
    """The command that runs one job of the sweep again, in its folder."""
    place = os.path.relpath(sweep)
    name = f"sweep={sweep.name}" if place == os.path.join("multirun", sweep.name) else f"hydra.sweep.dir={place}"
    words = [word.lstrip("+") for word in job.overrides]
    return [os.path.basename(sys.executable), script_of(sweep), "-m", *words, name]
