"""The end of a run: figures into `results.json`, tables for a person.

Place in the flow: `train.py` calls `collect` and `show` after the recipe. The structure of `results.json` is what
`sei.compare` and `sei.ledger` read: figures of one evaluation set as `evaluate.summarize` makes them, averages over sets,
checkpoints and the second pass where there are any. On a terminal tables have lines around them; elsewhere each row is
one line of cells between `|`, whatever its length, so that a program can read it.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from sei.config import Config
from sei.records import Disagreement, ErrorType, Outcome
from sei.results import Results
from sei.stages.cluster import changes
from sei.stages.evaluate import Select, accuracy, averages, best_on_test, choose, disagreements, passes, summarize
from sei.target.precision import Choice
from sei.terminal import Terminal
from sei.tracking.display import ledger_line, print_table
from sei.workspace import Artifact

_MOST_PARTS = (
    12  # rows of one set in the tables by family and level: MATH has 7 subjects, the arithmetic world 26 families
)
REHEARSAL = (
    "REHEARSAL: a shrunken model, few or made-up problems, a scripted teacher. No figure of this run means anything."
)
PACKAGES = ("torch", "transformers", "peft", "pytorch-lightning", "faiss-cpu", "scikit-learn", "hydra-core", "sei")


def collect(
    config: Config,
    results: Results,
    artifacts: Sequence[Artifact[Any]],
    overrides: Sequence[str],
    precisions: Mapping[str, Choice],
) -> dict[str, Any]:
    """Everything `results.json` holds. Seconds are what each stage took when it was computed, cached or not.

    `precisions`: what was computed with, by task, and why where `auto` chose it.
    """
    names = {kind.id: kind.name for kind in results.error_types}
    # A set without any outcome has no figures; `unanswered` says so.
    before = {name: rows for name, rows in results.before.items() if rows}
    after = {name: rows for name, rows in results.after.items() if rows}
    figures: dict[str, Any] = {
        "recipe": config.recipe.name,
        "seed": config.seed,
        "model": config.model.name,
        "data": config.data.name,
        "teacher": config.teacher.name,
        "status": "done",
        "rehearsal": config.rehearsal is not None,
        "overrides": list(overrides),
        "eval": {name: summarize(rows, after.get(name), names) for name, rows in before.items()},
        "averages": averages(before, after, results.domains),
        "second_pass": _second_pass(after or before, results.second),
        "located": results.located,
        "checkpoints": _checkpoints(results, config.eval.select),
        "unanswered": {
            a.stage: missing
            for a in artifacts
            if a.stage.startswith("evaluate.") and (missing := a.manifest["rejected"].get("no_attempt"))
        },
        "validation": accuracy(results.validation) if results.validation else None,
        "error_types": _error_types(results.rounds),
        "adapter": results.chosen.place if results.chosen else None,
        "device": next((a.numbers["device"] for a in reversed(artifacts) if "device" in a.numbers), None),
        "tokens_trained": sum(a.numbers.get("tokens", 0) for a in artifacts),
        "seconds": {a.stage: a.manifest["seconds"] for a in artifacts},
        "cached": [a.stage for a in artifacts if a.cached],
        "ledger": {
            a.stage: {key: a.manifest[key] for key in ("received", "passed", "records", "rejected")} for a in artifacts
        },
        "precision": {task: dataclasses.asdict(choice) for task, choice in precisions.items()},
        "generated_by": {a.stage: a.numbers["generated_by"] for a in artifacts if "generated_by" in a.numbers},
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        "commit": git_commit(),
    }
    return figures


def _error_types(rounds: Sequence[Sequence[ErrorType]]) -> list[dict[str, Any]]:
    """Per type: mistakes in each round's probe, and what the last round's probe says of it: new, persistent, fixed or
    regrouped (not a type any more, though its mistakes are still made). One round says none of these.
    """
    if not rounds:
        return []
    earlier = {kind.id: kind for types in rounds[:-1] for kind in types}
    fate = changes(list(earlier.values()), rounds[-1])
    status = {kind.id: "fixed" for kind in fate.fixed} | {kind.id: "new" for kind in fate.new}
    status |= {kind.id: "regrouped" for kind in fate.regrouped}
    rows: dict[str, dict[str, Any]] = {}
    for number, types in enumerate(rounds):
        for kind in types:
            row = rows.setdefault(kind.id, {"id": kind.id, "name": kind.name, "mined": [0] * len(rounds)})
            row["mined"][number] = kind.size
            row["status"] = status.get(kind.id, "persistent") if len(rounds) > 1 else None
    return list(rows.values())


def _second_pass(
    first: Mapping[str, Sequence[Outcome]], second: Mapping[str, Sequence[Outcome]]
) -> dict[str, dict[str, Any]]:
    return {name: passes(first[name], rows) for name, rows in second.items() if rows and name in first}


def _checkpoints(results: Results, select: Select) -> dict[str, Any] | None:
    scores = results.checkpoints
    if not scores:
        return None
    chosen = scores[choose(scores, select)]
    return {
        "select": select,
        "chosen": chosen.step,
        "scores": [{"step": item.step, "validation": item.validation, "tests": item.tests} for item in scores],
        "best_on_test": best_on_test(scores) if select == "paper" else None,
    }


def grader_disagreements(results: Results) -> list[Disagreement]:
    """The test items that only one of the two graders takes for right: `grader_disagreements.jsonl`."""
    return disagreements({"before": results.before, "after": results.after, "second": results.second})


def show(console: Terminal, figures: Mapping[str, Any], artifacts: Sequence[Artifact[Any]], run: Path) -> None:
    """The closing tables: accuracy in all its parts, error types, ledger with wall time, and where everything lies."""
    if figures["rehearsal"]:
        console.print(f"\n{REHEARSAL}\n")
    tables = []
    if figures["eval"]:
        tables += [_accuracy_table(figures), *_change_table(figures), *_sample_tables(figures), *_part_tables(figures)]
    if figures["second_pass"]:
        tables.append(_second_pass_table(figures["second_pass"]))
    if figures["located"]:
        tables.append(_located_table(figures["located"]))
    if figures["checkpoints"]:
        tables += _checkpoint_tables(figures)
    if figures["error_types"]:
        tables.append(_type_table(figures))
    for table in (*tables, _ledger_table(artifacts)):
        print_table(console, table)
    for stage, missing in figures["unanswered"].items():
        console.print(f"{stage}: {missing:,} problems without an attempt are in no figure")
    if figures["tokens_trained"]:
        console.print(f"tokens trained: {figures['tokens_trained']:,}")
    if figures["adapter"]:
        console.print(f"adapter: {run / figures['adapter']}")
    console.print(f"run folder: {run}")


def _accuracy_table(figures: Mapping[str, Any]) -> Table:
    table = _table(
        f"Accuracy, recipe {figures['recipe']}, seed {figures['seed']} (95 % interval: Wilson)",
        "evaluation set",
        numbers=("n", "before", "after", "change"),
    )
    for name, entry in figures["eval"].items():
        table.add_row(name, f"{entry['before']['n']:,}", *_before_after(entry["before"], entry["after"]))
        second = entry["math_verify"]
        if any(_graders_differ(entry[when], figures) for when, figures in second.items()):
            cells = _before_after(second["before"], second.get("after"))
            table.add_row("  as math-verify grades it", f"{second['before']['n']:,}", *cells)
    if len(figures["eval"]) > 1:
        table.add_section()
        for domain, average in figures["averages"].items():
            others = [other["sets"] for name, other in figures["averages"].items() if name != domain]
            if len(average["sets"]) == 1 or (domain == "all" and average["sets"] in others):
                continue  # the set's own row, or the one domain's
            for kind, size in (("micro", f"{average['before']['n']:,}"), ("macro", f"{len(average['sets'])} sets")):
                after = average["after"] and average["after"][kind]
                table.add_row(f"{kind}, {domain}", size, *_before_after(average["before"][kind], after))
    return table


def _change_table(figures: Mapping[str, Any]) -> Iterator[Table]:
    """What training fixed and broke on the items of each set, and the paired test; nothing where nothing was trained."""
    changed = {name: entry["change"] for name, entry in figures["eval"].items() if entry["change"]}
    if not changed:
        return
    table = _table(
        "Changed by training, on the same items (paired)",
        "evaluation set",
        numbers=("n", "difference, points [95 %]", "fixed", "broken", "p (McNemar)"),
    )
    for name, row in changed.items():
        difference = f"{100 * row['mean']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        table.add_row(name, f"{row['n']:,}", difference, f"{row['fixed']:,}", f"{row['broken']:,}", f"{row['p']:.4f}")
    yield table


def _graders_differ(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> bool:
    """Whether the two graders' accuracies of first samples are further apart than a tenth of the 95 % interval."""
    if theirs is None:
        return False
    return abs(ours["correct"] / ours["n"] - theirs["accuracy"]) > (ours["high"] - ours["low"]) / 10


