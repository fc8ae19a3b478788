"""One stage cache for several machines that have no lock in common: computed once, taken over from the dead, never broken."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from sei.lease import Lease
from sei.workspace import Workspace
from tests.machines import on_machine, wait_for
from tests.test_workspace import PROBLEMS, Counter, run

JOB = """
import time
from tests.test_workspace import PROBLEMS, run
from sei.stage import Output
from sei.workspace import Workspace
def slow(scratch):
    with (folder / "log").open("a") as log:
        log.write({name!r} + (" goes on" if (scratch / "half").exists() else "") + "\\n")
    (scratch / "half").write_text("done")
    for _ in range({beats}):
        if (folder / "finish").exists():
            break
        (scratch / "beat").write_text("x")
        time.sleep(0.02)
    return Output(PROBLEMS, received=4)
workspace = Workspace(folder / {name!r}, folder / "cache", on_note=lambda text: print(text, flush=True))
artifact = run(workspace, slow)
print(len(artifact.records), "cached" if artifact.cached else "computed")
"""


def job(name: str, folder: Path, beats: int) -> subprocess.Popen[str]:
    """A job on a machine of that name, whose stage takes so many fiftieths of a second, or until there is a file `finish`."""
    return on_machine(name, JOB.format(name=name, beats=beats), folder)


def test_two_machines_compute_a_stage_once(tmp_path: Path) -> None:
    jobs = [job(name, tmp_path, 30) for name in ("node1", "node2")]
    said = sorted(one.communicate(timeout=120)[0].splitlines()[-1] for one in jobs)
    assert said == ["4 cached", "4 computed"]
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_stage_of_a_dead_machine_is_taken_over_and_it_is_said(tmp_path: Path) -> None:
    dead = job("node1", tmp_path, 2000)
    wait_for(tmp_path / "log")
    heir = job("node2", tmp_path, 0)
    assert heir.stdout is not None
    assert f"being computed by another job (process {dead.pid} on node1" in heir.stdout.readline()
    dead.kill()
    dead.communicate()
    said = heir.communicate(timeout=120)[0].splitlines()
    assert f"process {dead.pid} on node1" in said[0]
    assert "gives no sign of life; going on with what it left" in said[0]
    assert said[1] == "4 computed"
    assert (tmp_path / "log").read_text() == "node1\nnode2 goes on\n"
    assert [path.suffix for path in (tmp_path / "cache" / "keep").iterdir()] == [""], (
        "neither scratch nor lease is left"
    )


def test_a_suspended_holder_that_comes_back_breaks_nothing(tmp_path: Path) -> None:
    suspended = job("node1", tmp_path, 2000)
    wait_for(tmp_path / "log")
    os.kill(suspended.pid, signal.SIGSTOP)
    heir = job("node2", tmp_path, 2000)
    assert heir.stdout is not None
    said = ""
    while "going on with what it left" not in said:
        said = heir.stdout.readline()
    os.kill(suspended.pid, signal.SIGCONT)
    assert suspended.stdout is not None
    assert "another job took it over" in suspended.stdout.readline()
    assert heir.poll() is None, "noticed while the other was still working"
    (tmp_path / "finish").touch()
    assert suspended.communicate(timeout=120)[0].splitlines()[-1] == "4 cached"
    assert heir.communicate(timeout=120)[0].splitlines() == ["4 computed"]
    assert run(Workspace(tmp_path / "c", tmp_path / "cache"), Counter()).records == PROBLEMS


def test_of_two_results_the_first_stays(tmp_path: Path) -> None:
    """Who counted as dead and comes back finds an entry: it is equal, and others may be reading it."""
    workspace = Workspace(tmp_path / "a", tmp_path / "cache")
    first: list[int] = []

    def overtaken(scratch: Path):
        other = Workspace(tmp_path / "b", tmp_path / "cache")
        (lease,) = (tmp_path / "cache" / "keep").glob("*.lease")
        lease.unlink()
        run(other, Counter())
        (records,) = (tmp_path / "cache" / "keep").glob("*/records.jsonl")
        first.append(records.stat().st_ino)
        scratch.mkdir(exist_ok=True)
        return Counter()(scratch)

    assert run(workspace, overtaken).records == PROBLEMS[:3]
    (records,) = (tmp_path / "cache" / "keep").glob("*/records.jsonl")
    assert [records.stat().st_ino] == first


def test_a_dead_process_of_this_machine_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sei.lease; mine = sei.lease.Lease(folder / 'x'); assert mine.take_now(); os._exit(9)"
    dead = on_machine(os.uname().nodename, code, tmp_path)
    dead.communicate(timeout=120)
    assert (tmp_path / "x").exists()
    monkeypatch.setattr("sei.lease.STALE", 600.0)
    lease = Lease(tmp_path / "x")
    lease.wait()
    assert not lease.lost
    lease.release()
    assert not (tmp_path / "x").exists()


def test_one_at_a_time_however_many_take_over_at_once(tmp_path: Path) -> None:
    dead = on_machine(
        os.uname().nodename,
        "import os, sei.lease; mine = sei.lease.Lease(folder / 'x'); assert mine.take_now(); os._exit(9)",
        tmp_path,
    )
    dead.communicate(timeout=120)
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            lease = Lease(tmp_path / "x")
            while not lease.take_now():
                time.sleep(0)
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.0005)
            inside.pop()
            lease.release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (120, 1)
    assert not list(tmp_path.iterdir())
