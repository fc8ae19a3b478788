"""Sweeps on a real Slurm of two nodes, which these tests start on this machine: `pytest -m cluster`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sei.processes import same_code
from tests.cluster.slurm import INSTALL, Slurm, missing
from tests.cluster.sweeps import job_process
from tests.launch.app import ROOT, alive, cells, pid_of, start, until

pytestmark = pytest.mark.cluster

PATIENCE = 600.0  # seconds: the machine may be busy
LAUNCHER = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=0", "hydra.launcher.cpus_per_node=1")
# One job of some 80 optimizer steps; no checkpoint but those that a signal asks for.
JOB = (
    "recipe=cot",
    "data.train=60",
    "data.validation=10",
    "data.test=10",
    "recipe.training.tokens=80000",
    "recipe.training.batch_tokens=1024",
    "trainer.checkpoint_every=1000",
    "trainer.precision=32-true",
    "logger=none",
)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    if absent := missing():
        pytest.fail(f"no Slurm here ({', '.join(absent)}): {INSTALL}")
    with Slurm() as started:
        yield started


def sweep_of(slurm: Slurm, folder: Path, *words: str) -> subprocess.Popen[str]:
    """`train.py -m` with the small job and these words; each job in a folder with its number."""
    places = [f"hydra.sweep.dir={folder / 'sweep'}", "hydra.sweep.subdir=job-${hydra.job.num}"]
    return subprocess.Popen(
        [sys.executable, "train.py", "-m", *JOB, *places, *LAUNCHER, *words],
        cwd=ROOT,
        env=same_code() | slurm.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def log(folder: Path) -> str:
    path = folder / "log.txt"
    return path.read_text() if path.is_file() else ""


def wait_for_training(*folders: Path) -> None:
    """Until each of these jobs trains: it shows what it trains on, and then does."""
    until(lambda: all("--- masked" in log(folder) for folder in folders), PATIENCE)
    time.sleep(2)


def steps_saved(cache: Path) -> list[int]:
    return [int(path.stem.removeprefix("step=")) for path in cache.rglob("step=*.ckpt")]


def adapter(folder: Path) -> bytes:
    return (folder / "adapter/adapter_model.safetensors").read_bytes()


def losses(folder: Path) -> list[float]:
    [manifest] = folder.glob("stages/*adapter/manifest.json")
    curve: list[float] = json.loads(manifest.read_text())["numbers"]["loss_curve"]
    return curve


def number_of(slurm: Slurm, sweep: Path, job: int) -> str:
    """Slurm's number of a job of a sweep with several."""
    [script] = sweep.glob(".slurm/[0-9]*_submission.sh")
    return f"{script.name.partition('_')[0]}_{job}"


def test_one_of_four_jobs_is_preempted_another_killed_and_nothing_else_is_lost(slurm: Slurm, tmp_path: Path) -> None:
    """All four compute the same, each with a cache of its own: who was preempted must end with the others' adapter."""
    caches = [tmp_path / f"cache-{number}" for number in range(4)]
    jobs = [tmp_path / "sweep" / f"job-{number}" for number in range(4)]
    two_at_once = ["hydra.launcher.cpus_per_node=2"]  # each has a node for itself
    sweep = sweep_of(slurm, tmp_path, *two_at_once, f"cache_dir={','.join(map(str, caches))}")
    wait_for_training(jobs[0], jobs[1])
    running = {number: slurm.queue()[number_of(slurm, tmp_path / "sweep", number)] for number in (0, 1)}
    assert all(state.startswith("RUNNING") for state in running.values())
    node = running[0].split()[1]
    slurm.run("sbatch", "-p", "high", "-w", node, "-c", "2", "--output=/dev/null", "--wrap", "sleep 3")
    process = job_process(jobs[1])
    assert process is not None
    task = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(task, signal.SIGKILL)  # what Slurm itself has started
    until(lambda: not alive(process))
    until(lambda: steps_saved(caches[0]) != [], PATIENCE)
    [step] = steps_saved(caches[0])
    assert 0 < step < 80
    output, errors = sweep.communicate(timeout=PATIENCE)
    found = cells(output)
    assert [found[f"cache_dir={cache}"][0] for cache in caches] == ["done", "failed", "done", "done"], output
    assert "Slurm lost this job: FAILED" in found[f"cache_dir={caches[1]}"][1]
    assert "job 1 is in the queue again, and goes on from what it has saved" in output
    assert sweep.returncode == 1
    assert "Traceback" not in output + errors + log(jobs[0])
    assert "Ended by SIGTERM" in log(jobs[0])
    assert adapter(jobs[0]) == adapter(jobs[2]) == adapter(jobs[3])
    assert losses(jobs[0]) == losses(jobs[2])
    assert not (jobs[1] / "results.json").exists()


