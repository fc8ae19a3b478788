"""Steering a sweep: how it stands, going on with it, and ending it in order.

Place in the flow: `python -m sei.sweep` calls these. Nothing here knows how jobs were launched: a job that runs holds a lease in
its folder, which tells its process and machine, and one of Slurm's notes its id. Example::

    print_status(Path("multirun/mine"))
    resume(Path("multirun/mine"))
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from sei.commands import commands
from sei.lease import Holder, holder
from sei.sweep.jobs import Job, State, identities, jobs_of, rerun
from sei.terminal import Terminal
from sei.tracking.display import print_table

_STATES: tuple[State, ...] = ("done", "running", "failed", "interrupted", "pending")
_MOST_ERROR = 200  # characters of an error in the table


def print_status(folder: Path) -> None:
    """The jobs in a table, their sums, and how each failed one is run again."""
    console, jobs = Terminal(highlight=False), jobs_of(folder)
    table = Table(title=f"{folder}: {len(jobs)} jobs")
    for name in ("job", "state", "working on", "left", "seconds", "$ paid", "error"):
        number = name in ("left", "seconds", "$ paid")
        table.add_column(name, justify="right" if number else "left", overflow="fold", min_width=len(name))
    for job in jobs:
        where = f" ({job.worker.host})" if job.worker and not job.worker.here else ""
        figures = (f"{job.seconds:,.0f}", f"{job.dollars:.4f}")
        table.add_row(job.name, job.state + where, job.stage, job.left, *figures, job.error[:_MOST_ERROR])
    print_table(console, table)
    counts = Counter(job.state for job in jobs)
    said = ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])
    seconds, dollars = sum(job.seconds for job in jobs), sum(job.dollars for job in jobs)
    console.print(f"{said}; {seconds:,.0f} s and $ {dollars:.4f} so far", soft_wrap=True)
    for job in jobs:
        if job.state == "failed":
            console.print(f"to run {job.name} again: {shlex.join(rerun(job, folder))}", soft_wrap=True)
    if counts.total() > counts["done"] + counts["running"]:
        console.print(f"to go on with all: python -m sei.sweep resume {shlex.quote(str(folder))}", soft_wrap=True)


def resume(folder: Path) -> int:
    """Carry out the commands that have something left to do; a job that is done is not run again. Gives an exit status."""
    console = Terminal(highlight=False)
    open_ = identities(job.overrides for job in jobs_of(folder) if job.state not in ("done", "running"))
    found, tried, worst = commands(folder), set[frozenset[str]](), 0
    for path, command in reversed(list(found.items())):  # the latest asks for most
        own = identities(command.jobs or ())
        if command.jobs is not None and not own & open_ - tried:  # those of an earlier command have had their chance
            continue
        if who := holder(path.with_suffix(".lease")):
            console.print(f"at work already ({who}): {shlex.join(command.command)}", soft_wrap=True)
            continue
        console.print(f"going on with: {shlex.join(command.command)}", soft_wrap=True)
        tried |= own
        worst = max(worst, abs(subprocess.run(command.command, cwd=command.cwd, check=False).returncode))
    if not open_:
        console.print("Nothing is left to do: every job is done or running.")
    return worst


def cancel(folder: Path) -> int:
    """Ask all that is at work to end in order. Gives an exit status: 1 where something cannot be asked from here."""
    console, status = Terminal(highlight=False), 0
    asked: set[int] = set()
    for said, reached in [*_cancel_commands(folder, asked), *_cancel_jobs(jobs_of(folder), folder, asked)]:
        console.print(said, soft_wrap=True)
        status = status if reached else 1
    if not asked and not status:
        console.print("Nothing is at work here.")
    else:
        console.print(f"What is done is kept. To go on later: python -m sei.sweep resume {shlex.quote(str(folder))}")
    return status


def _cancel_commands(folder: Path, asked: set[int]) -> Iterator[tuple[str, bool]]:
    """The commands first, so that none starts the next job. Gives what was done, and whether it could be."""
    for path, command in commands(folder).items():
        if who := holder(path.with_suffix(".lease")):
            yield _end(path.with_suffix(".lease"), who, shlex.join(command.command[1:]), folder, asked)


def _cancel_jobs(jobs: list[Job], folder: Path, asked: set[int]) -> Iterator[tuple[str, bool]]:
    for job in jobs:
        if job.worker is None or job.folder is None or (job.worker.here and job.worker.pid in asked):
            continue
        if job.slurm and shutil.which("scancel"):
            done = subprocess.run(["scancel", job.slurm], capture_output=True, text=True, check=False)
            said = f"asked Slurm to end job {job.slurm}: {job.name}"
            yield (said, True) if done.returncode == 0 else (f"{job.name}: scancel says {done.stderr.strip()}", False)
            asked.add(-1)
        else:
            yield _end(job.folder / "at_work.lease", job.worker, job.name, folder, asked)
    queued = sorted(path.name for path in (folder / ".submitit").glob("*") if re.fullmatch(r"\d+(_\d+)?", path.name))
    if queued and shutil.which("scancel"):
        subprocess.run(["scancel", *queued], capture_output=True, check=False)  # those that have ended are none of its
        yield f"asked Slurm to take what is queued out of its queue ({len(queued)} jobs)", True
        asked.add(-1)


def _end(lease: Path, who: Holder, what: str, folder: Path, asked: set[int]) -> tuple[str, bool]:
    """Send SIGTERM to the holder of a lease, where it is on this machine and it is surely that process."""
    if not who.here:
        again = f"python -m sei.sweep cancel {shlex.quote(str(folder))}"
        return f"{what}: {who} cannot be asked from here; run there: {again}", False
    try:
        process = os.pidfd_open(who.pid)  # from now on this number is that process's, whatever becomes of it
    except ProcessLookupError:
        return f"{what}: has ended meanwhile", True
    try:
        if holder(lease) != who:
            return f"{what}: has ended meanwhile", True
        signal.pidfd_send_signal(process, signal.SIGTERM)
    finally:
        os.close(process)
    asked.add(who.pid)
    return f"asked {who} to end in order: {what}", True
