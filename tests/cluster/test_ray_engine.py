"""`engine.cluster=ray` on a real cluster of two nodes on this machine: what comes back, and what is lost by a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from sei.errors import UserError
from sei.target.engine import Engine, Query, Sampling, as_they_end
from sei.target.hf import HF
from sei.target.weights import Adapter, Weights

from ..target.small import save_small
from ..target.test_vllm import save_adapter

pytestmark = pytest.mark.cluster
pytest.importorskip("ray", reason='needs pip install -e ".[ray]"')

ROOT = Path(__file__).parents[2]
QUERIES = [Query(f"Tom has {number} apples and buys {number * 7 % 13} more", str(number)) for number in range(48)]
LONG = [Query(f"{turn}. {one.prompt}", one.question) for turn in range(4) for one in QUERIES]
GREEDY = Sampling(max_new_tokens=40)
SAMPLED = Sampling(max_new_tokens=40, temperature=0.9, top_p=0.95, samples=2, seed=11)
PATIENCE = 120.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each, and this process connected to them."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100_000_000}
    made = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    made.add_node(**node)
    os.environ["RAY_ADDRESS"] = made.address
    try:
        yield made
    finally:
        del os.environ["RAY_ADDRESS"]
        ray.shutdown()
        made.shutdown()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return Weights(str(save_small(tmp_path_factory.mktemp("base"))), "small", dtype="float32")


def actors() -> list[int]:
    """The processes of actors on this machine."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if (process.info["cmdline"] or [""])[0].startswith("ray::Actor"):
            found.append(process.info["pid"])
    return found


def until(what: Any, within: float = PATIENCE) -> bool:
    limit = time.monotonic() + within
    while not (found := what()) and time.monotonic() < limit:
        time.sleep(0.05)
    return bool(found)


def taken(engine: Engine, queries: Sequence[Query], then: Any = lambda number: None) -> Counter[int]:
    """How often each query was answered, all as an engine without a cluster answers them; `then` is called with their number."""
    got: dict[int, Any] = {}
    times: Counter[int] = Counter()
    for place, completions in as_they_end(engine, queries, SAMPLED):
        got[place] = completions
        times[place] += 1
        then(len(got))
    alone = HF(batch_size=2).open(engine._weights)  # type: ignore[attr-defined]
    assert [got[place] for place in range(len(queries))] == alone.complete(queries, SAMPLED)
    return times


def test_completions_are_those_without_a_cluster_and_processes_go_on_with_an_adapter(
    cluster: Any, base: Weights, tmp_path: Path
) -> None:
    alone, there = HF().open(base), HF(cluster="ray").open(base)
    for sampling in (GREEDY, SAMPLED):
        assert there.complete(QUERIES, sampling) == alone.complete(QUERIES, sampling)
    assert there.facts == {"engine": "hf", "cluster": "ray", "actors": 2, "nodes": 2}  # type: ignore[attr-defined]
    assert HF(cluster="ray").announce(base) == ["Generation: hf over Ray, 2 actors on 2 nodes, 1 core each"]
    before = actors()
    assert len(before) == 2

    adapted = Weights(base.path, "small", dtype="float32", adapter=Adapter(save_adapter(tmp_path / "adapter", seed=3)))
    after = HF(cluster="ray").open(adapted)
    assert after.take_over(there)  # type: ignore[attr-defined]
    expected = HF().open(adapted).complete(QUERIES, GREEDY)
    assert after.complete(QUERIES, GREEDY) == expected
    assert expected != alone.complete(QUERIES, GREEDY)
    assert actors() == before
    there.close()
    assert actors() == before, "they are not its own any more"
    after.close()
    assert until(lambda: not actors())


def test_weights_that_no_node_has(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)node \S+ \(.*nothing: no such folder.*node .*nothing: no such folder"):
        HF(cluster="ray").open(Weights(str(tmp_path / "nothing"), "none")).complete(QUERIES, GREEDY)
    assert not actors()


def test_a_killed_actor_is_replaced_and_no_query_is_lost_or_doubled(cluster: Any, base: Weights) -> None:
    engine = HF(cluster="ray", batch_size=2).open(base)
    killed: list[int] = []

    def kill(number: int) -> None:
        if number in (5, 60):
            killed.append(actors()[0])
            os.kill(killed[-1], signal.SIGKILL)

    times = taken(engine, LONG, kill)
    assert times == Counter(range(len(QUERIES) * 4))
    assert len(killed) == 2
    assert len(actors()) == 2, "others in their places"
    assert not set(killed) & set(actors())
    engine.close()


def test_a_node_that_is_lost_is_done_without(cluster: Any, base: Weights) -> None:
    third = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    assert until(lambda: "3 nodes" in HF(cluster="ray").announce(base)[0])
    engine = HF(cluster="ray", batch_size=2).open(base)
    engine.complete(QUERIES[:3], GREEDY)
    assert len(actors()) == 3

    def lose(number: int) -> None:
        if number == 5:
            cluster.remove_node(third, allow_graceful=False)

    assert taken(engine, LONG, lose) == Counter(range(len(QUERIES) * 4))
    assert len(actors()) == 2
    assert engine.facts["nodes"] == 2  # type: ignore[attr-defined]
    engine.close()


DRIVER = """
import sys
from pathlib import Path
from sei.stages import ask
from sei.target.hf import HF
from sei.target.weights import Weights
from tests.cluster.test_ray_engine import LONG, SAMPLED
ask.SAVE_EVERY = 0.2
engine = HF(cluster="ray", batch_size=2).open(Weights(sys.argv[1], "small", dtype="float32"))
try:
    ask.ask(engine, LONG, SAMPLED, Path(sys.argv[2]), "attempts")
finally:
    engine.close()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_ends_takes_its_actors_along_and_the_same_command_goes_on(
    cluster: Any, base: Weights, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def driver(scratch: Path) -> subprocess.Popen[bytes]:
        scratch.mkdir(exist_ok=True)
        command = [sys.executable, str(tmp_path / "driver.py"), base.path, str(scratch)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rows(scratch: Path) -> list[dict[str, Any]]:
        files = sorted(scratch.glob("attempts-*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    scratch = tmp_path / "scratch"
    first = driver(scratch)
    assert until(lambda: len(rows(scratch)) >= 10)
    assert len(actors()) == 2
    first.send_signal(number)
    first.wait(PATIENCE)
    assert until(lambda: not actors(), 30)
    kept = rows(scratch)
    assert 10 <= len(kept) < len(LONG), "in the middle of it"

    second = driver(scratch)
    assert second.wait(PATIENCE) == 0
    done = rows(scratch)
    assert done[: len(kept)] == kept
    assert len(done) == len({row["id"] for row in done}) == len(LONG), "each asked once more only where it was missing"
    alone = HF().open(base).complete(LONG, SAMPLED)
    assert sorted(row["texts"] for row in done) == sorted([one.text for one in some] for some in alone)
    assert until(lambda: not actors(), 30)
