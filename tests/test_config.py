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
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sei.compose import CONF, _cache_folder, keys_to_leave_out, prepare, recipe_class, register, without
from sei.config import CHOSEN, FIXED, Config, build
from sei.errors import UserError

ROOT = Path(__file__).parents[1]


def raw(*overrides: str) -> DictConfig:
    """What Hydra composes of the words of a command line."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=prepare(overrides), return_hydra_config=False)


def composed(*overrides: str) -> Config:
    """The configuration that a command line gives."""
    return build(raw(*overrides))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if not path.stem.startswith("_"))


EVERY_OPTION = [(group, option) for group in (*CHOSEN, *FIXED) for option in options(group)]
NEEDED = {  # what an option cannot do without
    ("engine", "recorded"): ["engine.path=README.md", "trainer=none"],
    ("embedder", "sentence_transformer"): ["embedder.path=some/model"],
    ("teacher", "local"): ["teacher.model=some"],
    ("clustering", "llm"): ["teacher=gpt-4o"],
    ("clustering", "hybrid"): ["teacher=gpt-4o"],
    ("data", "jsonl"): ["data.path=README.md"],
    ("data", "csqa"): ["recipe=sei"],
    **{("eval", of_a_paper): ["data=gsm8k"] for of_a_paper in ("lema", "sei", "supercorrect")},
}


@pytest.mark.parametrize(("group", "option"), EVERY_OPTION)
def test_every_option_builds_an_object_of_its_class(group: str, option: str) -> None:
    overrides = [f"{group}={option}", *NEEDED.get((group, option), [])]
    if group == "data" and option in ("asdiv", "college_math", "gaokao", "math500", "sat_math", "svamp"):
        with pytest.raises(UserError, match="no training problems"):
            composed(*overrides)
        return
    built = getattr(composed(*overrides), group)
    target = raw(*overrides)[group].get("_target_")
    name = f"{type(built).__module__}.{type(built).__qualname__}"
    assert target is None or name.startswith(target.rpartition(".")[0])
    assert target is None or name.endswith(target.rpartition(".")[2])


@pytest.mark.parametrize(("model", "recipe"), list(itertools.product(options("model"), options("recipe"))))
def test_every_recipe_is_valid_on_every_model(model: str, recipe: str) -> None:
    composed(f"model={model}", f"recipe={recipe}")


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [
        ("recipe.synthesis.buget=3", "recipe.synthesis.budget"),
        ("modle=tiny", "model"),
        ("+recipe.training.learning_rat=1", "recipe.training.learning_rate"),
        ("recipe.training.lr=1", "recipe.training.learning_rate"),
        ("recip.training.learning_rate=1", "recipe"),
        ("sed=1", "seed"),
        ("clustering.max_type=3", "clustering.max_types"),
        ("teacher.temperatur=3", "teacher.name"),
    ],
)
def test_a_typo_fails_with_the_nearest_key(typo: str, nearest: str) -> None:
    with pytest.raises(UserError) as error:
        composed(typo)
    assert str(error.value).endswith(f"Nearest: {nearest}")


def test_a_wrong_option_fails_with_the_nearest_and_all() -> None:
    with pytest.raises(UserError, match=r"recipe=cott: there is no such option. Nearest: cot. All: correction, cot"):
        composed("recipe=cott")


@pytest.mark.parametrize("word", ["ablation=null", "recipe=", "model=tiny,null"])
def test_no_option_is_no_option(word: str) -> None:
    with pytest.raises(UserError, match=rf"{word.split('=')[0]}=(null)?: there is no such option. Nearest"):
        prepare([word])


def test_an_ablation_of_ones_own_is_refused_as_ours_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ablation").mkdir()
    (tmp_path / "ablation/mine.yaml").write_text("# @package _global_\nrecipe: {replay: 0.1}\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["train.py", "--config-dir", str(tmp_path)])
    words = ["recipe=cot", "ablation=mine"]
    with pytest.raises(UserError, match=r"ablation=mine changes recipe\.replay, which recipe=cot does not have"):
        keys_to_leave_out(raw("recipe=cot"), words, [])


@pytest.mark.parametrize("name", ["mistake_sources", "path_sources"])
def test_a_typo_inside_a_source_fails_with_the_nearest_key(name: str) -> None:
    with pytest.raises(UserError) as error:
        composed("recipe=correction", f"recipe.{name}=[{{kind: target}},{{kind: target, smaples: 2}}]")
    assert str(error.value).startswith(f"unknown key 'recipe.{name}[1].smaples'. Nearest: ")
    assert str(error.value).endswith(".samples")


def test_what_the_user_names_is_no_unknown_key() -> None:
    words = ["eval=sei", "eval.sets.in_domain=[gsm8k]", "eval.sets.far=[svamp]", "+eval.paths.svamp=."]
    config = composed(*words, "teacher=gpt-4o", "teacher.limits.diagnose.max_tokens=900")
    assert config.eval.sets == {
        "in_domain": ["gsm8k"],
        "out_of_domain": ["college_math", "gaokao", "sat_math"],
        "far": ["svamp"],
    }
    assert config.eval.paths == {"svamp": "."}
    with pytest.raises(UserError, match=r"unknown key 'eval.set'. Nearest: eval\.sets"):
        composed("eval.set.near=[gsm8k]")


def test_an_unknown_added_key_fails_and_the_words_of_hydra_pass() -> None:
    with pytest.raises(UserError, match=r"unknown key 'typo'. Nearest: "):
        prepare(["+typo=1", "recipe=sei", "-m", "seed=0,1", "hydra.run.dir=x"])
    words = ["recipe=sei,cot", "-m", "seed=0,1", "hydra.run.dir=x", "recipe.training.rank=4", "~eval.paths"]
    assert prepare(words) == [*words[:4], "++recipe.training.rank=4", "~eval.paths"]
    completion = ["-sc", "query=bash"]
    assert prepare(completion) == completion


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("data.path=runs/a=b", "data.path='runs/a=b'"),
        ("data.path=a#b", "data.path='a#b'"),
        ("data.path=/tmp/ü [x]", "data.path='/tmp/ü [x]'"),
        ("data.path=it's", r"data.path='it\'s'"),
        ("data.path=中文", "data.path='中文'"),
        ("logger.project=a&b", "logger.project='a&b'"),
        ("data.path=~/x", f"data.path='{Path.home() / 'x'}'"),
    ],
)
def test_a_value_that_hydra_cannot_read_is_named_with_the_quoting_that_works(word: str, quoted: str) -> None:
    with pytest.raises(UserError) as error:
        prepare([word])
    key, _, value = word.partition("=")
    assert str(error.value).startswith(f"{key}: the value {value!r} ")
    assert str(error.value).endswith(f'"{quoted}"')
    assert "\n" not in str(error.value)
    group, name = key.split(".")
    composed_value = raw("data=gsm8k", quoted)[group][name]
    assert composed_value == (value if value[0] != "~" else str(Path.home() / "x"))


def test_a_fault_inside_a_list_is_not_quoted_away() -> None:
    with pytest.raises(UserError, match=r"recipe.mistake_sources: the value '\[\{kind: target\}' cannot be read"):
        prepare(["recipe.mistake_sources=[{kind: target}"])


def test_the_cache_goes_where_it_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _cache_folder() == str(tmp_path / "home" / ".cache" / "sei")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert _cache_folder() == str(tmp_path / ".cache" / "sei")
    monkeypatch.setenv("SEI_CACHE", "named")
    assert _cache_folder() == "named"


def test_a_group_that_is_taken_away_is_missed() -> None:
    with pytest.raises(UserError, match="clustering: the group is missing"):
        composed("~clustering")


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(UserError) as error:
        composed("recipe.selection.keep=2", "recipe.rounds=0", "clustering.min_types=0")
    for part in ("recipe.selection.keep=2", "recipe.rounds=0", "clustering.min_types=0"):
        assert part in str(error.value)
    with pytest.raises(UserError) as error:
        composed("engine=recorded", "data=gsm8k", "data.path=/nowhere")
    for part in ("engine.path=FILE", "data.path=/nowhere", "trainer=none"):
        assert part in str(error.value)


POINTLESS = [
    ("recipe=sei", "ablation=without_explanation"),
    ("recipe=sei", "ablation=step_dpo"),
    ("recipe=sei", "recipe.evolution.strategy=general"),
    ("recipe=cot", "recipe.selection.keep=0.5"),
    ("recipe=cot", "recipe.rounds=2"),
    ("recipe=cot", "ablation=no_corrections"),
    ("recipe=self_instruct", "ablation=templates_cot"),
    ("recipe=correction", "ablation=hsft_only"),
    ("recipe=correction", "recipe.synthesis.budget=9"),
    ("recipe=supercorrect", "ablation=corrected_paths"),
    ("recipe=supercorrect", "recipe.replay=0.2"),
]


@pytest.mark.parametrize("overrides", POINTLESS)
def test_what_a_recipe_has_no_use_for_is_refused_like_a_typo(overrides: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"unknown key 'recipe\."):
        composed(*overrides)


@pytest.mark.parametrize("choice", ["clustering=agglomerative", "clustering.max_types=5", "teacher=gpt-4o"])
def test_a_group_that_a_recipe_does_not_work_with_is_refused(choice: str) -> None:
    with pytest.raises(UserError, match=f"{choice}: recipe=cot makes no use of"):
        keys_to_leave_out(raw("recipe=cot", choice), ["recipe=cot", choice], [])


def test_in_a_sweep_a_recipe_leaves_out_what_another_has_a_use_for() -> None:
    overrides = ["recipe=cot", "++recipe.selection.keep=0.5", "clustering=agglomerative", "recipe.training.rank=4"]
    left_out = keys_to_leave_out(raw(*overrides), overrides, ["cot", "sei"])
    assert left_out == ("recipe.selection", "clustering")
    assert without(overrides, left_out) == ["recipe=cot", "recipe.training.rank=4"]
    assert build(raw(*overrides), left_out=left_out).recipe.training.rank == 4  # type: ignore[attr-defined]
    ablated = ["recipe=cot", "ablation=without_explanation"]
    left_out = keys_to_leave_out(raw(*ablated), ablated, ["cot", "correction"])
    assert without(ablated, left_out) == ["recipe=cot"]
    with pytest.raises(UserError, match=r"recipe\.selectoin"):  # in no recipe of the sweep
        build(raw("recipe=cot", "recipe.selectoin.keep=1"), left_out=left_out)


def test_recipe_classes_are_found_by_option() -> None:
    assert {recipe_class(option).__name__ for option in options("recipe")} >= {"ChainOfThought", "SuperCorrect"}


@pytest.mark.parametrize(
    "override",
    ["recipe.replay=1", "data.test=0", "eval.limit=0", "data.train=0", "trainer.devices=abc", "trainer.precision=foo"],
)
def test_values_that_would_fail_late_are_refused_at_once(override: str) -> None:
    with pytest.raises(UserError, match=override.split("=")[0]):
        composed(override)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("recipe.training.tokens=5", "recipe.training.steps=6"), "recipe.training.steps=6: give one of them"),
        (
            ("recipe=supercorrect", "recipe.preference.tokens=5", "recipe.preference.steps=6"),
            "recipe.preference.steps=6: give one of them",
        ),
        (("recipe.rounds=3", "recipe.training.tokens=2"), "recipe.training.tokens=2 is for all rounds"),
        (("recipe.training.keep_every=0",), "recipe.training.keep_every=0: must be at least 1"),
        (("recipe.training.learning_rate=0",), "recipe.training.learning_rate=0: must be above 0"),
        (("recipe.replay=1.5",), "recipe.replay=1.5: must be between 0 and 1"),
        (("recipe.rounds=two",), "recipe.rounds=two: "),
        (("recipe=sei", "eval.passes=2"), "recipe=supercorrect"),
        (("eval.passes=3",), "eval.passes=3: choose one of 1, 2"),
        (("recipe=correction", "recipe.mistake_sources=[]"), "name at least one source"),
        (
            ("recipe=correction", "recipe.mistake_sources=[{kind: targt}]"),
            "recipe.mistake_sources[0].kind=targt: choose one of",
        ),
        (("recipe=correction", "recipe.mistake_sources=[{kind: targt}]"), "Nearest: target"),
        (
            ("recipe=cot", "recipe.path_sources=[{kind: target},{kind: target, samples: 2}]"),
            "recipe.path_sources[1].samples=2 at temperature 0",
        ),
        (("recipe=correction", "recipe.path_sources=[{kind: hf}]"), "recipe.path_sources[0]: kind=hf needs a path"),
        (
            ("recipe=correction", "recipe.path_sources=[{kind: recorded, path: /nowhere.jsonl}]"),
            "path=/nowhere.jsonl: no such file",
        ),
        (("recipe=correction", "recipe.path_sources=[{kind: api}]"), "recipe.path_sources[0].model: name the model"),
        (("recipe=correction", "recipe.max_source_share=0"), "recipe.max_source_share=0: must be above 0"),
        (
            ("recipe=correction", "recipe.evolution.rouge_threshold=0"),
            "recipe.evolution.rouge_threshold=0: must be above 0",
        ),
        (("eval.samples=3",), "set a temperature"),
        (("data=gsm8k", "eval.sets={a: [gsm8k]}", "eval.paths={gsm8k: .}"), "give data.path=FOLDER instead"),
    ],
)
def test_what_would_fail_or_mean_nothing_is_refused_with_the_reason(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError) as error:
        composed(*overrides)
    assert said in str(error.value)


@pytest.mark.parametrize("ablation", options("ablation"))
def test_every_ablation_is_valid_with_a_recipe_that_it_is_of(ablation: str) -> None:
    changed = []
    for recipe in options("recipe"):
        try:
            config = composed(f"recipe={recipe}", f"ablation={ablation}")
        except UserError:
            continue
        changed.append(config != composed(f"recipe={recipe}"))
    assert changed
    assert all(changed) or ablation == "none", "it changes something"


def test_a_price_can_be_overridden_and_a_key_is_never_repeated() -> None:
    config = composed("teacher=gpt-4o", "teacher.price.input=1", "teacher.price.output=2")
    assert config.teacher.settings.price is not None  # type: ignore[attr-defined]
    for secret in ("teacher.api_key_env=sk-12345-x", "teacher.base_url=http://me:12345@host/v1"):
        with pytest.raises(UserError) as error:
            prepare(["teacher=local", secret])
        assert "12345" not in str(error.value), "and before Hydra writes its overrides to disk"


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"recipe.training.schedule=cosin: .*Nearest: cosine"):
        composed("recipe.training.schedule=cosin")


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
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert out.returncode == 2
    for part in ("llama2-70b", "GiB of GPU memory", "HF_TOKEN", "python train.py model=tiny recipe=sei"):
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
        composed(*overrides)


def test_paths_make_up_for_answers_without_solutions() -> None:
    composed("recipe=cot", "data=csqa", "recipe.path_sources=[{kind: target, samples: 2, temperature: 0.7}]")
    composed("eval.select=paper", "recipe.training.keep_every=10")


def test_what_a_recipe_is_made_of_is_not_put_out_by_its_classs_defaults() -> None:
    lema = composed("model=llama2-13b", "recipe=correction", "data=gsm8k").recipe
    assert (lema.training.rank, lema.training.steps, lema.training.batch_examples, lema.style) == (64, 2000, 96, "lema")
    sei = composed("model=llama2-13b", "recipe=sei", "data=gsm8k").recipe
    assert (sei.training.epochs, sei.training.dropout, sei.training.warmup) == (3, 0.1, 0.03)


def test_a_budget_of_tokens_takes_back_one_of_steps() -> None:
    for model in ("tiny", "llama2-13b"):
        training = composed(
            f"model={model}", "data=gsm8k", "recipe=correction", "recipe.training.tokens=1000"
        ).recipe.training
        assert (training.tokens, training.steps) == (1000, None)
        training = composed(
            f"model={model}", "data=gsm8k", "recipe=correction", "recipe.training.steps=10"
        ).recipe.training
        assert (training.tokens, training.steps) == (None, 10)
    with pytest.raises(UserError, match="give one of them"):
        composed("recipe=correction", "recipe.training.steps=10", "recipe.training.tokens=10")


@pytest.mark.parametrize("words", [["recipe.training.tokens=9", "seed=1"], ["recipe.training.tokens=null"]])
def test_the_budget_taken_back_is_not_said_of_a_command_line(words: list[str]) -> None:
    prepared = prepare(words)
    assert prepared[-1] == "++recipe.training.steps=null"
    assert without(prepared, []) == words, "the next command to try, and the nearest that runs"
    assert without(["recipe.training.steps=null"], []) == ["recipe.training.steps=null"]


def test_a_paper_s_evaluation_sets_and_data_without_a_set_of_their_name_are_refused_with_the_remedy() -> None:
    words = ("model=llama2-7b", "recipe=cot", "data=arithmetic")
    with pytest.raises(
        UserError, match=r"data=arithmetic are called in_domain, out_of_domain: add eval=default, which"
    ):
        composed(*words)
    assert composed(*words, "eval=default").eval.sets == {}
    near = composed(*words, "eval=default", "eval.sets.far=[out_of_domain,svamp]").eval.sets
    assert near == {"far": ["out_of_domain", "svamp"]}


def test_an_experiment_s_settings_for_its_own_recipes_stand_when_others_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`experiment=embedded_scarcity recipe=rft`: the experiment sets `recipe.selection`, which rft does not have."""
    from train import recipes_of_sweep

    job = OmegaConf.create({"mode": RunMode.MULTIRUN, "sweeper": {"params": {"recipe": "cot,sei,supercorrect"}}})
    monkeypatch.setattr("sys.argv", ["train.py", "experiment=embedded_scarcity", "recipe=rft, critique"])
    assert recipes_of_sweep(job) == ["rft", "critique", "cot", "sei", "supercorrect"]
    words = ["experiment=embedded_scarcity", "recipe=rft"]
    left_out = keys_to_leave_out(raw(*words), words, recipes_of_sweep(job))
    assert left_out == ("recipe.selection", "recipe.templates", "recipe.preference")
    monkeypatch.setattr("sys.argv", ["train.py", "experiment=embedded_scarcity"])
    assert recipes_of_sweep(job) == ["cot", "sei", "supercorrect"]
