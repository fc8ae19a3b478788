"""The jobs of a sweep, as any launcher has them: what a job is, how it is carried out anywhere, and how it ended.

Place in the flow: Hydra's sweeper hands a list of overrides to a launcher (`sei.launch.local`, `sei.launch.ray`, ...), which
derives from `JobLauncher`. Every list becomes a `Job`: plain text, from which any process with this code composes and runs
the very same job (`carry_out`). Its `Ending` goes back to the sweeper in the order of the jobs, whichever ended first. A job
whose process was lost counts as failed, in its `status.json` too, and the others go on. Example::

    class OneByOne(JobLauncher):
        def endings(self, jobs):
            for job in jobs:
                self.starts(job)
                yield job, carry_out(job)
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import sys
import time
import traceback
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.hydra import Hydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sei.compose import search_path
from sei.errors import Ended, UserError
from sei.processes import ends_in_order
from sei.sweep import narrator


class Source(NamedTuple):
    """A folder of options, as Hydra writes it down (`hydra.runtime.config_sources`)."""

    provider: str
    schema: str
    path: str


@dataclass(frozen=True)
class Job:
    """One job of a sweep: all that another process needs to compose and run the same."""

    number: int  # counted from 0, over the whole sweep
    overrides: list[str]  # what the sweeper gave this job
    folder: str  # its run folder
    sweep: str  # the sweep's folder, in which it lies
    cwd: str
    script: str  # the file with the task function, and its name
    function: str
    arguments: list[str]  # the command line of the sweep
    name: str  # Hydra's job name
    config_name: str
    hydra_overrides: list[str]
    sources: list[Source]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        return cls(**values | {"sources": [Source(*source) for source in values["sources"]]})


@dataclass(frozen=True)
class Ending:
    """How a job ended: with the value that it returned, or with an error."""

    value: Any = None
    error: str | None = None  # None where it was done

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Ending:
        return cls(**json.loads(text))


class JobFailed(UserError):
    """Why a job failed that could not say so itself."""


def carry_out(job: Job) -> Ending:
    """Compose and run a job in this process, as the sweep would have done. An exception ends it and is in its `Ending`."""
    os.chdir(job.cwd)
    sys.argv = [job.script, *job.arguments]
    task = getattr(_module(job.script), job.function)
    Plugins.instance()  # Hydra finds its own plugins, and others, as this is first asked for
    hydra = Hydra.create_main_hydra2(job.name, search_path(job.sources))
    overrides = [*job.hydra_overrides, *job.overrides]
    config = hydra.config_loader.load_configuration(job.config_name, overrides, RunMode.RUN)
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = job.number
        config.hydra.sweep.dir, config.hydra.sweep.subdir = job.sweep, os.path.relpath(job.folder, job.sweep)
    returned = run_job(
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=HydraContext(hydra.config_loader, Callbacks(config)),
    )
    if returned.status is JobStatus.COMPLETED:
        return Ending(returned.return_value)
    error = returned._return_value
    if isinstance(error, CompactHydraException):
        return Ending(error=str(error))
    traceback.print_exception(error, file=sys.__stderr__)
    return Ending(error=f"{type(error).__name__}: {error}")


def _module(script: str) -> Any:
    """The program whose task a job is, imported and not started."""
    sys.path.insert(0, str(Path(script).parent))
    spec = importlib.util.spec_from_file_location(Path(script).stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def said_by_hydra() -> Iterator[None]:
    """Meanwhile a UserError is one of those that Hydra, which called, prints without a traceback."""
    try:
        yield
    except UserError as error:
        raise CompactHydraException(f"error: {error}") from None


def check_whole(where: str, least: int, **values: Any) -> None:
    """Raises UserError where one of these is neither null nor a whole number from `least` on."""
    for name, value in values.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise UserError(f"{where}.{name}={value}: give a whole number from {least} on")


class JobLauncher(Launcher):
    """A launcher whose jobs are carried out elsewhere: in other processes, on other machines."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What each job returned, in their order. A dry run is one in this process, which prints the plan of each in turn."""
        if self.config.dry_run:
            return self.dry_run(job_overrides, initial_job_idx)
        setup_globals()
        os.makedirs(self.config.hydra.sweep.dir, exist_ok=True)
        composed = [
            self._composed(list(overrides), number) for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        jobs = [self._job(config) for config in composed]
        since = time.time()
        endings: dict[int, Ending] = {}
        try:
            with ends_in_order(), said_by_hydra():
                for job, ending in self.endings(jobs):
                    if ending.error is not None:
                        _record(job, ending.error, composed[job.number - initial_job_idx], since)
                    narrator().tell_job(job.number, ending.value, ending.error)
                    endings[job.number] = ending
        except KeyboardInterrupt as stop:
            print(str(stop) or "Interrupted. Run the same command to resume.", file=sys.stderr)
            sys.exit(128 + (stop.number if isinstance(stop, Ended) else 2))
        return [_returned(config, endings[job.number]) for job, config in zip(jobs, composed, strict=True)]

    @abstractmethod
    def endings(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Ending]]:
        """Carry out all jobs, each announced by `starts`, and give their endings as they come.

        Left early, by an exception too, it ends what still runs and returns when nothing does. Raises UserError before any
        job starts where what it needs is missing.
        """

    def starts(self, job: Job) -> None:
        """Say that a job starts."""
        narrator().announce(job.number, job.overrides)

    def dry_run(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """The plans of the jobs."""
        here = BasicLauncher()
        here.setup(hydra_context=self.hydra_context, task_function=self.task_function, config=self.config)
        return here.launch(job_overrides, initial_job_idx)

    def _composed(self, overrides: list[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
            config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())
            config.hydra.sweep.subdir = str(config.hydra.sweep.subdir)
            config.hydra.runtime.output_dir = os.path.join(config.hydra.sweep.dir, config.hydra.sweep.subdir)
        return config

    def _job(self, config: DictConfig) -> Job:
        hydra = config.hydra
        return Job(
            number=hydra.job.num,
            overrides=list(hydra.overrides.task),
            folder=hydra.runtime.output_dir,
            sweep=hydra.sweep.dir,
            cwd=hydra.runtime.cwd,
            script=os.path.abspath(self.task_function.__code__.co_filename),
            function=self.task_function.__name__,
            arguments=sys.argv[1:],
            name=hydra.job.name,
            config_name=hydra.job.config_name,
            hydra_overrides=list(hydra.overrides.hydra),
            sources=[
                Source(one.provider, one.schema, one.path)
                for one in hydra.runtime.config_sources
                if not one.provider.startswith("hydra.searchpath")  # Hydra adds these itself
            ],
        )


def _record(job: Job, error: str, config: DictConfig, since: float) -> None:
    """See that the job's folder says that it failed: a process that was killed could not."""
    from sei.run import record_failure

    folder = Path(job.folder)
    status, started = folder / "status.json", folder / ".hydra" / "overrides.yaml"
    if not (started.is_file() and started.stat().st_mtime >= since - 1):  # it was lost before Hydra wrote its files
        started.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config.hydra.overrides.task, started)
        OmegaConf.save(OmegaConf.masked_copy(config, "hydra"), folder / ".hydra" / "hydra.yaml")
    said = json.loads(status.read_text(encoding="utf-8"))["status"] if status.is_file() else "running"
    if said == "running" or status.stat().st_mtime < since - 1:
        record_failure(folder, JobFailed(error))


def _returned(config: DictConfig, ending: Ending) -> JobReturn:
    """What Hydra's own launcher would have given to the sweeper."""
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    hydra = OmegaConf.masked_copy(config, "hydra")
    returned = JobReturn(overrides=list(config.hydra.overrides.task), cfg=task, hydra_cfg=hydra)
    returned.working_dir, returned.task_name = config.hydra.runtime.cwd, config.hydra.job.name
    returned.status = JobStatus.COMPLETED if ending.error is None else JobStatus.FAILED
    returned.return_value = ending.value if ending.error is None else CompactHydraException(ending.error)
    return returned
