"""How far one `ask_many` has come, and the bar that shows it on a terminal.

Place in the flow: `live` and `batch` count in the session's `Progress` and report after every answer.

Example::

    with bar("gpt-4o") as report:
        report(progress)          # calls/s, tokens, dollars and the time that is left
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Report = Callable[["Progress"], None]


@dataclass
class Progress:
    """Counters of one `ask_many`."""

    total: int
    done: int = 0
    from_store: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def calls_per_s(self) -> float:
        return (self.done - self.from_store) / max(1e-9, time.monotonic() - self.started)


@contextlib.contextmanager
def bar(model: str) -> Iterator[Report]:
    """A function to report progress to; it shows nothing where there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from sei.terminal import Terminal

    console = Terminal(stderr=True)
    if not console.is_terminal:
        yield lambda progress: None
        return
    figures = TextColumn("{task.fields[figures]}")
    columns = (TextColumn(f"teacher {model}"), BarColumn(), MofNCompleteColumn(), figures, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=None, figures="")

        def report(progress: Progress) -> None:
            tokens = f"{(progress.tokens_in + progress.tokens_out) / 1000:.1f}k tokens"
            figures = f"{progress.calls_per_s:.1f} calls/s  {tokens}  ${progress.usd:.4f}"
            shown.update(task, total=progress.total, completed=progress.done, figures=figures)

        yield report
