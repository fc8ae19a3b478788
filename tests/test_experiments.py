"""Every experiment composes, every one of its jobs is valid, and each shows its plan without a key, a GPU or the hub."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from sei import fit
from sei.compose import CONF, keys_to_leave_out, prepare, register
from sei.config import Config, build
from sei.data import arithmetic
from sei.llm.retired import RETIRED
from sei.recipes.sources import served
from sei.run import run
from sei.target.machine import Memory
from tests.test_config import ROOT, options

EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))


def params(experiment: str) -> dict[str, list[str]]:
    """What the experiment sweeps over."""
    file: Any = OmegaConf.load(ROOT / "experiments" / f"{experiment}.yaml")
    return {
        key: [one.strip(chr(34)) for one in str(value).split(",")] for key, value in file.hydra.sweeper.params.items()
    }


def jobs(experiment: str) -> list[list[str]]:
    """The overrides of every job of the experiment's sweep."""
    swept = params(experiment)
    return [
        [f"experiment={experiment}", *(f"{key}={value}" for key, value in zip(swept, values, strict=True))]
        for values in itertools.product(*swept.values())
    ]


def built(experiment: str, overrides: list[str]) -> tuple[Config, str]:
    """The configuration of one job of the sweep as train.py builds it, without what its recipe has no use for; and the
    folder that Hydra gives it."""
    return _built(experiment, tuple(overrides))


@functools.cache
def _built(experiment: str, overrides: tuple[str, ...]) -> tuple[Config, str]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed: DictConfig = compose("config", overrides=prepare(overrides), return_hydra_config=True)
    folder = f"{composed.hydra.sweep.dir}/{composed.hydra.sweep.subdir}"
    with open_dict(composed):
        del composed["hydra"]
    left_out = keys_to_leave_out(composed, overrides, params(experiment).get("recipe", []))
    return build(composed, left_out=left_out), folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small local folder for every hub set that an experiment names."""
    gsm8k = tmp_path_factory.mktemp("gsm8k")
    splits = arithmetic.load(train=60, validation=1, test=20, seed=0)
    for name, problems in (("train", splits.train), ("test", splits.tests["in_domain"])):
        rows = [json.dumps({"question": p.question, "answer": p.solution}) for p in problems]
        (gsm8k / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    math = tmp_path_factory.mktemp("math")
    for name, numbers in (("train", range(10, 70)), ("test", range(80, 100))):
        rows = [
            json.dumps(
                {"problem": f"What is {n} plus {n}?", "solution": f"It is $\\boxed{{{2 * n}}}$.", "level": "Level 1"}
            )
            for n in numbers
        ]
        (math / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    svamp = tmp_path_factory.mktemp("svamp")
    row = {"Body": "Ann has 3 pens.", "Question": "How many after 2 more?", "Answer": "5", "Equation": "( 3 + 2 )"}
    (svamp / "test.jsonl").write_text(json.dumps(row) + "\n")
    asdiv = tmp_path_factory.mktemp("asdiv")
    row = {"body": "Bo has 4 cups.", "question": "How many after 3 more?", "answer": "7 (cups)", "formula": "4+3=7"}
    (asdiv / "test.jsonl").write_text(json.dumps(row) + "\n")
    found = {"gsm8k": gsm8k, "math": math, "svamp": svamp, "asdiv": asdiv}
    for name, topic in (("college_math", "college_math.algebra"), ("gaokao", "gaokao_bench_math_en.2010")):
        found[name] = tmp_path_factory.mktemp(name)
        row = {"data_topic": topic, "question": "What is 3 plus 4?", "answer": "$7$"}
        (found[name] / "full_test.json").write_text(json.dumps(row) + "\n")
    found["sat_math"] = tmp_path_factory.mktemp("sat_math")
    row = {"question": "What is 3 plus 4?", "options": ["(A)6", "(B)7"], "label": "B"}  # type: ignore[dict-item]
    (found["sat_math"] / "test.jsonl").write_text(json.dumps(row) + "\n")
    return {name: str(folder) for name, folder in found.items()}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_job_of_an_experiment_is_valid_and_has_a_folder_of_its_own(experiment: str) -> None:
    every = [job for job in jobs(experiment) if not any(f"seed={n}" in job for n in (2, 3, 4))]  # a number like another
    places = {built(experiment, overrides)[1] for overrides in every}
    assert len(places) == len(every)
    assert {place.split("/")[1].split("-")[0] for place in places} == {experiment.removesuffix("_math")}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_shows_its_plan(
    experiment: str, folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*jobs(experiment)[-1], "dry_run=true", f"cache_dir={tmp_path}"]
    config, _ = built(experiment, overrides)
    if config.data.name != "arithmetic":
        sets = {name for names in config.eval.sets.values() for name in names} - {config.data.name}
        paths = [f"eval.paths.{name}={folders[name]}" for name in sorted(sets)]
        overrides += [f"data.path={folders[config.data.name]}", "data.validation=5", *paths]
        config, _ = built(experiment, overrides)
    run(config, tmp_path / "run", overrides)
    printed = capsys.readouterr().out
    assert f"Plan: recipe {config.recipe.name}, model {config.model.name}" in printed
    assert "Next to compute: problems" in printed
    assert not (tmp_path / "run").exists(), "a plan writes nothing"


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if not name.startswith("embedded")])
def test_expected_figures_name_models_recipes_and_sets_that_exist(experiment: str) -> None:
    from sei.data.sources import SOURCES

    config, _ = built(experiment, jobs(experiment)[0])
    for row in config.expected:
        assert set(row) <= {"model", "recipe", "set", "accuracy", "source", "ablation", "second_pass", "data"}
        assert row["model"] in options("model")
        assert row["recipe"] in options("recipe")
        assert row["set"] in SOURCES
        assert row.get("ablation", "none") in options("ablation")
        assert 0 < row["accuracy"] < 100


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if not name.startswith("embedded")])
def test_a_paper_s_experiment_fits_four_gpus_of_80_gb_or_says_what_it_needs(experiment: str) -> None:
    four = Memory((79.6,) * 4, 500.0)
    too_large = "more GPUs than one machine has" in (ROOT / "experiments" / f"{experiment}.yaml").read_text(
        encoding="utf-8"
    )
    complaints = []
    for overrides in jobs(experiment):
        config, _ = built(experiment, overrides)
        complaints += [fit.complaint(config, four), *fit.optimizer_complaints(config, four)]
        assert list(fit.source_complaints(config, four)) == []
    assert any(complaints) == too_large, [one for one in complaints if one][:1]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_no_experiment_names_a_model_that_is_no_longer_served(experiment: str) -> None:
    for overrides in jobs(experiment):
        config, _ = built(experiment, overrides)
        named = [getattr(config.teacher, "model", None)]
        named += [
            one.model for key in ("mistake_sources", "path_sources") for one in served(getattr(config.recipe, key, []))
        ]
        named.append(getattr(getattr(config.recipe, "templates", None), "inspector_model", None))
        assert not {name for name in named if name in RETIRED}
