"""The configuration: everything composes, typos fail with the nearest key, problems are reported all at once."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from sei.config import CONF, GROUPS, explain_unknown_keys, register, validate
from sei.errors import UserError

ROOT = Path(__file__).parents[1]


def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


EVERY_OPTION = [(group, option) for group in GROUPS for option in options(group)]


@pytest.mark.parametrize(("group", "option"), EVERY_OPTION)
def test_every_option_composes_into_the_schema(group: str, option: str) -> None:
    config = composed(f"{group}={option}")
    assert OmegaConf.missing_keys(config) == set()


@pytest.mark.parametrize(("model", "recipe"), list(itertools.product(options("model"), options("recipe"))))
def test_every_recipe_is_valid_on_every_model(model: str, recipe: str) -> None:
    validate(composed(f"model={model}", f"recipe={recipe}"))


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [
        ("recipe.synthesis.buget=3", "recipe.synthesis.budget"),
        ("modle=tiny", "model"),
        ("+recipe.training.learning_rat=1", "recipe.training.learning_rate"),
        ("sed=1", "seed"),
    ],
)
def test_a_typo_fails_with_the_nearest_key(typo: str, nearest: str) -> None:
    with pytest.raises(UserError) as error:
        explain_unknown_keys([typo])
    assert str(error.value).endswith(f"Nearest: {nearest}")


@pytest.mark.parametrize(
    "override",
    [
        "recipe.mistake_sources=[{kind: target, smaples: 2}]",
        "recipe.path_sources=[{kind: target}],[{kind: target},{smaples: 2}]",  # a sweep over two lists
    ],
)
def test_a_typo_inside_a_source_fails_with_the_nearest_key(override: str) -> None:
    with pytest.raises(UserError) as error:
        explain_unknown_keys([override])
    assert str(error.value) == f"{override.split('=')[0]}: a source has no key 'smaples'. Nearest: samples"


def test_what_the_user_names_is_no_unknown_key() -> None:
    words = ["eval=sei", "eval.sets.in_domain=[gsm8k]", "+eval.sets.far=[svamp]", "+eval.paths.svamp=."]
    explain_unknown_keys([*words, "+teacher.limits.diagnose.max_tokens=900"])
    with pytest.raises(UserError, match=r"Nearest: eval\.sets"):
        explain_unknown_keys(["eval.set.near=[gsm8k]"])
    config = composed(*words)
    assert config.eval.sets == {
        "in_domain": ["gsm8k"],
        "out_of_domain": ["college_math", "gaokao", "sat_math"],
        "far": ["svamp"],
    }
    validate(config)


def test_an_unknown_added_key_fails_and_known_ones_pass() -> None:
    with pytest.raises(UserError, match=r"unknown key 'typo'. Nearest: "):
        explain_unknown_keys(["+typo=1", "recipe=sei", "-m", "seed=0,1", "hydra.run.dir=x"])
    explain_unknown_keys(["recipe=sei,cot", "-m", "seed=0,1", "hydra.run.dir=x", "recipe.training.rank=4"])


def test_all_problems_are_reported_at_once() -> None:
    config = composed("recipe.selection.keep=2", "recipe.rounds=0", "engine=recorded", "data.path=/nowhere")
    with pytest.raises(UserError) as error:
        validate(config)
    text = str(error.value)
    for part in (
        "recipe.selection.keep=2",
        "recipe.rounds=0",
        "engine.path=FILE",
        "data.path=/nowhere",
        "trainer=none",
    ):
        assert part in text


@pytest.mark.parametrize(
    "override",
    ["recipe.replay=1", "data.test=0", "eval.limit=0", "data.train=0", "trainer.devices=abc", "trainer.precision=foo"],
)
def test_values_that_would_fail_late_are_refused_at_once(override: str) -> None:
    with pytest.raises(UserError, match=override.split("=")[0]):
        validate(composed(override))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("recipe.training.tokens=5", "recipe.training.steps=6"), "recipe.training.steps=6: give one of them"),
        (("recipe.preference.tokens=5", "recipe.preference.steps=6"), "recipe.preference.steps=6: give one of them"),
        (("recipe.rounds=3", "recipe.training.tokens=2"), "recipe.training.tokens=2 is for all rounds"),
        (("recipe.preference.keep_every=0",), "recipe.preference.keep_every=0: must be 1 or more"),
        (("recipe.preference.learning_rate=0",), "recipe.preference.learning_rate=0.0: must be above 0"),
        (("recipe=cot", "recipe.evolution.strategy=general"), "needs recipe=correction"),
        (("recipe=sei", "eval.passes=2"), "recipe=supercorrect"),
        (("eval.passes=3",), "eval.passes=3: choose 1, or 2"),
        (("recipe.mistake_sources=[]",), "name at least one source"),
        (("recipe.mistake_sources=[{kind: targt}]",), "recipe.mistake_sources[0].kind=targt: choose one of"),
        (("recipe.mistake_sources=[{kind: targt}]",), "Nearest: target"),
        (("recipe.path_sources=[{},{samples: 2}]",), "recipe.path_sources[1].samples=2 at temperature 0"),
        (("recipe.path_sources=[{kind: hf}]",), "recipe.path_sources[0]: kind=hf needs a path"),
        (("recipe.path_sources=[{kind: recorded, path: /nowhere.jsonl}]",), "path=/nowhere.jsonl: no such file"),
        (("recipe.path_sources=[{kind: api}]",), "recipe.path_sources[0].model: name the model"),
        (("recipe.max_source_share=0",), "recipe.max_source_share=0: must be above 0"),
        (("recipe.evolution.rouge_threshold=0",), "recipe.evolution.rouge_threshold=0: must be above 0"),
        (("eval.samples=3",), "set a temperature"),
        (("data=gsm8k", "+eval.sets={a: [gsm8k]}", "+eval.paths={gsm8k: .}"), "give data.path=FOLDER instead"),
    ],
)
def test_what_would_fail_or_mean_nothing_is_refused_with_the_reason(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError) as error:
        validate(composed(*overrides))
    assert said in str(error.value)


@pytest.mark.parametrize("ablation", options("ablation"))
def test_every_ablation_is_valid_with_a_recipe_that_it_is_of(ablation: str) -> None:
    valid = []
    for recipe in ("correction", "supercorrect"):
        config = composed(f"recipe={recipe}", f"ablation={ablation}")
        try:
            validate(config)
        except UserError:
            continue
        valid.append(composed(f"recipe={recipe}") != config)
    assert valid
    assert all(valid) or ablation == "none", "it changes something"


def test_a_price_can_be_overridden_and_a_key_is_never_repeated() -> None:
    explain_unknown_keys(["teacher.price.input=1", "teacher.price.output=2"])
    validate(composed("teacher=gpt-4o", "teacher.price.input=1", "teacher.price.output=2"))
    for secret in ("teacher.api_key_env=sk-12345-x", "teacher.base_url=http://me:12345@host/v1"):
        with pytest.raises(UserError) as error:
            explain_unknown_keys([secret])
        assert "12345" not in str(error.value)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"recipe.training.schedule=cosin: .*Nearest: cosine"):
        validate(composed("recipe.training.schedule=cosin"))


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_help_and_configuration_answer_without_heavy_imports(arguments: list[str]) -> None:
    code = (
        "import runpy, sys; sys.argv = ['train.py', *sys.argv[1:]]\n"
        "try:\n    runpy.run_path('train.py', run_name='__main__')\n"
        "finally:\n    print('heavy:', sorted({'torch', 'transformers', 'wandb', 'sklearn', 'faiss'} & set(sys.modules)))"
    )
    started = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "heavy: []" in out.stdout
    assert time.monotonic() - started < 30  # a hang, not a benchmark


def test_the_70b_model_is_refused_at_once_with_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "train.py", "model=llama2-70b", "recipe=sei", f"hydra.run.dir={tmp_path / 'run'}"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert out.returncode == 2
    for part in ("llama2-70b", "GiB of GPU memory", "HF_TOKEN", "model=tiny"):
        assert part in out.stderr
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("eval.select=paper",), r"eval\.select=paper .* none is kept: set recipe\.training\.keep_every$"),
        (
            ("recipe=supercorrect", "eval.select=paper"),
            r"recipe\.training\.keep_every or recipe\.preference\.keep_every",
        ),
        (
            ("recipe=correction", "recipe.mistake_sources=[{kind: hf, path: /no/where}]"),
            r"path=/no/where: no such folder",
        ),
        (("recipe=cot", "data=csqa"), r"data=csqa has answers but no worked solutions"),
    ],
)
def test_what_would_do_nothing_or_fail_late_is_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=re.compile(message, re.MULTILINE)):
        validate(composed(*overrides))


def test_paths_make_up_for_answers_without_solutions() -> None:
    validate(composed("recipe=cot", "data=csqa", "recipe.path_sources=[{kind: target, samples: 2, temperature: 0.7}]"))
    validate(composed("eval.select=paper", "recipe.training.keep_every=10"))
