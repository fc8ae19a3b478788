"""Training over several nodes of a Slurm job, with one task for each device.

Place in the flow: where `trainer.nodes` is more than one, `training.job` starts its processes with `srun` inside the job that
this process runs in (on one node it starts them itself). The first task lies on the job's first node, where the others find it.
Example::

    command, environment = over_nodes([sys.executable, "-m", "module"], os.environ, Loop(num_nodes=2, devices=4))
    subprocess.Popen(command, env=environment)     # srun --nodes=2 --ntasks-per-node=4 ...
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytorch_lightning.plugins.environments import SLURMEnvironment

from sei.errors import UserError
from sei.target.machine import device_count

if TYPE_CHECKING:
    from sei.training.run import Loop

# All that srun is to know of the job. What else Slurm has set says how the task of this process was started.
_OF_JOB = ("SLURM_CONF", "SLURM_JOB_ID")
_PORTS = range(20000, 30000)  # below those that systems give out by themselves


def over_nodes(command: Sequence[str], environment: Mapping[str, str], loop: Loop) -> tuple[list[str], dict[str, str]]:
    """What starts `command` once for each device of the job's nodes, and its environment. Raises UserError outside a job."""
    devices = device_count(loop.accelerator, loop.devices)
    cores = int(os.environ.get("SLURM_CPUS_ON_NODE", "1"))
    srun = [
        "srun",
        "--overlap",  # the run itself is a task of this job, and waits
        f"--nodes={loop.num_nodes}",
        f"--ntasks={loop.num_nodes * devices}",
        f"--ntasks-per-node={devices}",
        f"--cpus-per-task={max(1, cores // devices)}",
        "--kill-on-bad-exit=1",  # a process that is lost would have the others wait for ever
        "--mpi=none",
        "--quiet",
    ]
    kept = {name: value for name, value in environment.items() if not name.startswith("SLURM_") or name in _OF_JOB}
    address = os.environ.get("MASTER_ADDR") or _address_of_first_node()
    return [*srun, *command], kept | {"MASTER_ADDR": address, "MASTER_PORT": str(random.choice(_PORTS))}


def is_first_task() -> bool:
    """Whether this process, which `over_nodes` has started, is the first of them."""
    return os.environ["SLURM_PROCID"] == "0"


def environment_of_task() -> SLURMEnvironment:
    """For Lightning, which this way starts no processes, and leaves it to the launcher to put a job in the queue again."""
    return SLURMEnvironment(auto_requeue=False)


def _address_of_first_node() -> str:
    """As Slurm itself reaches it: a node's name need not be one that other nodes can look up."""
    if "SLURM_JOB_ID" not in os.environ:
        raise UserError(
            "trainer.nodes: several nodes train inside a Slurm job only, and this is none. Submit the run "
            "(hydra/launcher=slurm_two_nodes: docs/cluster.md), or set trainer.nodes=1."
        )
    try:
        name = _said_by("scontrol", "show", "hostnames").split()[0]
        found = re.search(r"\bNodeAddr=(\S+)", _said_by("scontrol", "show", "node", name, "--oneliner"))
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise UserError(
            f"The address of the first node of Slurm job {os.environ['SLURM_JOB_ID']} could not be found ({error}). Name it: "
            "hydra.launcher.setup=['export MASTER_ADDR=...']"
        ) from error
    return found[1] if found else name


def _said_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
