"""Solutions in which a person has marked the first wrong step, in ProcessBench's fields (arXiv 2412.06559).

Place in the flow: `sei.calibrate --labels` reads them here, to measure how well a teacher finds that step. They lie on the
hub, or in a file of rows with the fields `problem`, `steps` (a list of texts), `label` (the index of the first wrong one
counted from 0, -1 where all are right), and, where known, `id`, `generator` and `final_answer_correct`.

Example::

    read_labelled("processbench/gsm8k")[0].label      # 1: the second step is the first wrong one
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sei.data.files import WANTED, Fault, Row, rows
from sei.data.sources import Hub, hub_rows
from sei.errors import UserError

SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")
FIELDS = "problem, steps (a list of texts), label (the index of the first wrong step, -1 where all are right)"
_PREFIX = "processbench/"
_HUB = Hub("Qwen/ProcessBench", None, {split: (split,) for split in SPLITS})
_MOST_FAULTS = 5  # named in one message


@dataclass(frozen=True)
class Labelled:
    """A solution and a person's label of it."""

    id: str
    generator: str  # the model that wrote the solution, "" where unknown
    problem: str
    steps: tuple[str, ...]
    label: int  # index of the first wrong step, from 0; -1: all steps are right
    final_answer_correct: bool | None


def read_labelled(name: str) -> list[Labelled]:
    """The solutions of `processbench/SPLIT` on the hub or of a file. Raises UserError for everything that is wrong with them."""
    found: Iterable[tuple[str, Row | Fault]]
    if name.startswith(_PREFIX):
        split = name.removeprefix(_PREFIX)
        if split not in SPLITS:
            known = ", ".join(_PREFIX + one for one in SPLITS)
            raise UserError(f"--labels {name}: no such split. Known: {known}; or give a file with the fields {FIELDS}.")
        remedy = f"Download it elsewhere and give the file: rows with the fields {FIELDS}."
        found = hub_rows(_HUB, split, f"--labels {name}", remedy)
    else:
        if not Path(name).exists():
            raise UserError(f"--labels {name}: no such file. Give one, or {_PREFIX}gsm8k to read the hub's.")
        found = rows(Path(name))
    labelled: list[Labelled] = []
    faults: list[str] = []
    places: dict[str, str] = {}
    for place, row in found:
        try:
            if isinstance(row, Fault):
                raise row
            one = _labelled(row, place)
            if one.id in places:
                raise Fault(f"id {one.id!r} is that of {places[one.id]} too")
        except Fault as fault:
            faults.append(f"{place}: {fault}")
            continue
        places[one.id] = place
        labelled.append(one)
    if faults:
        more = f"\nand {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise UserError("\n".join(faults[:_MOST_FAULTS]) + f"{more}\nWanted: rows with the fields {FIELDS}.")
    if not labelled:
        raise UserError(f"--labels {name}: no rows in it. {WANTED}, with the fields {FIELDS}.")
    return labelled


def _labelled(row: Row, place: str) -> Labelled:
    """A row, checked. Raises Fault."""
    problem, steps, label = row.get("problem"), row.get("steps"), row.get("label")
    if not isinstance(problem, str) or not problem.strip():
        raise Fault(f"problem: expected a text, found {_shown(problem)}")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step.strip() for step in steps):
        raise Fault(f"steps: expected a list of texts, none of them empty, found {_shown(steps)}")
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
        raise Fault(f"label: expected a whole number from -1 to {len(steps) - 1}, found {_shown(label)}")
    identity, generator = row.get("id", place), row.get("generator", "")
    for field, value in (("id", identity), ("generator", generator)):
        if not isinstance(value, str):
            raise Fault(f"{field}: expected a text, found {_shown(value)}")
    correct = row.get("final_answer_correct")
    if correct is not None and not isinstance(correct, bool):
        raise Fault(f"final_answer_correct: expected true or false, found {_shown(correct)}")
    return Labelled(identity, generator, problem, tuple(steps), label, correct)


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]
