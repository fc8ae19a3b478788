"""Does what a recipe aims at shrink more than the rest? `python -m sei.aimed FOLDER`.

Place in the flow: after a sweep over `recipe.synthesis.aim=odd,even` (experiment=embedded_aim). Two runs of one seed find the
same error types; one makes new problems for the odd ones by size, the other for the even ones. So each test mistake of one of
these types is in one run a mistake that was aimed at and in the other one that was not: the same item, the same budget, and the
difference is what aiming does. Beside it what training breaks, in families that have rows and in those that have none.

Example::

    python train.py experiment=embedded_aim
    python -m sei.aimed multirun/embedded_aim
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from sei.errors import UserError
from sei.recipes.self_error_instruct import aimed_at
from sei.records import ErrorType, Example, Mistake, Outcome, Problem, Synthetic, Verdict
from sei.run_files import read_checked, understood
from sei.stages.cluster import cluster
from sei.stages.finetune import finetune
from sei.stages.mine import mine
from sei.stages.synthesize import synthesize
from sei.statistics import Interval, nested_bootstrap, paired_bootstrap, wilson_interval
from sei.terminal import Terminal
from sei.tracking.display import print_table
from sei.tracking.page.folder import RunFolder

AIMS = ("odd", "even")


@dataclass(frozen=True)
class Item:
    """One test mistake, under both runs of a seed. `fixed`: whether it is right after training."""

    seed: int
    eval_set: str
    problem: str
    fixed_aimed: bool  # in the run that aimed at its type
    fixed_other: bool  # in the run that did not


@dataclass(frozen=True)
class Forgetting:
    """Items that were right before training, by whether their family has training rows; counts of all runs."""

    rows: bool
    items: int
    broken: int


@dataclass(frozen=True)
class Effect:
    """Shares of mistakes that were fixed, and their difference with the interval of a bootstrap over seeds and items."""

    items: int
    seeds: int
    aimed: float
    other: float
    difference: float
    low: float
    high: float
    p: float


def pairs_of(runs: Sequence[RunFolder]) -> Iterator[tuple[int, RunFolder, RunFolder]]:
    """(seed, the run aimed at odd types, the one at even types). Raises UserError where a run or its twin is not one of these."""
    found: dict[tuple[int, str], RunFolder] = {}
    for run in runs:
        with understood(run.path / "results.json"):
            seed = int(run.results["seed"])
        aim = (run.part("recipe").get("synthesis") or {}).get("aim")
        if aim not in AIMS:
            raise UserError(
                f"{run.path}: recipe.synthesis.aim={aim}. Two runs of each seed are compared here, one with odd and one with "
                "even: python train.py experiment=embedded_aim"
            )
        if (seed, aim) in found:
            raise UserError(
                f"{found[seed, aim].path} and {run.path}: both have seed={seed} and recipe.synthesis.aim={aim}. Give the runs "
                "of one setting at a time"
            )
        found[seed, aim] = run
    for seed in sorted({seed for seed, _ in found}):
        missing = [aim for aim in AIMS if (seed, aim) not in found]
        if missing:
            raise UserError(
                f"seed {seed}: no finished run with recipe.synthesis.aim={missing[0]}, so nothing to compare with"
            )
        yield seed, found[seed, "odd"], found[seed, "even"]


def items_of(seed: int, odd: RunFolder, even: RunFolder) -> list[Item]:
    """The test mistakes of both runs that are of an error type."""
    types = [kind for stage in odd.made_by(cluster) for kind in read_checked(stage.path / "records.jsonl", ErrorType)]
    others = [kind for stage in even.made_by(cluster) for kind in read_checked(stage.path / "records.jsonl", ErrorType)]
    if [kind.id for kind in types] != [kind.id for kind in others]:
        raise UserError(
            f"{odd.path} and {even.path}: their error types are not the same, so their mistakes cannot be matched"
        )
    aimed = {kind.id for kind in aimed_at(types, "odd")}
    before = {(row.eval_set, row.problem_id): row for row in read_checked(odd.path / "outcomes_before.jsonl", Outcome)}
    after = {
        name: {
            (row.eval_set, row.problem_id): row.verdict for row in read_checked(run.path / "outcomes.jsonl", Outcome)
        }
        for name, run in (("odd", odd), ("even", even))
    }
    items = []
    for key, row in sorted(before.items()):
        if row.error_type and key in after["odd"] and key in after["even"]:
            own, other = AIMS if row.error_type in aimed else reversed(AIMS)
            fixed = {name: after[name][key] is Verdict.CORRECT for name in AIMS}
            items.append(Item(seed, *key, fixed[own], fixed[other]))
    return items


def effect(items: Sequence[Item]) -> Effect:
    """What aiming does to the share of mistakes that are fixed.

    Seeds that have the same mistakes are drawn together with them, others each with its own (`statistics`).
    """
    by_seed: dict[int, list[Item]] = {}
    for item in items:
        by_seed.setdefault(item.seed, []).append(item)
    if not by_seed:
        raise UserError(
            "No test mistake has an error type: run with eval.diagnose=true, so that test mistakes are diagnosed"
        )
    pairs = [([one.fixed_other for one in own], [one.fixed_aimed for one in own]) for own in by_seed.values()]
    same = len({tuple((one.eval_set, one.problem) for one in own) for own in by_seed.values()}) == 1
    found = paired_bootstrap(*zip(*pairs, strict=True)) if same else nested_bootstrap(pairs)
    aimed, other = (
        sum(values) / len(items) for values in zip(*((one.fixed_aimed, one.fixed_other) for one in items), strict=True)
    )
    return Effect(len(items), len(by_seed), aimed, other, found.difference, found.low, found.high, found.p)


def forgetting(runs: Sequence[RunFolder]) -> list[Forgetting]:
    """Of the test items that were right: how many training broke, in families with training rows and without."""
    counts = {True: [0, 0], False: [0, 0]}
    for run in runs:
        families = families_with_rows(run)
        before = {
            (row.eval_set, row.problem_id): row for row in read_checked(run.path / "outcomes_before.jsonl", Outcome)
        }
        for row in read_checked(run.path / "outcomes.jsonl", Outcome):
            earlier = before.get((row.eval_set, row.problem_id))
            if earlier is not None and earlier.verdict is Verdict.CORRECT:
                counted = counts[row.family in families]
                counted[0] += 1
                counted[1] += row.verdict is not Verdict.CORRECT
    return [Forgetting(rows, items, broken) for rows, (items, broken) in counts.items() if items]


def families_with_rows(run: RunFolder) -> set[str]:
    """The families of the problems behind the training rows: a new problem has that of the mistake it was made from."""
    family: dict[str, str] = {}
    for stage in run.stages:
        if stage.name == "problems":
            family |= {one.id: one.family for one in read_checked(stage.path / "records.jsonl", Problem)}
    for stage in run.made_by(mine):
        family |= {one.id: one.family for one in read_checked(stage.path / "records.jsonl", Mistake)}
    for stage in run.made_by(synthesize):
        for made in read_checked(stage.path / "records.jsonl", Synthetic):
            family[made.id] = next((family[parent] for parent in made.parents if family.get(parent)), "")
    rows = [row for stage in run.made_by(finetune) for row in read_checked(stage.path / "records.jsonl", Example)]
    return {family[parent] for row in rows for parent in row.parents[:1] if family.get(parent)}


def figures_of(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """All figures, by evaluation set and over all of them."""
    pairs = list(pairs_of(runs))
    items = [item for pair in pairs for item in items_of(*pair)]
    sets = sorted({item.eval_set for item in items})
    parts = {"all sets": items, **{name: [item for item in items if item.eval_set == name] for name in sets}}
    return {
        "aiming": {name: asdict(effect(own)) for name, own in parts.items()},
        "forgetting": [asdict(one) for one in forgetting(runs)],
    }


def show(figures: Mapping[str, Any], console: Terminal) -> None:
    """The tables for a person."""
    table = Table(title="Test mistakes that training fixed, %: aimed at their type, and aimed at other types")
    for name in ("test set", "mistakes", "seeds", "aimed at", "not aimed at", "difference, points", "p"):
        table.add_column(name, justify="left" if name == "test set" else "right")
    for name, row in figures["aiming"].items():
        found = f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        shares = [f"{100 * row[side]:.1f}" for side in ("aimed", "other")]
        table.add_row(name, f"{row['items']:,}", str(row["seeds"]), *shares, found, f"{row['p']:.4f}")
    print_table(console, table)
    table = Table(title="Right answers that training broke, % [95 %], by whether the family has training rows")
    for name in ("family", "right before", "broken"):
        table.add_column(name, justify="left" if name == "family" else "right")
    for row in figures["forgetting"]:
        share: Interval = wilson_interval(row["broken"], row["items"])
        found = f"{100 * share.mean:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
        table.add_row("has rows" if row["rows"] else "has none", f"{row['items']:,}", found)
    print_table(console, table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m sei.aimed", description="Does what a recipe aims at shrink more?")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="run folders, or folders that hold them")
    paths: list[Path] = parser.parse_args(arguments).paths
    found = [RunFolder(file.parent) for path in paths for file in sorted(path.rglob("status.json"))]
    runs = [run for run in found if run.done]
    try:
        if not runs:
            raise UserError(
                f"{', '.join(map(str, paths))}: no finished run here or below. Give the folder that a sweep names, such as "
                "multirun/embedded_aim"
            )
        figures = figures_of(runs)
        (paths[0] / "aimed.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {paths[0]}: cannot write aimed.json ({error.strerror}). Give a writable first path.")
    console = Terminal()
    show(figures, console)
    console.print(f"wrote aimed.json to {paths[0]}")


if __name__ == "__main__":
    main()
