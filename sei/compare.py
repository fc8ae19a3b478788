"""Compare recipes over seeds: `python -m sei.compare PATH [PATH ...]`.

Place in the flow: after a sweep (`python train.py -m recipe=cot,sei seed=0,1,2`). Finds every run folder below the paths
(`wandb:ENTITY/PROJECT/GROUP` is a group of W&B runs), groups runs by recipe and by whatever other override differs, and prints
accuracy and cost of each group, paired tests against recipe cot (or `--baseline`) on the same test items, and what training
fixed and broke; docs/compare.md says how each figure is made. Writes `compare.csv`, `compare.png` and, for one folder, the
page `report.html` into the first folder; and what `--output` names, Markdown, LaTeX, CSV, PDF, SVG or PNG by its ending. On a
terminal it prints tables; elsewhere standard output is exactly `compare.csv`, and remarks go to standard error.

Example::

    python -m sei.compare multirun/sweep-1a2b3c4d
    python -m sei.compare multirun/sweep-1a2b3c4d --baseline "correction, recipe.rounds=3" --output table.tex --output figure.pdf
    python -m sei.compare multirun/sweep-1a2b3c4d | grep '^paired'
    python -m sei.compare multirun/embedded_scarcity --curve data.train
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from sei.comparison.curve import Curves, curves
from sei.comparison.curve import sheets as curve_sheets
from sei.comparison.output import check, csv_text, write, write_curve
from sei.comparison.page import for_page
from sei.comparison.remote import PREFIX, group_runs, parted
from sei.comparison.rows import Comparison, compare
from sei.comparison.runs import Run, find_runs
from sei.comparison.tables import MOST_PARTS, Sheet, sheets
from sei.errors import UserError, printable
from sei.terminal import Terminal
from sei.tracking.page.run import try_to_write
from sei.tracking.page.sweep import write_sweep_page


def show(comparison: Comparison, console: Terminal) -> None:
    """The tables for a person."""
    for sheet in sheets(comparison, most_parts=MOST_PARTS):
        console.print(_table(sheet))
        if sheet.hidden:
            console.print(f"{sheet.hidden} more rows are in compare.csv, and in --output FILE.md\n", highlight=False)


def show_curve(found: Curves, folders: Sequence[Path], output: Sequence[Path]) -> None:
    """The tables of accuracy along a key (off a terminal `curve.csv`), and the files of the same."""
    paths = [*([folders[0] / "curve.csv", folders[0] / "curve.png"] if folders else []), *output]
    for path in paths:
        write_curve(found, path)
    if sys.stdout.isatty():
        for sheet in curve_sheets(found):
            Terminal().print(_table(sheet))
    else:
        sys.stdout.write(csv_text(found.points))
    if paths:
        _remark(f"wrote {', '.join(map(str, paths))}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: tables (or CSV) to standard output; files into the first folder, and those that --output names."""
    parser = argparse.ArgumentParser(prog="python -m sei.compare", description="Compare recipes over seeds.")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help=f"run folders, folders that hold them, or {PREFIX}ENTITY/PROJECT/GROUP"
    )
    parser.add_argument("--baseline", metavar="LABEL", help="test each group against this one, named as in the tables")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="also write tables (.md, .tex), all figures (.csv) or the plot (.pdf, .svg, .png); may be given several times",
    )
    parser.add_argument(
        "--ignore",
        metavar="KEY",
        action="append",
        default=[],
        help="do not tell runs apart by this key, such as a model.path that goes with the seed; may be given several times",
    )
    parser.add_argument(
        "--curve",
        metavar="KEY",
        help="instead: accuracy along this key that the sweep varies, such as data.train (curve.csv, curve.png, --output)",
    )
    options = parser.parse_args(arguments)
    folders = [Path(path) for path in options.paths if not path.startswith(PREFIX)]
    try:
        for path in options.output:
            check(path)
        runs = [_without(run, options.ignore) for run in _find(options.paths, folders)]
        if options.curve:
            show_curve(curves(runs, options.curve, options.baseline), folders, options.output)
            return
        comparison = compare(runs, options.baseline)
        written = _write_beside(runs, comparison, folders) if folders else []
        for path in options.output:
            write(comparison, path)
            written.append(str(path))
    except UserError as error:
        sys.exit(f"error: {error}")
    if sys.stdout.isatty():
        show(comparison, Terminal())
    else:
        sys.stdout.write(csv_text(comparison.rows))
    for remark in (*comparison.remarks, *([f"wrote {', '.join(written)}"] if written else [])):
        _remark(remark)


def _find(paths: Sequence[str], folders: Sequence[Path]) -> list[Run]:
    groups = [path for path in paths if path.startswith(PREFIX)]
    for group in groups:  # a slip is said before anything is read
        parted(group)
    runs = find_runs(folders) if folders else []
    with tempfile.TemporaryDirectory() as temporary:
        for number, group in enumerate(groups):
            runs += group_runs(group, Path(temporary, str(number)))
    return runs


def _without(run: Run, keys: Sequence[str]) -> Run:
    """The run without the overrides of these keys."""
    return dataclasses.replace(run, settings={key: value for key, value in run.settings.items() if key not in keys})


def _write_beside(runs: Sequence[Run], comparison: Comparison, folders: Sequence[Path]) -> list[str]:
    """What every comparison leaves in its first folder. Raises UserError where it cannot be written."""
    files = [folders[0] / "compare.csv"]
    if comparison.of_kind("accuracy"):
        files.append(folders[0] / "compare.png")
    for path in files:
        write(comparison, path)
    # A run's own page is not written over, nor does a page stand above runs that are not below it.
    sweep = len(folders) == 1 and not (folders[0] / "status.json").exists()
    here = [run for run in runs if not run.name.startswith(PREFIX)]
    if sweep and len(here) == len(runs):
        page = try_to_write(lambda: write_sweep_page(folders[0], lambda: for_page(runs, comparison)), _remark)
        files += [page] if page else []
    return list(map(str, files))


_NAME = 16  # characters of a name that are on one line, however narrow the terminal


def _table(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, title_justify="left", title_style="bold")
    for place, column in enumerate(sheet.columns):
        text = place < sheet.texts
        longest = max([len(column), *(len(row[place]) for row in sheet.rows)])
        width = min(longest, _NAME) if text else None
        table.add_column(column, justify="left" if text else "right", overflow="fold", min_width=width)
    for row in sheet.rows:
        table.add_row(*row)
    return table


def _remark(text: str) -> None:
    print(printable(text), file=sys.stderr)


if __name__ == "__main__":
    main()
