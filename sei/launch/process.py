"""A job of a sweep as a process on this machine.

Place in the flow: the launcher starts a `JobProcess` for each `Job` and asks it for its ending. The process leads a group of
its own, so that Ctrl-C at the terminal reaches the launcher alone, which tells each job to end in order. When whoever started
it is killed, so is the job, and with it what the job had started. What the job prints is in its `log.txt`, and nothing of it on
the terminal. Example::

    process = JobProcess(job, {"OMP_NUM_THREADS": "1"})
    while (ending := process.ending()) is None:
        time.sleep(POLL)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from sei.launch.jobs import Ending, Job
from sei.processes import same_code
from sei.tracking import log_file

POLL = 0.2  # seconds between two looks at a process
GRACE = 120.0  # seconds that jobs have to save what they have when they are told to end


class JobProcess:
    """A started job. `environment` is set for it beside what is set here."""

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.job = job
        with contextlib.ExitStack() as files:
            log: BinaryIO | int = subprocess.DEVNULL
            with contextlib.suppress(OSError):  # the job itself says that its folder cannot be written
                Path(job.folder).mkdir(parents=True, exist_ok=True)
                log = files.enter_context((Path(job.folder) / log_file.NAME).open("ab"))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sei.launch", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=same_code() | dict(environment),
                process_group=0,
            )
        assert self._process.stdin is not None
        with (
            contextlib.suppress(BrokenPipeError),
            self._process.stdin as order,
        ):  # it may have ended already, as is seen below
            order.write(job.to_json().encode())

    def ending(self) -> Ending | None:
        """How the job ended, None while it runs."""
        if self._process.poll() is None:
            return None
        assert self._process.stdout is not None
        with self._process.stdout as channel:
            said = channel.read()
        if said:
            return Ending.from_json(said.decode())
        self.kill()  # what a killed job had started
        return Ending(error=self._why())

    @property
    def ended_by_itself(self) -> bool:
        """Whether it came to the job's end, good or bad; it has ended."""
        return self._process.returncode == 0

    def _why(self) -> str:
        status = self._process.returncode
        if status < 0:
            why = f"the process of this job was ended by {signal.Signals(-status).name}"
            maybe = ", maybe for want of memory" if -status == signal.SIGKILL else ""
            return f"{why}{maybe}. What it had finished is kept: run the same command to resume."
        last = _last_line(Path(self.job.folder) / log_file.NAME)
        return f"the process of this job ended with status {status}: {last}"

    def end(self) -> None:
        """Tell the job to end in order."""
        self._process.terminate()

    def kill(self) -> None:
        """End the job and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> None:
        """Wait until the process has ended. Raises subprocess.TimeoutExpired."""
        self._process.wait(seconds)


def _last_line(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return "it left no log"


def end_all(processes: Sequence[JobProcess]) -> None:
    """Have every job end in order; what does not, or when this is interrupted too, is killed."""
    deadline = time.monotonic() + GRACE
    try:
        for process in processes:
            process.end()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
            process.wait(GRACE)
