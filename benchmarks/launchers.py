"""Jobs of a sweep one after the other beside as many at once as there are cores: `hydra/launcher=local`.

Purpose: prints the wall time of the same small sweep of the embedded target, with Hydra's own launcher and with ours, each with
an empty cache and in alternation, and their ratio: at once over one after the other. One job at a time has all cores to itself; a
ratio below 1 means that sharing them out is worth it. Asserts nothing. On a busy machine the ratio says little: repeat it idle.

Example::

    python benchmarks/launchers.py --jobs 2 --repeats 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = (
    "recipe=cot",
    "data.train=400",
    "data.validation=50",
    "data.test=200",
    "logger=none",
    "trainer.precision=32-true",
)


def seconds(launcher: str, jobs: int, tokens: int) -> float:
    """The wall time of a sweep over so many seeds."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), "-m", *WORDS, f"recipe.training.tokens={tokens}"]
        command += [f"seed={','.join(map(str, range(jobs)))}", f"hydra/launcher={launcher}"]
        command += [f"cache_dir={folder}/cache", f"hydra.sweep.dir={folder}/sweep"]
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tokens", type=int, default=60_000, help="training tokens of a job")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{arguments.jobs} jobs on {os.cpu_count()} processors; load before the start {load:.1f}", flush=True)
    ratios = []
    for _ in range(arguments.repeats):
        alone = seconds("basic", arguments.jobs, arguments.tokens)
        at_once = seconds("local", arguments.jobs, arguments.tokens)
        ratios.append(at_once / alone)
        print(f"one after the other {alone:.1f} s, at once {at_once:.1f} s: ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
