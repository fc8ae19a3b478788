r"""Printing for a person: whatever outside text is in it, a terminal shows it and obeys none of it.

Purpose: names and messages come from models, teachers and files. An escape sequence in them would move the cursor, clear the
screen or set the window's title; a bracket would be read as rich's own markup. Every console of this project is a `Terminal`.
Place in the flow: `tracking.display` and the commands `python -m sei.*` print through it. Errors, which are printed
without it, are `printable` by construction. `SlowLines` tells of progress where there is no terminal.

Example::

    Terminal().print("\x1b[2J [/red]")          # the two as they stand here, and the screen as it was
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from sei.errors import printable


class Terminal(Console):
    """A rich console without markup that shows the control characters of every string it is given, in tables too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As the base class."""
        return super().render_str(printable(text), **options)


class SlowLines:
    """Progress where no bar can be drawn: a line each half minute, none of what takes less.

    Example: `attempts: 1,200 of 4,000, 0:45 of about 2:30`.
    """

    EVERY = 30.0  # seconds

    def __init__(self, what: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._say, self._clock = what, say, clock
        self._started = self._said = clock()
        self._first: int | None = None  # where this process began: a resumed work was further than nothing

    def update(self, done: int, total: int, more: str = "") -> None:
        """Say how far it is, where the last line is half a minute old. `more` follows the counts."""
        now = self._clock()
        self._first = done if self._first is None else self._first
        if now - self._said < self.EVERY:
            return
        self._said = now
        passed, own = now - self._started, done - self._first
        of_all = f" of about {_minutes(passed * (total - self._first) / own)}" if own > 0 else ""
        self._say(f"{self._what} {done:,} of {total:,}{more}, {_minutes(passed)}{of_all}")


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