def _sample_tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    """pass@k and maj@k of each set that was answered several times."""
    for name, entry in figures["eval"].items():
        before, after = entry["before"], entry["after"] or {}
        if "samples" not in before:
            continue
        drawn = "" if all(row["exact"] for row in before["majority_at"].values()) else "; maj@k partly by Monte Carlo"
        runs = (after or before)["runs"]
        spread = f"; accuracy of a run {100 * runs['mean']:.1f}, variance {1e4 * runs['variance']:.2f}"
        table = _table(
            f"{name}: {before['samples']} samples, % [95 % interval]{drawn}{spread}",
            numbers=("k", "pass@k before", "after", "maj@k before", "after"),
        )
        for k in before["pass_at"]:
            cells = [
                _plain_interval(side.get(kind, {}).get(k), "mean")
                for kind in ("pass_at", "majority_at")
                for side in (before, after)
            ]
            table.add_row(k, *cells)
        yield table


def _part_tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    """Accuracy by family (or subject) and by level, of the sets where at least two are known.

    Of a set with more than _MOST_PARTS families only their macro average is shown; `results.json` has them all.
    """
    for parts, what in (("families", "family or subject"), ("levels", "level")):
        sets = {name: entry for name, entry in figures["eval"].items() if len(entry[parts]) > 1}
        if not sets:
            continue
        table = _table(f"Accuracy by {what}, % [95 %]", "set", what, numbers=("n", "before", "after", "change"))
        for name, entry in sets.items():
            for part, row in entry[parts].items() if len(entry[parts]) <= _MOST_PARTS else ():
                table.add_row(name, part, f"{row['n']:,}", *_plain_before_after(row))
            if parts == "families":
                average = entry["family_average"]
                table.add_row(name, "macro average", str(len(entry[parts])), *_plain_before_after(average))
            table.add_section()
        yield table


