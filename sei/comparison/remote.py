"""The runs of a W&B group, read through W&B's public interface: `wandb:ENTITY/PROJECT/GROUP`.

Place in the flow: W&B -> **remote** -> groups. Figures come from a run's summary, the answers to each test item from its
`evaluation` artifact, which an online run uploads unless `logger.upload=none`. Example::

    runs = group_runs("wandb:team/sei/recipe-3f2a90c1", Path(temporary_folder))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sei.comparison.runs import Run, answered, settings_of
from sei.errors import UserError
from sei.records import Outcome
from sei.run_files import read_checked, understood

PREFIX = "wandb:"
_FILES = ("outcomes_before.jsonl", "outcomes.jsonl")


def group_runs(place: str, folder: Path) -> list[Run]:
    """The runs of the group `wandb:ENTITY/PROJECT/GROUP`, whose files are downloaded below `folder`.

    Raises UserError where W&B does not answer, and for a group without runs.
    """
    entity, project, group = parted(place)
    try:
        import wandb

        found = list(wandb.Api().runs(f"{entity}/{project}", filters={"group": group}))
    except Exception as error:
        raise UserError(
            f"{place}: W&B did not list the runs ({_brief(error)}). Log in with `wandb login`, or name local folders."
        ) from error
    if not found:
        raise UserError(
            f"{place}: no run of {entity}/{project} is in this group. A sweep's group stands on its W&B page."
        )
    return [_read_run(run, place, folder / run.id) for run in found]


def parted(place: str) -> tuple[str, str, str]:
    """Entity, project and group. Raises UserError where one is missing."""
    entity, _, rest = place.removeprefix(PREFIX).partition("/")
    project, _, group = rest.partition("/")
    if not (entity and project and group):
        raise UserError(f"{place}: give {PREFIX}ENTITY/PROJECT/GROUP, as in the address of the group's page.")
    return entity, project, group


def _read_run(run: Any, place: str, folder: Path) -> Run:
    name = f"{place.rpartition('/')[0]}/{run.id}"
    summary, config = dict(run.summary), dict(run.config)
    with understood(Path(name)):
        recipe, seed = str(config["recipe"]["name"]), int(config["seed"])
        settings = settings_of([str(word) for word in config["overrides"]])
    if run.state != "finished":
        return Run(name, recipe, seed, {}, str(summary.get("error") or f"its state in W&B is {run.state}"))
    files = _download(run, name, folder)
    if isinstance(files, str):
        return Run(name, recipe, seed, {}, files)
    before, after = (read_checked(files / one, Outcome) if (files / one).is_file() else [] for one in _FILES)
    return Run(
        name,
        recipe,
        seed,
        settings,
        tokens=int(summary.get("tokens_trained") or 0),
        seconds=_known(summary, "seconds/total"),
        dollars=_known(summary, "usd/used"),
        model=str((config.get("model") or {}).get("name", "")),
        config={key: value for key, value in config.items() if key not in _LABELS},
        finished=float(summary.get("_timestamp") or 0.0),
        **answered(before, after, {}),  # the names of error types are in no file of this artifact
    )


_LABELS = ("overrides", "variant", "ablation", "experiment")  # what the tracker puts to the configuration


def _download(run: Any, name: str, folder: Path) -> Path | str:
    """The folder with the run's outcomes, or why there are none."""
    try:
        found = [one for one in run.logged_artifacts() if one.type == "evaluation"]
        if not found:
            return "it uploaded no outcomes (logger.upload=none)"
        return Path(found[-1].download(root=str(folder)))
    except Exception as error:
        raise UserError(
            f"{name}: W&B did not give its outcomes ({_brief(error)}). Try again, or name local folders."
        ) from error


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _known(summary: Mapping[str, Any], key: str) -> float | None:
    value = summary.get(key)
    return None if value is None else float(value)
