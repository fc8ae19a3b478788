"""A small program with jobs that end in every way, for tests of the launchers; the rest of it is as `train.py` has it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sei.processes import same_code

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, signal, subprocess, sys, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from sei.compose import register
from sei.tracking.log_file import logged

register()

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    folder = Path(HydraConfig.get().runtime.output_dir)
    if config.dry_run:
        print("plan:", config.do, flush=True)
        return None
    with logged(folder):
        print("doing", config.do, os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
        return WAYS[config.do](config, folder)

def save(*_):
    Path(HydraConfig.get().runtime.output_dir, "saved").touch()
    sys.exit(143)

def wait(config, folder):
    signal.signal(signal.SIGTERM, save)
    child = subprocess.Popen(["sleep", "300"])
    (folder / "child").write_text(str(child.pid))
    (folder / "new").write_text(str(os.getpid()))
    (folder / "new").rename(folder / "pid")
    time.sleep(300)

def fail(config, folder):
    raise CompactHydraException("too small\\nby far")

def bug(config, folder):
    raise ValueError("a bug")

def slow(config, folder):
    time.sleep(1 + (config.seed == 0))
    return 0.5 + config.seed

WAYS = {"wait": wait, "fail": fail, "bug": bug, "slow": slow, "done": lambda config, folder: 0.25}
WAYS |= {"score": lambda config, folder: 1 - (config.x - 0.3) ** 2, "nothing": lambda config, folder: None}

if __name__ == "__main__":
    try:
        main()
    finally:
        from sei.sweep import narrator
        narrator().tell_end()
"""

CONFIG = f"""
defaults:
  - _self_
  - override hydra/launcher: local
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
do: done
seed: 0
x: 0.0
dry_run: false
hydra:
  searchpath: ["file://{ROOT}/conf"]
  callbacks: {{sweep: {{_target_: sei.sweep.narrator}}}}
  sweep: {{subdir: "${{do}}-${{seed}}"}}
"""


def write_app(folder: Path) -> Path:
    """The program in `folder`; sweeps go to the folder `sweep` beside it."""
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text(CONFIG)
    (folder / "app.py").write_text(SCRIPT)
    return folder / "app.py"


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """A sweep of the program in `folder`."""
    command = [sys.executable, str(write_app(folder)), "-m", f"hydra.sweep.dir={folder / 'sweep'}", *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=same_code() | environment,
    )


def pid_of(job: Path) -> int:
    """The process of a job that waits, once it does."""
    until(lambda: (job / "pid").is_file())
    return int((job / "pid").read_text())


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds; fail if it does not come to that."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cells(output: str) -> dict[str, tuple[str, str]]:
    """Of the table at the end of a sweep: status and error of each job."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("|")]
    return {row[0]: (row[1], row[-1]) for row in rows[2:]}
