"""A sweep of four small but real jobs, of which one is killed in its midst, for tests of the launchers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from sei.processes import same_code
from tests.launch.app import ROOT, cells, until

WORDS = (
    "recipe=cot",
    "seed=0,1,2,3",
    "data.train=60",
    "data.validation=10",
    "data.test=10",
    "recipe.training.tokens=8000",
    "recipe.training.batch_tokens=512",
    "trainer.checkpoint_every=1",
    "trainer.precision=32-true",
    "logger=none",
)
PATIENCE = 600.0  # seconds: the machine may be busy


def job_process(folder: Path) -> int | None:
    """The process of the job in `folder`, None where there is none."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            named = b"sei.launch" in (place / "cmdline").read_bytes()
            if named and os.readlink(place / "fd/2") == str(folder / "log.txt"):
                return int(place.name)
        except OSError:
            continue
    return None


def sweep_with_a_kill(folder: Path, *words: str, environment: dict[str, str] | None = None) -> None:
    """Run the sweep with these words too; the second of its jobs is killed while it trains. Then the same command again."""
    sweep = folder / "sweep"
    command = [
        sys.executable,
        "train.py",
        "-m",
        *WORDS,
        f"cache_dir={folder / 'cache'}",
        f"hydra.sweep.dir={sweep}",
        *words,
    ]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=same_code() | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: any("--- masked" in log.read_text() for log in sweep.glob("cot-seed1-*/log.txt")), PATIENCE)
        (killed,) = sweep.glob("cot-seed1-*")  # it shows what it trains on, and then trains
        until(lambda: any((folder / "cache/finetune").glob("*.scratch/checkpoints/*.ckpt")), PATIENCE)
        process = job_process(killed)
        assert process is not None
        os.kill(process, signal.SIGKILL)
        output, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    assert "Traceback" not in output + errors
    found = cells(output)
    assert [found[f"seed={seed}"][0] for seed in range(4)] == ["done", "failed", "done", "done"], output
    assert "SIGKILL" in found["seed=1"][1]
    assert json.loads((killed / "status.json").read_text())["status"] == "failed"
    assert all((path / "log.txt").stat().st_size for path in sweep.glob("cot-*"))
    assert not (killed / "results.json").exists()

    again = subprocess.run(
        command, cwd=ROOT, env=same_code() | (environment or {}), capture_output=True, text=True, timeout=PATIENCE
    )
    assert again.returncode == 0, again.stderr
    assert {status for status, _ in cells(again.stdout).values()} == {"done"}
    assert json.loads((killed / "results.json").read_text())["recipe"] == "cot"
