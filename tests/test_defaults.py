"""What is chosen for a target that nobody named anything for, who chose it, and the nearest command that runs here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from sei import compose
from sei.compose import CONF, nearby, origins
from sei.errors import UserError
from sei.llm.retired import RETIRED
from sei.target.machine import Memory
from tests.test_config import ROOT, composed, options, raw

SOURCES = [
    SimpleNamespace(provider="hydra", schema="pkg", path="hydra.conf"),
    SimpleNamespace(provider="main", schema="sei", path=str(CONF)),
    SimpleNamespace(provider="schema", schema="structured", path=""),
]
OF_PAPERS = {  # recipe -> data, evaluation sets in and out of domain, teacher
    "sei": ("gsm8k", ["gsm8k", "math"], ["college_math", "gaokao", "sat_math"], "gpt-4o"),
    "self_instruct": ("gsm8k", ["gsm8k", "math"], ["college_math", "gaokao", "sat_math"], "gpt-4o"),
    "cot": ("gsm8k", ["gsm8k"], ["svamp", "asdiv"], "symbolic"),
    "correction": ("gsm8k", ["gsm8k"], ["svamp", "asdiv"], "gpt-5.6-sol"),
    "supercorrect": ("gsm8k", ["gsm8k", "math"], [], "gpt-5.6-terra"),
    "rft": ("gsm8k", ["gsm8k"], ["svamp", "asdiv"], "symbolic"),
    "reflection": ("gsm8k", ["gsm8k"], ["svamp", "asdiv"], "gpt-4o"),
    "critique": ("gsm8k", ["gsm8k"], ["svamp", "asdiv"], "gpt-4o"),
}


def written(group: str, option: str) -> Iterator[tuple[str, Any]]:
    """(key, value) of everything that an option's YAML says, and the options that it is made of."""
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{option}.yaml"))
    for part in values.pop("defaults", []):
        if isinstance(part, str) and part != "_self_":
            yield from written(group, part)

    def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        for name, inner in value.items():
            yield from walk(inner, f"{key}.{name}") if isinstance(inner, dict) else [(f"{key}.{name}", inner)]

    yield from walk(values, group)


@pytest.mark.parametrize("recipe", options("recipe"))
def test_what_a_recipe_s_yaml_says_reaches_a_real_target(recipe: str) -> None:
    """A class's default is for what no YAML says; it must not hide what a part of the option says."""
    found = raw("model=llama2-70b", f"recipe={recipe}")
    said = dict(written("recipe", recipe))
    assert "recipe.training.learning_rate" in said
    for key, value in said.items():
        if "${" not in str(value):
            assert OmegaConf.select(found, key) == value, key


def test_parts_of_an_option_come_before_its_class_s_defaults() -> None:
    assert composed("clustering=agglomerative").clustering.max_types == 16  # type: ignore[union-attr]
    terra = composed("model=llama2-7b", "recipe=sei", "teacher=gpt-5.6-terra").teacher
    assert terra.limits["solve"] == {"temperature": None, "max_tokens": 8192}  # type: ignore[attr-defined]


@pytest.mark.parametrize("recipe", options("recipe"))
def test_a_real_target_gets_what_its_method_s_paper_has(recipe: str) -> None:
    config = composed("model=llama2-70b", f"recipe={recipe}")
    data, near, far, teacher = OF_PAPERS[recipe]
    assert config.data.name == data
    assert config.eval.sets == {"in_domain": near} | ({"out_of_domain": far} if far else {})
    assert config.teacher.name == teacher
    assert getattr(config.teacher, "model", None) not in RETIRED, "it is served"


@pytest.mark.parametrize("recipe", options("recipe"))
def test_the_embedded_target_keeps_its_own_world(recipe: str) -> None:
    config = composed(f"recipe={recipe}")
    assert (config.data.name, config.teacher.name, config.eval.sets) == ("arithmetic", "symbolic", {})
    assert composed("model=tiny", "data=gsm8k").data.name == "gsm8k", "what is named wins"


@pytest.mark.parametrize("recipe", options("recipe"))
def test_a_model_made_of_another_one_is_trained_at_its_scale(recipe: str) -> None:
    """`model=tiny-misconceived` says no more than its name and its weights; the rest is what `model=tiny` has."""
    tiny, made = raw("model=tiny", f"recipe={recipe}"), raw("model=tiny-misconceived", f"recipe={recipe}")
    assert made.recipe.training.tokens == 300_000
    assert OmegaConf.to_container(made.recipe) == OmegaConf.to_container(tiny.recipe)
    assert {key for key in made.model if made.model[key] != tiny.model[key]} == {"name", "path"}
    assert made.data == tiny.data


def test_the_command_line_and_experiments_win() -> None:
    config = composed("model=llama2-7b", "recipe=sei", "data=math", "teacher=gpt-4o-mini", "eval=lema")
    assert (config.data.name, config.teacher.name) == ("math", "gpt-4o-mini")
    assert config.eval.sets == {"in_domain": ["math"], "out_of_domain": ["svamp", "asdiv"]}
    assert composed("experiment=lema_main_math", "model=llama2-7b", "recipe=correction").data.name == "math"
    assert composed("experiment=supercorrect_main", "model=llama3.1-8b-instruct").teacher.name == "gpt-5.6-terra"