def test_training_over_two_nodes_goes_on_after_its_time_was_up(slurm: Slurm, tmp_path: Path) -> None:
    """One task for each device; USR2 is what Slurm sends before the time limit. The losses are those of one process."""
    two = ["hydra.launcher.nodes=2", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.nodes=2"]
    sweep = sweep_of(slurm, tmp_path, *two, f"cache_dir={tmp_path / 'cache'}")
    job = tmp_path / "sweep/job-0"
    wait_for_training(job)
    [(number, state)] = slurm.queue().items()
    assert state.endswith(" n[0-1]")
    slurm.run("scancel", "--signal=USR2", number)
    until(lambda: steps_saved(tmp_path / "cache") != [], PATIENCE)
    [step] = steps_saved(tmp_path / "cache")
    assert 0 < step < 80
    output, errors = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 0, output + errors + log(job)
    assert "job 1 is in the queue again" in output
    assert log(job).count("training on 2 devices of 2 nodes, in separate processes") == 2
    assert "Traceback" not in output + errors + log(job)
    alone = tmp_path / "alone"
    run(slurm, ["srun", "-n1", "-c1"], f"hydra.run.dir={alone}", f"cache_dir={tmp_path / 'cache-alone'}")
    assert losses(job) == pytest.approx(losses(alone), abs=1e-3)


def test_one_task_starts_its_ranks_itself_whatever_slurm_has_set(slurm: Slurm, tmp_path: Path) -> None:
    """A job of two processes that share one model; then one process in the shell of an allocation with several tasks."""
    shared = ["hydra.launcher.cpus_per_node=2", "trainer=fsdp2", "trainer.accelerator=cpu", "trainer.devices=2"]
    short = "recipe.training.tokens=8000"
    sweep = sweep_of(slurm, tmp_path, *shared, short, f"cache_dir={tmp_path / 'cache'}")
    output, errors = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 0, output + errors
    job, alone = tmp_path / "sweep/job-0", tmp_path / "alone"
    assert "training on 2 devices, in separate processes, which share the model (fsdp2)" in log(job)
    run(slurm, ["salloc", "-N2", "-n4"], short, f"hydra.run.dir={alone}", f"cache_dir={tmp_path / 'cache-alone'}")
    assert losses(job) == pytest.approx(losses(alone), abs=1e-3)


def run(slurm: Slurm, within: list[str], *words: str) -> None:
    """One run of the small job, started by hand within a job or an allocation."""
    command = [*within, sys.executable, "train.py", *JOB, *words]
    done = subprocess.run(
        command, cwd=ROOT, env=same_code() | slurm.environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr


# How jobs end: with a small program that needs no model.


def test_however_jobs_end_the_others_go_on_and_the_table_tells(slurm: Slurm, tmp_path: Path) -> None:
    sweep = start(tmp_path, "do=wait,fail,bug,done", *LAUNCHER, **slurm.environment)
    pid_of(tmp_path / "sweep/wait-0")
    until(lambda: len(list(tmp_path.glob("sweep/.slurm/*_ending.json"))) == 3, PATIENCE)
    first = number_of(slurm, tmp_path / "sweep", 0)
    slurm.run("scancel", first)
    output, errors = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 1
    found = cells(output)
    assert found["do=wait"][0] == found["do=fail"][0] == found["do=bug"][0] == "failed"
    assert "Slurm lost this job: CANCELLED" in found["do=wait"][1]
    assert "too small" in found["do=fail"][1]
    assert "ValueError: a bug" in found["do=bug"][1]
    assert "job 4/4 done, validation accuracy 25.0 %" in output
    assert "Traceback" not in output + errors
    array = first.partition("_")[0]
    states = [slurm.states()[f"{array}_{job}"].split()[0] for job in range(4)]
    assert states == ["CANCELLED", "FAILED", "FAILED", "COMPLETED"]

    (tmp_path / "dry").mkdir()
    again = start(tmp_path / "dry", "do=wait,fail,bug,done", *LAUNCHER, "dry_run=true", **slurm.environment)
    printed = again.communicate(timeout=PATIENCE)[0]
    [submitted] = (tmp_path / "sweep").glob(".slurm/[0-9]*_submission.sh")
    assert submitted.read_text().replace(str(tmp_path / "sweep"), "SWEEP") in printed
    assert slurm.queue() == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_job_stays_in_the_queue_after_its_sweep(slurm: Slurm, tmp_path: Path, number: signal.Signals) -> None:
    sweep = start(tmp_path, "do=wait", "seed=0,1,2", *LAUNCHER, "hydra.launcher.at_once=2", **slurm.environment)
    processes = [pid_of(tmp_path / "sweep" / f"wait-{seed}") for seed in (0, 1)]
    sweep.send_signal(number)
    _, errors = sweep.communicate(timeout=PATIENCE)
    assert slurm.queue() == {}
    assert not any(map(alive, processes))
    assert all((tmp_path / "sweep" / f"wait-{seed}" / "saved").exists() for seed in (0, 1))
    assert not (tmp_path / "sweep/wait-2").exists()
    assert sweep.returncode == 128 + number
    assert "Run the same command to resume." in errors
    assert "Traceback" not in errors


def test_a_job_whose_time_is_up_too_often_is_failed(slurm: Slurm, tmp_path: Path) -> None:
    sweep = start(
        tmp_path,
        "do=wait",
        "seed=0,1",
        *LAUNCHER,
        "hydra.launcher.minutes=5",
        "hydra.launcher.most_time_outs=1",
        **slurm.environment,
    )
    folder = tmp_path / "sweep/wait-0"
    first = pid_of(folder)
    slurm.run("scancel", "--signal=USR2", number_of(slurm, tmp_path / "sweep", 0))
    until(lambda: not alive(first), PATIENCE)
    assert (folder / "saved").exists()
    until(lambda: (folder / "pid").read_text() != str(first), PATIENCE)  # it is started again
    slurm.run("scancel", "--signal=USR2", number_of(slurm, tmp_path / "sweep", 0))
    until(lambda: list(tmp_path.glob("sweep/.slurm/*_0_ending.json")) != [], PATIENCE)
    slurm.run("scancel", number_of(slurm, tmp_path / "sweep", 1))
    output, errors = sweep.communicate(timeout=PATIENCE)
    assert "its time was up more often than hydra.launcher.most_time_outs allows" in cells(output)["seed=0"][1]
    assert "Traceback" not in output + errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.launcher.partition=none"], r"Slurm refuses the jobs \(.*invalid partition.*hydra.launcher.partition"),
        (["hydra.launcher.minutes=2"], r"hydra.launcher.minutes=2: a job is told 120 seconds before"),
        (["hydra.launcher.nodes=0"], r"hydra.launcher.nodes=0: give a whole number from 1 on"),
    ],
)
def test_what_slurm_cannot_do_is_said(slurm: Slurm, tmp_path: Path, words: list[str], said: str) -> None:
    sweep = start(tmp_path, "do=done,fail", *LAUNCHER, *words, **slurm.environment)
    errors = sweep.communicate(timeout=PATIENCE)[1]
    assert sweep.returncode != 0
    assert re.search(said, errors), errors
    assert "Traceback" not in errors
    assert slurm.queue() == {}


def test_without_accounting_nothing_is_submitted(slurm: Slurm, tmp_path: Path) -> None:
    conf = (slurm.folder / "etc/slurm.conf").read_text()
    without = tmp_path / "slurm.conf"
    without.write_text(re.sub(r"AccountingStorage\w+=.*\n", "", conf))
    sweep = start(tmp_path, "do=done,fail", *LAUNCHER, **slurm.environment | {"SLURM_CONF": str(without)})
    errors = sweep.communicate(timeout=PATIENCE)[1]
    assert "sacct does not answer (" in errors
    assert "Traceback" not in errors
    assert slurm.queue() == {}
