"""What a job is called on a page that shows many: variant, name, group and tags.

Place in the flow: configuration and `Origin` -> **labels** -> the W&B run. `variant` is what distinguishes a job from others
but for its seed, in one flat text: what runs are grouped and coloured by. Example::

    labels(config, ["recipe=cot", "seed=1", "data.train=160"], Origin()).variant      # cot, data.train=160
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sei.config import MOST_TAG, Config, Origin, where_and_how

_MOST_NAME = 128  # characters of a name or a group that W&B shows


@dataclass(frozen=True)
class Labels:
    """Texts, none of them empty but `group`, which is None outside a sweep and an experiment."""

    variant: str
    ablation: str
    experiment: str
    name: str
    group: str | None
    job_type: str
    artifacts: str  # what the names of its artifacts begin with
    tags: list[str]


def labels(config: Config, overrides: Sequence[str], origin: Origin) -> Labels:
    """How the job is called where the user does not say otherwise."""
    variant = _variant(config, overrides, origin)
    given = [config.recipe.name, config.model.name, config.data.name]
    given += [one for one in (origin.ablation, origin.experiment) if one != "none"]
    return Labels(
        variant=variant,
        ablation=origin.ablation,
        experiment=origin.experiment,
        name=f"{variant}, seed {config.seed}"[:_MOST_NAME],
        group=origin.group and origin.group[:_MOST_NAME],
        job_type=config.recipe.name,
        artifacts=re.sub(r"[^A-Za-z0-9_-]+", "-", f"{config.model.name}-{config.data.name}"),
        tags=list(dict.fromkeys(tag[:MOST_TAG] for tag in [*given, *config.logger.tags] if tag)),
    )


def plain_key(name: str) -> str:
    """A part of a metric's name: W&B reads a dot as a level of nesting, and a slash as a section, which globs reach into."""
    return re.sub(r"[./]+", "_", name)


def _variant(config: Config, overrides: Sequence[str], origin: Origin) -> str:
    """Recipe, ablation and, in a sweep, the settings that differ in it; outside one, all that were given."""
    parts = [config.recipe.name, *([origin.ablation] if origin.ablation != "none" else [])]
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key in ("recipe", "seed", "ablation", "experiment") or where_and_how(key):
            continue
        if origin.swept is None or key in origin.swept:
            parts.append(f"{key}={value}")
    return ", ".join(parts)
