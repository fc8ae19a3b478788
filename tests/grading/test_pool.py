"""Worker processes: order, limits, and life after a worker's death."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sei.grading.pool import Pool, default_workers

SAME, OTHER, ENDLESS = (r"\sqrt{12}", r"2\sqrt{3}"), (r"\sqrt{12}", r"3\sqrt{2}"), ("5", "9^{9^{9^{9}}}")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with closing(Pool(workers=2, timeout_s=0.5, memory_mb=1024)) as made:
        yield made


def test_results_keep_the_order_of_pairs(pool: Pool) -> None:
    pairs = [SAME, OTHER, ENDLESS, *[SAME, OTHER, OTHER] * 6, ENDLESS, SAME] * 2
    expected = {SAME: True, OTHER: False, ENDLESS: None}
    assert pool.same(pairs) == [expected[pair] for pair in pairs]
    before = list(pool._processes)
    assert len(before) == 2
    assert pool.same([ENDLESS]) == [None]
    assert pool._processes == before  # the limit ended a child, not the worker that holds the imports
    assert pool.same([]) == []


def test_no_more_workers_than_the_work_is_worth() -> None:
    with closing(Pool(workers=3, timeout_s=5, memory_mb=1024)) as idle:
        assert idle.same([]) == []
        assert len(idle._processes) == 0
        assert idle.same([SAME] * 16) == [True] * 16
        assert len(idle._processes) == 1
        assert idle.same([SAME] * 17) == [True] * 17
        assert len(idle._processes) == 2
        assert idle.same([SAME] * 100) == [True] * 100
        assert len(idle._processes) == 3


def test_by_default_one_worker_for_each_usable_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)), raising=False)
    assert default_workers() == 5
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(200)), raising=False)
    assert default_workers() == 16
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert default_workers() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the share of one of several jobs on a machine
    assert default_workers() == 2


def test_memory_is_limited() -> None:
    with closing(
        Pool(workers=1, timeout_s=60, memory_mb=50)
    ) as small:  # less than sympy alone takes: no allocation succeeds
        assert small.same([SAME, OTHER]) == [None, None]


def test_a_killed_worker_is_replaced(pool: Pool) -> None:
    assert pool.same([SAME]) == [True]
    for process in pool._processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    results = pool.same([SAME] * 4)
    assert results.count(None) <= 2  # the pairs that met a dead worker
    assert pool.same([SAME, OTHER]) == [True, False]


def test_an_idle_child_that_dies_shifts_no_answer() -> None:
    with closing(Pool(workers=1, timeout_s=5, memory_mb=1024)) as single:
        assert single.same([SAME]) == [True]
        (process,) = single._processes
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("needs /proc")
        (child,) = map(int, children.read_text().split())
        os.kill(child, signal.SIGKILL)
        while children.read_text().split() == [str(child)]:
            time.sleep(0.01)
        results = single.same([SAME, OTHER, SAME, OTHER])
        assert all(result in (None, truth) for result, truth in zip(results, [True, False] * 2, strict=True))
        assert results.count(None) <= 2  # the pair that met the dead child's notice, and the one whose answer came late


def test_close_ends_every_process() -> None:
    with closing(Pool(workers=1, timeout_s=5, memory_mb=1024)) as short:
        assert short.same([SAME]) == [True]
        (process,) = short._processes
    assert process.poll() is not None


def test_math_verify_is_asked_of_whole_outputs(pool: Pool) -> None:
    pairs = [("5", "We get $x=5$."), ("5", "We get $x=6$."), ("\\frac{1}{2}", "so 0.5"), ("5", "9^{9^{9^{9}}}"[:0])]
    assert pool.same(pairs, "math_verify") == [True, False, True, False]
    assert pool.same([("5", "\\boxed{9^{9^{9^{9}}}}")], "math_verify") == [None]