def _second_pass_table(second: Mapping[str, Any]) -> Table:
    table = _table(
        "Second pass (verify and correct), %: broken is right -> wrong, mended wrong -> right; p: McNemar",
        "evaluation set",
        numbers=("n", "first pass", "second pass", "broken", "mended", "p"),
    )
    for name, row in second.items():
        changed = (str(row["right_to_wrong"]), str(row["wrong_to_right"]), f"{row['p']:.4f}")
        table.add_row(name, f"{row['n']:,}", _plain_interval(row["first"]), _plain_interval(row["second"]), *changed)
    return table


def _located_table(located: Mapping[str, Any]) -> Table:
    """Whose check of the student's mistakes finds the first wrong step, and whose correction reaches the gold answer."""
    table = _table("The student's mistakes, checked", "set", "by", numbers=("n", "step found, %", "corrected, %"))
    for label, row in located.items():
        shares = (_plain_interval(row[share], "mean") for share in ("located", "corrected"))
        table.add_row(row["set"], label, f"{row['corrected']['n']:,}", *shares)
    return table


def _checkpoint_tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    """Every checkpoint's accuracies; and, asked for by `eval.select=paper`, what the paper's way of choosing gives."""
    found = figures["checkpoints"]
    sets = list(dict.fromkeys(name for row in found["scores"] for name in row["tests"]))
    way = "the last" if found["select"] == "last" else "by validation accuracy"
    table = _table(f"Checkpoints, %; chosen {way}", numbers=("step", "validation", *sets))
    table.add_column("")
    for row in found["scores"]:
        cells = [_percent(row["validation"]), *(_percent(row["tests"].get(name)) for name in sets)]
        table.add_row(f"{row['step']:,}", *cells, "chosen" if row["step"] == found["chosen"] else "")
    yield table
    if found["best_on_test"]:
        table = _table(
            "The paper's way: checkpoints chosen on each test set itself, so too high (a known flaw)",
            "evaluation set",
            numbers=(f"by validation (step {found['chosen']:,})", "best on test", "mean of best three on test"),
        )
        honest = next(row["tests"] for row in found["scores"] if row["step"] == found["chosen"])
        for name, row in found["best_on_test"].items():
            steps = [f"{step:,}" for step in row["steps"]]
            table.add_row(
                name,
                f"{_percent(honest.get(name))} %",
                f"{100 * row['best']:.1f} % (step {steps[0]})",
                f"{100 * row['best_three']:.1f} % (steps {' '.join(steps)})",
            )
        yield table


