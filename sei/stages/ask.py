"""Ask: the target's completions, each on disk soon after it is there.

Place in the flow: `stages.attempt`, `second` and `select` ask the target through `ask`. What an interrupted stage has been told
is read again and the rest is asked: by prompt, so that it does not matter in which order or company it was asked before.

Example::

    ask(engine, [Query(prompt, question)], sampling, scratch, "attempts")[0][0].text
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sei.records import Record
from sei.stage import digest
from sei.target.engine import Completion, Engine, Query, Sampling, as_they_end
from sei.workspace import read_records, write_records

SAVE_EVERY = 30.0  # seconds of work that a kill can cost


@dataclass(frozen=True)
class Completed(Record):
    """The completions of one query."""

    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    models: tuple[str, ...]


def ask(
    engine: Engine,
    queries: Sequence[Query],
    sampling: Sampling,
    scratch: Path,
    name: str,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[Completion]]:
    """The completions of all queries, in order; `name` is what their files in `scratch` begin with."""
    ids = [digest(["completed", query.prompt, query.prefix, query.question]) for query in queries]
    paths = sorted(scratch.glob(f"{name}-*.jsonl"))
    found = {row.id: row for path in paths for row in read_records(path, Completed)}
    open_ = [index for index, one in enumerate(ids) if one not in found]
    unsaved: list[Completed] = []
    number, saved = len(paths), time.monotonic()
    try:
        for place, completions in as_they_end(engine, [queries[index] for index in open_], sampling):
            row = _row(ids[open_[place]], completions)
            found[row.id] = row
            unsaved.append(row)
            if time.monotonic() - saved >= SAVE_EVERY:
                write_records(scratch / f"{name}-{number:05d}.jsonl", unsaved)
                number, saved, unsaved = number + 1, time.monotonic(), []
            on_progress(len(found), len(ids))
    finally:
        if unsaved:
            write_records(scratch / f"{name}-{number:05d}.jsonl", unsaved)
    return [_completions(found[one]) for one in ids]


def _row(name: str, completions: Sequence[Completion]) -> Completed:
    return Completed(
        name,
        tuple(one.text for one in completions),
        tuple(one.tokens for one in completions),
        tuple(one.truncated for one in completions),
        tuple(one.model for one in completions),
    )


def _completions(row: Completed) -> list[Completion]:
    columns = zip(row.texts, row.tokens, row.truncated, row.models, strict=True)
    return [Completion(*one) for one in columns]
