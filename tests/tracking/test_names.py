"""What a job is called: variant, group and tags."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from sei.compose import origin, register
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


def test_a_sweep_is_called_after_its_keys_and_keeps_its_name_when_a_seed_is_added() -> None:
    register()
    name = group("-m", "recipe=cot,sei", "seed=0", "++data.train=160")
    assert name is not None
    assert name.startswith("recipe-")
    assert name == group("seed=0,1,2", "-m", "++data.train=160", "recipe=cot,sei", "logger=wandb", "hydra.sweep.dir=x")
    assert name != group("-m", "recipe=cot,sei", "seed=0", "++data.train=320")
    assert str(group("-m", "recipe=cot,sei", "++recipe.training.rank=4,8")).startswith("recipe-recipe.training.rank-")
    assert group("-m", "seed=0,1") == "seeds"
    assert group() == "sweep-1234", "a job that was sent elsewhere does not know the command line"


def test_an_experiment_gives_its_name() -> None:
    register()
    params = {"recipe": "cot,sei", "seed": "0,1"}
    assert group("experiment=embedded_recipes", params=params, experiment="embedded_recipes") == "embedded_recipes"
    more = group("experiment=embedded_recipes", "++data.train=10", params=params, experiment="embedded_recipes")
    assert str(more).startswith("embedded_recipes-")
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
