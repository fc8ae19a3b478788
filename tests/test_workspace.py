"""The workspace: computed once, found again, repaired, shared, and killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sei.errors import UserError
from sei.records import Problem, Rejected
from sei.stage import Output, Stage
from sei.workspace import NotComputed, Workspace, stage_folder

PROBLEMS = [
    Problem.make(question=f"{n} and 1?", answer=str(n + 1), solution=f"#### {n + 1}", source="t") for n in range(4)
]


class Counter:
    """A stage function that counts its calls and rejects the last problem."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, scratch: Path) -> Output[Problem]:
        self.calls += 1
        return Output(PROBLEMS[:3], received=4, rejected=[Rejected.make(PROBLEMS[3].id, "last", raw="raw text")])


def keep(problems: list[Problem], x: int = 0) -> Output[Problem]:
    raise NotImplementedError


KEEP = Stage(keep, Problem, "keep", on_top=True)


def run(workspace: Workspace, function, x: int = 0, name: str = "keep"):
    """Stage `keep` of the four problems, computed by `function(scratch)`."""
    return workspace.stage(KEEP.call(PROBLEMS, x=x), name, function)


def test_a_stage_is_computed_once_and_accounts_for_every_record(tmp_path: Path) -> None:
    function = Counter()
    first = run(Workspace(tmp_path / "a", tmp_path / "cache"), function)
    second = run(Workspace(tmp_path / "b", tmp_path / "cache"), function)
    assert function.calls == 1
    assert (first.cached, second.cached) == (False, True)
    assert second.records == PROBLEMS[:3]
    assert second.manifest["received"] == 4 == second.manifest["passed"] + sum(second.manifest["rejected"].values())
    for folder in ("a", "b"):
        rejected = json.loads((tmp_path / folder / "stages/01-keep/rejected.jsonl").read_text())
        assert (rejected["reason"], rejected["raw"]) == ("last", "raw text")


def test_other_parameters_are_another_stage(tmp_path: Path) -> None:
    function = Counter()
    workspace = Workspace(tmp_path / "a", tmp_path / "cache")
    run(workspace, function, 1)
    run(workspace, function, 2)
    assert function.calls == 2


def test_losing_a_record_is_an_error() -> None:
    with pytest.raises(AssertionError, match="received 4, passed 3, rejected 0"):
        Output(PROBLEMS[:3], received=4)


@pytest.mark.parametrize("damage", ["records.jsonl", "rejected.jsonl", "manifest.json"])
def test_a_damaged_entry_is_noticed_and_computed_again(tmp_path: Path, damage: str) -> None:
    function, notes = Counter(), []
    run(Workspace(tmp_path / "a", tmp_path / "cache"), function)
    (path,) = (tmp_path / "cache").glob(f"keep/*/{damage}")
    path.write_text(path.read_text()[:-20])
    again = run(Workspace(tmp_path / "b", tmp_path / "cache", on_note=notes.append), function)
    assert function.calls == 2
    assert again.records == PROBLEMS[:3]
    assert "damaged" in notes[0]


def test_editing_the_run_folder_leaves_the_cache_whole(tmp_path: Path) -> None:
    function = Counter()
    run(Workspace(tmp_path / "a", tmp_path / "cache"), function)
    (tmp_path / "a" / "keep.jsonl").write_text("edited")
    assert run(Workspace(tmp_path / "b", tmp_path / "cache"), function).cached


def test_a_dry_workspace_computes_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotComputed) as missing:
        run(Workspace(tmp_path / "a", tmp_path / "cache", compute=False), Counter(), name="keep.round2")
    assert missing.value.stage == "keep.round2"
    assert list(tmp_path.iterdir()) == []


def test_scratch_survives_a_failure_and_is_offered_again(tmp_path: Path) -> None:
    def fails_once(scratch: Path) -> Output[Problem]:
        if not (scratch / "half").exists():
            (scratch / "half").write_text("done")
            raise RuntimeError("killed")
        return Output(PROBLEMS, received=4)

    workspace = Workspace(tmp_path / "a", tmp_path / "cache")
    with pytest.raises(RuntimeError, match="killed"):
        run(workspace, fails_once)
    assert run(workspace, fails_once).records == PROBLEMS
    assert not list((tmp_path / "cache").rglob("*.scratch"))


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cache_dir .* cannot be written"):
        Workspace(tmp_path / "a", tmp_path / "file" / "cache")


