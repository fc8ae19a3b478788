"""What a terminal is sent: outside text as it can be seen, never as an order."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.table import Table

from sei.errors import UserError, printable
from sei.terminal import Terminal

ROOT = Path(__file__).parents[1]
NASTY = "\x1b[2J\x1b]0;title\x07\x9b1A\r\x08[/red][bold]\x00"
SEEN = "\\x1b[2J\\x1b]0;title\\x07\\x9b1A\\x0d\\x08[/red][bold]\\x00"


@pytest.mark.parametrize("terminal", [True, False])
def test_no_string_is_obeyed(terminal: bool) -> None:
    console = Terminal(file=io.StringIO(), force_terminal=terminal, color_system=None, width=300, highlight=False)
    table = Table(title=f"t {NASTY}", caption=NASTY)
    table.add_column(f"c {NASTY}")
    table.add_row(f"r {NASTY}")
    console.print(table)
    console.print(f"p {NASTY}")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count(SEEN) == 5
    own = re.sub(r"\x1b\[[0-9;]*m", "", text)  # rich's own: bold and colours
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", own)


def test_an_error_shows_what_it_quotes() -> None:
    assert str(UserError(f"a {NASTY}\n\tb")) == f"a {SEEN}\n\tb"
    assert printable("é ½ 中\n") == "é ½ 中\n"
    assert printable("a \ud800 half") == "a \\ud800 half"


def test_every_console_is_a_terminal() -> None:
    elsewhere = [path for path in (ROOT / "sei").rglob("*.py") if "rich.console" in path.read_text(encoding="utf-8")]
    assert [path.name for path in elsewhere] == ["terminal.py"]
