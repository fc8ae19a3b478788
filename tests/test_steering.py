"""`python -m sei.sweep`: how a sweep stands, going on with it, and ending it in order. Its jobs are stand-ins of a few lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from sei.commands import Command
from sei.errors import UserError
from sei.state import running, spent
from sei.sweep.jobs import jobs_of, rerun
from sei.sweep.steer import cancel, print_status, resume
from sei.workspace import write_json
from tests.machines import ROOT, on_machine, wait_for

# A job, as `sei.run` begins one: it works until it is told to end, and then says so.
WORKS = """
import json, signal, time
from sei.state import at_work, running, spent
job = folder / {job!r}
def end(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, end)
with at_work(job, print):
    (job / "status.json").write_text(json.dumps(running(job)))
    (job / "ready").touch()
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        (job / "status.json").write_text(json.dumps({{"status": "interrupted", "error": "told to", **spent(job)}}))
"""


def words(tokens: int, seed: int) -> list[str]:
    return ["recipe=cot", f"++data.train={tokens}", f"seed={seed}", "logger=none"]


def planned(sweep: Path, jobs: list[list[str]], command: list[str] | None = None) -> Path:
    given = command or [sys.executable, "train.py", "-m", str(len(jobs))]
    return Command(given, str(sweep), jobs, ["data.train", "seed"]).write(sweep)


def begun(sweep: Path, name: str, overrides: list[str], status: dict[str, object]) -> Path:
    job = sweep / name
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    (job / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": {"task": overrides}}}))
    (job / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"seed": 0}))
    write_json(job / "status.json", status)
    return job


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two commands that ask for five jobs in all: one done, one failed, one killed, two not begun."""
    planned(tmp_path, [words(20, 0), words(100, 0)])
    planned(tmp_path, [words(20, 0), words(20, 1), words(20, 10), words(100, 0), words(3, 0)])
    begun(tmp_path, "a", ["recipe=cot", "++data.train=20", "logger=wandb"], {"status": "done", "seconds": 12.0})
    begun(tmp_path, "b", words(20, 1), {"status": "failed", "error": "UserError: no\nmore", "seconds": 3.0})
    begun(tmp_path, "c", words(100, 0), {"status": "running", "started": time.time() - 50, "earlier": 5.0})
    return tmp_path


def test_every_job_is_there_once_in_the_order_of_its_name(sweep: Path) -> None:
    found = [(job.name, job.state, job.error) for job in jobs_of(sweep)]
    assert found == [
        ("data.train=3 seed=0", "pending", ""),
        ("data.train=20 seed=0", "done", ""),
        ("data.train=20 seed=1", "failed", "UserError: no"),
        ("data.train=20 seed=10", "pending", ""),
        ("data.train=100 seed=0", "interrupted", "its process is gone, without a word"),
    ]
    assert [round(job.seconds) for job in jobs_of(sweep)] == [0, 12, 3, 0, 55]


def test_status_names_sums_and_the_command_for_a_failed_job(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_status(sweep)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == f"{sweep}: 5 jobs"
    assert "| data.train=20 seed=1  | failed" in lines[5]
    assert lines[-3] == "1 done, 1 failed, 1 interrupted, 2 pending; 70 s and $ 0.0000 so far"
    (failed,) = [job for job in jobs_of(sweep) if job.state == "failed"]
    command = ["train.py", "-m", "recipe=cot", "data.train=20", "seed=1", "logger=none"]
    assert rerun(failed, sweep)[1:] == [*command, f"hydra.sweep.dir={os.path.relpath(sweep)}"]
    assert lines[-2].endswith(" ".join(rerun(failed, sweep)))
    assert lines[-1] == f"to go on with all: python -m sei.sweep resume {sweep}"


def test_a_running_job_says_what_it_works_on_and_how_long_that_takes(sweep: Path) -> None:
    job = begun(sweep, "d", words(3, 0), {"status": "pending"})
    stage = job / "stages" / "01-problems"
    stage.mkdir(parents=True)
    write_json(stage / "manifest.json", {})
    process = on_machine("node2", WORKS.format(job="d"), sweep)
    try:
        wait_for(job / "ready")
        (found,) = [one for one in jobs_of(sweep) if one.folder == job]
        assert (found.state, found.stage, found.left) == ("running", "after problems", "")
        assert (found.worker.host, found.worker.pid) == ("node2", process.pid)  # type: ignore[union-attr]
        (job / "log.txt").write_text("problems  5 in -> 5 out\nattempts: 1,300 of 3,000, 0:30 of about 1:10\n")
        (found,) = [one for one in jobs_of(sweep) if one.folder == job]
        assert (found.stage, found.left) == ("attempts: 1,300 of 3,000", "40 s")
        assert cancel(sweep) == 1, "it is on another machine"
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_cancel_ends_the_command_and_its_jobs_in_order_and_no_other_process(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = begun(sweep, "d", words(3, 0), {"status": "pending"})
    here = os.uname().nodename
    process = on_machine(here, WORKS.format(job="d"), sweep)
    command = planned(sweep, [words(7, 0)]).with_suffix(".lease")
    at = "import time, sei.lease; lease = sei.lease.Lease(Path({!r})); assert lease.take_now()\n"
    at += "print(1, flush=True); time.sleep(100)"
    launcher = on_machine(here, at.format(str(command)), sweep)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "1\n"
    stranger = subprocess.Popen(["sleep", "100"])
    lease = sweep / "c" / "at_work.lease"  # as a process left it whose number somebody else has now
    lease.write_text(json.dumps(vars_of(stranger.pid, command)))
    try:
        wait_for(job / "ready")
        assert cancel(sweep) == 0
        said = capsys.readouterr().out
        assert said.index(f"asked process {launcher.pid} on") < said.index(f"asked process {process.pid} on")
        assert launcher.wait(60) == -15
        assert process.wait(60) == 0
        assert stranger.poll() is None, "a process that only has the number of a job that has ended"
        (found,) = [one for one in jobs_of(sweep) if one.folder == job]
        assert (found.state, found.error) == ("interrupted", "told to")
        assert cancel(sweep) == 0
        assert "Nothing is at work here." in capsys.readouterr().out
    finally:
        for one in (process, launcher, stranger):
            one.kill()
            one.wait()


def vars_of(pid: int, lease: Path) -> dict[str, object]:
    """What a lease of this machine says, for another process that began earlier."""
    return json.loads(lease.read_text()) | {"pid": pid, "start": 1.0}


def test_resume_carries_out_the_commands_that_have_something_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", "import os; open('ran', 'a').write('x'); print('in', os.getcwd())"]
    planned(tmp_path, [words(20, 0)], command)
    assert resume(tmp_path) == 0
    assert f"in {tmp_path}" in capfd.readouterr().out
    begun(tmp_path, "a", words(20, 0), {"status": "done", "seconds": 1.0})
    assert resume(tmp_path) == 0
    assert "Nothing is left to do" in capfd.readouterr().out
    assert (tmp_path / "ran").read_text() == "x"


def test_a_folder_without_a_sweep_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sweep here"):
        jobs_of(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "sei.sweep", "STATUS", str(tmp_path / "x")], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path / 'x'}: no such folder. Give that of a sweep, such as multirun/sweep-recipe.\n",
    )


def test_seconds_add_up_over_a_jobs_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spent(tmp_path) == {}
    write_json(tmp_path / "status.json", {"status": "running", "started": time.time() - 30, "earlier": 12.0})
    assert round(spent(tmp_path)["seconds"]) == 42, "killed: it lived as long as it wrote"
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    again = running(tmp_path)
    assert (round(again["earlier"]), again["slurm"]) == (42, "77")
