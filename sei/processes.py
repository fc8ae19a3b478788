"""How a process of this project ends, and those that it starts: told to end it does so in order, and none is left behind.

Place in the flow: a run, a sweep and a training on several devices work inside `ends_in_order`. A training on several devices
(`sei.training.job`) and a job of a sweep (`sei.launch`) are processes of their own, which call `end_with_parent` first. Example::

    end_with_parent(int(sys.argv[1]))      # started with this process's id as its argument
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from sei.errors import Ended

# What schedulers and closed terminals end a process by. Slurm sends USR2 before the time limit, where it was asked to.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


def raise_ended(number: int, _: FrameType | None = None) -> None:
    """The handler of these signals inside `ends_in_order`."""
    ignore_endings()
    raise Ended(number)


def ignore_endings() -> None:
    """From now on a second signal does not end what puts things in order after the first."""
    for one in ENDING:
        if signal.getsignal(one) is raise_ended:
            signal.signal(one, signal.SIG_IGN)


@contextlib.contextmanager
def ends_in_order() -> Iterator[None]:
    """Meanwhile the signals by which schedulers and closed terminals end a process raise `Ended`, unless someone handles them."""
    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [one for one in ENDING if signal.getsignal(one) is signal.SIG_DFL]
    for one in taken:
        signal.signal(one, raise_ended)
    try:
        yield
    finally:
        for one in taken:
            signal.signal(one, signal.SIG_DFL)


def end_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent is killed; end it now where `parent` is not its parent any more.

    Other systems than Linux cannot: there only the locks on what it writes keep the next process out of its way.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        sys.exit(f"process {parent}, which started this one, has ended")


def same_code() -> dict[str, str]:
    """This process's environment, for one with the same code, wherever it is started."""
    here = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, here))}


def usable_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
