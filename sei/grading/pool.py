"""Worker processes that compare answers by symbols, and can be killed when an answer takes too long.

Place in the flow: `sei.answers.grade_many` sends here what the quick comparison leaves open.

Example::

    pool = Pool(workers=2, timeout_s=5, memory_mb=1024)
    pool.same([("\\sqrt{12}", "2\\sqrt{3}")])       # [True]; None for a pair that was given up
    pool.same([("5", "The answer is $5$.")], "math_verify")
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from sei.grading import worker
from sei.processes import usable_cores

Question = Literal["answers", "math_verify"]

_START_S = 120.0  # importing sympy takes 2 s, on a cold and loaded machine much longer
# Starting a worker takes as long as comparing 100 ordinary pairs; but some pairs are slow and use up their time limit.
_PAIRS_PER_WORKER = 16
_MOST_WORKERS = 16  # each takes 60 MB or more


def default_workers() -> int:
    """As many workers as there are processors that this process may use, up to a limit.

    One of several jobs on a machine is told its share of them as a number of threads.
    """
    share = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable_cores(), _MOST_WORKERS, max(1, int(share)) if share.isdecimal() else _MOST_WORKERS)


class Pool:
    """At most `workers` processes, each pair limited to `timeout_s` of CPU and each process to `memory_mb` of addresses.

    Processes are started when there is work for them, and stay until `close`.
    """

    def __init__(self, workers: int, timeout_s: float, memory_mb: int) -> None:
        self._limits = (timeout_s, memory_mb)
        self._most = workers
        self._processes: list[subprocess.Popen[bytes]] = []

    def same(self, pairs: Sequence[tuple[str, str]], question: Question = "answers") -> list[bool | None]:
        """For each (gold, answer) whether they are the same, None where the worker gave up, in order.

        `question`: "answers" compares two answers; "math_verify" asks that library whether a whole output gives the gold one.
        """
        results: list[bool | None] = [None] * len(pairs)
        jobs = iter([(index, question, *pair) for index, pair in enumerate(pairs)])
        wanted = min(self._most, -(-len(pairs) // _PAIRS_PER_WORKER))
        self._processes += self._start(wanted - len(self._processes))
        with selectors.DefaultSelector() as selector:
            for process in self._processes:
                self._give(selector, process, jobs)
            while selector.get_map():
                ready = selector.select(timeout=1.0)
                for key, _ in ready:
                    process, index, _ = key.data
                    selector.unregister(process.stdout)
                    reply = _read(process)
                    if isinstance(reply, list) and reply[0] == index:
                        results[index] = reply[1]
                    elif reply != worker.GAVE_UP:  # the whole worker is gone, or answers a different pair
                        process = self._replace(process)
                    self._give(selector, process, jobs)
                for key in list(selector.get_map().values()):
                    process, _, deadline = key.data
                    if time.monotonic() > deadline:  # asleep or starved: no CPU time passes, but wall time does
                        selector.unregister(process.stdout)
                        self._give(selector, self._replace(process), jobs)
        return results

    def close(self) -> None:
        """End every worker. Idempotent."""
        for process in self._processes:
            _kill(process)
        self._processes = []

    def _give(
        self, selector: selectors.BaseSelector, process: subprocess.Popen[bytes], jobs: Iterator[tuple[Any, ...]]
    ) -> None:
        job = next(jobs, None)
        if job is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # the read below finds the end of its output and replaces it
        deadline = time.monotonic() + 10 * self._limits[0] + 10
        selector.register(process.stdout, selectors.EVENT_READ, (process, job[0], deadline))

    def _replace(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        _kill(process)
        [fresh] = self._start(1)
        self._processes[self._processes.index(process)] = fresh
        return fresh

    def _start(self, count: int) -> list[subprocess.Popen[bytes]]:
        """Start `count` workers side by side, and wait until all are ready."""
        processes = [
            subprocess.Popen(
                # -P and the whole path: the worker imports what this process imports, wherever that was started
                [sys.executable, "-P", "-m", "sei.grading.worker", *map(str, self._limits)],
                env={**os.environ, "PYTHONPATH": _import_path()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that one signal ends the worker and its child
            )
            for _ in range(count)
        ]
        if not all(_is_ready(process) for process in processes):
            for process in processes:
                _kill(process)
            raise RuntimeError("a grading worker did not start; run `python -m sei.grading.worker 5 1024` to see why")
        return processes


def _import_path() -> str:
    """This process's `sys.path`, with the folder of this package in it (a notebook may have changed its own)."""
    package = str(Path(__file__).parents[2])
    path = [str(Path(entry).absolute()) for entry in sys.path]
    return os.pathsep.join(path if package in path else [package, *path])


def _is_ready(process: subprocess.Popen[bytes]) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        ready = selector.select(timeout=_START_S)
    return bool(ready) and _read(process) == worker.READY


def _read(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    return json.loads(line) if line else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
