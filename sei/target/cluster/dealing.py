"""Who of many workers completes which queries, each query once, although workers are lost.

Place in the flow: `engine` makes one `Deal` for each call of the cluster's engine, over its `Crew` of Ray actors; tests deal to a
crew without Ray. Queries are dealt in their order, in blocks: an engine does best with many queries at a time, so the first
blocks are large, and towards the end they become smaller, so that all workers end at about the same time. A worker hands
over what it has as it goes. When it is lost, only what it had not handed over is dealt again, before everything else, and the
crew is asked for another in its place.

Example::

    for place, completions in Deal(crew, queries, sampling, batch=256).run():
        ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sei.errors import UserError
from sei.target.engine import Completion, Query, Sampling

Asked = list[tuple[int, Query]]
"""A block: each query with its place in the call."""
Made = list[tuple[int, list[Completion]]]
LOSSES = 3  # that a call survives, for each of its workers


@dataclass(frozen=True)
class Ready:
    """A worker can be asked."""

    worker: int


@dataclass(frozen=True)
class Answers:
    """A worker hands over completions. `last`: its block is done, and it can be asked again."""

    worker: int
    made: Made
    last: bool = False


@dataclass(frozen=True)
class Lost:
    """A worker is no more, with all that it had not handed over."""

    worker: int
    why: str


Event = Ready | Answers | Lost


class Crew(Protocol):
    """Workers, which are numbers here; a number is not used again."""

    def start(self) -> None:
        """Start what there is room for. Raises UserError where there is room for nothing."""
        ...

    @property
    def idle(self) -> Iterable[int]:
        """Workers that can be asked."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are, those included that are not ready yet."""
        ...

    def ask(self, worker: int, block: Asked, sampling: Sampling) -> None: ...

    def events(self) -> Iterator[Event]:
        """What has happened, after waiting a moment where nothing has."""
        ...

    def replace(self, worker: int) -> None:
        """Start another in place of a lost one, where there is room for it."""
        ...


class Deal:
    """One call: all queries, and what has become of them."""

    def __init__(self, crew: Crew, queries: Sequence[Query], sampling: Sampling, *, batch: int) -> None:
        """`batch`: how many queries a worker works on at a time."""
        self._crew, self._sampling, self._batch = crew, sampling, max(1, batch)
        self._total = len(queries)
        self._waiting = deque(enumerate(queries))
        self._held: dict[int, dict[int, Query]] = {}  # by worker: what it was asked and has not handed over
        self._losses = 0

    def run(self) -> Iterator[tuple[int, list[Completion]]]:
        """Each query's place and completions, as they come. Raises UserError where no worker is left, or too many were lost."""
        self._crew.start()
        while self._missing:
            self._hand_out()
            for event in self._crew.events():
                if isinstance(event, Answers):
                    yield from self._take(event)
                elif isinstance(event, Lost):
                    self._deal_again(event)

    @property
    def _missing(self) -> int:
        return len(self._waiting) + sum(map(len, self._held.values()))

    def _hand_out(self) -> None:
        size = self._block()
        for worker in list(self._crew.idle):
            if not self._waiting:
                return
            block = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            self._held[worker] = dict(block)
            self._crew.ask(worker, block, self._sampling)

    def _block(self) -> int:
        """Half of an even share of what waits; a whole share, where that is less than a batch."""
        waiting, workers = len(self._waiting), max(1, self._crew.size)
        return max(waiting // (2 * workers), min(self._batch, -(-waiting // workers)))

    def _take(self, answers: Answers) -> Iterator[tuple[int, list[Completion]]]:
        held = self._held.get(answers.worker, {})
        for place, completions in answers.made:
            if held.pop(place, None) is not None:
                yield place, completions
        if answers.last and held:
            raise RuntimeError(f"a worker ended its block without {len(held)} of its completions")

    def _deal_again(self, lost: Lost) -> None:
        self._waiting.extendleft(reversed(self._held.pop(lost.worker, {}).items()))
        self._losses += 1
        workers = self._crew.size + 1
        if self._losses <= LOSSES * workers:
            self._crew.replace(lost.worker)
            if self._crew.size:
                return
        often = f"the {self._losses} times that one was lost in this call, the last time" if self._losses > 1 else "it"
        raise UserError(
            f"engine.cluster: a process was lost ({lost.why}), and after {often} no other could take its place, with "
            f"{self._missing:,} of {self._total:,} answers missing. What is finished is kept: the same command goes on from "
            "there, with the nodes that there are then"
        )
