"""The figures of a comparison, as the rows of `compare.csv`.

Place in the flow: groups -> **rows** -> tables, figure, page. Paired tests are a bootstrap over items and seeds, with Holm's
adjustment over all of a comparison, and McNemar's within each pair of equal seeds. Example::

    comparison = compare(find_runs([Path("multirun/sweep-1a2b3c4d")]), "correction, recipe.rounds=3")
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sei.comparison.groups import Groups, grouped, of_same_items, tested, with_baseline_first
from sei.comparison.runs import Run, Scores
from sei.comparison.transitions import Transition, transitions
from sei.errors import UserError
from sei.statistics import (
    Interval,
    holm,
    mcnemar,
    mean_interval,
    nested_bootstrap,
    odds_ratio,
    paired_bootstrap,
    shares_interval,
)

Kind = Literal["accuracy", "share", "paired", "mcnemar", "transition", "failed"]


@dataclass(frozen=True)
class Row:
    """One line of `compare.csv`; columns that its kind does not use are empty. Accuracies and differences are in [0, 1].

    accuracy: one group on one evaluation set. `after` with its interval `low`, `high` is Student's over seeds, cut at 0 and
    1, or over items (after Wilson) where there is one seed. `tokens_trained`, `seconds` and `dollars` are a run's, mean
    over seeds. `paper` is the paper's figure for `after`, and `remark` cites it.
    share: something else measured for one group, named in `remark`: its second pass, the checks of its mistakes.
    paired: `difference` is `recipe` minus `against`, bootstrap interval and p, and `p_holm`, adjusted for all tests of the
    comparison. `odds_ratio` is that of the discordant pairs; `only_recipe` and `only_against` count items (over all seeds)
    that only one of them got right, if items have one sample.
    mcnemar: the same two groups for one seed, if items have one sample.
    transition: what training changed about the items of `part`, of what `by` says (all, level, family, error type).
    """

    kind: Kind
    eval_set: str = ""
    recipe: str = ""
    against: str = ""
    seeds: str = ""  # the seeds, separated by spaces
    items: int | None = None
    before: float | None = None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    difference: float | None = None
    only_recipe: int | None = None
    only_against: int | None = None
    odds_ratio: float | None = None
    odds_low: float | None = None
    odds_high: float | None = None
    tokens_trained: float | None = None
    seconds: float | None = None
    dollars: float | None = None
    paper: float | None = None
    by: str = ""
    part: str = ""
    fixed: int | None = None
    broken: int | None = None
    still_wrong: int | None = None
    still_right: int | None = None
    fixed_share: float | None = None
    fixed_low: float | None = None
    fixed_high: float | None = None
    broken_share: float | None = None
    broken_low: float | None = None
    broken_high: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Comparison:
    """Groups of runs by label, the baseline first, the figures about them, and remarks that a reader needs to know."""

    groups: Groups
    rows: list[Row]
    remarks: list[str]

    def of_kind(self, kind: Kind) -> list[Row]:
        """The rows of one kind."""
        return [row for row in self.rows if row.kind == kind]


def compare(runs: Sequence[Run], baseline: str | None = None, *, tests: bool = True) -> Comparison:
    """Accuracies, transitions and paired tests against `baseline` (a group's label), the recipe cot where it is None.

    `tests=False` leaves the paired tests out. Raises UserError for a baseline that is not a group.
    """
    remarks: list[str] = []
    failed = [run for run in runs if run.error]
    left_out = [f"{len(failed)} run{'s' if len(failed) > 1 else ''} without results"] if failed else []
    done = of_same_items([run for run in runs if not run.error], left_out, remarks)
    groups = with_baseline_first(grouped(done, left_out, remarks), baseline)
    rows = [*_accuracy_rows(groups), *_share_rows(groups)]
    rows += _paired_rows(groups, tested(groups, baseline), left_out) if tests else []
    rows += _transition_rows(groups)
    rows += [Row("failed", recipe=run.recipe, seeds=str(run.seed), remark=str(run.error)) for run in failed]
    remarks += _remarks(groups, rows)
    if left_out:
        remarks.append(f"left out: {'; '.join(left_out)}")
    return Comparison(groups, rows, remarks)


def by_set(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each evaluation set."""
    for eval_set in dict.fromkeys(row.eval_set for row in rows):
        yield eval_set, [row for row in rows if row.eval_set == eval_set]


def with_size(eval_set: str, row: Row) -> str:
    """The set's name with the number of its items, which the name of one of several choices says already."""
    return eval_set if " items" in eval_set else f"{eval_set} ({row.items:,} items)"


def accuracy(scores: Scores) -> float:
    """The mean score of the items."""
    return mean(list(scores.values()))


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return math.fsum(values) / len(values)


def _mean_known(values: Sequence[float | None]) -> float | None:
    """The mean, None where a value is not known."""
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None


def _accuracy_rows(groups: Groups) -> Iterator[Row]:
    for eval_set in _sets(groups):
        for label, group in groups.items():
            runs = [run for run in group if eval_set in run.before]
            if not runs:
                continue
            before = mean([accuracy(run.before[eval_set]) for run in runs])
            after = [run.after[eval_set] for run in runs if eval_set in run.after]
            paper, source = _paper(runs[0], eval_set)
            interval: Interval | None = None
            if len(after) == 1:
                interval = shares_interval([list(after[0].values())])
            elif after:
                interval = mean_interval(list(map(accuracy, after)), least=0.0, most=1.0)
            yield Row(
                "accuracy",
                eval_set,
                label,
                seeds=_seeds(runs),
                items=len(runs[0].before[eval_set]),
                before=before,
                after=interval and interval.mean,
                low=interval and interval.low,
                high=interval and interval.high,
                difference=interval and interval.mean - before,
                tokens_trained=mean([run.tokens for run in runs]),
                seconds=_mean_known([run.seconds for run in runs]),
                dollars=_mean_known([run.dollars for run in runs]),
                paper=paper,
                remark=source if interval else "not trained",
            )


def _share_rows(groups: Groups) -> Iterator[Row]:
    for label, group in groups.items():
        for eval_set, what in dict.fromkeys(key for run in group for key in run.shares):
            runs = [run for run in group if (eval_set, what) in run.shares]
            interval = mean_interval([run.shares[eval_set, what] for run in runs], least=0.0, most=1.0)
            paper = _paper(runs[0], eval_set, second_pass=True)[0] if what == "second pass" else None
            yield Row(
                "share",
                eval_set,
                label,
                seeds=_seeds(runs),
                after=interval.mean,
                low=interval.low,
                high=interval.high,
                paper=paper,
                remark=what,
            )


def _paired_rows(groups: Groups, pairs: Sequence[tuple[str, str]], left_out: list[str]) -> list[Row]:
    """The tests, with the p-values of all of them adjusted together."""
    rows: list[Row] = []
    for eval_set in _sets(groups):
        for against, recipe in pairs:
            rows += _tests(eval_set, recipe, groups[recipe], against, groups[against])
    for against, recipe in pairs:
        if not any((row.recipe, row.against) == (recipe, against) for row in rows):
            left_out.append(f"{recipe} against {against}, which have no trained runs of the same seed and items")
    places = [place for place, row in enumerate(rows) if row.kind == "paired"]
    for place, adjusted in zip(places, holm([rows[place].p or 0.0 for place in places]), strict=True):
        rows[place] = dataclasses.replace(rows[place], p_holm=adjusted)
    return rows


def _tests(eval_set: str, recipe: str, own: Sequence[Run], against: str, other: Sequence[Run]) -> list[Row]:
    """The paired test of two groups over all their common seeds, and McNemar's of each."""
    first, second = ({run.seed: run.after[eval_set] for run in runs if eval_set in run.after} for runs in (other, own))
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return []
    left, right = ([[side[seed][item] for item in sorted(first[seed])] for seed in seeds] for side in (first, second))
    shared = all(first[seed].keys() == first[seeds[0]].keys() for seed in seeds)
    effect = paired_bootstrap(left, right) if shared else nested_bootstrap(list(zip(left, right, strict=True)))
    named = Row("paired", eval_set, recipe, against, items=len(left[0]))
    single = all(value in (0, 1) for side in (left, right) for values in side for value in values)
    tests = [mcnemar([v == 1 for v in a], [v == 1 for v in b]) for a, b in zip(left, right, strict=True) if single]
    paired = dataclasses.replace(
        named,
        seeds=" ".join(map(str, seeds)),
        low=effect.low,
        high=effect.high,
        p=effect.p,
        difference=effect.difference,
        only_recipe=sum(test.only_second for test in tests) if single else None,
        only_against=sum(test.only_first for test in tests) if single else None,
        odds_ratio=effect.odds.mean if single else None,
        odds_low=effect.odds.low if single else None,
        odds_high=effect.odds.high if single else None,
        remark="one seed: bootstrap over items only"
        if len(seeds) == 1
        else f"bootstrap over {'items and seeds' if shared else 'seeds and the items of each'}",
    )
    return [paired] + [
        dataclasses.replace(
            named,
            kind="mcnemar",
            seeds=str(seed),
            p=test.p,
            difference=(test.only_second - test.only_first) / len(left[0]),
            only_recipe=test.only_second,
            only_against=test.only_first,
            odds_ratio=odds_ratio(test.only_first, test.only_second),
        )
        for seed, test in zip(seeds if single else (), tests, strict=True)
    ]


def _transition_rows(groups: Groups) -> Iterator[Row]:
    for eval_set in _sets(groups):
        for label, group in groups.items():
            trained = [run for run in group if run.items.get(eval_set)]
            for found in transitions(trained, eval_set):
                yield _transition_row(eval_set, label, trained, found)


def _transition_row(eval_set: str, label: str, runs: Sequence[Run], found: Transition) -> Row:
    ends: dict[str, Any] = {}
    for name, share in (("fixed", found.fixed_share), ("broken", found.broken_share)):
        if share is not None:
            ends |= {f"{name}_share": share.mean, f"{name}_low": share.low, f"{name}_high": share.high}
    return Row(
        "transition",
        eval_set,
        label,
        seeds=_seeds(runs),
        by=found.by,
        part=found.part,
        fixed=found.fixed,
        broken=found.broken,
        still_wrong=found.still_wrong,
        still_right=found.still_right,
        **ends,
    )


def _remarks(groups: Groups, rows: Sequence[Row]) -> Iterator[str]:
    """Remarks on what limits the conclusions."""
    seeds = {run.seed for group in groups.values() for run in group}
    for label, group in groups.items():
        if missing := sorted(seeds - {run.seed for run in group}):
            yield f"{label} has no finished run of seed {', '.join(map(str, missing))}: tests with it use the common seeds only"
        if len(group) == 1:
            yield f"{label} has one seed: its interval is over items and says nothing about other seeds"
    paired = [row for row in rows if row.kind == "paired"]
    if any(len(row.seeds.split()) == 1 for row in paired):
        yield "tests with one common seed resample items only and say nothing about other seeds"
    tokens = [run.tokens for group in groups.values() for run in group if run.after]
    if tokens and max(tokens) > 1.02 * min(tokens):
        yield f"budgets differ: {min(tokens):,} to {max(tokens):,} training tokens; the recipes are not compared at equal cost"


def _paper(run: Run, eval_set: str, second_pass: bool = False) -> tuple[float | None, str]:
    """The paper's accuracy for this job in [0, 1] and its source, from the run's `expected`.

    An entry has model, recipe, set, accuracy (percent) and source. It is about the unchanged method;
    one about an ablation names the ablation (`ablation: without_step`), one about models trained on certain data names the
    data (`data: gsm8k`). Raises UserError for an entry that lacks a key it is matched by.
    """
    data = (run.composed("data") or {}).get("kind")
    name = run.named.get(eval_set, eval_set)
    for entry in run.composed("expected") or ():
        if not isinstance(entry, Mapping) or not {"model", "recipe", "set", "accuracy"} <= entry.keys():
            raise UserError(
                f"{run.name}/config.yaml: expected has {entry!r}; an entry needs model, recipe, set, accuracy"
            )
        about = (entry["model"], entry["recipe"], entry["set"], entry.get("ablation"), entry.get("second_pass", False))
        same = about == (run.model, run.recipe, name, run.settings.get("ablation"), second_pass)
        if same and entry.get("data", data) == data:
            return entry["accuracy"] / 100, f"paper: {entry.get('source', 'source not given')}"
    return None, ""


def _seeds(runs: Sequence[Run]) -> str:
    return " ".join(str(run.seed) for run in runs)


def _sets(groups: Groups) -> list[str]:
    return list(dict.fromkeys(eval_set for group in groups.values() for run in group for eval_set in run.before))
