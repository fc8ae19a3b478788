"""The tables of `python -m sei.planted`, for a person.

Place in the flow: `__main__` prints what `discovery` and `repair` found through here. Example::

    show({"discovery": None, "repair": repair(runs)}, Terminal())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from sei.planted.discovery import DRAWS
from sei.terminal import Terminal


def show(figures: Mapping[str, Any], console: Terminal) -> None:
    """The tables for a person."""
    if found := figures["discovery"]:
        _show_discovery(found, console)
    names = " ".join(
        f"{recipe} {', '.join(f'{one:,}' for one in own)}" for recipe, own in figures["repair"]["tokens"].items()
    )
    title = (
        "Repair: % of test items with each planted rule's answer (planted there / elsewhere), before > after training"
    )
    table = _table(title, "recipe", "rule", numbers=("items", "planted", "right", "mended", "elsewhere", "its answer"))
    for row in figures["repair"]["rules"]:
        table.add_row(
            row["recipe"], row["rule"], str(row["items"]), _turned(row["shown"], row["items"]),
            _turned(row["right"], row["items"]), "yes" if row["repaired"] else "no",
            str(row["elsewhere"]), _turned(row["shown_elsewhere"], row["elsewhere"]),
        )  # fmt: skip
    console.print(table)
    table = _table("Right on items for which no rule was planted, %", "recipe", numbers=("items", "before", "after"))
    for recipe, sides in figures["repair"]["elsewhere"].items():
        table.add_row(recipe, str(sides["before"][1]), *(_share(*sides[when]) for when in ("before", "after")))
    console.print(table)
    if rows := figures["repair"]["against_cot"]:
        table = _table(
            "Planted answers after training, points against cot on the same items", "recipe",
            numbers=("seeds", "items", "difference", "95 % interval", "p", "p (Holm)"),
        )  # fmt: skip
        for row in rows:
            table.add_row(
                row["recipe"], str(row["seeds"]), str(row["items"]), f"{100 * row['difference']:+.1f}",
                f"[{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]", f"{row['p']:.4f}", f"{row['p_holm']:.4f}",
            )  # fmt: skip
        console.print(table)
    console.print(f"Tokens trained on, by run: {names}")


def _show_discovery(found: Mapping[str, Any], console: Terminal) -> None:
    following = sum(found["following"].values())
    console.print(
        f"{found['run']}: {following:,} of {found['mistakes']:,} training mistakes follow a planted rule, "
        f"{found['diagnosed']:,} were diagnosed."
    )
    table = _table("Discovery", "embedder", "clusterer", "rules found", numbers=("types", "purity", "Rand"))
    for row in found["by_clusterer"]:
        rules = f"{len(row['found'])}: {', '.join(row['found'])}" if row["found"] else "none"
        numbers = (str(row["types"]), f"{row['purity']:.2f}", f"{row['rand']:.2f}")
        table.add_row(row["embedder"], row["clusterer"], rules, *numbers)
    console.print(table)
    table = _table("Error types (hashing, kmeans)", "type", "mistakes of it that follow a rule", numbers=("size",))
    for kind in found["types"]:
        counts = sorted(kind["rules"].items(), key=lambda item: -item[1])
        table.add_row(kind["name"], ", ".join(f"{name} {count}" for name, count in counts), str(kind["size"]))
    console.print(table)
    sizes = sorted({size for by_size in found["needed"].values() for size in by_size})
    table = _table(
        f"How many of {DRAWS} random subsets find a rule, by number of mistakes", "rule",
        numbers=("all its mistakes", *map(str, sizes)),
    )  # fmt: skip
    for name, by_size in found["needed"].items():
        table.add_row(name, str(found["following"].get(name, 0)), *(str(by_size.get(size, "")) for size in sizes))
    console.print(table)


def _table(title: str, *texts: str, numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in texts:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _share(count: int, n: int) -> str:
    return f"{100 * count / n:.0f}" if n else ""


def _turned(sides: Mapping[str, int], n: int) -> str:
    return f"{_share(sides['before'], n)} > {_share(sides['after'], n)}" if n else ""
