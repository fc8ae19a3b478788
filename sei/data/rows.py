"""From the rows of a file to problems with checked gold answers.

Purpose: one way to read rows, whoever published them, so that every fault is reported with path, line and field, up to
five at once.
Place in the flow: `sei.data.sources` (published sets) and `sei.data.jsonl` (a file of the user's own) read the rows of
`sei.data.files` here; what they add is a reader, which turns one row into the fields of a `Problem`.

Example::

    to_problems(files.rows(Path("test.jsonl")), formats.gsm8k, name="gsm8k", split="test", style="gsm8k")
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sei import answers
from sei.data.files import MAX_FAULTS, Fault, Row
from sei.errors import UserError
from sei.records import Problem, Rejected

logger = logging.getLogger(__name__)

SHOWN = 5  # faults reported at once
MESSAGE = 400  # characters of one of them

Reader = Callable[[Row], dict[str, Any]]  # the fields of a `Problem` apart from source and split


class Skip(Exception):
    """A row that does not belong to the set (another topic, no numeric answer); counted and logged, no fault."""


def to_problems(
    rows: Iterable[tuple[str, Row | Fault]],
    read: Reader,
    *,
    name: str,
    split: str,
    style: answers.Style,
    strict: bool = True,
    unread: list[Rejected] | None = None,
    remedy: str = "Mend or remove them",
) -> list[Problem]:
    """The problems of located rows ("path:line", row). `strict`: equal problems are a fault, else the first one stays.

    Where a list `unread` is given, bad rows go there, with what is wrong with each. Otherwise this raises UserError with
    the first faults and the `remedy`.
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
        except (Fault, RecursionError) as fault:
            if unread is not None:
                unread.append(Rejected.make(where, "bad_row", located(where, fault), raw=_shown(row)))
                continue
            faults.append(located(where, fault))
            if len(faults) == MAX_FAULTS:
                break
        else:
            seen[problem.id] = where
            problems.append(problem)
    if faults:
        raise bad_rows(f"data={name}", faults, remedy)
    if skipped or (repeated and not strict):
        logger.info("data=%s %s: %d rows of no use here skipped, %d repeated", name, split, skipped, repeated)
    return problems


def located(where: str, fault: Fault | RecursionError) -> str:
    """A fault with its place; short, whatever a row holds."""
    message = str(fault) if isinstance(fault, Fault) else "a field is nested too deep to be shown"
    return f"{where}: {message if len(message) <= MESSAGE else message[:MESSAGE] + '...'}"


def _shown(row: Row | Fault) -> str:
    """A row as text, for whoever reads what was not used."""
    try:
        return "" if isinstance(row, Fault) else json.dumps(row, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return ""


def bad_rows(what: str, faults: Sequence[str], remedy: str) -> UserError:
    """The error that lists the first of the faults, each with its place."""
    more = f"\n  ... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    listing = "\n  ".join(faults[:SHOWN])
    count = f"{len(faults)} bad rows" + (" or more" if len(faults) == MAX_FAULTS else "")
    return UserError(f"{what}: {count}. {remedy}:\n  {listing}{more}")


def text(row: Row, *names: str) -> str:
    """The first of the named fields that the row has, as text. Raises Fault where none is there or it is empty."""
    for name in names:
        if name in row:
            return as_text(row[name], name)
    raise missing(row, names[0])


def optional(row: Row, *names: str) -> str:
    """The first of the named fields that holds text or a number, as text; "" where none does."""
    for name in names:
        try:
            return as_text(row.get(name), name)
        except Fault:
            continue
    return ""


def as_text(value: Any, name: str) -> str:
    """A field's value as text. Raises Fault where it is empty, or neither text nor a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Fault(
            f"field '{name}': expected text or a number, found {'null' if value is None else type(value).__name__}"
        )
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Fault(
                f"field '{name}': expected text or a number, found {value} (what pandas writes for a missing value)"
            )
        if value.is_integer():  # tables often store whole numbers as 145.0
            value = int(value)
    found = str(value).strip()
    if not found:
        raise Fault(f"field '{name}' is empty")
    return found


def at(row: Row, name: str) -> Any:
    """The value of a field, or of one inside others: `conversations[0].value`, or `conversations.0.value`.

    Raises Fault where it is not there.
    """
    if name in row:
        return row[name]
    value: Any = row
    for step in re.findall(r"[^.\[\]]+", name):
        if isinstance(value, list) and re.fullmatch(r"-?[0-9]{1,9}", step) and -len(value) <= int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise missing(row, name)
    return value


def missing(row: Row, name: str) -> Fault:
    """The fault of a field that is not there, naming those that are."""
    return Fault(f"field '{name}' is missing (the row has: {', '.join(sorted(row)) or 'nothing'})")
