"""What a training says while it runs: how far it is where nobody sees a bar, and nothing of Lightning's."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import pytest

from sei.terminal import SlowLines
from tests.target.small import save_small
from tests.training.test_run import train


@pytest.mark.parametrize("terminal", [False, True])
def test_lines_where_there_is_no_terminal_and_no_advertisements_anywhere(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowLines, "EVERY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    base = save_small(tmp_path / "base", initializer_range=0.05)
    said: list[str] = []
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", logged.append)
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "handlers", [handler])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = train(base, tmp_path / "adapter", on_check=said.append)
    assert [record.getMessage() for record in logged] == []
    assert [str(one.message) for one in warned if "lightning" in one.filename] == []
    lines = [line for line in said if line.startswith("training: step ")]
    if terminal:
        assert lines == []
        return
    # Two micro-batches a step: a step is said once it is done, and again while the next one is under way.
    assert len({line.split(",")[0] for line in lines}) == result["steps"]
    assert lines[-1].startswith(
        f"training: step {result['steps']} of {result['steps']}, loss {result['final_loss']:.4f}, 0:"
    )
