"""A job's log holds what a terminal showed in the end."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.progress import Progress

from sei.terminal import Terminal
from sei.tracking.log_file import NAME, logged


def test_both_streams_are_kept_and_a_second_start_appends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for turn in (1, 2):
        with logged(tmp_path / "run"):
            print(f"out {turn}")
            print("\x1b[31mred\x1b[0m", file=sys.stderr)
    assert (tmp_path / "run" / NAME).read_text() == "out 1\nred\nout 2\nred\n"
    assert capsys.readouterr().out == "out 1\nout 2\n"
    print("after")
    assert "after" not in (tmp_path / "run" / NAME).read_text()


def test_a_bar_that_is_taken_away_leaves_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with logged(tmp_path):
        console = Terminal(force_terminal=True, width=60)
        with Progress(console=console, transient=True, auto_refresh=False) as bar:
            task = bar.add_task("work", total=3)
            for done in range(4):
                bar.update(task, completed=done, refresh=True)
            console.print("said above the bar")
        console.print("done")
    assert "work" in sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert (tmp_path / NAME).read_text() == "said above the bar\ndone\n"


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with logged(tmp_path / "file" / "run"):
        print("said")
    assert capsys.readouterr().out == "said\n"
