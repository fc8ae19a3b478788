"""Which planted rules the training of a run mended, where it went too far, and which recipe mends more.

Place in the flow: `python -m sei.planted` measures the test items of all runs here. Example::

    repair([RunFolder(path) for path in Path("multirun/embedded_misconceptions").glob("*-seed*")])["rules"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sei.data.arithmetic.misconceptions import RULES, wrong_ways
from sei.errors import UserError
from sei.records import Outcome, Problem, Verdict
from sei.run_files import read_checked, read_object, understood
from sei.statistics import holm, paired_bootstrap, wilson_interval
from sei.tracking.page.folder import RunFolder

_REPAIRED = 0.5  # of the rate before: the interval after must end below it
_BASELINE = "cot"

When = Literal["before", "after"]


@dataclass(frozen=True)
class Item:
    """One test item of one run, with what each rule makes of it."""

    key: tuple[str, str]  # evaluation set, problem
    seed: int
    rules: Mapping[str, bool]  # rules that make sense here -> planted here
    shown: Mapping[When, frozenset[str]]  # the rules whose answer was given
    right: Mapping[When, bool]


@dataclass
class Repair:
    """One rule under one recipe: counts of all seeds."""

    recipe: str
    rule: str
    items: int = 0  # of the families and wordings it was planted in
    shown: dict[When, int] = field(default_factory=lambda: {"before": 0, "after": 0})
    right: dict[When, int] = field(default_factory=lambda: {"before": 0, "after": 0})
    elsewhere: int = 0  # items on which it makes sense and was not planted
    shown_elsewhere: dict[When, int] = field(default_factory=lambda: {"before": 0, "after": 0})

    @property
    def repaired(self) -> bool:
        before = self.shown["before"] / self.items if self.items else 0.0
        return before > 0 and wilson_interval(self.shown["after"], self.items).high < _REPAIRED * before


def items_of(run: RunFolder) -> list[Item]:
    """The test items of a run before and after training."""
    problems = {problem.id: problem for problem in read_checked(run.path / "test_problems.jsonl", Problem)}
    sides = {
        when: {(row.eval_set, row.problem_id): row for row in read_checked(run.path / name, Outcome)}
        for when, name in (("before", "outcomes_before.jsonl"), ("after", "outcomes.jsonl"))
    }
    with understood(run.path / "results.json"):
        seed = int(run.results["seed"])
    items = []
    for key in sides["before"].keys() & sides["after"].keys():
        ways = wrong_ways(problems[key[1]])
        rows: dict[When, Outcome] = {"before": sides["before"][key], "after": sides["after"][key]}
        shown = {
            when: frozenset(way.rule.name for way in ways if way.is_shown_by(row.output)) for when, row in rows.items()
        }
        right = {when: row.verdict is Verdict.CORRECT for when, row in rows.items()}
        items.append(Item(key, seed, {way.rule.name: way.planted for way in ways}, shown, right))
    return sorted(items, key=lambda item: item.key)


def repairs(recipe: str, items: Sequence[Item]) -> list[Repair]:
    """What became of each rule."""
    found = {rule.name: Repair(recipe, rule.name) for rule in RULES}
    for item in items:
        for name, here in item.rules.items():
            row = found[name]
            row.items += here
            row.elsewhere += not here
            for when, shown in item.shown.items():
                (row.shown if here else row.shown_elsewhere)[when] += name in shown
                row.right[when] += here and item.right[when]
    return list(found.values())


def unharmed(items: Sequence[Item]) -> dict[When, tuple[int, int]]:
    """Right answers among the items for which no rule was planted."""
    free = [item for item in items if not any(item.rules.values())]
    return {when: (sum(item.right[when] for item in free), len(free)) for when in ("before", "after")}


def against_baseline(items_by_recipe: Mapping[str, Sequence[Item]]) -> list[dict[str, Any]]:
    """Each recipe's planted answers after training against those of the baseline: same items, same seeds; p after Holm."""
    grids = {recipe: _grid(items) for recipe, items in items_by_recipe.items()}
    base = grids.get(_BASELINE, {})
    rows = []
    for recipe, grid in grids.items():
        seeds = sorted(grid.keys() & base.keys())
        if recipe == _BASELINE or not seeds:
            continue
        keys = sorted(set.intersection(*(set(one[seed]) for one in (grid, base) for seed in seeds)))
        first, second = ([[float(one[seed][key]) for key in keys] for seed in seeds] for one in (base, grid))
        effect = paired_bootstrap(first, second)
        rows.append({"recipe": recipe, "seeds": len(seeds), "items": len(keys), **effect._asdict()})
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def _grid(items: Sequence[Item]) -> dict[int, dict[tuple[str, str], bool]]:
    """By seed and item: whether the answer of the rule planted there was given after training."""
    found: dict[int, dict[tuple[str, str], bool]] = {}
    for item in items:
        here = {name for name, is_planted in item.rules.items() if is_planted}
        if here:
            found.setdefault(item.seed, {})[item.key] = bool(here & item.shown["after"])
    return found


def repair(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """All figures of repair, by recipe. Raises UserError where two runs have the same recipe and seed."""
    items: dict[str, list[Item]] = {}
    tokens: dict[str, list[int]] = {}
    seen: dict[tuple[str, int], Path] = {}
    for run in runs:
        results = read_object(run.path / "results.json")
        with understood(run.path / "results.json"):
            recipe, trained = str(results["recipe"]), int(results["tokens_trained"])
            first = seen.setdefault((recipe, int(results["seed"])), run.path)
        if first != run.path:
            raise UserError(
                f"{first} and {run.path}: both are recipe={recipe} with seed={results['seed']}, and something else differs. Runs "
                "are put together by recipe and seed alone: give each group of runs in a call of its own"
            )
        items.setdefault(recipe, []).extend(items_of(run))
        tokens.setdefault(recipe, []).append(trained)
    return {
        "tokens": tokens,
        "rules": [
            {**asdict(row), "repaired": row.repaired} for name, own in items.items() for row in repairs(name, own)
        ],
        "elsewhere": {name: unharmed(own) for name, own in items.items()},
        "against_cot": against_baseline(items),
    }
