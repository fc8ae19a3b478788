"""Jobs of a sweep on a Ray cluster: `hydra/launcher=ray`.

Place in the flow: Hydra makes one from conf/hydra/launcher/ray.yaml. Ray places every job on a node with room for it; there it is
a process of its own, as with `hydra/launcher=local`. A job whose process, worker or node is lost counts as failed, and the
others go on. Nodes have this code in the same place, and see the folders of the sweep and of the cache. Example::

    ray start --head
    python train.py -m recipe=cot,sei seed=0,1,2 hydra/launcher=ray hydra.launcher.num_gpus=1
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sei.errors import UserError, missing_extra
from sei.launch.jobs import Ending, Job, JobLauncher
from sei.launch.process import GRACE, POLL, JobProcess, end_all
from sei.processes import same_code
from sei.terminal import Terminal

# What of this process's environment a job is given on its node; everything else, above all keys, it has from its node.
_PASSED_ON = ("SEI_", "HF_", "WANDB_")
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_ANSWER = 20.0  # seconds that the head of a cluster has to answer
_STARTED = ""  # the first word of a job


class RayLauncher(JobLauncher):
    """Runs each job with `num_cpus` and `num_gpus` on the cluster at `address`; `local`: on one that it starts here, with so many
    bytes of `object_store_memory`. `num_gpus` None: one where the cluster has any."""

    def __init__(
        self,
        address: str = "auto",
        num_cpus: float = 1,
        num_gpus: float | None = None,
        object_store_memory: int | None = None,
    ) -> None:
        self.address, self.num_cpus, self.num_gpus = address, num_cpus, num_gpus
        self.object_store_memory = object_store_memory

    def endings(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Ending]]:
        """As the base class."""
        ray = self._connected()
        gpus = self._gpus(ray)
        work = ray.remote(num_cpus=self.num_cpus, num_gpus=gpus, max_retries=0)(carried_out)
        share = {
            "OMP_NUM_THREADS": str(max(1, int(self.num_cpus))),
            "RAYON_NUM_THREADS": str(max(1, int(self.num_cpus))),
        }
        if not gpus:
            share["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all GPUs of a node to a job that asked for none
        running = {work.remote(job.to_json(), share): job for job in jobs}
        try:
            while running:
                time.sleep(POLL)  # here, and not in Ray, a signal to end is raised as what it is
                for stream in ray.wait(list(running), num_returns=len(running), timeout=0)[0]:
                    try:
                        word = ray.get(next(stream))
                    except (ray.exceptions.RayError, StopIteration) as error:
                        yield running.pop(stream), Ending(error=_why(error))
                        continue
                    if word == _STARTED:
                        self.starts(running[stream])
                    else:
                        yield running.pop(stream), Ending.from_json(word)
        finally:
            _cancel(ray, list(running))

    def _connected(self) -> Any:
        """The module `ray`, connected to the cluster. Raises UserError."""
        try:
            import ray
        except ImportError:
            raise missing_extra("ray", "ray", "hydra/launcher=ray") from None
        if ray.is_initialized():  # by an earlier batch of this sweep
            return ray
        started_here = self.address == "local"
        if self.object_store_memory is not None and not started_here:
            raise UserError(
                f"hydra.launcher.object_store_memory={self.object_store_memory}: a running cluster has its own. Leave it out, "
                "or have the sweep start a cluster on this machine (hydra.launcher.address=local)."
            )
        own: dict[str, Any] = {}
        if started_here:
            own = {"include_dashboard": False, "object_store_memory": self.object_store_memory}
        environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        environment = {name: value for name, value in environment.items() if not any(one in name for one in _SECRET)}
        environment["PYTHONPATH"] = same_code()["PYTHONPATH"]
        try:
            _check_answers(os.environ.get("RAY_ADDRESS", "") if self.address == "auto" else self.address)
            with _own_signals():
                ray.init(
                    address=self.address,
                    runtime_env={"env_vars": environment},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **own,
                )
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise UserError(
                f"hydra.launcher.address={self.address}: no connection to a Ray cluster ({str(error).splitlines()[0]}). Start "
                "one with `ray start --head`, or have the sweep start one on this machine: hydra.launcher.address=local"
            ) from error
        return ray

    def _gpus(self, ray: Any) -> float:
        """How many GPUs a job takes; says so where no node has room for a job."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
        gpus = min(1.0, most) if self.num_gpus is None else self.num_gpus
        if not any(node.get("CPU", 0.0) >= self.num_cpus and node.get("GPU", 0.0) >= gpus for node in nodes):
            Terminal(highlight=False).print(
                f"No node of the cluster has {self.num_cpus:g} cores and {gpus:g} GPUs for a job: the jobs wait for one that has "
                "(hydra.launcher.num_cpus, hydra.launcher.num_gpus).",
                soft_wrap=True,
            )
        return gpus


def _check_answers(address: str) -> None:
    """Raises OSError where nothing answers at host:port: Ray would go on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()


def carried_out(job: str, environment: Mapping[str, str]) -> Iterator[str]:
    """On the job's node: says that it starts, and then how it ended."""
    yield _STARTED
    process = JobProcess(Job.from_json(job), environment)
    try:
        while (ending := process.ending()) is None:
            time.sleep(POLL)
    except BaseException:  # the sweep was interrupted
        end_all([process])
        raise
    yield ending.to_json()


def _why(error: BaseException) -> str:
    first = str(error).strip().splitlines()[:1] or [""]
    return f"Ray lost this job: {type(error).__name__}: {first[0]} What it had finished is kept: run the same command to resume."


def _cancel(ray: Any, streams: Sequence[Any]) -> None:
    """End what still runs, in order, and forget what waits for a node."""
    for stream in streams:
        ray.cancel(stream)
    deadline = time.monotonic() + GRACE
    for stream in streams:
        with contextlib.suppress(ray.exceptions.RayError, StopIteration):
            while time.monotonic() < deadline:
                if ray.wait([stream], timeout=1.0)[0]:
                    ray.get(next(stream))


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What this process does on SIGTERM stays as it is: Ray has it exit at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
