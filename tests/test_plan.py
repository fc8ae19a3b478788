"""Dry runs: what would be paid for is counted, whoever is paid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from sei import plan
from sei.errors import UserError
from sei.plan import check_machine
from sei.run import run
from tests.test_config import composed


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def planned(tmp_path: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, int]:
    """Calls of the dry run's cost table, by `stage: model`."""
    overrides = (
        "data.train=40",
        "data.validation=5",
        "data.test=10",
        f"cache_dir={tmp_path}",
        "dry_run=true",
        *overrides,
    )
    run(composed(*overrides), tmp_path / "run", overrides)
    cell, model = r"([\w .,-]+?) +[│|]", r"([a-z][\w.-]*) +[│|]"
    rows = re.findall(rf"^[│|] {cell} {model} +([\d,]+) +[│|] +[\d,]+ +[│|]", capsys.readouterr().out, re.MULTILINE)
    return {f"{stage}: {model}": int(calls.replace(",", "")) for stage, model, calls in rows}


def test_supercorrect_pays_for_templates_traces_and_inspections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 templates; traces of 20 mistakes, of 20 that are checked, of 10 test mistakes; one look at each of the 70."""
    calls = planned(tmp_path, capsys, "recipe=supercorrect", "teacher=gpt-4o")
    assert calls == {"templates: gpt-4o": 20, "traces: gpt-4o": 50, "inspections: gpt-4o": 70}


def test_a_hub_that_does_not_answer_is_not_waited_for_by_the_later_jobs_of_a_sweep_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "hub_answers", lambda: False)
    assert not constants.is_offline_mode(), "it has been imported, as an earlier job does"
    with plan._without_waiting(composed("model=llama2-7b", "recipe=cot")):
        assert constants.is_offline_mode()
    assert not constants.is_offline_mode()


def test_a_plan_names_the_teacher_of_recipes_that_have_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = "Plan: recipe cot, model tiny, ablation none, experiment none, seed 0\n"
    for recipe, said in (
        ("cot", plain),
        ("correction", ", teacher symbolic, ablation none, experiment none, seed 0\n"),
    ):
        words = [
            f"recipe={recipe}",
            "data.train=8",
            "data.validation=2",
            "data.test=2",
            f"cache_dir={tmp_path}",
            "dry_run=true",
        ]
        run(composed(*words), tmp_path / "run", words)
        assert said in capsys.readouterr().out


def test_served_models_that_make_attempts_are_paid_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "{kind: api, model: gpt-4o-mini, samples: 3, temperature: 0.7}"
    calls = planned(tmp_path, capsys, "recipe=cot", f"recipe.path_sources=[{source}]")
    assert calls == {"attempts by gpt-4o-mini, path_sources: gpt-4o-mini": 120}
    calls = planned(
        tmp_path, capsys, "recipe=correction", "teacher=gpt-4o", f"recipe.mistake_sources=[{{kind: target}}, {source}]"
    )
    assert calls == {
        "diagnoses: gpt-4o": 160,
        "corrections: gpt-4o": 160,
        "attempts by gpt-4o-mini, mistake_sources: gpt-4o-mini": 120,
    }


def test_evolved_problems_are_solved_probed_and_corrected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ("recipe=correction", "teacher=gpt-4o", "ablation=evolution_general", "recipe.evolution.seeds=30")
    assert planned(tmp_path, capsys, *overrides) == {
        "diagnoses: gpt-4o": 40,
        "corrections: gpt-4o": 40,
        "evolved: gpt-4o": 30,
        "answers of evolved: gpt-4o": 90,
        "diagnoses of evolved: gpt-4o": 30,
        "corrections of evolved: gpt-4o": 30,
    }


def test_the_plan_counts_the_items_that_are_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = (
        "recipe=cot",
        "data.train=40",
        "data.validation=5",
        "eval.limit=7",
        f"cache_dir={tmp_path}",
        "dry_run=true",
    )
    run(composed(*overrides), tmp_path / "run", overrides)
    assert "evaluation on in_domain 7, out_of_domain 7" in capsys.readouterr().out


def test_a_gpu_that_is_not_there_and_a_key_that_is_not_set_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"engine\.device=cuda:1: this machine has no GPU"):
        check_machine(composed("engine.device=cuda:1"))
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    source = "{kind: api, model: gpt-4o-mini, api_key_env: NO_SUCH_KEY}"
    with pytest.raises(UserError, match="NO_SUCH_KEY"):
        check_machine(composed("recipe=cot", f"recipe.path_sources=[{source}]"))
