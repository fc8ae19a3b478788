"""The cluster's workers as Ray actors: where there is room for them, started, asked, replaced and ended.

Place in the flow: `engine` makes `RayActors` at its first question; `dealing` says who is asked what, and `actor` is what runs on
the nodes. There is one actor for each GPU (each group of GPUs, where vLLM spreads the weights over several); where no node has
a GPU, one for `engine.cores` cores. A node that lacks something is named before anything is generated.

Actors of Ray Core, and not Ray Data: that gives every row once, too, when an actor is lost, but it gives rows by whole blocks,
which it computes anew from their beginning; and its actors end with each data set, where one-shot selection asks batch after
batch and every batch would load the model again.

The actors belong to this process: when it is killed, Ray ends them.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sei.errors import UserError
from sei.target.cluster.actor import Actor, Found, look
from sei.target.cluster.choice import OPTION, Clustered, connected
from sei.target.cluster.dealing import Answers, Asked, Event, Lost, Ready
from sei.target.engine import Sampling
from sei.target.weights import Weights

LOOK_S = 300.0  # until a node has said what it has
POLL_S = 0.05
ROOM_S = 600.0  # until Ray has found room for an actor, while none is at work


@dataclass(frozen=True)
class Place:
    """Room for one actor."""

    node: str  # Ray's id
    name: str  # what a person calls the node
    cores: int
    gpus: int


def places(choice: Clustered, weights: Weights, known: dict[str, Found]) -> list[Place]:
    """Room for actors on the nodes that are there now; what nodes say of themselves is added to `known`. Raises UserError where
    one lacks something, or none has room."""
    room = _room_now(choice, weights, known)
    nodes = _nodes()
    if faults := [f"  - {_name(node)}: {known[node['NodeID']].fault}" for node in nodes if _faulty(node, known)]:
        raise UserError(
            f"{OPTION}: every node must have what it generates with, at the same path (a shared file system), or as a model of "
            "the hub. What nodes lack:\n" + "\n".join(faults)
        )
    if not room:
        has = "; ".join(f"{_name(node)}: {_amounts(node)}" for node in nodes)
        raise UserError(
            f"{OPTION}: no node has room for a process: it needs a GPU, or where there is none {choice.cores or 1} cores "
            f"(engine.cores). Nodes: {has}"
        )
    return room


def _room_now(choice: Clustered, weights: Weights, known: dict[str, Found]) -> list[Place]:
    """As `places`, without the nodes that lack something."""
    nodes = _nodes()
    able = [node for node in nodes if choice.on_gpus and node["Resources"].get("GPU", 0) >= 1]
    able = able or [node for node in nodes if node["Resources"].get("CPU", 0) >= (choice.cores or 1)]
    known.update(_look(choice.alone(), weights, [node for node in able if node["NodeID"] not in known]))
    return [place for node in able if not _faulty(node, known) for place in _room(node, known, choice)]


def _nodes() -> list[dict[str, Any]]:
    return [node for node in connected().nodes() if node["Alive"]]


def _faulty(node: dict[str, Any], known: dict[str, Found]) -> bool:
    return node["NodeID"] in known and bool(known[node["NodeID"]].fault)


def _look(choice: Clustered, weights: Weights, nodes: Sequence[dict[str, Any]]) -> dict[str, Found]:
    """What nodes say of themselves, by id."""
    ray = connected()
    task = ray.remote(num_cpus=0, max_retries=1)(look)
    names = [node["NodeID"] for node in nodes]
    asked = {name: task.options(scheduling_strategy=_on(ray, name)).remote(choice, weights) for name in names}
    found = {}
    deadline = time.monotonic() + LOOK_S
    for name, one in asked.items():
        try:
            found[name] = ray.get(one, timeout=max(0.1, deadline - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            found[name] = Found(fault=f"it did not answer within {LOOK_S:.0f} s")
        except ray.exceptions.RayError as error:
            found[name] = Found(fault=f"it cannot run this code, which must be there at the same path ({_why(error)})")
    return found


def _room(node: dict[str, Any], known: dict[str, Found], choice: Clustered) -> list[Place]:
    gpus, cores = (int(node["Resources"].get(name, 0)) for name in ("GPU", "CPU"))
    if gpus and choice.on_gpus:
        each = known[node["NodeID"]].gpus_each
        return [Place(node["NodeID"], _name(node), 0, each)] * (gpus // each)
    each = choice.cores or cores
    return [Place(node["NodeID"], _name(node), each, 0)] * (cores // each)


def describe(room: Sequence[Place]) -> str:
    """`4 actors on 2 nodes, 1 GPU each`."""
    nodes = len({place.node for place in room})
    each = f"{room[0].gpus} GPU" if room[0].gpus else f"{room[0].cores} core"
    each += "s" * ((room[0].gpus or room[0].cores) > 1)
    return f"{len(room)} actor{'s' * (len(room) > 1)} on {nodes} node{'s' * (nodes > 1)}, {each} each"


class RayActors:
    """A `dealing.Crew`. Nothing is started before `start`."""

    def __init__(self, choice: Clustered, weights: Weights) -> None:
        self._choice, self._weights = choice, weights
        self._ray = connected()
        self._numbers = itertools.count()
        self._places: dict[int, Place] = {}
        self._actors: dict[int, Any] = {}
        self._opening: dict[int, Any] = {}  # the reference that says that an actor is ready
        self._asked: dict[int, Any] = {}  # the stream of answers to its block
        self._since = time.monotonic()
        self._known: dict[str, Found] = {}
        self.facts: dict[str, Any] = {}

    def use(self, weights: Weights) -> None:
        """Generate with other weights from now on, in the processes that there are."""
        self._weights = weights
        for number in self._actors:
            self._open(number)

    def start(self) -> None:
        """Start an actor wherever there is room. Raises UserError where there is none."""
        if self._actors:
            return
        self._since = time.monotonic()
        self._known.clear()
        for place in places(self._choice, self._weights, self._known):
            self._begin(place)

    @property
    def idle(self) -> list[int]:
        return [number for number in self._actors if number not in self._opening and number not in self._asked]

    @property
    def size(self) -> int:
        return len(self._actors)

    @property
    def at_work(self) -> list[Place]:
        """Where the actors are that have opened their engine and were not lost."""
        return [place for number, place in self._places.items() if number not in self._opening]

    def ask(self, worker: int, block: Asked, sampling: Sampling) -> None:
        self._asked[worker] = self._actors[worker].answer.options(num_returns="streaming").remote(block, sampling)

    def events(self) -> Iterator[Event]:
        """As the protocol says. Raises UserError where an actor does, and where Ray finds no room for any."""
        waited = {reference: number for number, reference in (*self._opening.items(), *self._asked.items())}
        ready, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=0)
        if not ready:
            time.sleep(POLL_S)  # here, and not in Ray, a signal to end this process is raised as what it is
        for reference in ready:
            yield self._event(waited[reference])
        if not ready and len(self._opening) == len(self._actors) and time.monotonic() - self._since > ROOM_S:
            raise UserError(
                f"{OPTION}: Ray has found no room for an actor within {ROOM_S:.0f} s: others use the cluster's GPUs and cores "
                "(`ray status` says what is free). Wait for them, or start more nodes; what is finished is kept"
            )

    def replace(self, worker: int) -> None:
        """Start another, on a node that has room: it may have joined since. One that lacks something is passed over."""
        room = _room_now(self._choice, self._weights, self._known)
        if free := list((Counter(room) - Counter(self._places.values())).elements()):
            self._since = time.monotonic()
            self._begin(free[0])

    def close(self) -> None:
        """End all actors and what they started. Idempotent."""
        for number in list(self._actors):
            self._forget(number)

    def _begin(self, place: Place) -> None:
        number = next(self._numbers)
        made = self._ray.remote(max_restarts=0, max_task_retries=0)(Actor)
        self._places[number] = place
        self._actors[number] = made.options(
            num_cpus=place.cores, num_gpus=place.gpus, scheduling_strategy=_on(self._ray, place.node)
        ).remote(self._choice.alone())
        self._open(number)

    def _open(self, number: int) -> None:
        self._opening[number] = self._actors[number].open.remote(self._weights)

    def _event(self, number: int) -> Event:
        """What the actor has to say."""
        try:
            if number in self._opening:
                self._ray.get(self._opening[number])
                del self._opening[number]
                return Ready(number)
            try:
                made, facts = self._ray.get(next(self._asked[number]))
            except StopIteration:
                del self._asked[number]
                return Answers(number, [], last=True)
            self.facts = facts or self.facts
            return Answers(number, made)
        except self._ray.exceptions.RayTaskError as error:  # the actor is there, and what it did has failed
            if isinstance(error.cause, UserError):
                raise UserError(f"{OPTION}: {self._places[number].name}: {error.cause}") from error
            raise
        except self._ray.exceptions.RayError as error:
            name = self._places[number].name
            self._forget(number)
            return Lost(number, f"{name}: {_why(error)}")

    def _forget(self, number: int) -> None:
        """End an actor, whether it lives or not."""
        self._ray.kill(self._actors.pop(number))
        for held in (self._places, self._opening, self._asked):
            held.pop(number, None)


def _on(ray: Any, node: str) -> Any:
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)


def _name(node: dict[str, Any]) -> str:
    return f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"


def _amounts(node: dict[str, Any]) -> str:
    return ", ".join(f"{node['Resources'].get(name, 0):g} {unit}" for name, unit in (("GPU", "GPUs"), ("CPU", "cores")))


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
