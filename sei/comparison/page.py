"""What the page of a sweep shows of a comparison.

Place in the flow: rows -> **page** -> `tracking.page.sweep`, which lays it out. Example::

    update_page(Path("multirun/sweep-1a2b3c4d"))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sei.comparison.rows import Comparison, Row, accuracy, by_set, compare
from sei.comparison.runs import Run, find_runs
from sei.errors import UserError
from sei.tracking.page.sweep import write_sweep_page


def update_page(sweep: Path) -> Path:
    """The sweep's page when one of its jobs has ended: without paired tests, which take seconds each. Returns its path."""

    def figures() -> dict[str, Any]:
        runs = find_runs([sweep])
        try:
            return for_page(runs, compare(runs, tests=False))
        except UserError as error:  # runs that cannot be compared are listed all the same
            return for_page(runs, Comparison({}, [], [str(error)]))

    return write_sweep_page(sweep, figures)


def for_page(runs: Sequence[Run], comparison: Comparison) -> dict[str, Any]:
    """What the sweep's page shows: see `tracking.page.sweep`. `runs` are all that were found, failed ones too."""
    label_of = {run.name: label for label, group in comparison.groups.items() for run in group}

    def figure(row: Row, **more: Any) -> dict[str, Any]:
        low, high = (None if end is None or math.isnan(end) else end for end in (row.low, row.high))
        return {"label": row.recipe, "accuracy": row.after, "low": low, "high": high, **more}

    def seeds(row: Row) -> list[dict[str, Any]]:
        scores = [(run.seed, run.after.get(row.eval_set)) for run in comparison.groups[row.recipe]]
        return [{"seed": seed, "accuracy": accuracy(own) if own else None} for seed, own in scores]

    costs = ("tokens_trained", "seconds", "dollars")
    sets = [
        {
            "name": name,
            "size": rows[0].items,
            "paper": any(row.paper is not None for row in rows),
            "dollars": any(row.dollars != 0 for row in rows),
            "rows": [
                figure(
                    row,
                    seeds=seeds(row),
                    before=row.before,
                    paper=row.paper,
                    **{key: getattr(row, key) for key in costs},
                )
                for row in rows
            ],
        }
        for name, rows in by_set(comparison.of_kind("accuracy"))
    ]
    keys = ("recipe", "against", "difference", "low", "high", "p", "p_holm", "odds_ratio", "odds_low", "odds_high")
    return {
        "jobs": [
            {"run": Path(run.name), "label": label_of.get(run.name, run.recipe), "seed": run.seed, "error": run.error}
            for run in runs
        ],
        "sets": sets,
        "shares": [figure(row, what=row.remark, set=row.eval_set) for row in comparison.of_kind("share")],
        "tests": [
            {"set": row.eval_set, "seeds": len(row.seeds.split()), **{key: getattr(row, key) for key in keys}}
            for row in comparison.of_kind("paired")
        ],
        "remarks": comparison.remarks,
    }
