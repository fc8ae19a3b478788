"""Training over several nodes, with a task of a Slurm job for each device.

Place in the flow: `sei.launch.slurm` starts a job over several nodes as one task for each device. The first task is the run; the
others `serve` it. When the run trains (`training.job`), it starts the first process of the training itself and calls the
tasks, each of which starts one more; the processes find each other at the first node's address. A task that cannot go on says so,
and the training ends. No task is a child of another, so that Slurm's signals reach each of them. Example::

    serve(Path("ranks"))                       # in every task but the first
    with Call(Path("ranks"), order) as call:   # in the first
        subprocess.Popen(command, env=environment | call.environment)
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sei.errors import UserError
from sei.processes import ENDING, same_code
from sei.workspace import write_json

RANKS = "SEI_RANKS"  # the environment variable with the folder in which the run calls the other tasks
GRACE = 90.0  # seconds that a process of a training has to compute its step, save a checkpoint and end
_POLL = 0.2
_PORTS = range(20000, 30000)  # below those that systems give out by themselves
_MOST_SAID = 2000  # characters of what a process said before it failed


class Call:
    """One training of the run: calls the other tasks on entry, and tells them on exit that it is over.

    Raises UserError outside a job with such tasks.
    """

    def __init__(self, order: Path) -> None:
        if RANKS not in os.environ:
            raise UserError(
                "trainer.nodes: several nodes train inside a Slurm job with a task for each device. Submit the run "
                "(hydra/launcher=slurm_two_nodes: docs/cluster.md), or set trainer.nodes=1."
            )
        self.folder, self.order = Path(os.environ[RANKS]), order
        self.number = len(list(self.folder.glob("*.json")))
        address = os.environ.get("MASTER_ADDR") or _address_of_this_node()
        self._where = {"MASTER_ADDR": address, "MASTER_PORT": str(random.choice(_PORTS))}
        self.environment = {**self._where, "RANK": "0", "NODE_RANK": "0", "LOCAL_RANK": "0"}

    def __enter__(self) -> Call:
        write_json(self.folder / f"{self.number}.json", {"order": str(self.order), "where": self._where})
        return self

    def __exit__(self, *_: object) -> None:
        (self.folder / f"{self.number}.over").touch()

    def failed(self) -> str | None:
        """What a process of another task said before it failed, None while none did."""
        found = sorted(self.folder.glob(f"{self.number}.failed-*"))
        return found[0].read_text(encoding="utf-8") if found else None


def serve(folder: Path) -> None:
    """Take part in every training that the run calls for, until the run is at its end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # it tells the run, which asks all processes
    number = 0
    while not (folder / "end").exists():
        call = folder / f"{number}.json"
        if call.is_file():
            _take_part(folder, number, json.loads(call.read_text(encoding="utf-8")))
            number += 1
        time.sleep(_POLL)


def end(folder: Path) -> None:
    """Let those that serve go home."""
    (folder / "end").touch()


def _take_part(folder: Path, number: int, call: Mapping[str, Any]) -> None:
    task = os.environ["SLURM_PROCID"]
    own = {"RANK": task, "NODE_RANK": os.environ["SLURM_NODEID"], "LOCAL_RANK": os.environ["SLURM_LOCALID"]}
    command = [sys.executable, "-m", "sei.training.job", call["order"], str(os.getpid())]
    said = folder / f"{number}.said-{task}"
    with said.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stderr=errors, env=same_code() | call["where"] | own)
    over = 0.0
    while process.poll() is None:
        if not over and (folder / f"{number}.over").exists():
            over = time.monotonic()
        if over and time.monotonic() - over > GRACE:
            process.kill()  # it waits for one that is not there any more
        time.sleep(_POLL)
    if process.returncode and process.returncode - 128 not in ENDING and not over:
        text = f"{said.read_text(encoding='utf-8', errors='replace')}\n(status {process.returncode})"
        said.write_text(text[-_MOST_SAID:], encoding="utf-8")
        said.rename(folder / f"{number}.failed-{task}")


def _address_of_this_node() -> str:
    """As Slurm itself reaches it: a node's name need not be one that other nodes can look up."""
    name = os.environ.get("SLURMD_NODENAME", "")
    try:
        said = subprocess.run(
            ["scontrol", "show", "node", name, "--oneliner"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(
            f"The address of node {name} could not be found ({error}). Name it: "
            "hydra.launcher.setup=['export MASTER_ADDR=...']"
        ) from error
    found = re.search(r"\bNodeAddr=(\S+)", said.stdout)
    return found[1] if found else name
