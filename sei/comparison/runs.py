"""What a comparison needs of each run: its scores by test item, what it took, and how it was configured.

Place in the flow: run folders -> **runs** -> groups. A run that failed or is not finished is here too, with the reason. Example::

    run = find_runs([Path("multirun/sweep-1a2b3c4d")])[0]
    run.after["in_domain"]["problem-3f2a90c1b7de"]          # 1.0: the item is right after training
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sei.config import where_and_how
from sei.errors import UserError
from sei.ledger import used_dollars
from sei.records import Outcome, change
from sei.run_files import read_checked, read_object, understood
from sei.stages.evaluate import score

# Overrides that do not make two runs different experiments: these, which are compared over, and WHERE_AND_HOW.
_COMPARED_OVER = ("recipe", "seed")

Scores = Mapping[str, float]  # problem id -> share of its samples that are right: 0 or 1 where there is one


class Item(NamedTuple):
    """What training changed about one test item, by its first answers. `types` are names, "" where there is none."""

    change: str  # fixed | broken | still wrong | still right
    family: str
    level: int
    types: tuple[str, str]  # of the mistake before, and after


@dataclass(frozen=True)
class Run:
    """One run. `before` and `after` hold scores by evaluation set; both are empty unless the run is done."""

    name: str  # its folder, or its place in W&B
    recipe: str
    seed: int
    settings: dict[str, str]  # overrides that may set it apart
    error: str | None = None  # why it has no results; None where it is done
    tokens: int = 0
    seconds: float | None = None  # of all its stages, when they were computed
    dollars: float | None = None  # that its teacher's answers cost, whoever paid them; None where it is not known
    before: Mapping[str, Scores] = field(default_factory=dict)
    after: Mapping[str, Scores] = field(default_factory=dict)
    items: Mapping[str, Mapping[str, Item]] = field(default_factory=dict)  # by set, where it was trained
    shares: Mapping[tuple[str, str], float] = field(default_factory=dict)  # (evaluation set, what) -> share in [0, 1]
    model: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)  # composed, as config.yaml has it
    finished: float = 0.0  # when, to know the later one of two
    named: Mapping[str, str] = field(default_factory=dict)  # evaluation sets by the name they have in a comparison

    def composed(self, key: str) -> Any:
        """The value or group at `key` of the composed configuration, None where it has none."""
        found: Any = self.config
        for name in key.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """Every run folder at or below `paths`, by folder name. Raises UserError where there is none."""
    folders: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            raise UserError(
                f"{path}: no such folder. Give a run folder, or a sweep's folder such as multirun/sweep-..."
            )
        for name in ("results.json", "status.json"):
            folders |= {file.parent for file in path.rglob(name)}
    if not folders:
        raise UserError(
            f"{', '.join(map(str, paths))}: no run folders below (none holds results.json or status.json). "
            "Run a sweep first: python train.py -m recipe=cot,sei seed=0,1,2"
        )
    return [_read_run(folder) for folder in sorted(folders)]


def _read_run(folder: Path) -> Run:
    status = read_object(folder / "status.json") if (folder / "status.json").exists() else {"status": "done"}
    composed = _composed(folder)
    if status.get("status") != "done" or not (folder / "results.json").exists():
        error = str(status.get("error", "did not finish: killed, or still running"))
        recipe = str((composed.get("recipe") or {}).get("name", folder.name))
        return Run(str(folder), recipe, composed.get("seed", 0), {}, error)
    results = read_object(folder / "results.json")
    before = read_checked(folder / "outcomes_before.jsonl", Outcome)
    after = read_checked(folder / "outcomes.jsonl", Outcome)
    with understood(folder / "results.json"):
        types = {str(row["id"]): str(row["name"]) for row in results.get("error_types", ())}
        return Run(
            str(folder),
            str(results["recipe"]),
            int(results["seed"]),
            settings_of(results["overrides"]),
            tokens=int(results["tokens_trained"]),
            seconds=math.fsum(results["seconds"].values()) if "seconds" in results else None,
            dollars=used_dollars(folder),
            shares=_shares(results),
            model=str(results["model"]),
            config=composed,
            finished=(folder / "results.json").stat().st_mtime,
            **answered(before, after, types),
        )


def settings_of(overrides: Sequence[str]) -> dict[str, str]:
    """The overrides that may set a run apart from others, by key."""
    given = dict(override.lstrip("+~").split("=", 1) for override in overrides if "=" in override)
    return {
        key: value
        for key, value in given.items()
        if key not in _COMPARED_OVER and not where_and_how(key) and not _nothing_chosen(key, value)
    }


def answered(before: Sequence[Outcome], after: Sequence[Outcome], types: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a Run that say how items were answered: `before`, `after`, `items`. `types`: names of error types."""
    sides = [_by_set(before), _by_set(after)]
    items: dict[str, dict[str, Item]] = {}
    for name, rows in sides[1].items():
        earlier = sides[0].get(name, {})
        items[name] = {
            identity: Item(
                change(earlier[identity].verdict, later.verdict),
                later.family,
                later.level,
                (types.get(earlier[identity].error_type, ""), types.get(later.error_type, "")),
            )
            for identity, later in rows.items()
            if identity in earlier
        }
    scores = [{name: {key: score(row) for key, row in rows.items()} for name, rows in side.items()} for side in sides]
    return {"before": scores[0], "after": scores[1], "items": items}


def _composed(folder: Path) -> dict[str, Any]:
    """The composed configuration, {} if the run has none. Of a run that failed nothing else is left."""
    for path in (folder / "config.yaml", folder / ".hydra" / "config.yaml"):
        if path.exists():
            composed = read_object(path)
            with understood(path):
                dict(composed.get("recipe") or {}), int(composed.get("seed", 0)), dict(composed.get("data") or {})
                list(composed.get("expected") or ())
            return composed
    return {}


def _nothing_chosen(key: str, value: str) -> bool:
    """Whether an override such as `experiment=null` or `ablation=none` chooses nothing from its group."""
    return ("." not in key and value.strip("'\"") == "null") or (key, value) == ("ablation", "none")


def _by_set(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Outcome]]:
    sets: dict[str, dict[str, Outcome]] = {}
    for row in outcomes:
        sets.setdefault(row.eval_set, {})[row.problem_id] = row
    return sets


def _shares(results: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """What `results.json` contains besides accuracies: the second pass, and the checks of the student's mistakes."""
    shares: dict[tuple[str, str], float] = {}
    for name, row in results.get("second_pass", {}).items():
        shares[name, "second pass"] = row["second"]["accuracy"]
        shares[name, "right to wrong"] = row["right_to_wrong"] / row["n"]
        shares[name, "wrong to right"] = row["wrong_to_right"] / row["n"]
    located = results.get("located", {})
    if located:
        last = list(located.values())[-1]  # the trained target's; the untrained student's comes before it
        shares[last["set"], "step found"] = last["located"]["mean"]
        shares[last["set"], "corrected"] = last["corrected"]["mean"]
    return shares
