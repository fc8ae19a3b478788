"""What a job is called: variant, group and tags."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sei.commands import Command
from sei.compose import _sweep_name, origin, prepare, register
from sei.config import Origin
from sei.errors import UserError
from sei.tracking.names import labels
from tests.test_config import composed


def job(*task: str, params: dict[str, str] | None = None, **choices: str) -> Any:
    """Hydra's own configuration of a job, as far as it is looked at."""
    return OmegaConf.create(
        {
            "overrides": {"task": list(task)},
            "runtime": {"choices": {"ablation": "none", "experiment": None, **choices}},
            "sweeper": {"params": params},
            "sweep": {"dir": "multirun/sweep-1234"},
        }
    )


def group(*arguments: str, **more: Any) -> str | None:
    return origin(job(**more), arguments, (), multirun=True).group


def name(*arguments: str) -> str:
    """What the sweep of a command line is called by itself."""
    return _sweep_name(prepare(arguments))


def test_a_sweep_keeps_its_name_when_a_value_or_a_seed_is_added() -> None:
    register()
    found = name("-m", "recipe=cot,sei", "seed=0", "data.train=160")
    assert re.fullmatch(r"sweep-recipe-[0-9a-f]{8}", found)
    assert found == name(
        "seed=0,1,2", "-m", "data.train=160", "recipe=cot,correction,sei", "logger=wandb", "cache_dir=/x"
    )
    assert found == name("-m", "recipe=cot,sei", "data.train=160", "hydra.verbose=true")
    assert found != name("-m", "recipe=cot,sei", "seed=0", "data.train=320")
    assert name("-m", "recipe=cot,sei", "recipe.training.rank=4,8") == "sweep-recipe-recipe.training.rank"
    assert name("-m", "seed=0,1") == "sweep-seeds"


def test_a_sweep_may_be_named_and_the_group_is_called_as_its_folder() -> None:
    register()
    assert prepare(["-m", "recipe=cot,sei", "sweep=mine"]) == ["-m", "recipe=cot,sei", "hydra.sweep.dir=multirun/mine"]
    experiment = "experiment=embedded_recipes"
    assert prepare([experiment, "sweep=mine"])[-1] == "hydra.sweep.dir=multirun/mine"
    assert "hydra.sweep.dir=multirun/rehearsal-mine" in prepare([experiment, "sweep=mine", "scale=rehearsal"])
    assert group("-m", "recipe=cot,sei") == "sweep-1234"
    with pytest.raises(UserError, match="names a sweep, and this is a single run: add -m"):
        prepare(["recipe=cot", "sweep=mine"])
    with pytest.raises(UserError, match="give a name of letters"):
        prepare(["-m", "recipe=cot,sei", "sweep=../elsewhere"])
    with pytest.raises(UserError, match=r"hydra\.sweep\.dir=x names another folder"):
        prepare(["-m", "recipe=cot,sei", "sweep=mine", "hydra.sweep.dir=x"])
    with pytest.raises(UserError, match=r"unknown key 'sweeps'\. Nearest: sweep"):
        prepare(["-m", "sweeps=mine"])


def test_what_a_sweep_varies_does_not_depend_on_which_command_added_a_job(tmp_path: Path) -> None:
    register()
    Command(["python", "train.py"], ".", None, ["data.train", "recipe"]).write(tmp_path)
    one = job()
    one.sweep.dir = str(tmp_path)
    assert origin(one, ["-m", "recipe=cot", "++data.train=160"], (), multirun=True).swept == {"data.train", "recipe"}


def test_an_experiment_gives_its_name() -> None:
    register()
    params = {"recipe": "cot,sei", "seed": "0,1"}

    def named(*arguments: str, folder: str = "multirun/embedded_recipes") -> str | None:
        one = job(params=params, experiment="embedded_recipes")
        one.sweep.dir = folder
        return origin(one, arguments, (), multirun=True).group

    assert (
        named("experiment=embedded_recipes")
        == named("experiment=embedded_recipes", "recipe=cot,sei")
        == "embedded_recipes"
    )
    assert str(named("experiment=embedded_recipes", "++data.train=10")).startswith("embedded_recipes-")
    assert named("experiment=embedded_recipes", folder="multirun/mine") == "mine"
    alone = origin(job(experiment="x"), ["experiment=x"], (), multirun=False)
    assert (alone.group, alone.swept) == ("x", None)


def variant(*overrides: str, **more: Any) -> str:
    config = composed(*(word for word in overrides if not word.startswith("experiment")))
    return labels(config, overrides, Origin(**more)).variant


def test_a_variant_is_flat_never_empty_and_without_what_does_not_matter() -> None:
    assert variant() == "sei"
    assert variant("recipe=cot", "seed=3", "logger=none", "cache_dir=/x", "logger.tags=[a]") == "cot"
    assert variant("recipe=cot", "data.train=160") == "cot, data.train=160"
    swept = frozenset({"recipe", "recipe.training.rank"})
    given = ("recipe=cot", "data.train=160", "recipe.training.rank=4")
    assert variant(*given, swept=swept) == "cot, recipe.training.rank=4", "what all jobs have is left out"
    assert variant("recipe=correction", ablation="without_step") == "correction, without_step"


def test_tags_are_short_and_distinct() -> None:
    config = composed("recipe=cot", "logger.tags=[mine,cot]")
    found = labels(config, [], Origin(ablation="a" * 70, experiment="e"))
    assert found.tags == ["cot", "tiny", "arithmetic", "a" * 64, "e", "mine"]
    with pytest.raises(UserError, match="has 65 characters; W&B takes tags of 1 to 64"):
        composed(f"logger.tags=[{'x' * 65}]")
