"""A job in a process of its own is the job that the sweep would have run itself."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.hydra import Hydra

from sei.launch.jobs import Ending, Job, Source
from tests.launch.app import alive, cells, pid_of, start, until


def test_a_job_and_its_ending_are_plain_text() -> None:
    job = Job(
        1, ["a=1"], "/s/a", "/s", "/w", "/x.py", "main", ["-m"], "x", "config", [], [Source("main", "file", "/c")]
    )
    assert Job.from_json(job.to_json()) == job
    for ending in (Ending(0.5), Ending(), Ending(error="no\nmore"), Ending([0.5, 2])):
        assert Ending.from_json(ending.to_json()) == ending


def test_however_jobs_end_the_others_go_on_and_the_table_tells(tmp_path: Path) -> None:
    sweep = start(tmp_path, "do=wait,fail,bug,done", "hydra.launcher.at_once=2", "hydra.launcher.threads=3")
    process = pid_of(tmp_path / "sweep" / "wait-0")
    until(lambda: (tmp_path / "sweep" / "done-0" / "log.txt").is_file())  # by then the two others have made room
    subprocess.run(["kill", "-9", str(process)], check=True)
    output, errors = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert "Traceback" not in output + errors
    found = cells(output)
    killed = "the process of this job was ended by SIGKILL, maybe for want of memory. What it had finished is kept"
    assert found["do=wait"][0] == "failed"
    assert killed in found["do=wait"][1]
    assert "too small" in found["do=fail"][1]
    assert "ValueError: a bug" in found["do=bug"][1]
    said = [line for line in output.splitlines() if line.startswith("job ")]
    assert said[:2] == ["job 1/4: do=wait", "job 2/4: do=fail"]
    assert {"job 2/4 FAILED: too small", "job 4/4 done, validation accuracy 25.0 %"} <= set(said)
    assert f"job 1/4 FAILED: {killed}: run the same command to resume." in said
    logs = {path.parent.name: path.read_text() for path in (tmp_path / "sweep").glob("*/log.txt")}
    assert logs["done-0"] == "doing done 3 None\n"
    assert "Traceback" in logs["bug-0"], "what is a mistake of ours can be found"
    assert not alive(int((tmp_path / "sweep/wait-0/child").read_text())), "what the killed job had started"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_job_outlives_its_sweep(tmp_path: Path, number: signal.Signals) -> None:
    sweep = start(tmp_path, "do=wait", "seed=0,1,2", "hydra.launcher.at_once=2")
    folders = [tmp_path / "sweep" / f"wait-{seed}" for seed in (0, 1)]
    processes = [pid_of(folder) for folder in folders]
    sweep.send_signal(number)
    _, errors = sweep.communicate(timeout=60)
    until(lambda: not any(map(alive, processes)))
    in_order = number is not signal.SIGKILL
    assert [(folder / "saved").exists() for folder in folders] == [in_order, in_order]
    assert sweep.returncode == (128 + number if in_order else -number)
    assert not (tmp_path / "sweep" / "wait-2").exists()
    if in_order:
        assert "Run the same command to resume." in errors
        assert "Traceback" not in errors
        until(lambda: not any(alive(int((folder / "child").read_text())) for folder in folders))


def test_a_dry_run_prints_the_plan_of_each_job_in_turn(tmp_path: Path) -> None:
    output, _ = start(tmp_path, "do=done,bug", "dry_run=true").communicate(timeout=60)
    plans = [line for line in output.splitlines() if line]
    assert plans == ["job 1/2: do=done", "plan: done", "job 2/2: do=bug", "plan: bug"]


def test_results_come_in_the_order_of_the_jobs_and_their_folders_are_the_same(
    tmp_path: Path, hydra: tuple[Hydra, Any]
) -> None:
    words = ["hydra.mode=MULTIRUN", "do=slow", "seed=0,1"]
    found = []
    for name in ("basic", "local"):
        more = [f"hydra.sweep.dir={tmp_path / name}", f"hydra/launcher={name}"]
        ((first, second),) = hydra[0].multirun("config", hydra[1], [*words, *more])
        found.append([(one.return_value, one.overrides, one.cfg, one.task_name) for one in (first, second)])
        assert second.hydra_cfg.hydra.runtime.output_dir == str(tmp_path / name / "slow-1")
    assert [value for value, *_ in found[1]] == [0.5, 1.5], "the second one ended first"
    assert found[0] == found[1]

    for name in ("config", "overrides", "hydra"):
        basic, local = (
            yaml.safe_load((tmp_path / one / "slow-1/.hydra" / f"{name}.yaml").read_text().replace(f"/{one}/", "/"))
            for one in ("basic", "local")
        )
        if name == "hydra":
            for values in (basic["hydra"], local["hydra"]):
                del values["launcher"], values["sweep"], values["runtime"]["choices"]["hydra/launcher"]
                del values["overrides"]["hydra"]
        assert basic == local
