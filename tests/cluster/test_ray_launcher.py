"""Sweeps on a real Ray cluster, on loopback and with a token: `pytest -m cluster`."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.sweeps import sweep_with_a_kill
from tests.launch.app import alive, cells, pid_of, start, until

pytestmark = pytest.mark.cluster
pytest.importorskip("ray")

PATIENCE = 300.0  # seconds: the machine may be busy


def processes_of(folder: Path) -> list[int]:
    """Those that name `folder` on their command line: all of a Ray cluster's own do."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (place / "cmdline").read_bytes() and alive(int(place.name)):
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which a cluster of this machine's, with two cores, is found and lets one in."""
    folder = Path(tempfile.mkdtemp(prefix="sei-ray-"))  # short: sockets lie in it
    token = folder / "token"
    token.write_text(secrets.token_hex(16))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ADDRESS": f"127.0.0.1:{port}",
    }
    arguments = ["--head", "--include-dashboard=false", "--num-cpus=2", "--object-store-memory=200000000"]
    arguments += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments]
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    started = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    try:
        subprocess.run(command, env=without | started, check=True, capture_output=True, timeout=PATIENCE)
        yield environment
    finally:
        for process in processes_of(folder):
            os.kill(process, signal.SIGKILL)
        until(lambda: not processes_of(folder), 30)
        shutil.rmtree(folder, ignore_errors=True)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_job_is_reported_the_others_finish_and_the_same_command_resumes(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    sweep_with_a_kill(tmp_path, "hydra/launcher=ray", environment=cluster)


def test_a_job_whose_worker_is_killed_is_lost_with_all_it_started(tmp_path: Path, cluster: dict[str, str]) -> None:
    sweep = start(tmp_path, "do=wait,done,fail", "hydra/launcher=ray", **cluster)
    process = pid_of(tmp_path / "sweep" / "wait-0")
    until(lambda: "doing fail" in log(tmp_path / "sweep" / "fail-0"), PATIENCE)
    os.kill(parent_of(process), signal.SIGKILL)
    output, errors = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 1
    assert "Traceback" not in output + errors
    found = cells(output)
    assert found["do=wait"][0] == "failed"
    assert "Ray lost this job: " in found["do=wait"][1]
    assert "too small" in found["do=fail"][1]
    assert "job 2/3 done, validation accuracy 25.0 %" in output
    until(lambda: not alive(process))


def log(folder: Path) -> str:
    return (folder / "log.txt").read_text() if (folder / "log.txt").is_file() else ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_job_outlives_its_sweep(tmp_path: Path, cluster: dict[str, str], number: signal.Signals) -> None:
    sweep = start(tmp_path, "do=wait", "seed=0,1,2", "hydra/launcher=ray", **cluster)
    folders = [tmp_path / "sweep" / f"wait-{seed}" for seed in range(3)]
    until(lambda: sum((folder / "pid").is_file() for folder in folders) == 2, PATIENCE)
    started = [folder for folder in folders if (folder / "pid").is_file()]
    processes = [pid_of(folder) for folder in started]
    sweep.send_signal(number)
    _, errors = sweep.communicate(timeout=PATIENCE)
    until(lambda: not any(map(alive, processes)))
    assert not any((folder / "pid").is_file() for folder in folders if folder not in started), (
        "what waited never started"
    )
    in_order = number is not signal.SIGKILL
    assert sweep.returncode == (128 + number if in_order else -number)
    if in_order:
        until(lambda: not any(alive(int((folder / "child").read_text())) for folder in started))
        assert all((folder / "saved").exists() for folder in started)
        assert "Run the same command to resume." in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ([], {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "f" * 32}, "no connection to a Ray cluster"),
        (["hydra.launcher.address=127.0.0.1:1"], {}, "no connection to a Ray cluster"),
        (["hydra.launcher.object_store_memory=100000000"], {}, "a running cluster has its own"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_said_before_anything_starts(
    tmp_path: Path, cluster: dict[str, str], words: list[str], environment: dict[str, str], said: str
) -> None:
    sweep = start(tmp_path, "do=done", "hydra/launcher=ray", *words, **cluster | environment)
    output, errors = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 1
    assert said in errors
    assert "Traceback" not in errors
    assert "job 1" not in output
