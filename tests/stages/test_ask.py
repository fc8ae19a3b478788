"""Completions are on disk soon after they are there, and asked for once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sei.stages import ask as module
from sei.stages.ask import ask
from sei.target.engine import AT_ONCE, Completion, Query, Sampling


class Engine:
    """Answers one query at a time, the last first, or all at once where it does not stream."""

    name = "one"

    def __init__(self, fail_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.fail_after = fail_after

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> list[Completion]:
        if len(self.asked) == self.fail_after:
            raise KeyboardInterrupt
        self.asked.append(query.prompt)
        return [Completion(f"to {query.prompt}\n", 3, query.prompt == "4", "m")] * (query.prompt != "2")

    def close(self) -> None: ...


class Streaming(Engine):
    def stream(self, queries: Sequence[Query], sampling: Sampling) -> Iterator[tuple[int, list[Completion]]]:
        for place in reversed(range(len(queries))):
            yield place, self._answer(queries[place])


QUERIES = [Query(str(number), "question") for number in range(6)]
EXPECTED = [[] if n == 2 else [Completion(f"to {n}\n", 3, n == 4, "m")] for n in range(6)]


@pytest.mark.parametrize("engine", [Engine, Streaming])
def test_completions_come_in_the_order_of_the_queries(engine: type[Engine], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert ask(engine(), QUERIES, Sampling(), tmp_path, "a", lambda *counts: seen.append(counts)) == EXPECTED
    assert seen == [(done, 6) for done in range(1, 7)]


def test_each_completion_is_on_disk_before_the_next_when_it_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    on_disk: list[int] = []

    class Watching(Streaming):
        def _answer(self, query: Query) -> list[Completion]:
            on_disk.append(sum(path.read_text().count("\n") for path in tmp_path.iterdir()))
            return super()._answer(query)

    ask(Watching(), QUERIES, Sampling(), tmp_path, "a")
    assert on_disk == [0, 1, 2, 3, 4, 5]


def test_what_was_asked_before_an_interruption_is_not_asked_again(tmp_path: Path) -> None:
    engine = Streaming(fail_after=4)
    with pytest.raises(KeyboardInterrupt):
        ask(engine, QUERIES, Sampling(), tmp_path, "a")
    assert engine.asked == ["5", "4", "3", "2"]
    engine.fail_after = 10**9
    assert ask(engine, QUERIES, Sampling(), tmp_path, "a") == EXPECTED
    assert ask(engine, QUERIES[::-1], Sampling(), tmp_path, "a") == EXPECTED[::-1]
    assert sorted(engine.asked) == ["0", "1", "2", "3", "4", "5"]
    assert ask(engine, QUERIES, Sampling(), tmp_path, "b") == EXPECTED
    assert len(engine.asked) == 12, "other files are other questions"


def test_an_engine_that_does_not_stream_is_asked_in_parts(tmp_path: Path) -> None:
    engine = Engine(fail_after=AT_ONCE + 10)
    queries = [Query(str(number), "question") for number in range(AT_ONCE + 20)]
    with pytest.raises(KeyboardInterrupt):
        ask(engine, queries, Sampling(), tmp_path, "a")
    engine.asked, engine.fail_after = [], 10**9
    ask(engine, queries, Sampling(), tmp_path, "a")
    assert len(engine.asked) == 20
