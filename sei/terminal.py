r"""Printing for a person: whatever outside text is in it, a terminal shows it and obeys none of it.

Purpose: names and messages come from models, teachers and files. An escape sequence in them would move the cursor, clear the
screen or set the window's title; a bracket would be read as rich's own markup. Every console of this project is a `Terminal`.
Place in the flow: `tracking.display` and the commands `python -m sei.*` print through it. Errors, which are printed
without it, are `printable` by construction.

Example::

    Terminal().print("\x1b[2J [/red]")          # the two as they stand here, and the screen as it was
"""

from __future__ import annotations

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