def _table(title: str, *text_columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(title=title)
    for column in text_columns:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def _before_after(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """The cells of both accuracies and of their difference."""
    change = f"{100 * (after['accuracy'] - before['accuracy']):+.1f} points" if before and after else "not trained"
    return _interval(before), _interval(after), change


def _plain_before_after(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The same, shorter, for tables that would not fit 100 columns."""
    before, after = row["before"], row["after"]
    change = f"{100 * (after['accuracy'] - before['accuracy']):+.1f}" if before and after else "-"
    return _plain_interval(before), _plain_interval(after), change


def _percent(figures: Mapping[str, Any] | None) -> str:
    return "-" if figures is None else f"{100 * figures['accuracy']:.1f}"


def _interval(figures: Mapping[str, Any] | None) -> str:
    return _plain_interval(figures).replace(" [", " % [")


def _plain_interval(figures: Mapping[str, Any] | None, name: str = "accuracy") -> str:
    if figures is None:
        return "-"
    return f"{100 * figures[name]:.1f} [{100 * figures['low']:.1f}, {100 * figures['high']:.1f}]"


def _type_table(figures: Mapping[str, Any]) -> Table:
    sets = list(figures["eval"])
    title = "Error types: mistakes mined from training problems"
    table = Table(title=title + (", and test mistakes before -> after" if sets else ""))
    table.add_column("error type", overflow="fold")
    table.add_column("mined" if len(figures["error_types"][0]["mined"]) == 1 else "mined by round", justify="right")
    if several := len(figures["error_types"][0]["mined"]) > 1:
        table.add_column("status")
    for name in sets:
        table.add_column(name, justify="right")
    for row in sorted(figures["error_types"], key=lambda row: -row["mined"][0]):
        counts = []
        for name in sets:
            entry = figures["eval"][name]["error_types"][row["id"]]
            after = "-" if entry["after"] is None else str(entry["after"])
            counts.append(f"{entry['before']} -> {after}")
        status = [row["status"]] if several else []
        table.add_row(row["name"], " -> ".join(map(str, row["mined"])), *status, *counts)
    return table


def _ledger_table(artifacts: Sequence[Artifact[Any]]) -> Table:
    table = Table(title="Ledger and wall time: every stage accounts for every record")
    for column in ("stage", "records", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    for artifact in artifacts:
        flow = ledger_line(artifact).rsplit("   ", 1)[0]
        table.add_row(
            artifact.stage, flow, f"{artifact.manifest['seconds']:.1f}{' (cached)' if artifact.cached else ''}"
        )
    return table


def git_commit() -> str:
    """The commit of this checkout, with `-dirty` where tracked files differ; "unknown" outside a checkout."""
    folder = Path(__file__).parents[2]
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
