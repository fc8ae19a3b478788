"""Tables that a reader opens to see what the loop learned: test items, mistakes, new problems, error types, ledger.

Place in the flow: the records of a run -> **tables** -> the W&B run. Cells are texts and numbers as they are: what a model
wrote is data, and nothing here makes markup of it. Every recipe has every table, some of them empty. Example::

    tables(figures, results, workspace.done, lab.splits.tests, lab.style)["items"].rows[0]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sei.answers import Style
from sei.records import (
    Correction,
    Diagnosis,
    ErrorType,
    Example,
    Mistake,
    Outcome,
    Pair,
    Problem,
    Record,
    Synthetic,
    Trace,
    change,
)
from sei.results import Results
from sei.steps import split_steps
from sei.workspace import Artifact

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Table:
    """Columns and rows; `texts` says whether it holds what problems and models say, beside figures."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    texts: bool = True


def tables(
    figures: Mapping[str, Any],
    results: Results,
    artifacts: Sequence[Artifact[Any]],
    tests: Mapping[str, Sequence[Problem]],
    style: Style,
) -> dict[str, Table]:
    """All tables of a run, by name. `tests` are the problems behind its outcomes, `style` how its data is written."""
    names = {kind.id: kind.name for _, kind in _of(artifacts, ErrorType)}
    return {
        "items": _items(results, tests, names),
        "mistakes": _mistakes(artifacts, names, style),
        "synthesized": _synthesized(artifacts, names),
        "error_types": _error_types(artifacts),
        "error_types_in_tests": _error_types_in_tests(figures),
        "parts": _parts(figures),
        "checkpoints": _checkpoints(figures),
        "ledger": _ledger(artifacts),
    }


def _items(results: Results, tests: Mapping[str, Sequence[Problem]], names: Mapping[str, str]) -> Table:
    """Every test item with what was answered before and after."""
    about = ("set", "problem", "family", "level", "question", "gold", "change")
    sides_of = ("before", "after", "output before", "output after", "error type before", "error type after")
    rows = []
    for name, outcomes in results.before.items():
        problems = {problem.id: problem for problem in tests.get(name, ())}
        later = {row.problem_id: row for row in results.after.get(name, ())}
        for before in outcomes:
            after, problem = later.get(before.problem_id), problems.get(before.problem_id)
            sides: list[Outcome | None] = [before, after]
            rows.append(
                [
                    *(name, before.problem_id, before.family, before.level, problem and problem.question, before.gold),
                    change(before.verdict, after.verdict if after else None),
                    *(side and str(side.verdict) for side in sides),
                    *(side and side.output for side in sides),
                    *(side and names.get(side.error_type, "") for side in sides),
                ]
            )
    return Table((*about, *sides_of), rows)


def _mistakes(artifacts: Sequence[Artifact[Any]], names: Mapping[str, str], style: Style) -> Table:
    """Every mistake that was mined, with what the teacher says of it."""
    about = ("stage", "mistake", "problem", "model", "family", "level", "question", "gold", "output")
    said = ("first wrong step", "its text", "kind", "keyphrases", "diagnosis", "error type", "correction")
    diagnoses = {one.mistake_id: one for _, one in _of(artifacts, Diagnosis)}
    corrections = {one.mistake_id: one.solution for _, one in _of(artifacts, Correction)}
    traces = {one.mistake_id: one for _, one in _of(artifacts, Trace) if one.author == "teacher"}
    type_of = {mistake: kind.id for _, kind in _of(artifacts, ErrorType) for mistake in kind.mistake_ids}
    found = {mistake.id: (stage, mistake) for stage, mistake in _of(artifacts, Mistake)}
    rows = []
    for stage, mistake in found.values():
        diagnosis, trace = diagnoses.get(mistake.id), traces.get(mistake.id)
        step = diagnosis.step if diagnosis else trace.step if trace else None
        steps = split_steps(mistake.output, style)[0]
        rows.append(
            [
                *(stage, mistake.id, mistake.problem_id, mistake.model, mistake.family, mistake.level),
                *(mistake.question, mistake.gold_answer, mistake.output, step),
                steps[step - 1] if step and step <= len(steps) else None,
                diagnosis and diagnosis.kind,
                diagnosis and "; ".join(diagnosis.keyphrases),
                diagnosis.explanation if diagnosis else trace and trace.cause,
                names.get(type_of.get(mistake.id, ""), ""),
                corrections.get(mistake.id, trace and trace.correction),
            ]
        )
    return Table((*about, *said), rows)


