"""A comparison into a file: its ending says the form.

Place in the flow: the last step of `python -m sei.compare`. Example::

    write(comparison, Path("results.tex"))
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sei.comparison import curve
from sei.comparison.curve import Curves, Point
from sei.comparison.figure import plot
from sei.comparison.rows import Comparison, Row
from sei.comparison.tables import latex, markdown, sheets
from sei.errors import UserError


def csv_text(rows: Sequence[Row] | Sequence[Point]) -> str:
    """All rows of one kind of record under one header."""
    file = io.StringIO()
    kind = type(rows[0]) if rows else Row
    writer = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = {key: value for key, value in asdict(row).items() if value is not None}
        writer.writerow({key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()})
    return file.getvalue()


def _write_text(text: Callable[[Any], str]) -> Callable[[Any, Path], None]:
    def write_text(found: Any, path: Path) -> None:
        path.write_text(text(found), encoding="utf-8")

    return write_text


_DRAWN = (".pdf", ".svg", ".png")
_FORMS: dict[str, Callable[[Comparison, Path], None]] = {
    ".md": _write_text(lambda comparison: markdown(list(sheets(comparison)), comparison.remarks)),
    ".tex": _write_text(lambda comparison: latex(list(sheets(comparison)), comparison.remarks)),
    ".csv": _write_text(lambda comparison: csv_text(comparison.rows)),
    **dict.fromkeys(_DRAWN, plot),
}
_CURVE_FORMS: dict[str, Callable[[Curves, Path], None]] = {
    ".md": _write_text(lambda found: markdown(list(curve.sheets(found)), [])),
    ".tex": _write_text(lambda found: latex(list(curve.sheets(found)), [])),
    ".csv": _write_text(lambda found: csv_text(found.points)),
    **dict.fromkeys(_DRAWN, curve.plot),
}


def check(path: Path) -> None:
    """Raise UserError for a file of a form that nobody knows here, before anything is computed."""
    if path.suffix not in _FORMS:
        raise UserError(f"--output {path}: the form follows from the ending, one of {', '.join(_FORMS)}")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}. Make it first, or name another one.")


def write(comparison: Comparison, path: Path) -> None:
    """Write the tables (.md, .tex), the rows (.csv) or the figure (.pdf, .svg, .png). Raises UserError where it cannot."""
    if path.suffix in _DRAWN and not comparison.of_kind("accuracy"):
        raise UserError(f"{path}: there is nothing to draw, as no run has results.")
    _write(_FORMS[path.suffix], comparison, path)


def write_curve(found: Curves, path: Path) -> None:
    """The same of accuracy along a key."""
    _write(_CURVE_FORMS[path.suffix], found, path)


def _write(form: Callable[[Any, Path], None], found: Any, path: Path) -> None:
    try:
        form(found, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}). Name another place.") from error
