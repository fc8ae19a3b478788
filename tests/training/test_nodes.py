"""The command that starts the processes of a training on several nodes; that they train, tests/cluster shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.errors import UserError
from sei.training.nodes import over_nodes
from sei.training.run import Loop

LOOP = Loop(accelerator="cpu", devices=2, num_nodes=3)
SCONTROL = """#!/bin/sh
case "$2" in
  hostnames) echo n4; echo n5 ;;
  node) echo "NodeName=$3 Arch=x86_64 NodeAddr=10.0.0.4 NodeHostName=$3" ;;
esac
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What Slurm has set for the task that the run is."""
    (tmp_path / "scontrol").write_text(SCONTROL)
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    found = {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "9", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "HOME": "/root"}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_one_task_for_each_device_of_all_nodes(job: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    command, environment = over_nodes(["python", "x"], job, LOOP)
    assert command[0] == "srun"
    assert command[-2:] == ["python", "x"]
    assert {"--nodes=3", "--ntasks=6", "--ntasks-per-node=2", "--cpus-per-task=4", "--overlap"} <= set(command)
    assert 20000 <= int(environment.pop("MASTER_PORT")) < 30000
    # What Slurm says of the run's own task would have srun start its tasks as it was started.
    assert environment == {"SLURM_JOB_ID": "7", "HOME": "/root", "MASTER_ADDR": "10.0.0.4"}
    monkeypatch.setenv("MASTER_ADDR", "192.0.2.1")  # a faster network, which the job's setup names
    assert over_nodes(["python"], job, LOOP)[1]["MASTER_ADDR"] == "192.0.2.1"


def test_where_there_is_no_job_it_says_so(job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"first node of Slurm job 7 could not be found \(.*scontrol"):
        over_nodes(["python"], job, LOOP)
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(UserError, match=r"inside a Slurm job only.*hydra/launcher=slurm_two_nodes"):
        over_nodes(["python"], {}, LOOP)