def test_a_full_disk_is_explained_and_finished_stages_stay(tmp_path: Path) -> None:
    function = Counter()
    run(Workspace(tmp_path / "a", tmp_path / "cache"), function)

    def full(scratch: Path) -> Output[Problem]:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"No space left on device.*run the same command again"):
        run(Workspace(tmp_path / "b", tmp_path / "cache"), full, 1)
    assert run(Workspace(tmp_path / "b", tmp_path / "cache"), function).cached


JOB = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_workspace import PROBLEMS, run
from sei.stage import Output
from sei.workspace import Workspace
def slow(scratch):
    with open({log!r}, "a") as log:
        log.write("start\\n")
    time.sleep({seconds})
    return Output(PROBLEMS, received=4)
print(len(run(Workspace(Path({folder!r}), Path({cache!r})), slow).records))
"""


def start(tmp_path: Path, folder: str, seconds: float) -> subprocess.Popen[bytes]:
    code = JOB.format(
        tests=str(Path(__file__).parent),
        log=str(tmp_path / "log"),
        seconds=seconds,
        folder=str(tmp_path / folder),
        cache=str(tmp_path / "cache"),
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def wait_for_start(tmp_path: Path) -> None:
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_jobs_at_once_compute_a_stage_once(tmp_path: Path) -> None:
    jobs = [start(tmp_path, name, 1.0) for name in ("a", "b")]
    assert [job.communicate()[0].strip() for job in jobs] == [b"4", b"4"]
    assert (tmp_path / "log").read_text() == "start\n"


def test_after_kill_9_the_same_command_finishes(tmp_path: Path) -> None:
    killed = start(tmp_path, "a", 60)
    wait_for_start(tmp_path)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not list((tmp_path / "cache").rglob("manifest.json"))
    assert start(tmp_path, "a", 0).communicate()[0].strip() == b"4"


def test_the_run_folder_holds_stages_in_order_and_a_few_results_on_top(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "a", tmp_path / "cache")
    run(workspace, Counter())
    run(workspace, Counter(), 1, name="checks.keep")
    run(workspace, Counter(), 2, name="keep.round2")
    folder = tmp_path / "a"
    assert sorted(path.name for path in (folder / "stages").iterdir()) == [
        "01-keep",
        "02-checks.keep",
        "03-keep.round2",
    ]
    assert sorted(path.name for path in folder.glob("*.jsonl")) == ["keep.jsonl", "keep.round2.jsonl"]
    assert stage_folder(folder, "keep") == folder / "stages/01-keep", "not the one whose name ends alike"
    assert stage_folder(folder, "mistakes") is None
    again = Workspace(folder, tmp_path / "cache")
    run(again, Counter(), 1, name="checks.keep")
    assert stage_folder(folder, "checks.keep") == folder / "stages/01-checks.keep", "one place, that of this run"


def test_large_files_are_on_the_disk_once_and_small_ones_may_be_edited(tmp_path: Path) -> None:
    def trained(scratch: Path) -> Output[Problem]:
        (scratch / "adapter").mkdir()
        (scratch / "adapter" / "weights").write_bytes(b"0" * (1 << 21))
        (scratch / "adapter" / "settings.json").write_text("{}")
        return Output(PROBLEMS, received=4, files=scratch / "adapter")

    first = run(Workspace(tmp_path / "a", tmp_path / "cache"), trained)
    assert first.place == "keep"
    assert first.files is not None
    for place in ("keep", "stages/01-keep/files"):
        assert (tmp_path / "a" / place / "weights").samefile(first.files / "weights")
        assert not (tmp_path / "a" / place / "settings.json").samefile(first.files / "settings.json")
    (tmp_path / "a" / "keep" / "settings.json").write_text("edited")
    assert run(Workspace(tmp_path / "b", tmp_path / "cache"), trained).cached
    with (tmp_path / "a" / "keep" / "weights").open("r+b") as weights:
        weights.write(b"1")
    assert not run(Workspace(tmp_path / "c", tmp_path / "cache"), trained).cached, "noticed by its checksum"
