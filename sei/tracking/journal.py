"""Which rows of a job's history W&B has already: the job's identity over all its processes.

Place in the flow: the tracker writes a line for every row it logs, so that a job that was killed goes on in the same W&B
run, after the last step, and logs no row a second time. W&B writes to the disk every 15 seconds, so after a kill the last
rows count as lost: should they have been written, a point is in the history twice, on two steps. The journal lies in the
run folder, as `wandb/history.log`; deleting the folder `wandb` makes the job a new run. Example::

    journal = Journal(run / "wandb" / "history.log", name="sei-seed0")
    journal.run_id, journal.next_step                  # sei-seed0-5f0c93ab, 0
    journal.open("offline")
    journal.add("round1/train:1")
"""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from pathlib import Path
from typing import Any

PLACE = Path("wandb") / "history.log"  # in the run folder
_FLUSHED = 20.0  # seconds after which a row is on the disk: W&B's x_transaction_log_flush_interval, and some more


def run_id(folder: Path) -> str | None:
    """The id of the W&B run of the job in `folder`, None where it was not tracked."""
    path = folder / PLACE
    return Journal(path, "").run_id if path.is_file() else None


class Journal:
    """The run's id, its next step, and the rows that are logged, by key; opened for where they go to."""

    def __init__(self, path: Path, name: str) -> None:
        """`name` is what a new id begins with; the rest is random, since two machines may have folders of one name."""
        self.path = path
        self.run_id = ""
        self.next_step = 0
        self.rows: set[str] = set()  # what has arrived where this process logs to
        self._arrived: dict[str, set[str]] = {}  # the same for every place
        self._to = ""
        self._unsure: dict[str, float] = {}  # rows of the process that is read, with the time they were logged
        self._last = 0.0
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
            self._read(line)
        self._settle(self._last - _FLUSHED)
        if not self.run_id:
            readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")[:100] or "run"
            self.run_id = f"{readable}-{uuid.uuid4().hex[:8]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write({"id": self.run_id})

    def _read(self, line: str) -> None:
        try:
            found = json.loads(line)
        except ValueError:  # a kill in the middle of a line
            return
        if "id" in found:
            self.run_id = str(found["id"])
        if "to" in found:
            self._settle(self._last - _FLUSHED)
            self._to = found["to"]
        if "step" in found:
            self.next_step = max(self.next_step, int(found["step"]) + 1)
        if "row" in found:
            self._last = found["time"]
            if found["row"] is not None:
                self._unsure[found["row"]] = found["time"]
        if "finished" in found:
            self._settle(math.inf)

    def _settle(self, until: float) -> None:
        """The process that is read has ended: what it logged before `until` has arrived."""
        arrived = self._arrived.setdefault(self._to, set())
        arrived |= {row for row, logged in self._unsure.items() if logged < until}
        self._unsure.clear()

    def open(self, to: str) -> None:
        """This process logs to `to`: a page, or the disk. What went elsewhere has not arrived there."""
        self._write({"to": to})
        self.rows = self._arrived.setdefault(to, set())

    def add(self, row: str | None) -> None:
        """The next step is logged; a row without a key may come again."""
        self._write({"step": self.next_step, "row": row, "time": time.time()})
        self.next_step += 1
        if row is not None:
            self.rows.add(row)

    def note(self, row: str) -> None:
        """Something beside the history is logged, such as an artifact: it takes no step."""
        self._write({"row": row, "time": time.time()})
        self.rows.add(row)

    def finish(self) -> None:
        """W&B has written all there is."""
        self._write({"finished": True})

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
