"""Loss curves: one CSV for each training of a run, and the same rows for W&B.

Place in the flow: while a stage trains, each optimizer step comes here (`training.rows`); once it is finished, the
whole curves are in its manifest, also where another job has computed it. `curves/adapter.round2.csv` is the training of
round 2. Example::

    curves_of(artifact.numbers)["loss"]          # nats per token, one value for each optimizer step
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, float]

_CURVE = "_curve"  # what the names of curves in a manifest end with


def curves_of(numbers: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """The curves among a stage's numbers, by name; none where it trained nothing."""
    return {name.removesuffix(_CURVE): curve for name, curve in numbers.items() if name.endswith(_CURVE)}


def rows_of(numbers: Mapping[str, Any]) -> list[Row]:
    """The same, as one row for each optimizer step."""
    curves = curves_of(numbers)
    return [dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)]


class CurveFile:
    """One CSV, written row by row while a training runs. A training that goes on keeps what it had before its checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def add(self, step: int, row: Row) -> None:
        """One optimizer step more."""
        if not self._columns:
            self._start(step, row)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow([step, *(row.get(name, "") for name in self._columns)])

    def _start(self, step: int, row: Row) -> None:
        self._columns = sorted(row)
        kept: list[list[str]] = []
        if self.path.is_file():
            with self.path.open(encoding="utf-8", newline="") as file:
                header, *lines = [*csv.reader(file)] or [[]]
            if header == ["step", *self._columns]:
                kept = [line for line in lines if len(line) == len(header) and int(line[0]) < step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["step", *self._columns], *kept])

    def write(self, rows: Sequence[Row]) -> None:
        """The whole file anew, from the first step on."""
        self._start(1, rows[0])
        with self.path.open("a", encoding="utf-8", newline="") as file:
            lines = ([step, *(row.get(name, "") for name in self._columns)] for step, row in enumerate(rows, start=1))
            csv.writer(file).writerows(lines)
