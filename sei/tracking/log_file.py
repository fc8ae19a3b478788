"""What a job prints, in a file of its run folder: `log.txt`.

Place in the flow: `train.py` runs a job `with logged(folder)`. What a terminal is shown is written as it stands in the end:
colours and the redrawing of progress bars are left out. A job that goes on after a kill appends. Processes that a job starts
have the terminal alone. Example::

    with logged(Path("multirun/sweep-1a2b3c4d/cot-seed0-27f9d636")):
        print("in both")
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

NAME = "log.txt"
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-_])")
_UP = "\x1b[1A"  # the cursor goes back to the line before, to write over it
_REDRAWN = re.compile(r"^.*(?:\r(?!\n)|\x1b\[[12]?[KJ])", re.DOTALL)  # on a line: all that was written over since


class _Both:
    """A stream that writes into a file too, in whole lines. Everything else is the stream's."""

    def __init__(self, stream: TextIO, file: TextIO) -> None:
        self._stream, self._file, self._line = stream, file, ""
        self._bar = ""  # a line that was redrawn: the next one may take it away

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        *whole, self._line = (self._line + text).split("\n")
        with contextlib.suppress(OSError, ValueError):  # a full disk is said where something that matters is written
            for line in whole:
                self._add(line.rstrip("\r"))
            if whole:
                self._file.flush()
        return written

    def _add(self, line: str) -> None:
        if self._bar and _UP not in line:
            self._file.write(self._bar)
        redrawn = _REDRAWN.match(line) is not None
        text = f"{_ESCAPE.sub('', _REDRAWN.sub('', line))}\n"
        self._bar = text if redrawn and _UP not in line else ""
        if not self._bar and not (redrawn and text.isspace()):
            self._file.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Meanwhile standard output and standard error go to `folder/log.txt` too, where it can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / NAME).open("a", encoding="utf-8", errors="replace")
    except OSError:  # the run itself says so
        yield
        return
    before = sys.stdout, sys.stderr
    with file:
        sys.stdout, sys.stderr = _Both(sys.stdout, file), _Both(sys.stderr, file)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
