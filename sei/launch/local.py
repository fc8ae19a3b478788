"""Several jobs of a sweep at once on this machine: `hydra/launcher=local`.

Place in the flow: Hydra makes one from conf/hydra/launcher/local.yaml. Every job is a process of its own with its share of the
cores and GPUs. Jobs that need the same stage wait for the one that is computing it (`sei.workspace`). Example::

    python train.py -m recipe=cot,sei seed=0,1,2 hydra/launcher=local hydra.launcher.at_once=3
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from sei.errors import UserError
from sei.launch.jobs import Ending, Job, JobLauncher, check_whole
from sei.launch.process import POLL, JobProcess, end_all
from sei.processes import usable_cores
from sei.target.machine import found_memory


class LocalLauncher(JobLauncher):
    """Runs `at_once` jobs at a time, each with `gpus` GPUs and `threads` threads; None: a share of what the machine has."""

    def __init__(self, at_once: int | None = None, gpus: int | None = None, threads: int | None = None) -> None:
        self.at_once, self.gpus, self.threads = at_once, gpus, threads

    def endings(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Ending]]:
        """As the base class."""
        free = shares(len(jobs), usable_cores(), visible_gpus(), self.at_once, self.gpus, self.threads)
        waiting, running = list(jobs), dict[JobProcess, dict[str, str]]()
        try:
            while waiting or running:
                while waiting and free:
                    job, share = waiting.pop(0), free.pop(0)
                    self.starts(job)
                    running[JobProcess(job, share)] = share
                for process in list(running):
                    if (ending := process.ending()) is not None:
                        free.append(running.pop(process))
                        yield process.job, ending
                time.sleep(POLL)
        finally:
            end_all(list(running))


def shares(
    jobs: int, cores: int, devices: Sequence[str], at_once: int | None, gpus: int | None, threads: int | None
) -> list[dict[str, str]]:
    """The environment of each job that runs at the same time as others: which GPUs it sees, how many threads it takes.

    Raises UserError where the machine has not as many GPUs.
    """
    check_whole("hydra.launcher", 1, at_once=at_once, threads=threads)
    check_whole("hydra.launcher", 0, gpus=gpus)
    gpus = min(1, len(devices)) if gpus is None else gpus
    if gpus * (at_once or 1) > len(devices):
        raise UserError(
            f"hydra.launcher: {at_once or 1} at once with {gpus} GPUs each need {gpus * (at_once or 1)}, and this machine "
            f"has {len(devices)}. Lower hydra.launcher.at_once or hydra.launcher.gpus."
        )
    if at_once is None:
        at_once = max(1, len(devices) // gpus if gpus else cores // (threads or 1))
    at_once = min(at_once, max(1, jobs))
    count = str(threads or max(1, cores // at_once))
    found = []
    for number in range(at_once):
        # Libraries start as many threads as there are cores unless told: with several jobs each would wait for all others.
        share = {"OMP_NUM_THREADS": count, "RAYON_NUM_THREADS": count}
        if devices:
            share["CUDA_VISIBLE_DEVICES"] = ",".join(devices[number * gpus : (number + 1) * gpus])
        found.append(share)
    return found


def visible_gpus() -> list[str]:
    """The names by which CUDA knows the GPUs that this process may use."""
    count = len(found_memory().gpus)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return [name.strip() for name in names][:count]
