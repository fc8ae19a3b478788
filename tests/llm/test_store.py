"""The store: committed before used, shared by processes, free of secrets."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import signal
import sqlite3
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from sei.errors import UserError
from sei.llm.store import Store, StoredAnswer, Use

KEY = "ab" * 32


def answer(key: str = KEY, cost: float = 0.25, run: str = "run-1") -> StoredAnswer:
    return StoredAnswer(
        key, "m", "http://x/v1", "teacher/solve", "abc", 0, "{}", "text", "ok", "stop", 100, 0, 10, 400, cost, 0.1, "live",
        "id-1", run, "2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def test_an_answer_is_on_disk_when_put_returns(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    asyncio.run(store.put(answer(), Use("run-1", KEY, "solve")))
    other = sqlite3.connect(tmp_path / "s.sqlite")
    assert other.execute("SELECT text FROM answers").fetchall() == [("text",)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.get([KEY, "none"]) == {KEY: answer()}
    assert store.spent("run-1") == 0.25
    assert list(store.used("run-1")) == [(Use("run-1", KEY, "solve"), answer())]


def test_answers_that_arrive_together_are_committed_together(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    commits: list[int] = []
    commit = store._commit
    store._commit = lambda rows, uses: (commits.append(len(rows)), commit(rows, uses))[1]  # type: ignore[assignment]

    async def put_all() -> None:
        rows = [answer(f"{number:064x}") for number in range(50)]
        await asyncio.gather(*(store.put(row, Use("run-1", row.key, "solve")) for row in rows))

    asyncio.run(put_all())
    assert sum(commits) == 50
    assert len(commits) <= 3
    assert len(store.get(f"{number:064x}" for number in range(50))) == 50


def test_the_lines_of_a_batch_are_found_without_reading_those_of_all_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    question = "EXPLAIN QUERY PLAN SELECT key, request FROM batch_lines WHERE tag = ? AND outcome = 'open'"
    [row] = store.write(lambda connection: connection.execute(question, ("a",)).fetchall())
    assert row[-1].endswith("USING INDEX batch_lines_by_tag (tag=?)")


def test_history_gives_means_of_a_prompt(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    assert store.history("m", "teacher/solve", "abc") is None
    store.put_all([answer()], [])
    history = store.history("m", "teacher/solve", "abc")
    assert history is not None
    assert (history.calls, history.mean_tokens_out, history.tokens_per_character) == (1, 10.0, 0.25)
    assert store.history("m", "teacher/solve", "other") is None


def _hold(path: Path, holding: Event) -> None:
    assert Store(path).claim(KEY)
    holding.set()
    signal.pause()


def test_a_claim_keeps_other_processes_out_until_its_process_dies(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    context = multiprocessing.get_context("spawn")
    holding = context.Event()
    process = context.Process(target=_hold, args=(store.path, holding))
    process.start()
    assert holding.wait(30)
    assert not store.claim(KEY)
    assert store.claim("cd" * 32)
    process.kill()
    process.join()
    assert store.claim(KEY)


def test_a_claim_keeps_this_process_out_too_and_can_be_released(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "s.sqlite"), Store(tmp_path / "s.sqlite")
    assert first.claim(KEY)
    assert not second.claim(KEY)
    first.release(KEY)
    assert second.claim(KEY)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_text("this is not a database, and long enough to be noticed as such" * 20)
    with pytest.raises(UserError, match=r"s\.sqlite: file is not a database.*cache_dir=FOLDER"):
        Store(tmp_path / "s.sqlite")


def test_a_store_from_before_there_were_notes_is_read_and_written(tmp_path: Path) -> None:
    names = [field.name for field in dataclasses.fields(StoredAnswer) if field.name != "note"]
    with sqlite3.connect(tmp_path / "s.sqlite") as old:
        old.execute(f"CREATE TABLE answers ({', '.join(f'{name} NOT NULL' for name in names)}, PRIMARY KEY (key))")
        old.execute(f"INSERT INTO answers VALUES ({', '.join('?' * len(names))})", dataclasses.astuple(answer())[:-1])
    store = Store(tmp_path / "s.sqlite")
    assert store.get([KEY]) == {KEY: answer()}
    other = dataclasses.replace(answer("cd" * 32), note="a note")
    store.put_all([other], [])
    assert store.get([other.key]) == {other.key: other}
    store.close()


@pytest.mark.parametrize("damage", ["pages", "columns"])
def test_a_store_that_was_damaged_is_refused_where_it_is_read(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.sqlite"
    store = Store(path)
    store.put_all([answer(f"{number:064x}") for number in range(200)], [])
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    if damage == "pages":
        content = path.read_bytes()
        path.write_bytes(content[:8192] + b"\x55" * (len(content) - 8192))
    else:
        with sqlite3.connect(path) as other:
            other.execute("ALTER TABLE answers RENAME COLUMN endpoint TO place")
    with pytest.raises(UserError, match=r"teacher store .*s\.sqlite: .*moved away"):
        Store(path).get([f"{number:064x}" for number in range(200)])
