"""A sweep: what it says in the terminal while its command runs, and (`python -m sei.sweep`) how it is steered.

Each job is announced as it starts, and at the end there is a table of all of them. What the command asks for is noted in the
sweep's folder (`sei.commands`), for whoever looks at the sweep from elsewhere (`sei.sweep.jobs`, `sei.sweep.steer`).

Place in the flow: Hydra calls `narrator()` as its callback (conf/config.yaml) when the sweep and each of its jobs starts, or a
launcher (`sei.launch`) does where jobs run elsewhere; `train.py` has it print the end, however the sweep ended. Figures come from
the jobs' folders, so jobs that ran elsewhere are in the table too. Example::

    job 2/6: recipe=cot seed=1
"""

from __future__ import annotations

import functools
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from sei.commands import Command, with_seed
from sei.lease import Lease
from sei.state import spent
from sei.terminal import Terminal
from sei.tracking.display import print_table
from sei.tracking.page.folder import Json, RunFolder, read_yaml

BEST = "optimization_results.yaml"  # where Hydra's sweepers that search, such as Optuna's, write what they found
_MOST_ERROR = 200  # characters of an error in the table


class Narrator(Callback):
    """Says which job starts, and tells the sweep's end. Silent outside a sweep."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.started = 0.0
        self.total: int | None = None
        self.swept: frozenset[str] = frozenset()
        self.at_work: Lease | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.folder, self.started = Path(config.hydra.sweep.dir), time.time()
        self.swept, self.total = _swept(config)
        if config.dry_run:
            self.folder = None
            return
        command = Command([sys.executable, *sys.orig_argv[1:]], os.getcwd(), _planned(config), sorted(self.swept))
        self.at_work = Lease(command.write(self.folder).with_suffix(".lease"))
        self.at_work.take_now()  # the same command may be at work already: its jobs wait for each other

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.hydra.mode is RunMode.MULTIRUN:
            print()
            self.announce(int(config.hydra.job.num), list(config.hydra.overrides.task))

    def announce(self, number: int, overrides: Sequence[str]) -> None:
        """Say that a job starts, here or elsewhere. `number` counts from 0."""
        words = [str(word).lstrip("+") for word in overrides]
        own = [word for word in words if not self.swept or _key(word) in self.swept]
        self._say(number, f": {' '.join(own)}")

    def tell_job(self, number: int, value: Any, error: str | None) -> None:
        """Say how a job ended that ran elsewhere: with the value it returned, or with an error."""
        validation = f", validation accuracy {100 * value:.1f} %" if isinstance(value, float) else ""
        self._say(number, f" done{validation}" if error is None else f" FAILED: {(error.splitlines() or [''])[0]}")

    def _say(self, number: int, text: str) -> None:
        of_all = f"/{self.total}" if self.total else ""
        Terminal(highlight=False).print(f"job {number + 1}{of_all}{text}", soft_wrap=True)

    def tell_end(self) -> None:
        """The jobs of this sweep in a table, the best trial where there was a search, and what to do next."""
        if self.at_work is not None:
            self.at_work.release()
        folder, console = self.folder, Terminal(highlight=False)
        if folder is None or not folder.is_dir():
            return
        jobs = list(_jobs(folder, self.started, self.swept))
        if not jobs:
            return
        console.print()
        print_table(console, _table(jobs, self.total))
        for line in best_trial(folder, self.started):
            console.print(line, soft_wrap=True)
        if (folder / "report.html").is_file():
            console.print(f"sweep: {folder / 'report.html'}", soft_wrap=True)
        next_one = shlex.join(["python", "-m", "sei.compare", str(folder)])
        console.print(f"next, with paired tests: {next_one}", soft_wrap=True)


@functools.cache
def narrator() -> Narrator:
    """The one of this process."""
    return Narrator()


def _swept(config: DictConfig) -> tuple[frozenset[str], int | None]:
    """The keys that the sweep varies, and how many jobs that makes; None where the sweeper does not say."""
    given = [f"{key}={value}" for key, value in (OmegaConf.select(config, "hydra.sweeper.params") or {}).items()]
    words = {_key(word): word for word in [*given, *map(str, config.hydra.overrides.task)]}  # later ones win
    parser = OverridesParser.create()
    sweeps = [one for one in parser.parse_overrides(list(words.values())) if one.is_sweep_override()]
    trials = OmegaConf.select(config, "hydra.sweeper.n_trials")
    keys = frozenset(one.key_or_group for one in sweeps) | (frozenset(map(_key, given)) if trials else frozenset())
    if trials:
        return keys, int(trials)
    discrete = [one for one in sweeps if one.is_discrete_sweep()]
    if len(discrete) < len(sweeps):
        return keys, None
    return keys, math.prod(len(list(one.sweep_string_iterator())) for one in discrete)


def _planned(config: DictConfig) -> list[list[str]] | None:
    """The overrides of every job of the sweep, None where a search makes them up as it goes."""
    if OmegaConf.select(config, "hydra.sweeper.n_trials"):
        return None
    given = [f"{key}={value}" for key, value in (OmegaConf.select(config, "hydra.sweeper.params") or {}).items()]
    words = [*given, *map(str, config.hydra.overrides.task)]
    try:
        batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    except HydraException:  # a range without steps, which another sweeper draws from
        return None
    return [with_seed(job, config.seed) for batch in batches for job in batch]


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _jobs(folder: Path, since: float, swept: frozenset[str]) -> Iterator[dict[str, str]]:
    """The cells of each job of this sweep, in their order."""
    found = []
    for status in folder.rglob("status.json"):
        started = status.parent / ".hydra" / "overrides.yaml"  # Hydra writes it when the job starts
        if started.is_file() and started.stat().st_mtime >= since - 1:
            run = RunFolder(status.parent)
            seconds = spent(status.parent).get("seconds", status.stat().st_mtime - started.stat().st_mtime)
            found.append((int(run.hydra.get("job", {}).get("num") or 0), started, _cells(run, seconds, swept)))
    for _, _, cells in sorted(found, key=lambda one: one[:2]):
        yield cells


def _cells(run: RunFolder, seconds: float, swept: frozenset[str]) -> dict[str, str]:
    given = [str(word).lstrip("+") for word in run.hydra.get("overrides", {}).get("task", ())]
    words = [word for word in given if not swept or _key(word) in swept]
    validation, average = run.results.get("validation"), (run.results.get("averages") or {}).get("all") or {}
    error = str(run.status.get("error", "")).splitlines()
    return {
        "job": " ".join(words) or run.path.name,
        "status": str(run.status["status"]),
        "seconds": f"{seconds:,.0f}",
        "validation": _percent(validation),
        "test sets": _percent((average.get("after") or {}).get("macro")),
        "error": error[0][:_MOST_ERROR] if error else "",
    }


def _percent(figures: Mapping[str, Any] | None) -> str:
    return f"{100 * figures['accuracy']:.1f}" if figures else "-"


def _table(jobs: list[dict[str, str]], total: int | None) -> Table:
    ended = f"{len(jobs)} of {total} jobs" if total and total != len(jobs) else f"{len(jobs)} jobs"
    table = Table(title=f"{ended}; accuracy after training in %, of the test sets their mean")
    for name in jobs[0]:
        if name == "error" and not any(job["error"] for job in jobs):
            continue
        number = name in ("seconds", "validation", "test sets")
        table.add_column(name, justify="right" if number else "left", overflow="fold", min_width=len(name))
    for job in jobs:
        table.add_row(*list(job.values())[: len(table.columns)])
    return table


def best_trial(folder: Path, since: float) -> Iterator[str]:
    """What the sweeper's search found, where it searched: the value and the settings of the best trial, or of several."""
    path = folder / BEST
    if not path.is_file() or path.stat().st_mtime < since - 1:
        return
    found: Json = read_yaml(path) or {}
    trials = found.get("solutions") or [
        {"params": found.get("best_params", found.get("best_evaluated_params", {})), "values": found.get("best_value")}
    ]
    for trial in trials:
        settings = " ".join(f"{key}={value}" for key, value in (trial.get("params") or {}).items())
        yield f"best trial: {settings} (value {trial.get('values')})"
