"""What training changed about the test items of a group: fixed, broken, still wrong, still right, and which ones.

Place in the flow: groups -> **transitions** -> rows. Counts are of items and seeds together; the two shares have intervals over
items, since the seeds of a group answer the same ones.

Example::

    found = list(transitions(runs, "in_domain"))
    found[0].fixed, found[0].fixed_share           # 41, Interval(mean=0.17..., low=0.13..., high=0.22...)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sei.comparison.runs import Item, Run
from sei.statistics import Interval, shares_interval

FIXED, BROKEN, STILL_WRONG, STILL_RIGHT = "fixed", "broken", "still wrong", "still right"


@dataclass(frozen=True)
class Transition:
    """What became of the items of one part of a test set; a share is None where no item could have turned that way."""

    by: str  # all | level | family | error type
    part: str
    fixed: int
    broken: int
    still_wrong: int
    still_right: int | None  # None by error type: what is right has none
    fixed_share: Interval | None  # of the items that were wrong
    broken_share: Interval | None  # of those that were right; None by error type


def transitions(runs: Sequence[Run], eval_set: str) -> Iterator[Transition]:
    """The whole set, then its levels, families and error types, of the runs of one group.

    An error type counts the mistakes that were of it before training (fixed, still wrong) and those of items that were right,
    which are of it now (broken). Types of the same name are the same one in all seeds.
    """
    found = [run.items[eval_set] for run in runs if run.items.get(eval_set)]
    if not found:
        return
    yield _of_part("all", "", found, lambda item: True)
    everything = [item for items in found for item in items.values()]
    levels = sorted({item.level for item in everything if item.level})
    families = sorted({item.family for item in everything if item.family})
    types = sorted({name for item in everything for name in item.types if name})
    for level in levels if len(levels) > 1 else ():
        yield _of_part("level", str(level), found, lambda item, level=level: item.level == level)  # type: ignore[misc]
    for family in families if len(families) > 1 else ():
        yield _of_part("family", family, found, lambda item, family=family: item.family == family)  # type: ignore[misc]
    for name in types:
        yield _of_type(name, found)


def _of_part(by: str, part: str, found: Sequence[Mapping[str, Item]], belongs: Callable[[Item], bool]) -> Transition:
    own = [{key: item for key, item in items.items() if belongs(item)} for items in found]
    counts = Counter(item.change for items in own for item in items.values())
    return Transition(
        by,
        part,
        fixed=counts[FIXED],
        broken=counts[BROKEN],
        still_wrong=counts[STILL_WRONG],
        still_right=counts[STILL_RIGHT],
        fixed_share=_share(own, FIXED, STILL_WRONG),
        broken_share=_share(own, BROKEN, STILL_RIGHT),
    )


def _of_type(name: str, found: Sequence[Mapping[str, Item]]) -> Transition:
    wrong = [{key: item for key, item in items.items() if item.types[0] == name} for items in found]
    broken = sum(item.change == BROKEN and item.types[1] == name for items in found for item in items.values())
    fixed, still = (
        sum(item.change == one for items in wrong for item in items.values()) for one in (FIXED, STILL_WRONG)
    )
    return Transition("error type", name, fixed, broken, still, None, _share(wrong, FIXED, STILL_WRONG), None)


def _share(found: Sequence[Mapping[str, Item]], turned: str, stayed: str) -> Interval | None:
    """The share that turned of what could have, by item: an item's share is that of its seeds."""
    by_item: dict[str, list[bool]] = {}
    for items in found:
        for key, item in items.items():
            if item.change in (turned, stayed):
                by_item.setdefault(key, []).append(item.change == turned)
    if not by_item:
        return None
    return shares_interval([[sum(values) / len(values) for values in by_item.values()]])
