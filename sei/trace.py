"""Follow a record through a run: `python -m sei.trace RUN [ID]`.

Place in the flow: after a run (or during one). ID is any record of the run, or the beginning of one: a test item, a training row,
an error type, a mistake, a new problem. Prints what it says, what it was made from, and what came of it, as trees; from
a test item that became right this leads to the training rows of its error type. Without ID: the error types, what training fixed
and broke of each, and ids to go on with. On a terminal long lists are cut; elsewhere each record is a line of its own, with
tabs between direction, depth, kind, id and text.

Example::

    python -m sei.trace multirun/sei-tiny-arithmetic-seed0-e3b0c442
    python -m sei.trace multirun/sei-tiny-arithmetic-seed0-e3b0c442 type-de0abcc1aefa
    python -m sei.trace multirun/sei-tiny-arithmetic-seed0-e3b0c442 type-de0a | grep 'training row'
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.tree import Tree

from sei.errors import UserError, printable
from sei.terminal import Terminal
from sei.tracking.display import print_table
from sei.tracking.graph import ERROR_TYPE, TEST_ITEM, Graph, Node, read_graph

_MOST = (5, 2)  # records of one kind below the record that was asked for, and below others, on a terminal
_NEAREST = 5

Relatives = Callable[[str], Sequence[Node]]


@dataclass(frozen=True)
class Step:
    """One line of a tree: a record, or how many were left out (`node` is None)."""

    direction: str  # "from" what it was made, "to" what came of it
    depth: int
    node: Node | None
    text: str


def find(graph: Graph, wanted: str) -> Node:
    """The record with this id, or the only one whose id begins so. Raises UserError, with the nearest ids."""
    known = {**dict.fromkeys(graph.nodes), **dict.fromkeys(graph.aliases)}
    if wanted not in known:
        begun = [one for one in known if one.startswith(wanted)] if wanted else []
        records = list(dict.fromkeys(graph.aliases.get(one, one) for one in begun))
        if len(records) != 1:
            raise UserError(_not_found(graph, wanted, records, list(known)))
        wanted = records[0]
    return graph.nodes[graph.aliases.get(wanted, wanted)]


def _not_found(graph: Graph, wanted: str, begun: Sequence[str], known: Sequence[str]) -> str:
    if begun:
        more = f" and {len(begun) - _NEAREST:,} more" if len(begun) > _NEAREST else ""
        return f"{wanted}: {len(begun):,} records begin so: {', '.join(begun[:_NEAREST])}{more}. Give more of the id."
    kind = wanted.partition("-")[0]
    alike = [one for one in known if one.partition("-")[0] == kind] or known
    nearest = difflib.get_close_matches(wanted, alike, n=_NEAREST, cutoff=0.5)
    state = graph.status["status"]
    unfinished = "" if state == "done" else f" The run is {state}: what its later stages make is not there."
    near = f" Nearest: {', '.join(nearest)}." if nearest else ""
    return (
        f"{wanted}: no record of {graph.path} has this id.{near}{unfinished} "
        f"Ids to begin with: {shlex.join(['python', '-m', 'sei.trace', str(graph.path)])}"
    )


def steps(graph: Graph, node: Node, most: tuple[int, int] | None) -> Iterator[Step]:
    """The trees of a record, line by line. `most`: records of one kind below it, and below others; None for all."""
    directions: tuple[tuple[str, Relatives], ...] = (("from", graph.sources_of), ("to", graph.made_of))
    for direction, relatives in directions:
        if direction == "from" and node.kind == TEST_ITEM:
            relatives = _learned_for(graph)
        yield from _below(node, relatives, direction, 1, most, {node.id})


def _learned_for(graph: Graph) -> Relatives:
    """From a test item to its error types, and from these on to what was trained on for them."""

    def relatives(identity: str) -> Sequence[Node]:
        if graph.nodes[identity].kind == TEST_ITEM:
            return graph.sources_of(identity)
        return [one for one in graph.made_of(identity) if one.kind != TEST_ITEM]

    return relatives


def _below(
    node: Node, relatives: Relatives, direction: str, depth: int, most: tuple[int, int] | None, shown: set[str]
) -> Iterator[Step]:
    shares = Counter[tuple[str, str | None]]()
    everything = _nearest(relatives, node.id)
    in_all = Counter((one.kind, one.change) for one in everything)
    limit = None if most is None else most[depth > 1]
    for one in sorted(everything, key=_order):
        key = (one.kind, one.change)
        shares[key] += 1
        if limit is not None and shares[key] > limit:
            if shares[key] == limit + 1:
                changed = f", {one.change}" if one.change else ""
                yield Step(direction, depth, None, f"and {in_all[key] - limit:,} more: {one.kind}{changed}")
            continue
        again = one.id in shown
        shown.add(one.id)
        further = bool(relatives(one.id)) if again else False
        yield Step(direction, depth, one, summary(one) + (" (see above)" if further else ""))
        if not again:
            yield from _below(one, relatives, direction, depth + 1, most, shown)


def _order(node: Node) -> tuple[bool, bool, bool, str]:
    """Where a record stands among its like: what many others share comes last, and what was fixed before what was not."""
    return node.kind == ERROR_TYPE, node.kind == TEST_ITEM, node.change != "fixed", node.change or ""


def _nearest(relatives: Relatives, identity: str) -> list[Node]:
    """The relatives of a record but those that another one, nearer to it, leads to: a row names its mistake as well as the
    new problem that was made from it."""
    found = relatives(identity)
    beyond = {further.id for one in found if one.kind != ERROR_TYPE for further in relatives(one.id)}
    return [one for one in found if one.id not in beyond]


def summary(node: Node) -> str:
    """A record in one line."""
    record = node.record
    said: dict[str, Callable[[], str]] = {
        "problem": lambda: record["question"],
        "attempt": lambda: f"{record['verdict']}: {record['output']}",
        "mistake": lambda: f"{record['output']} (gold {record['gold_answer']})",
        "diagnosis": lambda: f"step {record['step']}: {'; '.join(record['keyphrases'])}",
        ERROR_TYPE: lambda: f"{record['name']} ({record['size']:,} mistakes, round {record['round']})",
        "new problem": lambda: f"{record['question']} -> {record['answer']}{_score(record)}",
        "correction": lambda: f"step {record['step']}: {record['explanation']}",
        "training row": lambda: f"{record['kind']}, in {', '.join(node.stages)}: {record['response']}",
        "training pair": lambda: f"{record['kind']}, in {', '.join(node.stages)}: {record['chosen']}",
        "rejected": lambda: f"by {', '.join(node.stages)}: {record['reason']} {record['detail']}",
        TEST_ITEM: lambda: f"{record['change']}, {record['set']}: {record['question']}",
    }
    text = said.get(node.kind, lambda: str(record.get("text") or record.get("cause") or ""))()
    return " ".join(text.split())


def _score(record: dict[str, Any]) -> str:
    return f", one-shot score at least {record['score']:.2f}" if record.get("score") is not None else ""


def details(node: Node) -> Iterator[tuple[str, str]]:
    """What a record says in full: names and texts."""
    record = node.record
    if node.kind != TEST_ITEM:
        yield from (
            (name.replace("_", " "), _text(value))
            for name, value in record.items()
            if name not in ("id", "centroid", "parents", "mistake_ids", "source_id") and value not in ("", [], None)
        )
        return
    yield from ((name, str(record[name])) for name in ("set", "family", "level", "question", "gold") if record[name])
    for when in ("before", "after"):
        if when in record:
            side = record[when]
            yield f"{when} training", f"{side['verdict']}: {side['output']}"
            if side.get("diagnosis"):
                yield f"why it is wrong {when}", side["diagnosis"]
    yield "change", record["change"]


def _text(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def show(graph: Graph, node: Node, console: Terminal) -> None:
    """The record and its trees: drawn on a terminal, elsewhere a line for each record."""
    if not console.is_terminal:
        console.file.writelines(f"{line}\n" for line in _lines(graph, node))  # a console would make spaces of the tabs
        return
    console.print(f"{node.kind} {node.id}")
    for name, text in details(node):
        lines = text.splitlines() or [""]
        console.print(f"  {name}: " + "\n    ".join(lines if len(lines) == 1 else ["", *lines]))
    _draw(graph, node, console)


def _draw(graph: Graph, node: Node, console: Terminal) -> None:
    titles = {"from": "What it was made from", "to": "What came of it"}
    if node.kind == TEST_ITEM:
        titles["from"] = "What was trained on for the error type of its mistakes"
    found = list(steps(graph, node, _MOST))
    for direction, title in titles.items():
        own = [step for step in found if step.direction == direction]
        if not own:
            continue
        tree = Tree(title)
        places = [tree]
        for step in own:
            name = "" if step.node is None else f"{step.node.kind} {step.node.id}: "
            label = console.render_str(f"{name}{step.text}")
            label.no_wrap, label.overflow = True, "ellipsis"
            del places[step.depth :]
            places.append(places[-1].add(label))
        console.print()
        console.print(tree)
    if node.kind == TEST_ITEM and not found:
        console.print(f"\n{_no_type(graph, node)}")


def _no_type(graph: Graph, node: Node) -> str:
    if not graph.of_kind(ERROR_TYPE):
        return (
            "This run's recipe forms no error types, so nothing says which training rows were for this item's mistake."
        )
    wrong = [when for when in ("before", "after") if node.record.get(when, {}).get("verdict") == "wrong"]
    return "Its mistake belongs to no error type." if wrong else "It was no mistake, so it belongs to no error type."


def overview(graph: Graph, console: Terminal) -> None:
    """The error types with what was made for each and what training changed, or what else the run has; where to go on."""
    kinds = graph.of_kind(ERROR_TYPE)
    if kinds:
        print_table(console, _types(graph, kinds))
    else:
        counts = Counter(node.kind for node in graph.nodes.values())
        table = Table(title="Records of this run, which has no error types")
        for column in ("kind", "records", "the first one"):
            table.add_column(column, justify="right" if column == "records" else "left", overflow="fold")
        for kind, count in counts.items():
            table.add_row(kind, f"{count:,}", graph.of_kind(kind)[0].id)
        print_table(console, table)
    fixed = [item for kind in kinds for item in graph.made_of(kind.id) if item.change == "fixed"]
    for node in (*kinds[:1], *fixed[:1]):
        console.print(f"next: {shlex.join(['python', '-m', 'sei.trace', str(graph.path), node.id])}", soft_wrap=True)


def _types(graph: Graph, kinds: Sequence[Node]) -> Table:
    table = Table(title="Error types: what was made for each, and what training changed about test items of it")
    table.add_column("id", no_wrap=True)
    table.add_column("error type", overflow="fold", min_width=16)
    columns = ("mistakes", "new problems", "training rows", "fixed", "still wrong", "broken")
    for column in columns:
        table.add_column(column, justify="right")
    for kind in kinds:
        made = graph.made_of(kind.id)
        new = [one for one in made if one.kind == "new problem"]
        rows = {row.id for one in new for row in graph.made_of(one.id) if row.kind == "training row"}
        items = Counter(one.change for one in made)
        counts = (kind.record["size"], len(new), len(rows), items["fixed"], items["still wrong"], items["broken"])
        table.add_row(kind.id, kind.record["name"], *(f"{count:,}" for count in counts))
    return table


def _lines(graph: Graph, node: Node) -> Iterator[str]:
    yield _line("this", 0, node.kind, node.id, summary(node))
    for name, text in details(node):
        yield _line("says", 0, name, node.id, text)
    for step in steps(graph, node, None):
        assert step.node is not None
        yield _line(step.direction, step.depth, step.node.kind, step.node.id, step.text)


def _line(*cells: object) -> str:
    return "\t".join(printable(" ".join(str(cell).split())) for cell in cells)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sei.trace", description="Follow a record through a run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("id", metavar="ID", nargs="?", help="any record id of the run, or its beginning")
    args = parser.parse_args(arguments)
    console = Terminal(highlight=False)
    try:
        graph = read_graph(args.run)
        if args.id is None:
            overview(graph, console)
        else:
            show(graph, find(graph, args.id), console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if graph.status["status"] != "done":
        print(f"This run is {graph.status['status']}: what its later stages make is not there.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
