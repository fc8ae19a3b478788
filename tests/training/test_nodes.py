"""A run that trains over several nodes, and the other tasks of its Slurm job; that they train, tests/cluster shows."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from sei.errors import UserError
from sei.training import nodes
from sei.training.nodes import Call, end, serve

SCONTROL = """#!/bin/sh
echo "NodeName=$3 Arch=x86_64 NodeAddr=10.0.0.4 NodeHostName=$3"
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a job's tasks, of which this is the fourth, on the second node."""
    (tmp_path / "scontrol").write_text(SCONTROL)
    (tmp_path / "scontrol").chmod(0o755)
    (tmp_path / "ranks").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    values = {"SEI_RANKS": str(tmp_path / "ranks"), "SLURMD_NODENAME": "n4"}
    values |= {"SLURM_PROCID": "3", "SLURM_NODEID": "1", "SLURM_LOCALID": "1"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "ranks"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is started in the place of a training: it writes down how, and ends with the status in the order's folder."""
    script = tmp_path / "program"
    script.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "names = ('RANK', 'NODE_RANK', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')\n"
        "open(sys.argv[3] + '/started', 'a').write(json.dumps([os.environ[name] for name in names]) + '\\n')\n"
        "print('out of memory', file=sys.stderr)\n"
        "sys.exit(int(open(sys.argv[3] + '/status').read()))\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(nodes.sys, "executable", str(script))
    return script


def order(folder: Path, status: int) -> Path:
    folder.mkdir()
    (folder / "status").write_text(str(status))
    return folder


def until(holds) -> None:
    for _ in range(300):
        if holds():
            return
        threading.Event().wait(0.1)
    raise AssertionError("it did not come to that")


def test_every_training_that_the_run_calls_for_starts_one_process_of_each_task(
    job: Path, tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes.signal, "pthread_sigmask", lambda *_: None)  # this process is not that task
    serving = threading.Thread(target=serve, args=(job,))
    serving.start()
    for number, status in enumerate((0, 1, 143)):
        with Call(order(tmp_path / str(number), status)) as call:
            assert {call.environment[name] for name in ("RANK", "NODE_RANK", "LOCAL_RANK")} == {"0"}
            until((tmp_path / str(number) / "started").exists)
            [line] = (tmp_path / str(number) / "started").read_text().splitlines()
            where = [call.environment[name] for name in ("MASTER_ADDR", "MASTER_PORT")]
            assert json.loads(line) == ["3", "1", "1", *where]
            assert where[0] == "10.0.0.4"
            if status == 1:
                until(lambda call=call: call.failed() is not None)
                assert call.failed() == "out of memory\n\n(status 1)"
            else:
                assert call.failed() is None, "143: it was told to end, as all of them"
    end(job)
    serving.join(30)
    assert not serving.is_alive()


def test_a_faster_network_can_be_named(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "192.0.2.1")
    assert Call(tmp_path).environment["MASTER_ADDR"] == "192.0.2.1"


def test_where_there_is_no_job_it_says_so(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"The address of node n4 could not be found \(.*scontrol"):
        Call(tmp_path)
    monkeypatch.delenv("SEI_RANKS")
    with pytest.raises(UserError, match=r"inside a Slurm job.*hydra/launcher=slurm_two_nodes"):
        Call(tmp_path)
