"""Which runs belong together: the seeds of one method, the runs that answered the same items, the groups that are tested.

Place in the flow: runs -> **groups** -> figures. A group's label is its recipe and each setting that is not the same in all runs.
Example::

    groups = grouped(runs, left_out=[], remarks=[])        # {"cot": [...], "sei, recipe.rounds=3": [...]}
    tested(groups, None)                                   # [("cot", "sei, recipe.rounds=3")]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sei.comparison.runs import Run, where_and_how
from sei.errors import UserError

BASELINE = "cot"  # the recipe that others are tested against where nobody says otherwise

Groups = dict[str, list[Run]]


def of_same_items(runs: Sequence[Run], left_out: list[str], remarks: list[str]) -> list[Run]:
    """The runs with evaluation sets such that those of one name have the same items.

    A set that runs answered different items of becomes several, named by their sizes; but not where each seed has items of
    its own, which all its runs answered. An item that a run answered only
    before or only after training is left out of that run.
    """
    runs = [_answered_twice(run, left_out) for run in runs]
    choices: dict[str, dict[frozenset[str], list[Run]]] = {}
    for run in runs:
        for name, scores in run.before.items():
            choices.setdefault(name, {}).setdefault(frozenset(scores), []).append(run)
    names: dict[tuple[str, frozenset[str]], str] = {}
    for name, found in choices.items():
        if len(found) == 1 or _by_seed(found.values()):
            continue
        sizes = [len(items) for items in found]
        for number, items in enumerate(found, start=1):
            alike = sizes.count(len(items)) > 1
            names[name, items] = f"{name} ({len(items):,} items{f', choice {number}' if alike else ''})"
        said = ", ".join(f"{len(items):,} items in {_count(len(own), 'run')}" for items, own in found.items())
        remarks.append(f"{name}: {len(found)} different choices of items ({said}), each of them compared by itself")
    return [_renamed(run, names) for run in runs] if names else runs


def _by_seed(choices: Iterable[Sequence[Run]]) -> bool:
    """Whether the choices of items go by seed (`data.seed=${seed}`), several runs each: then seeds are compared within."""
    seeds = [{run.seed for run in runs} for runs in choices]
    return len(set().union(*seeds)) == sum(map(len, seeds))


def _answered_twice(run: Run, left_out: list[str]) -> Run:
    """The run without the items that it answered only before or only after training."""
    sides = {"before": dict(run.before), "after": dict(run.after)}
    for name in run.before.keys() & run.after.keys():
        both = run.before[name].keys() & run.after[name].keys()
        if lone := len((run.before[name].keys() | run.after[name].keys()) - both):
            left_out.append(
                f"{_count(lone, 'item')} of {name} in {run.name}, answered only before or only after training"
            )
            for side in sides.values():
                side[name] = {item: score for item, score in side[name].items() if item in both}
    return dataclasses.replace(run, **sides)  # type: ignore[arg-type]


def _renamed(run: Run, names: Mapping[tuple[str, frozenset[str]], str]) -> Run:
    new = {name: names.get((name, frozenset(scores)), name) for name, scores in run.before.items()}
    return dataclasses.replace(
        run,
        before={new[name]: scores for name, scores in run.before.items()},
        after={new.get(name, name): scores for name, scores in run.after.items()},
        items={new.get(name, name): items for name, items in run.items.items()},
        shares={(new.get(name, name), what): share for (name, what), share in run.shares.items()},
        named={shown: name for name, shown in new.items()},
    )


def grouped(runs: Sequence[Run], left_out: list[str], remarks: list[str]) -> Groups:
    """Runs by label, by seed within a label.

    Of several runs with the same label and seed the latest counts. A remark names runs that share a label although their
    configurations differ (a file in `conf/` was edited between them).
    """
    own = {run.name: _own_settings(run, runs) for run in runs}
    keys = sorted({key for settings in own.values() for key in settings})
    differing = [key for key in keys if len({settings.get(key) for settings in own.values()}) > 1]
    latest: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: run.finished):
        settings = own[run.name]
        label = ", ".join([run.recipe, *(f"{key}={settings[key]}" for key in differing if key in settings)])
        if (label, run.seed) in latest:
            left_out.append(f"{latest[label, run.seed].name}, as {run.name} is the same job, run later")
        latest[label, run.seed] = run
    groups: Groups = {}
    for (label, _), run in sorted(latest.items(), key=lambda item: item[0]):
        groups.setdefault(label, []).append(run)
    remarks += _unsaid(groups)
    return groups


def _unsaid(groups: Groups) -> Iterator[str]:
    for label, group in groups.items():
        first, *others = [dict(_leaves(run.config)) for run in group if run.config] or [{}]
        unsaid = sorted(
            {key for other in others for key in first.keys() | other.keys() if first.get(key) != other.get(key)}
        )
        if unsaid:
            yield f"{label}: its runs differ in {', '.join(unsaid[:5])}, although no override of theirs sets it"


def _own_settings(run: Run, runs: Sequence[Run]) -> dict[str, str]:
    """The overrides of `run`, without those that another run of the same recipe has by default."""
    plain = [other for other in runs if other.recipe == run.recipe]

    def is_default(key: str) -> bool:
        value = run.composed(key)
        return value is not None and any(key not in other.settings and other.composed(key) == value for other in plain)

    return {key: value for key, value in run.settings.items() if not is_default(key)}


def _leaves(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key and value of a configuration that decides what is run, except the seed."""
    for name, value in config.items():
        key = f"{above}{name}"
        if key == "seed" or where_and_how(key):
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def with_baseline_first(groups: Groups, baseline: str | None) -> Groups:
    """The groups, the one that others are tested against in front. Raises UserError for a `baseline` that is no group."""
    if baseline is not None and baseline not in groups:
        raise UserError(f"--baseline {baseline!r}: no such group. Choose one of: {'; '.join(groups)}")
    if not groups:
        return groups
    plain = sorted(groups, key=lambda label: label.count(", "))  # of equally many settings the first stays the first
    usual = [label for label in plain if groups[label][0].recipe == BASELINE]
    first = baseline or (usual or plain)[0]
    return {first: groups[first], **groups}


def tested(groups: Groups, baseline: str | None) -> list[tuple[str, str]]:
    """The pairs of groups that are tested, each with the one it is tested against in front.

    That is `baseline` where it is given; else the baseline recipe with the same settings, such as the same model, where there
    is one, and the first group where there is none.
    """
    if not groups:
        return []
    first, *others = groups
    recipe = groups[first][0].recipe
    pairs = []
    for label in others:
        twin = ", ".join([recipe, *label.split(", ")[1:]])
        pairs.append((twin if baseline is None and twin in groups and twin != label else first, label))
    return pairs


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
