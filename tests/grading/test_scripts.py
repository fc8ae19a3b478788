"""Grading from a plain script, from `python -c` and from standard input: no main guard, from any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from sei import answers
print(answers.grade(r"so \\boxed{{2\\sqrt3}}", r"\\sqrt{{12}}", "math"))
"""


@pytest.mark.parametrize("way", ["file", "-c", "stdin"])
def test_symbols_are_compared_without_a_main_guard(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "random.py").write_text("raise ImportError('the folder one works in is not where workers import from')")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    arguments = {"file": [str(script)], "-c": ["-P", "-c", SCRIPT], "stdin": ["-P", "-"]}[way]
    done = subprocess.run(
        [sys.executable, *arguments],
        input=SCRIPT if way == "stdin" else "",
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("correct\n", "", 0)
