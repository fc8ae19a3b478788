"""What a run says while it works: one line a stage, notes, progress bars.

Place in the flow: `sei.run`, the lab and the plan print through a `Display`. On a terminal long work has a progress bar;
elsewhere a line each half minute, and only whole lines, so that a program can read the output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sei.terminal import SlowLines, Terminal
from sei.workspace import Artifact


class Display:
    """Prints to `console`; `console.is_terminal` decides about bars."""

    def __init__(self, console: Terminal | None = None) -> None:
        self.console = console or Terminal(highlight=False, soft_wrap=True)

    def stage(self, artifact: Artifact[Any]) -> None:
        """One ledger line: what came in, what went on, what was rejected and why, and how long it took."""
        self.console.print(f"{artifact.stage:<28} {ledger_line(artifact)}")
        if not artifact.records and {item.reason for item in artifact.rejected} - {"correct"}:
            self.note(f"{artifact.stage}: no records passed; reasons are in {artifact.folder}/rejected.jsonl")

    def note(self, text: str) -> None:
        """Something the user should know, as plain text."""
        self.console.print(text)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar for one stage, a line each half minute where the output is not a terminal; yields `update(done, total)`."""
        if not self.console.is_terminal:
            yield SlowLines(f"{what}:", self.note).update
            return
        columns = (
            TextColumn(f"{what:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def print_table(console: Terminal, table: Table) -> None:
    """The table with lines around it on a terminal; elsewhere its title, and each row on one line of its own."""
    if console.is_terminal:
        console.print(table)
        return
    wide = Terminal(file=console.file, width=10_000, highlight=False)
    wide.print(table.title)
    table.title, table.box, table.show_lines = None, box.MARKDOWN, False
    for row in table.rows:
        row.end_section = False
    wide.print(table)


def ledger_line(artifact: Artifact[Any]) -> str:
    """`412 in -> 398 out; 9 unparsed, 5 refused   3.2 s`."""
    manifest = artifact.manifest
    parts = ", ".join(f"{count:,} {reason}" for reason, count in manifest["rejected"].items())
    made = "" if manifest["records"] == manifest["passed"] else f" ({manifest['records']:,} records)"
    flow = f"{manifest['received']:,} in -> {manifest['passed']:,} out{made}" + (f"; {parts}" if parts else "")
    seconds = "cached" if artifact.cached else f"{manifest['seconds']:.1f} s"
    return f"{flow}   {seconds}"
