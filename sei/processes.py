"""Processes that this one starts: what they are given, and that none of them is left behind.

Place in the flow: a training on several devices (`sei.training.job`) and a job of a sweep (`sei.launch`) are processes of their
own, which call `end_with_parent` first. Example::

    end_with_parent(int(sys.argv[1]))      # started with this process's id as its argument
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path


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
