"""Which commands a sweep consists of: what each asked for, and whether it is at work.

Place in the flow: every `python train.py -m ...` leaves a file in its sweep's folder as it starts (`sei.sweep`), so that a second
one adds jobs to the same sweep. `sei.compose` takes from there which keys the sweep varies, `python -m sei.sweep` which jobs are
still to come, and how to run them. While a command works it holds the lease beside its file. Example::

    <sweep>/commands/5f0c93ab.json      {"command": [...], "cwd": "...", "jobs": [["recipe=cot", "seed=0"], ...], "swept": [...]}
    <sweep>/commands/5f0c93ab.lease     who carries it out
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PLACE = "commands"  # in the sweep's folder


@dataclass(frozen=True)
class Command:
    """One command line of a sweep."""

    command: list[str]  # with the interpreter
    cwd: str
    jobs: list[list[str]] | None  # the overrides of each job; None where a search makes them up as it goes
    swept: list[str]  # the keys that it varies

    def write(self, folder: Path) -> Path:
        """Note it in a sweep's folder; the same command a second time is the same file."""
        name = hashlib.sha256("\0".join(self.command[1:]).encode()).hexdigest()[:8]
        path = folder / PLACE / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        aside.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        aside.replace(path)
        return path


def commands(folder: Path) -> dict[Path, Command]:
    """The commands of a sweep by their files, the oldest first. What cannot be read is none."""
    found = {}
    for path in sorted((folder / PLACE).glob("*.json"), key=lambda one: one.stat().st_mtime):
        try:
            found[path] = Command(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            continue
    return found


def swept_in(folder: Path) -> frozenset[str]:
    """The keys that the commands of a sweep vary."""
    return frozenset(key for one in commands(folder).values() for key in one.swept)


def with_seed(overrides: Sequence[str], seed: int) -> list[str]:
    """A job's overrides with its seed, so that one that left it out is the same as one that named it."""
    given = any(word.lstrip("+").startswith("seed=") for word in overrides)
    return list(overrides) if given else [*overrides, f"seed={seed}"]


def named(overrides: Sequence[str], swept: frozenset[str]) -> str:
    """What a job is called in its sweep: the settings that the sweep varies, or all of them."""
    words = [word.lstrip("+") for word in overrides]
    return " ".join(word for word in words if not swept or word.lstrip("~").partition("=")[0] in swept)
