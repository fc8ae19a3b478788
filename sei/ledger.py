"""What a run's teacher cost: `python -m sei.ledger RUN`.

Place in the flow: after a run with an API teacher, or during one. Reads the run folder's `teacher.json` (which store,
and under which name the run was charged), sums the answers this run used by stage and by error type, and, where the
run has a `results.json` with figures after training, says what a mistake fixed has cost. "used" is what the answers
cost whoever paid them, so it is the price of this run from nothing; "paid" is what this run itself paid, the rest came
from answers that earlier runs had left in the store.

Example::

    python -m sei.ledger outputs/2026-11-20/12-00-00
    python -m sei.ledger outputs/2026-11-20/12-00-00 --json | jq .stages
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sei.errors import UserError
from sei.llm.account import RUN_FILE
from sei.llm.shared import is_store, open_store
from sei.llm.store import StoredAnswer, Sums
from sei.run_files import read_object, understood
from sei.teacher.api.limits import LIMITS

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class Sum:
    """Calls, tokens and US dollars of one stage, error type, or run."""

    calls: int = 0
    unusable: int = 0  # answers that were truncated, refused, empty or filtered
    tokens_in: int = 0
    tokens_out: int = 0
    used_usd: float = 0.0
    paid_usd: float = 0.0

    def add(self, answer: StoredAnswer, run: str) -> None:
        self.calls += 1
        self.unusable += answer.status != "ok"
        self.tokens_in += answer.tokens_in
        self.tokens_out += answer.tokens_out
        self.used_usd += answer.cost_usd
        self.paid_usd += answer.cost_usd if answer.run == run else 0.0


@dataclass(frozen=True)
class Fixed:
    """Test mistakes before and after training, over all evaluation sets, and the dollars per mistake fewer."""

    before: int
    after: int
    usd_per_mistake: float | None  # None where there are not fewer


@dataclass(frozen=True)
class Ledger:
    """All sums of one run. An answer used by two stages counts in both, and once in `total`."""

    run: str
    total: Sum
    stages: dict[str, Sum]
    error_types: dict[str, Sum]  # by id; calls that belong to no type are not here
    names: dict[str, str]  # of error types, as far as results.json tells
    fixed: Fixed | None  # None before training
    fixed_by_type: dict[str, Fixed]


def read_ledger(folder: Path) -> Ledger:
    """The ledger of the run in `folder`. Raises UserError where it never used an API teacher."""
    if not (folder / RUN_FILE).exists():
        raise UserError(f"{folder}: holds no {RUN_FILE}, so this run asked no API teacher (or is no run folder)")
    pointer = read_object(folder / RUN_FILE)
    if not all(isinstance(pointer.get(name), str) for name in ("store", "run")):
        raise UserError(
            f"{folder / RUN_FILE}: names no store and run. Rerun the job in a new folder, which writes it anew."
        )
    path = Path(pointer["store"])
    if not is_store(path):
        raise UserError(
            f"{folder / RUN_FILE}: the store {path} does not exist any more; without it nothing can be summed"
        )
    store = open_store(path)
    try:
        rows = list(store.used(pointer["run"]))
    finally:
        store.close()
    run = str(pointer["run"])
    total, stages, types = Sum(), dict[str, Sum](), dict[str, Sum]()
    for answer in {answer.key: answer for _, answer in rows}.values():
        total.add(answer, run)
    for stage, answer in {(use.stage, answer.key): answer for use, answer in rows}.items():
        stages.setdefault(stage[0], Sum()).add(answer, run)
    for use, answer in rows:
        if use.error_type:
            types.setdefault(use.error_type, Sum()).add(answer, run)
    ledger = Ledger(run, total, stages, types, {}, None, {})
    path = folder / "results.json"
    if not path.exists():
        return ledger
    results = read_object(path)
    with understood(path):
        return _with_results(ledger, results)


def _with_results(ledger: Ledger, results: dict[str, Any]) -> Ledger:
    """The ledger with error types' names, and with what was fixed where the run has figures after training."""
    names = {str(row["id"]): str(row["name"]) for row in results.get("error_types", [])}
    sets = [entry for entry in results.get("eval", {}).values() if entry.get("after")]
    fixed, by_type = None, {}
    if sets:
        wrong = {side: sum(entry[side]["n"] - entry[side]["correct"] for entry in sets) for side in ("before", "after")}
        fixed = _fixed(wrong["before"], wrong["after"], ledger.total.used_usd)
        for type_id, spent in ledger.error_types.items():
            counts = [entry["error_types"][type_id] for entry in sets if type_id in entry.get("error_types", {})]
            if counts:
                before, after = (sum(count[side] or 0 for count in counts) for side in ("before", "after"))
                by_type[type_id] = _fixed(before, after, spent.used_usd)
    return dataclasses.replace(ledger, names=names, fixed=fixed, fixed_by_type=by_type)


