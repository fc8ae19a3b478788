"""All records of a run as one graph: what each came from, and what came of it.

Place in the flow: a run folder -> **graph** -> `python -m sei.trace`. Every record names the ids that it was made from; read
backwards they say what was made of it. A test item belongs to the error type of its mistake before training, and so to the new
problems and training rows of that type. Example::

    graph = read_graph(Path("multirun/sei-tiny-arithmetic-seed0-e3b0c442"))
    [node.id for node in graph.made_of("type-80abbce65e1a")]        # new problems, and test items
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sei.errors import UserError
from sei.run_files import understood
from sei.tracking.page import texts
from sei.tracking.page.folder import Json, RunFolder
from sei.tracking.page.types import types

# The fields by which a record names what it was made from.
_SOURCES = ("parents", "problem_id", "attempt_id", "mistake_id", "mistake_ids", "error_type")
ERROR_TYPE, TEST_ITEM = "error type", "test item"
_KINDS = {
    "problem": "problem",
    "attempt": "attempt",
    "mistake": "mistake",
    "diagnosis": "diagnosis",
    "type": ERROR_TYPE,
    "synthetic": "new problem",
    "correction": "correction",
    "example": "training row",
    "pair": "training pair",
    "template": "template",
    "trace": "trace",
    "rejected": "rejected",
}


@dataclass
class Node:
    """One record: what kind it is, the stages that have it, and the ids that it was made from."""

    id: str
    kind: str
    record: Json
    stages: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @property
    def change(self) -> str | None:
        """What training changed about a test item; None for other records."""
        return self.record.get("change") if self.kind == TEST_ITEM else None


@dataclass(frozen=True)
class Graph:
    """The records of a run by id, in the order of the run. `aliases`: other ids of a record, such as its outcomes'."""

    path: Path
    status: Json
    nodes: Mapping[str, Node]
    made: Mapping[str, list[str]]
    aliases: Mapping[str, str]

    def sources_of(self, identity: str) -> list[Node]:
        """What a record was made from, as far as the run has it."""
        return [self.nodes[one] for one in self.nodes[identity].sources if one in self.nodes]

    def made_of(self, identity: str) -> list[Node]:
        """What was made of a record; a test item's attempts are told by the item itself."""
        if self.nodes[identity].kind == TEST_ITEM:
            return []
        return [self.nodes[one] for one in self.made.get(identity, ())]

    def of_kind(self, kind: str) -> list[Node]:
        """All records of one kind."""
        return [node for node in self.nodes.values() if node.kind == kind]


def read_graph(path: Path) -> Graph:
    """The graph of the run in `path`. Raises UserError where there is no run, or it has finished no stage."""
    run = RunFolder(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder. Give a run folder, such as multirun/sei-tiny-arithmetic-seed0-...")
    with understood(path):
        stages = run.stages
    if not stages:
        inside = sorted(path.glob("*/stages"))
        raise UserError(
            f"{path}: this folder has no finished stage ({_state(run.status)}). "
            + (f"Give one of the run folders in it, such as {inside[0].parent}." if inside else "Give a run folder.")
        )
    nodes: dict[str, Node] = {}
    aliases: dict[str, str] = {}
    with understood(path):
        for name, record in _records(run):
            node = nodes.setdefault(record["id"], Node(record["id"], _kind(record["id"]), record))
            node.record = record
            node.stages += [name] if name not in node.stages else []
            node.sources = list(dict.fromkeys([*node.sources, *sources(record)]))
        aliases |= _add_items(run, nodes)
    made: dict[str, list[str]] = {}
    for node in nodes.values():
        for source in node.sources:
            if source in nodes:
                made.setdefault(source, []).append(node.id)
    return Graph(path, run.status, nodes, made, aliases)


def _state(status: Mapping[str, Any]) -> str:
    error = f": {status['error']}" if status.get("error") else ""
    return f"its status is {status['status']}{error}"


def _records(run: RunFolder) -> Iterator[tuple[str, Json]]:
    """Every record, with the stage that has it, and every rejected one."""
    for stage in run.stages:
        for record in stage.records():
            yield stage.published, record
        for record in stage.rejected():
            if record["reason"] != "correct":  # an attempt that is right was not rejected, it just is no mistake
                yield stage.published, record | {"parents": [record["source_id"]]}


def _kind(identity: str) -> str:
    name = identity.partition("-")[0]
    return _KINDS.get(name, name)


def sources(record: Mapping[str, Any]) -> list[str]:
    """The ids by which a record says what it was made from."""
    found: list[str] = []
    for name in _SOURCES:
        value = record.get(name) or []
        found += [value] if isinstance(value, str) else value
    return found


def _add_items(run: RunFolder, nodes: dict[str, Node]) -> dict[str, str]:
    """Put the test items to the nodes; their other ids, those of outcomes and diagnoses.

    An item's sources are the error types of its mistakes: what was trained on for these is what may have changed it.
    """
    numbered = types(run)
    ids = {kind["number"]: kind["id"] for kind in numbered}
    numbers = {kind["id"]: kind["number"] for kind in numbered}
    aliases: dict[str, str] = {}
    for item in texts.items(run, numbers):
        sides = [item[when] for when in ("before", "after") if when in item]
        sources = [ids[side["type"]] for side in sides if side.get("type") in ids]
        node = nodes.setdefault(item["id"], Node(item["id"], TEST_ITEM, item))
        node.kind, node.record = TEST_ITEM, item
        node.sources = list(dict.fromkeys([*node.sources, *sources]))
        node.stages += [item["set"]]
        aliases |= {side["id"]: item["id"] for side in sides}
    for (_, _, problem), row in texts.test_diagnoses(run).items():
        nodes.pop(row["id"], None)
        aliases[row["id"]] = problem
    return aliases
