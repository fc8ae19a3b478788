"""Generation over a cluster without a cluster: who is asked what, what becomes of the queries of a lost worker, and settings."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sei.errors import UserError
from sei.target.cluster import ray_actors
from sei.target.cluster.actor import Actor, Found, check_files, look
from sei.target.cluster.dealing import Answers, Asked, Deal, Event, Lost, Ready
from sei.target.cluster.engine import ClusterEngine, absolute
from sei.target.engine import Completion, Hosted, Query, Sampling
from sei.target.hf import HF
from sei.target.vllm.choice import VLLM
from sei.target.weights import Adapter, Weights
from tests.test_config import composed

from .small import save_small

QUERIES = [Query(f"p{number}", f"q{number}") for number in range(100)]


class FakeCrew:
    """Workers that hand over `step` completions an event. `dies`: after how many completions each worker is lost, in the order
    in which they start; `spare`: how many can be replaced."""

    def __init__(self, workers: int, *, step: int = 3, dies: dict[int, int] | None = None, spare: int = 0) -> None:
        self.wanted, self.step, self.dies, self.spare = workers, step, dies or {}, spare
        self.blocks: dict[int, deque[tuple[int, Query]]] = {}
        self.idle: list[int] = []
        self.given: Counter[int] = Counter()
        self.asked: list[tuple[int, list[int]]] = []
        self.fresh: list[int] = []
        self.started = 0
        self.after_death: list[Event] = []

    @property
    def size(self) -> int:
        return len(self.blocks)

    def start(self) -> None:
        while self.started < self.wanted:
            self._begin()

    def _begin(self) -> None:
        self.blocks[self.started] = deque()
        self.fresh.append(self.started)
        self.started += 1

    def ask(self, worker: int, block: Asked, sampling: Sampling) -> None:
        self.idle.remove(worker)
        self.asked.append((worker, [place for place, _ in block]))
        self.blocks[worker] = deque(block)

    def replace(self, worker: int) -> None:
        if self.spare:
            self.spare -= 1
            self._begin()

    def events(self) -> Iterator[Event]:
        for worker in self.fresh:
            self.idle.append(worker)
            yield Ready(worker)
        self.fresh = []
        for worker, block in list(self.blocks.items()):
            if not block:
                continue
            if self.given[worker] >= self.dies.get(worker, 10**9):
                del self.blocks[worker]
                yield Lost(worker, f"worker {worker} was killed")
                continue
            made = [
                (place, answer(query)) for place, query in (block.popleft() for _ in range(min(self.step, len(block))))
            ]
            self.given[worker] += len(made)
            if not block:
                self.idle.append(worker)
            yield Answers(worker, made, last=not block)


def answer(query: Query) -> list[Completion]:
    return [Completion(query.prompt.upper(), 1, False, "m")]


def deal(crew: FakeCrew, queries: list[Query] = QUERIES, batch: int = 8) -> list[tuple[int, list[Completion]]]:
    return list(Deal(crew, queries, Sampling(), batch=batch).run())


def test_each_query_is_asked_once_and_answered_once() -> None:
    crew = FakeCrew(3)
    made = deal(crew)
    assert Counter(place for place, _ in made) == Counter(range(100))
    assert all(completions == answer(QUERIES[place]) for place, completions in made)
    assert Counter(place for _, places in crew.asked for place in places) == Counter(range(100))
    assert {worker for worker, _ in crew.asked} == {0, 1, 2}


def test_blocks_shrink_to_even_shares_and_none_is_smaller_than_a_batch_until_then() -> None:
    crew = FakeCrew(2)
    deal(crew, batch=8)
    sizes = [len(places) for _, places in crew.asked]
    assert sizes[:2] == [25, 25]
    assert sizes == sorted(sizes, reverse=True)
    waiting = [100 - sum(sizes[:number]) for number in range(len(sizes))]
    assert all(size >= min(8, left // 2) for size, left in zip(sizes, waiting, strict=True))
    assert 8 in sizes
    # Of fewer queries than a batch everybody has a share.
    crew = FakeCrew(4)
    deal(crew, QUERIES[:10], batch=256)
    assert sorted(len(places) for _, places in crew.asked) == [1, 3, 3, 3]


def test_what_a_lost_worker_handed_over_is_kept_and_only_the_rest_is_dealt_again() -> None:
    crew = FakeCrew(2, dies={0: 6}, spare=1)
    made = deal(crew)
    assert Counter(place for place, _ in made) == Counter(range(100))
    times = Counter(place for _, places in crew.asked for place in places)
    first = crew.asked[0][1]
    assert {place: times[place] for place in first} == {place: 1 if place < 6 else 2 for place in first}
    assert sum(times.values()) == 100 + len(first) - 6
    assert crew.started == 3
    again = next(places for worker, places in crew.asked[2:] if set(places) & set(first))
    assert again[0] == 6, "before everything else"


def test_the_others_go_on_without_one_that_cannot_be_replaced() -> None:
    crew = FakeCrew(3, dies={1: 3})
    assert Counter(place for place, _ in deal(crew)) == Counter(range(100))
    assert crew.started == 3


def test_the_last_loss_says_that_what_is_finished_is_kept() -> None:
    crew = FakeCrew(2, dies={0: 9, 1: 6})
    with pytest.raises(UserError, match=r"was killed.*after the 2 times.*with 85 of 100 answers missing.*same command"):
        deal(crew)


def test_losses_are_bounded() -> None:
    """What kills every process that is asked it."""
    crew = FakeCrew(2, dies=dict.fromkeys(range(1000), 0), spare=1000)
    with pytest.raises(UserError, match=r"the 7 times .* 100 of 100 answers missing"):
        deal(crew)
    assert crew.started == 2 + 6


def test_what_comes_late_from_somebody_given_up_is_not_taken_twice() -> None:
    class Late(FakeCrew):
        def events(self) -> Iterator[Event]:
            for event in super().events():
                yield event
                if isinstance(event, Lost):
                    yield Answers(event.worker, [(place, answer(QUERIES[place])) for place in range(100)])

    made = deal(Late(2, dies={0: 6}, spare=1))
    assert Counter(place for place, _ in made) == Counter(range(100))


# What a node is asked before


def test_room_is_one_process_a_gpu_and_else_so_many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        node("a", CPU=16.0, GPU=4.0),
        node("b", CPU=8.0, GPU=1.0),
        node("c", CPU=64.0),
        node("d", alive=False, GPU=8.0),
    ]
    cluster(monkeypatch, nodes, Found())
    assert Counter(place.node for place in ray_actors.places(HF(), weights(), {})) == {"a": 4, "b": 1}
    cluster(monkeypatch, nodes, Found(gpus_each=2))
    room = ray_actors.places(HF(), weights(), {})
    assert Counter(place.node for place in room) == {"a": 2}
    assert ray_actors.describe(room) == "2 actors on 1 node, 2 GPUs each"
    room = ray_actors.places(HF(device="cpu", cores=8), weights(), {})
    assert Counter(place.node for place in room) == {"a": 2, "b": 1, "c": 8}
    assert ray_actors.describe(room) == "11 actors on 3 nodes, 8 cores each"
    cluster(monkeypatch, nodes[2:], Found())
    assert [place.cores for place in ray_actors.places(HF(), weights(), {})] == [64]
    with pytest.raises(UserError, match=r"no node has room.*128 cores \(engine.cores\).*0 GPUs, 64 cores"):
        ray_actors.places(HF(cores=128), weights(), {})


def test_what_a_node_lacks_is_said_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [node("a", CPU=2.0), node("b", CPU=2.0)]
    cluster(monkeypatch, nodes, {"a": Found(), "b": Found(fault="/models/base: no such folder.")})
    with pytest.raises(
        UserError, match=r"What nodes lack:\n  - node host-b \(10.0.0.1, b\): /models/base: no such folder"
    ):
        ray_actors.places(HF(), weights(), {})


def test_a_look_finds_weights_and_adapter_or_says_what_is_missing(tmp_path: Path) -> None:
    base = save_small(tmp_path / "base")
    assert look(HF(), Weights(str(base), "small")) == Found(gpus_each=1)
    assert "gone: no such folder" in look(HF(), Weights(str(tmp_path / "gone"), "small")).fault
    there = Weights(str(base), "small", adapter=Adapter(tmp_path / "adapter"))
    with pytest.raises(UserError, match="adapter: no such folder"):
        check_files(there)
    assert "no such program" in look(VLLM(python="/no/python"), Weights(str(base), "small")).fault


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {
        "NodeID": name,
        "Alive": alive,
        "NodeManagerHostname": f"host-{name}",
        "NodeManagerAddress": "10.0.0.1",
        "Resources": resources,
    }


def weights() -> Weights:
    return Weights("base", "base")


def cluster(monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, Any]], found: Found | dict[str, Found]) -> None:
    class Ray:
        @staticmethod
        def nodes() -> list[dict[str, Any]]:
            return nodes

    def answers(choice: Any, weights: Weights, asked: list[dict[str, Any]]) -> dict[str, Found]:
        return {one["NodeID"]: found if isinstance(found, Found) else found[one["NodeID"]] for one in asked}

    monkeypatch.setattr(ray_actors, "connected", lambda: Ray)
    monkeypatch.setattr(ray_actors, "_look", answers)


# The actor, in this process


def test_an_actor_gives_what_the_engine_alone_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Weights(str(save_small(tmp_path / "base")), "small", dtype="float32")
    sampling = Sampling(max_new_tokens=12, temperature=0.9, samples=2, seed=4)
    expected = HF().open(base).complete(QUERIES[:6], sampling)
    actor = Actor(HF(batch_size=2))
    actor.open(base)
    monkeypatch.setattr("sei.target.cluster.actor.HAND_OVER_S", 0.0)
    parts = list(actor.answer([(place + 40, QUERIES[place]) for place in range(6)], sampling))
    assert len(parts) > 1, "as they end"
    assert {place: made for part, _ in parts for place, made in part} == {n + 40: expected[n] for n in range(6)}


# Settings


def test_the_cluster_is_no_part_of_what_identifies_completions() -> None:
    assert HF(cluster="ray", cores=4).fingerprint() == HF().fingerprint()
    assert VLLM(cluster="ray").fingerprint() == VLLM().fingerprint()


def test_the_choice_opens_an_engine_that_starts_nothing() -> None:
    engine = HF(cluster="ray").open(weights())
    assert isinstance(engine, ClusterEngine)
    assert isinstance(engine, Hosted)
    assert not engine.take_over(HF(cluster="ray").open(weights())), "which has no processes"
    engine.close()
    assert isinstance(VLLM(cluster="ray").open(weights()), ClusterEngine)


def test_weights_are_named_so_that_another_folder_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    named = absolute(Weights("base", "b", adapter=Adapter(Path("run/adapter"))))
    assert named.path == str(tmp_path / "base")
    assert named.adapter is not None
    assert named.adapter.path == tmp_path / "run/adapter"
    assert absolute(Weights("org/model", "b")).path == "org/model"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["engine.cores=4"], "engine.cores=4 is for the nodes of a cluster: add engine.cluster=ray"),
        (["engine.cluster=ray", "engine.device=cuda:1"], "one GPU of one machine"),
        (["engine=vllm", "engine.cluster=ray", "engine.processes=2"], "engine.processes=2 is for one machine"),
        (["engine.cluster=slurm"], "engine.cluster"),
    ],
)
def test_settings_that_do_not_fit(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        composed(*overrides)
