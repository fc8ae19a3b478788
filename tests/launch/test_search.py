"""A search by Optuna over the jobs of a sweep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.hydra import Hydra
from hydra.errors import CompactHydraException


def run(hydra: tuple[Hydra, Any], folder: Path, *words: str, trials: int = 6) -> list[Any]:
    """The jobs of a search."""
    given = [f"hydra.sweep.dir={folder}", f"hydra.sweeper.n_trials={trials}", "hydra/launcher=basic", *words]
    found: list[Any] = hydra[0].multirun("config", hydra[1], ["hydra.mode=MULTIRUN", "+hparams_search=optuna", *given])
    return found


def test_the_best_of_the_trials_is_found_and_those_without_a_value_do_no_harm(
    tmp_path: Path, hydra: tuple[Hydra, Any]
) -> None:
    pytest.importorskip("optuna")
    words = ["x=interval(0,1)", "do=score,score,bug,nothing", "hydra.sweeper.at_once=3"]
    jobs = run(hydra, tmp_path / "sweep", *words, trials=12)
    assert len(jobs) == 12
    assert {job.cfg.do for job in jobs} == {"score", "bug", "nothing"}
    values = {job.return_value: job for job in jobs if job.cfg.do == "score"}
    best = max(values)
    assert best > 0.99, "by then Optuna knows where to look"
    found = yaml.safe_load((tmp_path / "sweep/optimization_results.yaml").read_text())
    assert found == {"name": "optuna", "best_params": {"x": values[best].cfg.x, "do": "score"}, "best_value": best}
    again = run(hydra, tmp_path / "again", *words, trials=6)
    assert [job.overrides for job in again] == [job.overrides for job in jobs[:6]], (
        "the same command goes on in the cache"
    )


def test_ranges_keep_their_kind_and_a_choice_that_comes_again_runs_once(
    tmp_path: Path, hydra: tuple[Hydra, Any]
) -> None:
    pytest.importorskip("optuna")
    params = 'hydra.sweeper.params={x: "range(1,4)", do: "score,nothing"}'
    jobs = run(hydra, tmp_path / "few", params, "do=score", trials=12)
    assert sorted(job.cfg.x for job in jobs) == [1, 2, 3]
    jobs = run(hydra, tmp_path / "whole", "x=int(interval(1,1000))", "do=score")
    assert all(isinstance(job.cfg.x, int) for job in jobs)
    jobs = run(hydra, tmp_path / "log", "x=tag(log,interval(1e-9,1))", "do=score", trials=10)
    assert sum(job.cfg.x < 1e-3 for job in jobs) > 3


def test_what_cannot_be_searched_is_said(
    tmp_path: Path, hydra: tuple[Hydra, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(CompactHydraException, match=r'hparams_search=optuna needs .*\n?.*-e "\.\[optuna\]"'):
        run(hydra, tmp_path / "sweep", "x=interval(0,1)")
    monkeypatch.undo()
    pytest.importorskip("optuna")
    with pytest.raises(CompactHydraException, match="there is nothing to search"):
        run(hydra, tmp_path / "sweep", "x=1")
    with pytest.raises(CompactHydraException, match=r"hydra.sweeper.at_once=0: give a whole number from 1 on"):
        run(hydra, tmp_path / "sweep", "x=1", "hydra.sweeper.at_once=0")
    with pytest.raises(CompactHydraException, match="None of 2 trials gave an accuracy"):
        run(hydra, tmp_path / "sweep", "x=interval(0,1)", "do=bug", trials=2)
