"""However a run ends: its line is said, its exit status is right, and `status.json` does not go on saying that it runs."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sei.run
from sei.errors import Ended, UserError
from sei.run import record_failure, run
from tests.test_config import composed

ROOT = Path(__file__).parents[1]
SIGNALS = {signal.SIGINT: "", signal.SIGTERM: "Ended by SIGTERM.", signal.SIGHUP: "Ended by SIGHUP."}
SIGNALS[signal.SIGUSR2] = "Ended by SIGUSR2."  # what Slurm sends before the time limit, where it was asked to


def status(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "status.json").read_text())
    return found


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """What a program starts with, also where the tests themselves were started with `nohup`, which ignores SIGHUP."""
    usual: dict[int, Any] = dict.fromkeys(SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _wait_for_it() -> None:
    """A signal may have come before this is called, so `signal.pause` could wait for ever."""
    time.sleep(10)
    raise AssertionError("the signal did nothing")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_run_in_order(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        assert status(tmp_path / "run")["status"] == "running"
        os.kill(os.getpid(), number)
        _wait_for_it()

    monkeypatch.setattr(sei.run, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        run(composed(f"cache_dir={tmp_path / 'cache'}"), tmp_path / "run", [])
    assert str(stop.value).startswith(SIGNALS[signal.Signals(number)])
    assert status(tmp_path / "run")["status"] == "interrupted"
    assert not (tmp_path / "run/traceback.txt").exists()
    assert {signal.getsignal(one) for one in SIGNALS if one != signal.SIGINT} == {signal.SIG_DFL}


def test_a_second_signal_does_not_end_what_puts_things_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            _wait_for_it()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sei.run, "_run", interrupted)
    with pytest.raises(Ended) as stop:
        run(composed(f"cache_dir={tmp_path / 'cache'}"), tmp_path / "run", [])
    assert stop.value.__context__ is None
    assert status(tmp_path / "run")["status"] == "interrupted"


def test_a_handler_of_someone_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(
        sei.run, "_run", lambda *_: [os.kill(os.getpid(), signal.SIGTERM), {"validation": None, "error_types": []}][1]
    )
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        run(composed(f"cache_dir={tmp_path / 'cache'}"), tmp_path / "run", [])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert status(tmp_path / "run")["status"] == "done"


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGINT, "Interrupted. Run the same command to resume."),
        (signal.SIGTERM, "Ended by SIGTERM. Run the same command to resume."),
    ],
)
def test_the_command_says_its_line(tmp_path: Path, number: int, line: str) -> None:
    """The real entry point, with a recipe that waits in the place of the real work."""
    script = (
        "import os, runpy, signal, sys; import sei.run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sei.run._run = lambda *_: (os.kill(os.getpid(), {int(number)}), _wait_for_it())\n"
        "runpy.run_path('train.py', run_name='__main__')"
    )
    command = [sys.executable, "-c", script, f"cache_dir={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (ended.returncode, ended.stderr.strip().splitlines()[-1]) == (128 + number, line)
    assert status(tmp_path / "run")["status"] == "interrupted"


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_folder_still_says_that_the_run_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No new file can be written; the one that says `running` has its block."""
    (tmp_path / "status.json").write_text(json.dumps({"status": "running"}, indent=2))
    monkeypatch.setattr(sei.run, "write_json", full)
    record_failure(tmp_path, UserError("writing failed " + "x" * 5000))
    assert status(tmp_path)["status"] == "failed"
    assert status(tmp_path)["error"].startswith("UserError: writing failed xxx")
    assert (tmp_path / "status.json").stat().st_size < 1024


def test_no_status_is_better_than_a_false_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"status": "running"}))
    monkeypatch.setattr(sei.run, "write_json", full)
    monkeypatch.setattr(Path, "open", full)
    record_failure(tmp_path, UserError("writing failed"))
    assert not (tmp_path / "status.json").exists()


@pytest.mark.parametrize("name", ["config.yaml", "report.txt"])
def test_a_folder_that_fills_up_is_told_as_such(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sei import workspace

    write = workspace._write_text
    monkeypatch.setattr(workspace, "_write_text", lambda path, text: full() if path.name == name else write(path, text))
    space = workspace.Workspace(tmp_path / "run", tmp_path / "cache")
    with pytest.raises(UserError, match=r"No space left on device\..*hydra\.run\.dir"):
        space.write_text(name, "x")
