"""What the commands read of a run folder, whatever has happened to its files since.

Purpose: a run folder lives long: it is edited, copied in halves, and read by another version than wrote it. Each of that is an
error that names the file, and never a traceback or a figure made of nothing.
Place in the flow: `sei.compare`, `sei.ledger` and `sei.review` read with these. (The workspace's own cache checks checksums.)

Example::

    results = read_object(folder / "results.json")
    with understood(folder / "results.json"):
        accuracy = results["eval"]["in_domain"]["after"]["accuracy"]
    outcomes = read_checked(folder / "outcomes.jsonl", Outcome)
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from sei.errors import UserError
from sei.records import Record

R = TypeVar("R", bound=Record)

_REMEDY = "It was damaged or edited, or another version of sei wrote it: rerun the job in a new folder."


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON or YAML file. Raises UserError where it holds none."""
    load = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        found = load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({_brief(error)}). {_REMEDY}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no object but {type(found).__name__}. {_REMEDY}")
    return found


def read_checked(path: Path, record_type: type[R]) -> list[R]:
    """The records of a JSONL file, each value of the type that its field has. Raises UserError with the first bad line."""
    checked = pydantic.TypeAdapter(record_type)
    line_number = 0
    records: list[R] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                line_number += 1
                row = json.loads(line)
                checked.validate_python(row)
                records.append(record_type.from_json(row))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        place = f"{path}:{line_number}" if line_number else str(path)
        raise UserError(f"{place}: cannot be read as {record_type.__name__} ({_brief(error)}). {_REMEDY}") from error
    return records


@contextlib.contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn the errors of taking apart what `path` holds into one that names it."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{path}: field {error} is missing. {_REMEDY}") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: holds values of another kind ({_brief(error)}). {_REMEDY}") from error


def _brief(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, pydantic.ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"
    return " ".join(str(error).split())[:200]
