"""What a sweep says in the terminal."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.types import RunMode
from omegaconf import OmegaConf

from sei import sweep
from sei.sweep import Narrator, best_trial
from sei.workspace import write_json


def config(folder: Path, *words: str, num: int = 0, params: dict[str, str] | None = None, **sweeper: Any) -> Any:
    hydra = {
        "mode": RunMode.MULTIRUN,
        "sweep": {"dir": str(folder)},
        "sweeper": {"params": params, **sweeper},
        "overrides": {"task": list(words)},
        "job": {"num": num},
    }
    return OmegaConf.create({"dry_run": False, "seed": 0, "hydra": hydra})


def job(folder: Path, num: int, words: list[str], status: dict[str, str], accuracy: float | None = None) -> None:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words))
    (folder / ".hydra" / "hydra.yaml").write_text(
        yaml.safe_dump({"hydra": {"job": {"num": num}, "overrides": {"task": words}}})
    )
    write_json(folder / "status.json", status)
    later = time.time() + 75
    os.utime(folder / "status.json", (later, later))
    if accuracy is not None:
        average = {"all": {"after": {"macro": {"accuracy": accuracy}}}}
        write_json(folder / "results.json", {"validation": {"accuracy": 0.5}, "averages": average})


@pytest.mark.parametrize(
    ("words", "params", "sweeper", "said"),
    [
        (["recipe=cot,sei", "++seed=0,1,2", "data=gsm8k"], None, {}, "job 2/6: recipe=cot seed=1"),
        (["++seed=range(0,4)"], {"recipe": "cot,sei"}, {}, "job 2/8: recipe=cot seed=1"),
        (["seed=1", "recipe=cot"], {"recipe": "cot,sei", "seed": "0,1"}, {}, "job 2: recipe=cot seed=1 data=gsm8k"),
        (["++seed=interval(0,4)"], None, {"n_trials": 20}, "job 2/20: seed=1"),
    ],
)
def test_a_job_says_its_number_and_what_is_swept(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    params: dict[str, str] | None,
    sweeper: dict[str, Any],
    said: str,
) -> None:
    narrator = Narrator()
    narrator.on_multirun_start(config(tmp_path, *words, params=params, **sweeper))
    if said.startswith("job 2: "):  # a launcher that runs each job in a process of its own: nobody told it of the sweep
        narrator = Narrator()
    narrator.on_job_start(config(tmp_path, "recipe=cot", "++seed=1", "data=gsm8k", num=1))
    assert capsys.readouterr().out.strip() == said


def test_outside_a_sweep_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator()
    one = config(tmp_path, "recipe=cot")
    one.hydra.mode = RunMode.RUN
    narrator.on_job_start(one)
    narrator.tell_end()
    assert capsys.readouterr().out == ""


def test_the_end_is_a_table_of_this_sweeps_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(tmp_path / "old", 7, ["recipe=cot", "++seed=9"], {"status": "done"})
    early = time.time() - 1000
    os.utime(tmp_path / "old" / ".hydra" / "overrides.yaml", (early, early))
    narrator = Narrator()
    narrator.on_multirun_start(config(tmp_path, "recipe=cot,sei", "++seed=0,1", "data=gsm8k"))
    job(
        tmp_path / "b",
        1,
        ["recipe=sei", "++seed=0", "data=gsm8k"],
        {"status": "failed", "error": "UserError: no\nmore"},
    )
    job(tmp_path / "a", 0, ["recipe=cot", "++seed=0", "data=gsm8k"], {"status": "done"}, accuracy=0.625)
    (tmp_path / sweep.BEST).write_text("name: optuna\nbest_params: {recipe: cot, seed: 0}\nbest_value: 0.5\n")
    narrator.tell_end()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].startswith("2 of 4 jobs")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert cells[0] == ["job", "status", "seconds", "validation", "test sets", "error"]
    assert cells[2:] == [
        ["recipe=cot seed=0", "done", "75", "50.0", "62.5", ""],
        ["recipe=sei seed=0", "failed", "75", "-", "-", "UserError: no"],
    ]
    assert lines[-2:] == [
        "best trial: recipe=cot seed=0 (value 0.5)",
        f"next, with paired tests: python -m sei.compare {tmp_path}",
    ]


def test_what_an_earlier_search_found_is_not_said_again(tmp_path: Path) -> None:
    found = {
        "name": "optuna",
        "solutions": [{"params": {"a": 1}, "values": [0.5, 2]}, {"params": {"a": 2}, "values": [0.4, 1]}],
    }
    (tmp_path / sweep.BEST).write_text(json.dumps(found))
    assert list(best_trial(tmp_path, time.time())) == [
        "best trial: a=1 (value [0.5, 2])",
        "best trial: a=2 (value [0.4, 1])",
    ]
    assert not list(best_trial(tmp_path, time.time() + 100))


def test_a_bar_is_a_line_each_half_minute_where_nobody_looks() -> None:
    from sei.terminal import SlowLines

    now, said = [0.0], io.StringIO()
    lines = SlowLines("attempts:", lambda text: print(text, file=said), clock=lambda: now[0])
    for second in range(100):
        now[0] = float(second)
        lines.update(1000 + 10 * second, 3000)
    assert said.getvalue().splitlines() == [
        "attempts: 1,300 of 3,000, 0:30 of about 3:20",  # 10 a second, and 2,000 from where it began
        "attempts: 1,600 of 3,000, 1:00 of about 3:20",
        "attempts: 1,900 of 3,000, 1:30 of about 3:20",
    ]
