"""The figures that runs are compared by: the same keys whatever the recipe.

Place in the flow: what `results.json` holds -> **summary** -> the W&B run. A key that a run has no value for is None, so a
panel over many runs (parallel coordinates, a scatter plot) works for all of them. Shares are in [0, 1]. Example::

    summary(figures, artifacts, {"used_usd": 1.2, "paid_usd": 0.0})["in_domain/change"]      # 0.021
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sei import stages
from sei.stage import Stage
from sei.tracking.names import plain_key
from sei.workspace import Artifact


def summary(
    figures: Mapping[str, Any], artifacts: Sequence[Artifact[Any]], spent: Mapping[str, float]
) -> dict[str, Any]:
    """Validation, accuracy before and after on each set and on average, what it took, and what it ran on."""
    changes = [entry["change"] for entry in figures["eval"].values() if entry["change"]]
    fixed, broken = (sum(change[kind] for change in changes) for kind in ("fixed", "broken"))
    values = {f"validation/{name}": value for name, value in _shares(figures["validation"], "accuracy").items()}
    for name, entry in figures["eval"].items():
        values |= {f"{plain_key(name)}/{figure}": value for figure, value in _of_set(entry).items()}
    values |= {f"mean/{figure}": value for figure, value in _of_all(figures["averages"].get("all")).items()}
    return values | {
        "fixed": fixed if changes else None,
        "broken": broken if changes else None,
        "rounds": max((int(a.stage.partition(".round")[2] or 1) for a in artifacts), default=1),
        "error_types": len(figures["error_types"]),
        "tokens_trained": figures["tokens_trained"],
        **{f"seconds/{stage}": value for stage, value in _seconds(artifacts).items()},
        "usd/used": spent.get("used_usd", 0.0),
        "usd/paid": spent.get("paid_usd", 0.0),
        "usd/per_fixed": spent.get("used_usd", 0.0) / (fixed - broken) if fixed > broken else None,
        "commit": figures["commit"],
        "device": figures["device"],
    }


def _of_set(entry: Mapping[str, Any]) -> dict[str, Any]:
    before, after, change = entry["before"], entry["after"], entry["change"]
    values = {"n": before["n"], "before": before["accuracy"]}
    values |= {f"after{end}": value for end, value in _ends(_shares(after, "accuracy")).items()}
    values |= {f"change{end}": value for end, value in _ends(_shares(change, "mean")).items()}
    values |= {kind: change and change[kind] for kind in ("fixed", "broken", "p")}
    for kind in ("pass_at", "majority_at"):
        for k in before.get(kind, {"1": None}):  # one sample: both are the accuracy
            values[f"{kind}_{k}"] = after and (after[kind][k]["mean"] if kind in after else after["accuracy"])
    return values


def _of_all(average: Mapping[str, Any] | None) -> dict[str, Any]:
    """The mean over all sets, of equal weight."""
    found = {when: side["macro"]["accuracy"] for when in ("before", "after") if (side := (average or {}).get(when))}
    change = found["after"] - found["before"] if len(found) == 2 else None
    return {"before": found.get("before"), "after": found.get("after"), "change": change}


def _shares(figures: Mapping[str, Any] | None, name: str) -> dict[str, float | None]:
    """A share with the ends of its interval."""
    return {key: figures[key] if figures else None for key in (name, "low", "high")}


def _ends(shares: Mapping[str, float | None]) -> dict[str, float | None]:
    """The same by what follows a name: nothing, `_low`, `_high`."""
    return dict(zip(("", "_low", "_high"), shares.values(), strict=True))


def _seconds(artifacts: Sequence[Artifact[Any]]) -> dict[str, float]:
    """What each stage took over all rounds and sets, when it was computed; 0 for those that this run has no use for."""
    seconds = Counter(dict.fromkeys(_all_stages(), 0.0))
    for artifact in artifacts:
        seconds[artifact.manifest["stage"]] += artifact.manifest["seconds"]
    return {**seconds, "total": sum(seconds.values())}


@functools.cache
def _all_stages() -> tuple[str, ...]:
    """The verbs of `sei.stages`."""
    modules = [
        importlib.import_module(f"{stages.__name__}.{one.name}") for one in pkgutil.iter_modules(stages.__path__)
    ]
    found = {value.folder for module in modules for value in vars(module).values() if isinstance(value, Stage)}
    return tuple(sorted(found))
