"""What a run's page says first: accuracy, what the run cost, the flow of records, loss, and how it was configured.

Place in the flow: `page.run` puts these beside types and texts. Shares are in [0, 1]. Example::

    headline(run)["sets"][0]["fixed"]          # test items of the first set that were wrong before and are right after
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sei.compose import default_choices, options_alone
from sei.config import CHOSEN, FIXED
from sei.errors import UserError
from sei.ledger import RUN_FILE, read_ledger
from sei.tracking.page.folder import Json, RunFolder

_SAMPLES = 5  # rejected records shown for each reason
_MOST_TEXT = 4000  # characters of such a text
_MOST_POINTS = 1500  # of a loss curve
_NO_CHOICE = (None, "none", "null", "None")
# What does not make a run another one, or is said elsewhere on the page.
_LEFT_OUT = ("hydra", "cache_dir", "dry_run", "expected")


def headline(run: RunFolder) -> Json:
    """Accuracy of each test set, validation, tokens, seconds and dollars; None for what the run does not have."""
    results = run.results
    nothing = dict.fromkeys(("fixed", "broken", "p"))
    sets = [
        {"name": name, "before": entry["before"], "after": entry["after"]}
        | {key: (entry["change"] or nothing)[key] for key in nothing}
        for name, entry in results.get("eval", {}).items()
    ]
    return {
        "sets": sets,
        "second": results.get("second_pass", {}),
        "validation": results.get("validation"),
        "tokens": results.get("tokens_trained"),
        "seconds": math.fsum(stage.manifest["seconds"] for stage in run.stages),
        "dollars": _dollars(run),
    }


def scale(figures: Sequence[Mapping[str, Any]]) -> Json:
    """The part of [0, 1] in which all these accuracies and their intervals lie, in steps of 5 points."""
    ends = [row[end] for row in figures for end in ("low", "high", "accuracy") if row.get(end) is not None]
    low, high = (math.floor(20 * min(ends)) / 20, math.ceil(20 * max(ends)) / 20) if ends else (0.0, 1.0)
    return {"low": low, "high": high if high > low else low + 0.05}


def _dollars(run: RunFolder) -> Json | None:
    """What the teacher's answers cost, whoever paid for them, and what this run paid. None without an API teacher."""
    if not (run.path / RUN_FILE).is_file():
        return None
    try:
        total = read_ledger(run.path).total
    except UserError:  # its store was moved or deleted
        return {"used": None}
    return {"used": total.used_usd, "paid": total.paid_usd, "calls": total.calls}


def flow(run: RunFolder) -> list[Json]:
    """Every stage: what came in, went on and was rejected, with some of the rejected texts."""
    cached = set(run.results.get("cached", ()))
    return [
        {
            "name": stage.published,
            **{key: stage.manifest[key] for key in ("received", "passed", "records", "rejected", "seconds")},
            "cached": stage.published in cached,
            "samples": _samples(stage.rejected(), stage.manifest["rejected"]),
        }
        for stage in run.stages
    ]


def _samples(rejected: Iterator[Json], counts: Mapping[str, int]) -> list[Json]:
    """The first few of each reason that have a text to show."""
    missing = {reason: min(_SAMPLES, count) for reason, count in counts.items()}
    found = []
    for row in rejected:
        if not any(missing.values()):
            break
        reason = row["reason"]
        if missing.get(reason, 0) == 0:
            continue
        missing[reason] -= 1
        if row["detail"] or row["raw"]:
            cut = {key: row[key][:_MOST_TEXT] for key in ("detail", "raw")}
            found.append({"reason": reason, "source": row["source_id"], **cut})
    return found


def curves(run: RunFolder) -> list[Json]:
    """The loss of every training of the run, thinned where it is long: `every` is how many steps one value stands for."""
    found = []
    for stage in run.stages:
        loss = stage.manifest["numbers"].get("loss_curve")
        if loss:
            every = math.ceil(len(loss) / _MOST_POINTS)
            means = [math.fsum(part) / len(part) for part in (loss[i : i + every] for i in range(0, len(loss), every))]
            found.append({"name": stage.published, "round": stage.round, "every": every, "loss": means})
    return found


def configuration(run: RunFolder) -> Json:
    """How to run it again, and in what it differs from the defaults: options of groups, and keys."""
    choices = {str(name): option for name, option in run.hydra.get("runtime", {}).get("choices", {}).items()}
    words = ["python", "train.py", *run.overrides]
    return {
        "command": shlex.join(words),
        "overrides": run.overrides,
        "options": _options(choices),
        "keys": _keys(run, choices),
        "commit": run.results.get("commit"),
        "versions": run.results.get("versions", {}),
        "precision": run.results.get("precision", {}),
        "composed": run.config,
    }


def _options(choices: Mapping[str, Any]) -> list[Json]:
    """Every group of the configuration with its option, and the default one."""
    defaults = default_choices()
    shown = {name: option for name, option in choices.items() if name in defaults}
    return [
        {"group": name, "value": option or "none", "default": defaults[name] or "none", "same": same}
        for name, option in shown.items()
        for same in [option == defaults[name] or {option, defaults[name]} <= set(_NO_CHOICE)]
    ]


def _keys(run: RunFolder, choices: Mapping[str, Any]) -> list[Json] | None:
    """The keys whose value is not that of the chosen options. None where these are not known.

    What an experiment or an ablation changes is a difference too.
    """
    groups = {name: str(option) for name, option in choices.items() if name in (*FIXED, *CHOSEN) and option}
    if not groups or not run.composed:
        return None
    try:
        default = dict(_leaves(options_alone(groups)))
    except UserError:  # an option of the user's own, whose folder is not here
        return None
    now = dict(_leaves(run.composed))
    return [
        {"key": key, "value": _text(now.get(key)), "default": _text(default.get(key))}
        for key in dict.fromkeys([*default, *now])
        if key.split(".")[0] not in _LEFT_OUT and (key in now) and now[key] != default.get(key)
    ]


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return str(value)
