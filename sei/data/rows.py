"""From the rows of a file to problems with checked gold answers.

Purpose: one way to read rows, whoever published them, so that every fault is reported with path, line and field, up to
five at once.
Place in the flow: `sei.data.sources` (published sets) and `sei.data.jsonl` (a file of the user's own) read here; what they
add is a reader, which turns one row into the fields of a `Problem`.

Example::

    to_problems(json_lines(Path("test.jsonl")), formats.gsm8k, name="gsm8k", split="test", style="gsm8k")
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sei import answers
from sei.errors import UserError
from sei.records import Problem

logger = logging.getLogger(__name__)

SHOWN = 5  # faults reported at once

Row = dict[str, Any]
Reader = Callable[[Row], dict[str, Any]]  # the fields of a `Problem` apart from source and split


class Fault(Exception):
    """What is wrong with one row; `to_problems` adds where."""


class Skip(Exception):
    """A row that does not belong to the set (another topic, no numeric answer); counted and logged, no fault."""


def json_lines(file: Path) -> Iterator[tuple[str, Row | Fault]]:
    """("path:line", object or fault) for every line that is not blank."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}).") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row: Row | Fault
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                row = Fault(f"expected a JSON object, found {type(row).__name__}")
        except json.JSONDecodeError as error:
            row = Fault(f"malformed JSON at column {error.colno} ({error.msg})")
        except (UnicodeDecodeError, RecursionError) as error:
            row = Fault(f"malformed JSON ({type(error).__name__})")
        yield f"{file}:{number}", row


def to_problems(
    rows: Iterable[tuple[str, Row | Fault]],
    read: Reader,
    *,
    name: str,
    split: str,
    style: answers.Style,
    strict: bool = True,
    remedy: str = "Mend or remove them",
) -> list[Problem]:
    """The problems of located rows ("path:line", row). `strict`: equal problems are a fault, else the first one stays.

    Raises UserError with the first faults and the `remedy`.
    """
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    faults: list[str] = []
    skipped = repeated = 0
    for where, row in rows:
        try:
            if isinstance(row, Fault):
                raise row
            problem = Problem.make(source=name, split=split, **read(row))
            if reason := answers.check_gold(problem, style):
                raise Fault(reason)
            if problem.id in seen:
                repeated += 1
                if strict:
                    raise Fault(f"the same problem (id {problem.id}) as at {seen[problem.id]}")
                continue
        except Skip:
            skipped += 1
        except Fault as fault:
            faults.append(f"{where}: {fault}")
        else:
            seen[problem.id] = where
            problems.append(problem)
    if faults:
        more = f"\n  ... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        listing = "\n  ".join(faults[:SHOWN])
        raise UserError(f"data={name}: {len(faults)} bad rows. {remedy}:\n  {listing}{more}")
    if skipped or (repeated and not strict):
        logger.info("data=%s %s: %d rows of no use here skipped, %d repeated", name, split, skipped, repeated)
    return problems


def text(row: Row, *names: str) -> str:
    """The first of the named fields that the row has, as text. Raises Fault where none is there or it is empty."""
    for name in names:
        if name in row:
            value = row[name]
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise Fault(f"field '{name}': expected text or a number, found {type(value).__name__}")
            if isinstance(value, float) and value.is_integer():  # tables often store whole numbers as 145.0
                value = int(value)
            found = str(value).strip()
            if not found:
                raise Fault(f"field '{name}' is empty")
            return found
    raise Fault(f"field '{names[0]}' is missing (the row has: {', '.join(sorted(row)) or 'nothing'})")
