"""The process in which symbols are compared: `python -m sei.grading.worker CPU_SECONDS MEMORY_MEGABYTES`.

Purpose: a pair that never ends or eats all memory (`9^{9^{9^{9}}}`) costs one child process, not the run. This process
imports sympy once and forks a child that answers; when a child is killed by its limits, the next is forked in
milliseconds. Limits are CPU time (a loaded machine changes no verdict) and address space, set for each pair.
Place in the flow: only `grading.pool` starts it and talks to it, one JSON line each way: [number, question, gold, text]
in, [number, same] or "gave_up" out. The questions are those of `grading.symbolic.ASK`.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys

READY, GAVE_UP = "ready", "gave_up"
_RECYCLE = 3  # exit status of a child that ends to free memory: sympy's caches grow
_JOBS_PER_CHILD = 2000


def main() -> None:
    cpu_seconds, megabytes = float(sys.argv[1]), int(sys.argv[2])
    replies = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not reach the protocol
    logging.disable()  # math-verify warns at every pair that its own time limits are off
    from sei.grading import symbolic  # noqa: F401  imported once, shared by every child

    _reply(replies, READY)
    while True:
        child = os.fork()
        if child == 0:
            try:
                _serve(replies, cpu_seconds, megabytes)
            finally:
                os._exit(1)  # a child never returns into this loop
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return  # end of input
        if not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == _RECYCLE):
            _reply(replies, GAVE_UP)


def _serve(replies: int, cpu_seconds: float, megabytes: int) -> None:
    from sei.grading.symbolic import ASK

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    for _ in range(_JOBS_PER_CHILD):
        line = _read_line()
        if not line:
            os._exit(0)
        number, question, gold, text = json.loads(line)
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, most))
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # its default action ends the process
        try:
            same = ASK[question](gold, text)
        except MemoryError:
            os._exit(1)
        except Exception:  # sympy raises all kinds of errors for text that is not mathematics
            same = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        _reply(replies, [number, bool(same)])
    os._exit(_RECYCLE)


def _read_line() -> bytes:
    """One line from standard input, unbuffered: whatever was read ahead would be lost with the child."""
    chunks = bytearray()
    while not chunks.endswith(b"\n"):
        chunk = os.read(0, 65536)  # the pool sends one line and waits, so nothing of a next line can follow
        if not chunk:
            return b""
        chunks += chunk
    return bytes(chunks)


def _reply(replies: int, value: object) -> None:
    os.write(replies, json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    main()