def test_data_of_one_s_own_are_tested_on_too() -> None:
    own = composed("model=llama2-7b", "recipe=sei", "data=jsonl", "data.path=README.md")
    assert own.eval.sets["in_domain"] == ["jsonl", "gsm8k", "math"]


def said_of(*overrides: str, swept: tuple[str, ...] = ()) -> list[str]:
    composed_: DictConfig = raw(*overrides)
    return origins(composed_, list(overrides), SOURCES, swept)


def test_a_run_says_what_was_chosen_and_by_whom() -> None:
    assert said_of("model=llama2-70b", "recipe=sei") == [
        "model: llama2-70b (named by you)",
        "recipe: sei (named by you)",
        "data: gsm8k (default for recipe sei)",
        "eval: sei (default for recipe sei)",
        "teacher: gpt-4o (default for recipe sei)",
        "engine: hf (default)",
    ]
    assert said_of() == [
        "model: tiny (default)",
        "recipe: sei (default)",
        "data: arithmetic (default for model tiny)",
        "eval: default (default for model tiny)",
        "teacher: symbolic (default for model tiny)",
        "engine: hf (default for model tiny)",
    ]


def test_an_experiment_and_a_group_without_use_are_told_apart() -> None:
    swept = said_of("experiment=lema_main", "model=llama2-7b", "recipe=correction", swept=("model", "recipe"))
    assert swept[:3] == [
        "experiment: lema_main (named by you)",
        "model: llama2-7b (swept by the experiment)",
        "recipe: correction (swept by the experiment)",
    ]
    assert "data: gsm8k (experiment lema_main)" in swept
    assert not any(line.startswith("teacher") for line in said_of("model=llama2-7b", "recipe=cot"))
    assert "clustering: hybrid (named by you)" in said_of("recipe=sei", "teacher=gpt-4o", "clustering=hybrid")


def test_the_faster_engine_is_chosen_where_its_package_and_a_gpu_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine").mkdir()
    monkeypatch.setattr(compose, "CONF", tmp_path)
    monkeypatch.setattr(compose, "found_memory", lambda: Memory((80.0,), 100.0))
    monkeypatch.setattr(compose, "find_spec", lambda name: name == "fast")
    assert compose._fastest_engine("fast", "slow") == "slow", "there is no such option"
    (tmp_path / "engine" / "fast.yaml").write_text("")
    assert compose._fastest_engine("fast", "slow") == "fast"
    assert compose._fastest_engine("other", "fast", "slow") == "fast"
    monkeypatch.setattr(compose, "found_memory", lambda: Memory((), 100.0))
    assert compose._fastest_engine("fast", "slow") == "slow", "there is no GPU"


def test_the_nearest_command_line_comes_first() -> None:
    words = ["model=llama2-70b", "recipe=sei", "recipe.rounds=2", "dry_run=true"]
    lines = []
    for line, build in nearby(words, SOURCES, ["eval.sets.out_of_domain=[sat_math]"], 1.0):
        lines.append(line)
        try:
            config = build()
        except UserError:  # a server of one's own needs the name of its model
            assert "teacher=local" in line
            continue
        assert config.recipe.rounds == (2 if "rounds" in line else 1)  # type: ignore[attr-defined]
    assert lines[0] == "model=llama2-70b recipe=sei recipe.rounds=2 'eval.sets.out_of_domain=[sat_math]'"
    assert lines[-1] == "model=tiny recipe=sei"
    assert [line.split()[0] for line in dict.fromkeys(one.split()[0] for one in lines)] == [
        "model=llama2-70b",
        "model=smollm2-135m-instruct",
        "model=tiny",
    ]


@pytest.fixture(scope="module")
def plan_of_70b(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The owner's command as a dry run, on a machine without GPU, key and hub."""
    folder = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(folder), "CUDA_VISIBLE_DEVICES": "", "HF_ENDPOINT": "http://127.0.0.1:9",
    }  # fmt: skip
    command = [
        sys.executable,
        "train.py",
        "model=llama2-70b",
        "recipe=sei",
        "dry_run=true",
        f"hydra.run.dir={folder}/run",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plan_of_a_large_target_shows_cost_and_what_is_missing(plan_of_70b: str) -> None:
    lines = plan_of_70b.splitlines()
    assert lines[2] == "data: gsm8k (default for recipe sei)"
    assert (
        "Problems: train 6,973; tests: gsm8k 1,319, math 5,000, college_math 2,818, gaokao 508, sat_math 220" in lines
    )
    for part in (
        "| synthetic                  | gpt-4o |    750 |",  # calls
        "| selection, one-shot       |     300,000 |",  # work
        "with vLLM | with transformers |",
        "download of the weights (16 bits) 128.5",  # disk
        "Memory of each GPU, about, in GiB",
    ):
        assert part in plan_of_70b
    missing = plan_of_70b[plan_of_70b.index("Missing on this machine:") :]
    for part in ("OPENAI_API_KEY", "eval.paths.college_math", "memory: recipe.training", "HF_TOKEN", "data=gsm8k"):
        assert part in missing
    assert lines[-1] == "Nearest command that runs here: python train.py model=tiny recipe=sei"
