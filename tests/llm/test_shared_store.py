"""One store of paid answers for several machines that have no lock in common, and no SQLite file: nothing is paid for twice."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from pathlib import Path

import pytest

from sei.errors import UserError
from sei.ledger import used_dollars
from sei.llm.account import run_name
from sei.llm.shared import SharedStore, _on_local_disk, open_store
from sei.llm.store import Store, Use
from tests.llm.questions import request
from tests.llm.test_store import KEY, answer
from tests.machines import on_machine, wait_for
from tests.teacher.fault_server import Running

ASK = """
import logging
from sei.llm.client import Client
from sei.llm.prices import Price
from sei.llm.settings import ApiSettings
from tests.llm.questions import request
logging.basicConfig(format="%(message)s", stream=sys.stdout)
settings = ApiSettings(model="m", base_urls=({url!r},), timeout_s=60.0, max_concurrency=4, price=Price(1.0, 1.0))
client = Client.open(settings, store=folder / "teacher.sqlite", run_folder=folder / {name!r})
answers = client.ask_many([request(n) for n in range(12)])
print(sum(one.text != "" for one in answers), round(client.account.spent(), 9), flush=True)
client.close()
"""


@pytest.fixture
def shared(tmp_path: Path) -> SharedStore:
    (tmp_path / "teacher").mkdir()
    store = open_store(tmp_path / "teacher.sqlite")
    assert isinstance(store, SharedStore)
    return store


def job(name: str, folder: Path, url: str) -> subprocess.Popen[str]:
    return on_machine(name, ASK.format(name=name, url=url), folder)


def test_two_machines_pay_for_each_call_once(shared: SharedStore, tmp_path: Path) -> None:
    with Running(latency_s=0.3) as server:
        jobs = [job(name, tmp_path, server.url) for name in ("node1", "node2")]
        said = [one.communicate(timeout=120)[0].split() for one in jobs]
        assert server.get("stats")["asks"] == 12
    assert [count for count, _ in said] == ["12", "12"]
    runs = [run_name(tmp_path / name, shared.path) for name in ("node1", "node2")]
    sums = [shared.sums(run) for run in runs]
    assert [one.calls for one in sums] == [12, 12], "each has used them all"
    assert sum(one.paid_usd for one in sums) == pytest.approx(sums[0].used_usd), "and together they paid for them once"
    assert [float(usd) for _, usd in said] == pytest.approx([one.paid_usd for one in sums])
    assert used_dollars(tmp_path / "node1") == pytest.approx(sums[0].used_usd)
    assert not list(tmp_path.rglob("*.sqlite*"))
    assert not list(tmp_path.rglob("*.lease"))


def test_calls_of_a_dead_machine_are_taken_over_and_what_it_paid_for_is_kept(
    shared: SharedStore, tmp_path: Path
) -> None:
    with Running(latency_s=0.2) as server:
        dead = job("node1", tmp_path, server.url)
        wait_for_answers(tmp_path, 4)
        dead.kill()
        dead.communicate()
        kept = {path.stem for path in (tmp_path / "teacher/answers").glob("*/*.json")}
        in_flight = {path.stem for path in (tmp_path / "teacher/answers").glob("*/*.lease")}
        before = len(server.get("log"))
        heir = job("node2", tmp_path, server.url)
        said = heir.communicate(timeout=120)[0]
        # "gone" are the calls that the dead one had on the wire: these alone are made twice.
        asked = [key for _, key, how in server.get("log")[before:] if how != "gone"]
    assert f"process {dead.pid} on node1" in said
    assert "gives no sign of life; asking what it was asking" in said
    assert said.splitlines()[-1].startswith("12 ")
    assert in_flight
    assert not kept & set(asked), "what is there is not asked again"
    assert len(asked) == len(set(asked)) == 12 - len(kept)


def wait_for_answers(folder: Path, count: int) -> None:
    for number in range(count):
        wait_for(folder / "teacher/answers" / request(number).key("m")[:2] / f"{request(number).key('m')}.json")


def test_the_first_of_two_answers_stays_and_both_are_charged(shared: SharedStore, tmp_path: Path) -> None:
    """As when a machine that counted as dead comes back with the answer to a call that was made again."""
    other = open_store(shared.path)
    asyncio.run(shared.put(answer(cost=0.25), Use("run-1", KEY, "solve")))
    late = answer(cost=0.5, run="run-2")
    asyncio.run(other.put(late, Use("run-2", KEY, "solve")))
    assert open_store(shared.path).get([KEY]) == {KEY: answer(cost=0.25)}
    assert (shared.spent("run-1"), shared.spent("run-2")) == (0.25, 0.5)


def test_a_kill_between_an_answer_and_its_cost_leaves_neither_out(
    shared: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise OSError(errno.EIO, "killed")

    with monkeypatch.context() as patched:
        patched.setattr("sei.llm.shared._append", killed)
        with pytest.raises(UserError, match="killed"):
            asyncio.run(shared.put(answer(), Use("run-1", KEY, "solve")))
    again = open_store(shared.path)
    assert list(again.get([KEY])) == [KEY]
    again.put_all([], [Use("run-1", KEY, "solve")])  # as a restart does
    assert again.spent("run-1") == again.sums("run-1").paid_usd == 0.25


def test_a_full_disk_is_said_and_what_was_written_is_kept(shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [answer(f"{number:064x}") for number in range(3)]
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    async def put_all() -> list[object]:
        return await asyncio.gather(
            *(shared.put(row, Use("run-1", row.key, "solve")) for row in rows), return_exceptions=True
        )

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        errors = asyncio.run(put_all())
    assert all(isinstance(error, UserError) and "No space left on device" in str(error) for error in errors if error)
    assert any(errors)
    names = [path.name for path in shared.folder.rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".")], "no half file is in the way"
    kept = open_store(shared.path).get(row.key for row in rows)
    assert set(kept) == {rows[0].key, rows[1].key}
    assert asyncio.run(put_all()) == [None] * 3, "it goes on where there is room"
    assert len(open_store(shared.path).get(row.key for row in rows)) == 3


def test_what_a_store_of_one_machine_held_is_read(tmp_path: Path) -> None:
    old = Store(tmp_path / "teacher.sqlite")
    asyncio.run(old.put(answer(), Use("run-1", KEY, "solve")))
    (tmp_path / "teacher").mkdir()  # left open: what is in its write-ahead log counts too
    store = open_store(tmp_path / "teacher.sqlite")
    assert store.get([KEY]) == {KEY: answer()}
    assert (store.spent("run-1"), store.sums("run-1").calls) == (0.25, 1)
    assert list(store.used("run-1")) == [(Use("run-1", KEY, "solve"), answer())]
    other = "cd" * 32
    asyncio.run(store.put(answer(other), Use("run-1", other, "solve")))
    assert old.get([other]) == {}, "it is not written"
    history = open_store(tmp_path / "teacher.sqlite").history("m", "teacher/solve", "abc")
    assert history is not None
    assert history.calls == 2


def test_rows_that_change_are_seen_by_all_whole(shared: SharedStore) -> None:
    other = open_store(shared.path)
    row = ("holder", "run-1", 2.5)
    shared.write(lambda connection: connection.execute("INSERT INTO reservations VALUES (?, ?, ?)", row))
    assert other.write(lambda connection: connection.execute("SELECT * FROM reservations").fetchall()) == [row]

    def fails(connection: object) -> None:
        connection.execute("DELETE FROM reservations")  # type: ignore[attr-defined]
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        other.write(fails)
    assert shared.write(lambda connection: connection.execute("SELECT * FROM reservations").fetchall()) == [row]


def test_a_network_file_system_is_known(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 21 0:40 / /home rw shared:2 - nfs4 server:/home rw\n"
        "31 30 8:2 / /home/my\\040disk rw - xfs /dev/sdb rw\n"
        "32 21 0:41 / /scratch rw - lustre mds:/scratch rw\n"
    )
    found = {
        place: _on_local_disk(Path(place), mounts) for place in ("/var/x", "/home/a/b", "/home/my disk/c", "/scratch")
    }
    assert found == {"/var/x": True, "/home/a/b": False, "/home/my disk/c": True, "/scratch": False}


def test_on_a_full_disk_the_answers_on_the_wire_are_kept_and_no_further_call_starts(
    shared: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [answer(f"{number:064x}") for number in range(3)]
    assert all(shared.claim(row.key) for row in rows)
    sync = os.fsync

    def full_but_for_what_is_kept(descriptor: int) -> None:
        if shared._room is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_but_for_what_is_kept)
    for row in rows:
        asyncio.run(shared.put(row, Use("run-1", row.key, "solve")))
    assert len(open_store(shared.path).get(row.key for row in rows)) == 3
    with pytest.raises(UserError, match=r"No space left on device.*run the same command again"):
        shared.claim("ef" * 32)
    shared.close()
    assert not list(shared.folder.rglob("*.lease"))
