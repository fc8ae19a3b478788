"""The saved W&B view and the report, read as the JSON that would be sent."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from sei.tracking.journal import PLACE, Journal
from sei.tracking.summary import summary
from sei.workspace_view import main

SETS = ("in_domain", "out.of")


def write_run(folder: Path, recipe: str, rounds: int) -> str:
    folder.mkdir(parents=True)
    ledger = {"problems": {}, **{f"adapter.round{number}": {} for number in range(2, rounds + 1)}}
    results = {"eval": dict.fromkeys(SETS), "ledger": ledger, "recipe": recipe}
    (folder / "results.json").write_text(json.dumps(results))
    return Journal(folder / PLACE, recipe).run_id


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--print"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_view_groups_by_variant_pins_the_baseline_and_names_metrics_that_every_run_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces")
    baseline = write_run(tmp_path / "cot", "cot", 1)
    write_run(tmp_path / "sei", "sei", 3)
    saved = printed(capsys, "team/project", "--runs", str(tmp_path), "--group", "recipe-1a2b")
    section = saved["view"]["spec"]["section"]
    (runs,) = section["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "variant.value"}]
    assert runs["filters"]["filters"][0]["value"] == "recipe-1a2b"
    assert baseline in base64.b64decode(runs["baselineRunId"]).decode()
    assert runs["pinnedRunIds"] == [runs["baselineRunId"]]
    named = {one["name"]: one["panels"] for one in section["panelBankConfig"]["sections"]}
    assert list(named) == ["Result", "What it took", "Error types", "Choose by validation", "Curves"]
    text = json.dumps(named)
    used = set(re.findall(r'"summary(?:_metrics\.|:)([^"]+)"', text))
    share = {"n": 1, "accuracy": 0.5, "low": 0.0, "high": 1.0}
    entry = {"before": share, "after": None, "change": None}
    figures = {
        "eval": dict.fromkeys(SETS, entry), "averages": {}, "validation": None, "error_types": [], "tokens_trained": 0,
        "commit": "", "device": None,
    }  # fmt: skip
    assert used <= summary(figures, [], {}).keys()
    assert {
        "mean/after",
        "in_domain/after",
        "out_of/change",
        "tokens_trained",
        "usd/used",
        "validation/accuracy",
    } <= used
    curves = [panel["config"] for panel in named["Curves"]]
    assert [curve["metrics"] for curve in curves] == [[f"round{number}/train/loss"] for number in (1, 2, 3)]
    assert all(panel["config"]["groupArea"] == "stderr" for panel in named["Result"])
    columns = [column["accessor"] for column in named["Choose by validation"][0]["config"]["columns"]]
    assert columns[1] == "config:recipe.value.training.learning_rate"
    headings = [
        block["children"][0]["text"] for block in saved["report"]["spec"]["blocks"] if block["type"] == "heading"
    ]
    assert headings == list(named)
    assert saved["report"]["displayName"] == "Ablation: recipe-1a2b"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["project"], "project: give ENTITY/PROJECT"),
        (["team/project", "--runs", "nowhere"], "nowhere: no run folder with a results.json lies there"),
    ],
)
def test_what_cannot_be_shown_is_said(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces")
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--print"]) == 2
    assert said in capsys.readouterr().err


def test_without_the_package_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["team/project", "--print"]) == 2
    assert 'pip install -c constraints.txt -e ".[workspace]"' in capsys.readouterr().err