def _synthesized(artifacts: Sequence[Artifact[Any]], names: Mapping[str, str]) -> Table:
    """Every new problem: written for an error type, or evolved from another one."""
    columns = ("stage", "problem", "error type", "question", "solution", "answer", "score", "trained on", "parents")
    trained = {parent for _, row in _of(artifacts, Example) for parent in row.parents}
    trained |= {parent for _, row in _of(artifacts, Pair) for parent in row.parents}
    first: dict[str, str] = {}  # the stage that made it
    last: dict[str, Synthetic | Problem] = {}  # as it is after selection, which scores it
    evolved = [(stage, one) for stage, one in _of(artifacts, Problem) if one.parents]
    made: list[tuple[str, Synthetic | Problem]] = [*_of(artifacts, Synthetic), *evolved]
    for stage, one in made:
        first.setdefault(one.id, stage)
        last[one.id] = one
    rows = [
        [
            *(
                first[one.id],
                one.id,
                names.get(getattr(one, "error_type", ""), ""),
                one.question,
                one.solution,
                one.answer,
            ),
            *(getattr(one, "score", None), one.id in trained, " ".join(one.parents)),
        ]
        for one in last.values()
    ]
    return Table(columns, rows)


def _error_types(artifacts: Sequence[Artifact[Any]]) -> Table:
    columns = ("round", "error type", "id", "mistakes", "status", "cohesion", "keyphrases")
    rows = [
        [kind.round, kind.name, kind.id, kind.size, kind.status, kind.cohesion, "; ".join(kind.keyphrases)]
        for _, kind in _of(artifacts, ErrorType)
    ]
    return Table(columns, rows)


def _error_types_in_tests(figures: Mapping[str, Any]) -> Table:
    rows = [
        [kind["name"], kind["status"], name, *(entry["error_types"][kind["id"]][when] for when in ("before", "after"))]
        for kind in figures["error_types"]
        for name, entry in figures["eval"].items()
    ]
    return Table(("error type", "status", "set", "before", "after"), rows)


def _parts(figures: Mapping[str, Any]) -> Table:
    rows = [
        [name, kind, part, row["n"], row["before"]["accuracy"], row["after"] and row["after"]["accuracy"]]
        for name, entry in figures["eval"].items()
        for kind in ("families", "levels")
        for part, row in entry[kind].items()
    ]
    return Table(("set", "by", "part", "n", "before", "after"), rows, texts=False)


def _checkpoints(figures: Mapping[str, Any]) -> Table:
    rows = [
        [row["step"], name, entry["accuracy"], entry["low"], entry["high"]]
        for row in (figures["checkpoints"] or {"scores": []})["scores"]
        for name, entry in {"validation": row["validation"], **row["tests"]}.items()
        if entry
    ]
    return Table(("step", "set", "accuracy", "low", "high"), rows, texts=False)


def _ledger(artifacts: Sequence[Artifact[Any]]) -> Table:
    rows = []
    for artifact in artifacts:
        manifest = artifact.manifest
        reasons = ", ".join(f"{count} {reason}" for reason, count in manifest["rejected"].items())
        counts = [manifest[name] for name in ("received", "passed", "records")]
        rows.append([artifact.stage, *counts, reasons, manifest["seconds"], artifact.cached])
    return Table(("stage", "received", "passed", "records", "rejected", "seconds", "cached"), rows, texts=False)


def _of(artifacts: Sequence[Artifact[Any]], kind: type[R]) -> Iterator[tuple[str, R]]:
    """All records of a kind, in the order of the run, with the stage that made them."""
    for artifact in artifacts:
        for record in artifact.records:
            if isinstance(record, kind):
                yield artifact.stage, record