def sums(folder: Path) -> Sums:
    """What the run in `folder` has used and paid so far, for whoever watches it; zero where it asked no API teacher."""
    path = folder / RUN_FILE
    pointer = read_object(path) if path.exists() else None
    if pointer is None or not is_store(Path(pointer["store"])):
        return Sums()
    store = open_store(Path(pointer["store"]))
    try:
        return store.sums(pointer["run"])
    finally:
        store.close()


def used_dollars(folder: Path) -> float | None:
    """What the teacher's answers of the run in `folder` cost, whoever paid them; 0 without an API teacher, None where its
    store is gone."""
    if not (folder / RUN_FILE).is_file():
        return 0.0
    try:
        return read_ledger(folder).total.used_usd
    except UserError:
        return None


def _fixed(before: int, after: int, usd: float) -> Fixed:
    return Fixed(before, after, usd / (before - after) if after < before else None)


def show(ledger: Ledger) -> None:
    """Print the tables: stages in the order of the flow, error types by what they cost."""
    from rich.table import Table

    from sei.terminal import Terminal

    console = Terminal()
    table = Table(title=f"Teacher's cost by stage, run {ledger.run}", title_justify="left")
    _columns(table, "stage", "calls", "unusable", "tokens in", "tokens out", "$ used", "$ paid")
    order = list(LIMITS)
    for stage in sorted(ledger.stages, key=lambda name: (order.index(name) if name in order else len(order), name)):
        table.add_row(stage, *_cells(ledger.stages[stage], whole=True))
    table.add_section()
    table.add_row("all", *_cells(ledger.total, whole=True))
    console.print(table)
    if ledger.error_types:
        table = Table(title="Of it, calls for one error type (the others serve all types)", title_justify="left")
        _columns(table, "error type", "calls", "tokens", "$ used")
        if ledger.fixed_by_type:
            _columns(table, "test mistakes", "$ per mistake fixed")
        by_cost = sorted(ledger.error_types.items(), key=lambda item: (-item[1].used_usd, item[0]))
        for type_id, total in by_cost:
            more = _fixed_cells(ledger.fixed_by_type.get(type_id)) if ledger.fixed_by_type else []
            table.add_row(ledger.names.get(type_id, type_id), *_cells(total), *more)
        console.print(table)
    for line in notes(ledger):
        console.print(line, highlight=False, soft_wrap=True)


def notes(ledger: Ledger) -> list[str]:
    """What the tables do not say by themselves, a sentence a line."""
    total, fixed = ledger.total, ledger.fixed
    lines = ["unusable: answers cut off, refused, empty or filtered; each but a filtered one was asked for once more."]
    if total.paid_usd < total.used_usd:
        lines.append(
            f"$ used is what all these answers cost; this run paid ${total.paid_usd:.4f} of it, the rest lay in the store."
        )
    if total.tokens_in and not total.used_usd:
        lines.append(
            "Dollars are 0 because no price was known when these answers came (or it was 0): the tokens hold. Set "
            "teacher.price.input and teacher.price.output, in US dollars per million tokens, before a run."
        )
    if fixed is None:
        lines.append("Dollars per mistake fixed: not yet, no evaluation after training is in results.json.")
    elif fixed.usd_per_mistake is None:
        lines.append(f"Test mistakes before -> after training: {fixed.before} -> {fixed.after}, so none was fixed.")
    else:
        lines.append(
            f"Test mistakes before -> after training: {fixed.before} -> {fixed.after}. Dollars per mistake fixed: "
            f"{total.used_usd:.4f} / {fixed.before - fixed.after} = {fixed.usd_per_mistake:.4f}"
        )
    return lines


def _columns(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="left" if name in ("stage", "error type") else "right")


def _cells(total: Sum, *, whole: bool = False) -> list[str]:
    """Calls, tokens and dollars; with `whole` tokens apart, unusable answers, and what this run itself paid."""
    if not whole:
        return [f"{total.calls:,}", f"{total.tokens_in + total.tokens_out:,}", f"{total.used_usd:.4f}"]
    counts = (total.calls, total.unusable, total.tokens_in, total.tokens_out)
    return [*(f"{count:,}" for count in counts), f"{total.used_usd:.4f}", f"{total.paid_usd:.4f}"]


def _fixed_cells(fixed: Fixed | None) -> list[str]:
    if fixed is None:
        return ["-", "-"]
    per_mistake = "none fixed" if fixed.usd_per_mistake is None else f"{fixed.usd_per_mistake:.4f}"
    return [f"{fixed.before} -> {fixed.after}", per_mistake]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sei.ledger", description="Sum a run's teacher calls in tokens and US dollars."
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--json", action="store_true", help="print the sums as JSON")
    args = parser.parse_args()
    try:
        ledger = read_ledger(args.run)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(dataclasses.asdict(ledger), indent=2))
    else:
        show(ledger)
    return 0


if __name__ == "__main__":
    sys.exit(main())
