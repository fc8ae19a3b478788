"""`scale=rehearsal`: one experiment of each method runs from its first stage to its report, with nothing but this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sei.compose import prepare
from sei.data.few import Few, written_as
from sei.data.sources import Published
from sei.errors import UserError
from sei.export.finished import FinishedRun
from sei.ledger import read_ledger
from sei.records import Verdict
from sei.rehearsal import rehearsed
from sei.run import run
from tests.test_config import composed
from tests.test_experiments import built

SMALL = ["scale=rehearsal", "rehearsal.problems=8", "rehearsal.held_out=2", "logger=none"]
METHODS = {  # experiment: one job, and the stages that its method is made of
    "lema_main": (
        ["model=llama2-7b", "recipe=correction"],
        ["attempts.scripted-gpt-4o", "diagnoses", "corrections", "paths", "adapter"],
    ),
    "sei_main": (
        ["model=mathstral-7b", "data=math", "recipe.rounds=1"],
        ["diagnoses", "error_types", "synthetic", "selected", "adapter", "evaluate.after.college_math"],
    ),
    "supercorrect_main": (
        ["model=qwen2.5-math-7b-instruct", "ablation=none"],
        ["templates", "student", "traces.inspected", "student_traces", "pairs", "adapter", "second.after.gsm8k"],
    ),
}


@pytest.mark.parametrize("experiment", METHODS)
def test_an_experiment_of_each_method_is_rehearsed_from_end_to_end(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("sei.rehearsal.hub_answers", lambda: False)
    job, stages = METHODS[experiment]
    overrides = [f"experiment={experiment}", *job, *SMALL, f"cache_dir={tmp_path / 'cache'}"]
    run(built(experiment, overrides)[0], tmp_path / "run", overrides)
    printed = capsys.readouterr().out
    assert "The real run lacks on this machine:" in printed
    assert "OPENAI_API_KEY is not set" in printed
    results: dict[str, Any] = json.loads((tmp_path / "run/results.json").read_text())
    assert results["rehearsal"]
    assert {stage: results["ledger"][stage]["records"] > 0 for stage in stages} == dict.fromkeys(stages, True)
    for name in ("report.txt", "report.html"):
        assert "REHEARSAL" in (tmp_path / "run" / name).read_text(encoding="utf-8").upper(), name
    with pytest.raises(UserError, match="this was a rehearsal"):
        FinishedRun(tmp_path / "run")
    paid = read_ledger(tmp_path / "run").total
    assert paid.calls > 0
    assert (paid.used_usd, paid.paid_usd) == (0.0, 0.0)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["rehearsal"], "the real run's cache is untouched"


def test_a_rehearsed_sweep_lies_apart_and_tries_one_of_what_is_alike() -> None:
    words = prepare(["experiment=lema_main", "scale=rehearsal"])
    assert words[2:] == ["hydra.sweep.dir=multirun/rehearsal-lema_main", "recipe=cot,correction", "model=llama2-70b"]
    words = prepare(["experiment=supercorrect_main", "scale=rehearsal", "ablation=none", "hydra.sweep.dir=x"])
    assert words[4:] == ["model=qwen2.5-math-7b-instruct,llama3.1-8b-instruct,deepseekmath-7b-instruct"]
    assert prepare(["experiment=lema_main"]) == ["experiment=lema_main"], "the real sweep is as it is written"


def test_what_the_user_names_is_rehearsed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sei.rehearsal.hub_answers", lambda: False)
    source = f"{{kind: recorded, path: {tmp_path / 'attempts.jsonl'}}}"
    (tmp_path / "attempts.jsonl").write_text('{"question": "a", "solution": "b"}\n')
    config = composed(
        *("recipe=correction", "scale=rehearsal", f"recipe.mistake_sources=[{source}]", f"cache_dir={tmp_path}"),
        *("recipe.training.rank=3", "recipe.training.keep_every=50", "recipe.training.optimizer=paged_adamw_32bit"),
    )
    said: list[str] = []
    with rehearsed(config, said.append) as small:
        assert small.recipe.mistake_sources == config.recipe.mistake_sources  # type: ignore[attr-defined]
        training = small.recipe.training
        assert (training.rank, training.keep_every, training.steps, training.tokens) == (3, 1, 2, None)
        assert training.optimizer == "adamw"
        assert small.model.name == "tiny-rehearsal"
    with rehearsed(composed("recipe=cot"), said.append) as same:
        assert same == composed("recipe=cot"), "nothing is rehearsed that was not asked for"


def test_a_model_that_nobody_knows_the_kind_of_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sei.rehearsal.hub_answers", lambda: False)
    config = composed("model=llama2-7b", "model.family=null", "recipe=cot", "scale=rehearsal", f"cache_dir={tmp_path}")
    said = r"model=llama2-7b: a rehearsal needs to know its architecture.*model\.family"
    with pytest.raises(UserError, match=said), rehearsed(config, print):
        pass


@pytest.mark.parametrize("name", ["gsm8k", "math", "csqa"])
def test_made_up_problems_are_written_as_the_set_writes_its_own(name: str) -> None:
    from sei.answers import grade
    from sei.data.sources import SOURCES

    splits = Few(Published(name, validation=5), train=6, validation=3, test=2, sets=(name, "svamp")).load()
    assert [len(splits.train), len(splits.validation), *map(len, splits.tests.values())] == [6, 3, 2, 2]
    style = SOURCES[name].style
    for problem in splits.train:
        assert problem.source == name
        assert grade(problem.solution, problem.answer, style) is Verdict.CORRECT
    assert len({problem.question for problem in [*splits.train, *splits.validation, *splits.tests[name]]}) == 11
    assert written_as("math", splits.tests["svamp"])[0].solution.count("\\boxed") == 1


def test_problems_of_ones_own_are_rehearsed_with(tmp_path: Path) -> None:
    rows = [json.dumps({"question": f"{n} and {n}?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"}) for n in range(30)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(row.replace("and", split) for row in rows))
    few = Few(Published("gsm8k", str(tmp_path), validation=10), train=4, validation=2, test=3, sets=("gsm8k",))
    assert few.made_up == []
    assert [problem.question.split()[1] for problem in few.load().train] == ["train"] * 4
    assert len(few.load().tests["gsm8k"]) == 3
