"""Jobs of a sweep in the queue of a Slurm cluster: `hydra/launcher=slurm`.

Place in the flow: Hydra makes one from conf/hydra/launcher/slurm*.yaml. All jobs of a sweep become one array, which submitit
hands to `sbatch`; this process waits, tells how they end, and takes them out of the queue when it ends itself. On its node a job
is a process of its own below a `_Task`, which Slurm tells when the job is preempted or its time is nearly up: the job then saves
what it has, goes back into the queue and later goes on. Nodes have this code in the same place, and see the folders of the
sweep and of the cache. Example::

    python train.py -m recipe=cot,sei seed=0,1,2 hydra/launcher=slurm hydra.launcher.partition=gpu
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sei.errors import UserError, missing_extra
from sei.launch.jobs import Ending, Job, JobLauncher, JobReturn, check_whole, said_by_hydra
from sei.launch.process import GRACE, POLL, JobProcess
from sei.processes import same_code
from sei.terminal import Terminal

FOLDER = ".slurm"  # in the sweep's: script, output and ending of each job
_LOOK = 5.0  # seconds between two looks at the queue
_LOST_AFTER = (
    30.0  # seconds out of the queue after which no ending will come any more; a shared folder shows new files late
)
_RESERVE = 20.0  # seconds before its time is up in which a job that does not end is killed, so that it can go back into the queue
_UNFINISHED = ("PENDING", "RUNNING", "REQUEUED", "COMPLETING", "CONFIGURING", "RESIZING", "SUSPENDED")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class SlurmLauncher(JobLauncher):
    """Submits each job with so much of a node; conf/hydra/launcher/slurm.yaml says what each setting means."""

    def __init__(
        self,
        partition: str | None = None,
        account: str | None = None,
        minutes: int = 1440,
        nodes: int = 1,
        gpus_per_node: int = 0,
        cpus_per_node: int = 1,
        memory_gb: int | None = None,
        at_once: int = 256,
        warn_seconds: int = 120,
        most_time_outs: int = 20,
        setup: Sequence[str] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.partition, self.account, self.minutes = partition, account, minutes
        self.nodes, self.gpus_per_node, self.cpus_per_node = nodes, gpus_per_node, cpus_per_node
        self.memory_gb, self.at_once = memory_gb, at_once
        self.warn_seconds, self.most_time_outs = warn_seconds, most_time_outs
        self.setup_lines, self.more = list(setup), dict(more or {})

    def endings(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Ending]]:
        """As the base class."""
        executor = self._executor(Path(jobs[0].sweep) / FOLDER)
        check_cluster()
        watch = _Watch(Path(executor.folder))
        waiting: dict[str, Job] = {}
        try:
            with _together():  # no job is in the queue that is not known here
                waiting.update(zip(_submit(executor, jobs, self._task()), jobs, strict=True))
            array = next(iter(waiting)).partition("_")[0]
            _say(f"{len(jobs)} {'jobs are' if len(jobs) > 1 else 'job is'} in Slurm's queue: squeue -j {array}")
            while waiting:
                watch.look(list(waiting))
                for number, job in list(waiting.items()):
                    if watch.has_started(number):
                        self.starts(job)
                    elif watch.has_gone_back(number):
                        _say(f"job {job.number + 1} is in the queue again, and goes on from what it has saved")
                    if (ending := watch.ending(number)) is not None:
                        del waiting[number]
                        yield job, ending
                if waiting:
                    time.sleep(_LOOK)
        finally:
            _take_out(list(waiting))

    def dry_run(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """The plans of the jobs, and the script with which they would be submitted."""
        returned = super().dry_run(job_overrides, initial_job_idx)
        with said_by_hydra():
            executor = self._executor(Path("SWEEP") / FOLDER)
        if len(job_overrides) > 1:
            executor.parameters["map_count"] = len(job_overrides)
        script = executor._make_submission_file_text(executor._submitit_command_str, "")
        _say("\nThe script for sbatch (SWEEP is the sweep's folder), of which nothing was submitted:")
        print(script.replace(str(Path("SWEEP").absolute()), "SWEEP"), flush=True)
        return returned

    def _executor(self, folder: Path) -> Any:
        """submitit's, which writes the script and submits it. Raises UserError for a setting that cannot be."""
        self._check()
        try:
            import submitit
        except ImportError:
            raise missing_extra("submitit", "slurm", "hydra/launcher=slurm") from None

        class Anywhere(submitit.SlurmExecutor):
            """A script can be written where there is no Slurm, too."""

            @classmethod
            def affinity(cls) -> int:
                return 1

        executor = Anywhere(folder, max_num_timeout=self.most_time_outs)
        cores = [f"--cpus-per-task={self.cpus_per_node}"]
        executor.update_parameters(
            job_name="sei",
            partition=self.partition,
            account=self.account,
            time=self.minutes,
            nodes=self.nodes,
            ntasks_per_node=1,
            cpus_per_task=self.cpus_per_node,
            gpus_per_node=self.gpus_per_node or None,
            mem=None if self.memory_gb is None else f"{self.memory_gb}GB",
            array_parallelism=self.at_once,
            signal_delay_s=self.warn_seconds,
            stderr_to_stdout=True,
            wckey=None,
            setup=[f"export PYTHONPATH={shlex.quote(same_code()['PYTHONPATH'])}", *self.setup_lines],
            # The run is one task. Training over several nodes starts its tasks itself (`training.nodes`).
            srun_args=["--nodes=1", "--ntasks=1", *cores],
            additional_parameters={"requeue": True, **self.more},
        )
        return executor

    def _check(self) -> None:
        where = "hydra.launcher"
        check_whole(where, 1, minutes=self.minutes, nodes=self.nodes, cpus_per_node=self.cpus_per_node)
        check_whole(where, 1, at_once=self.at_once, warn_seconds=self.warn_seconds, memory_gb=self.memory_gb)
        check_whole(where, 0, gpus_per_node=self.gpus_per_node, most_time_outs=self.most_time_outs)
        if self.minutes * 60 < self.warn_seconds + 60:
            raise UserError(
                f"{where}.minutes={self.minutes}: a job is told {self.warn_seconds} seconds before its time is up "
                f"({where}.warn_seconds), by Slurm's clock up to a minute earlier. Give it more minutes."
            )

    def _task(self) -> _Task:
        threads = max(1, self.cpus_per_node // max(1, self.gpus_per_node))
        share = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        return _Task(share, max(1.0, self.warn_seconds - _RESERVE))


class _Task:
    """What Slurm runs on the job's first node, by way of submitit."""

    def __init__(self, environment: Mapping[str, str], patience: float) -> None:
        self.environment, self.patience = dict(environment), patience

    def __call__(self, text: str) -> None:
        import submitit

        of_job = submitit.JobEnvironment()
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's: counts how often the time was up, and asks Slurm
        told: list[float] = []
        for one in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(one, lambda *_: told.append(time.monotonic()))
        # Slurm signals whatever a job has started. USR2 would end what does not expect it: only this process hears it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        process = JobProcess(Job.from_json(text), self.environment)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        asked = False
        while (ending := process.ending()) is None:
            if told and not asked:
                process.end()
                asked = True
            if told and time.monotonic() - told[0] > self.patience:
                process.kill()
            time.sleep(POLL)
        if told and not process.ended_by_itself:
            if not _runs_still(of_job.raw_job_id):  # it was cancelled, or Slurm puts it in the queue again by itself
                sys.exit(128 + signal.SIGTERM)
            try:
                assert callable(requeue)
                requeue(signal.SIGUSR2, None)
            except submitit.core.utils.UncompletedJobError:
                ending = Ending(
                    error="its time was up more often than hydra.launcher.most_time_outs allows. What it had finished is kept: "
                    "run the same command to resume."
                )
        _write(_ending_file(of_job.paths.folder, of_job.job_id), ending.to_json())
        if ending.error is not None:
            sys.exit(1)  # so that Slurm's own records do not say that it completed

    def checkpoint(self, text: str) -> Any:
        """What submitit runs when the job is started again: the same, which goes on from what was saved."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, text)


class _Watch:
    """What is known of jobs that were submitted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._states: dict[str, str] = {}  # of those in the queue
        self._running: set[str] = set()
        self._gone_since: dict[str, float] = {}
        self._final: dict[str, str] = {}

    def look(self, numbers: Sequence[str]) -> None:
        """Ask Slurm. An answer that does not come is waited for until the next look."""
        states = _queue()
        if states is None:
            return
        self._states, now = states, time.monotonic()
        self._gone_since = {one: self._gone_since.get(one, now) for one in numbers if one not in states}
        gone = [one for one, since in self._gone_since.items() if now - since >= _LOST_AFTER]
        self._final = _accounted(gone) if gone else {}
        os.listdir(self.folder)  # has a network file system look for new files

    def has_started(self, number: str) -> bool:
        """Whether a job runs that did not at the last look."""
        new = self._states.get(number) == "RUNNING" and number not in self._running
        if new:
            self._running.add(number)
        return new

    def has_gone_back(self, number: str) -> bool:
        """Whether a job waits that ran at the last look."""
        back = self._states.get(number) == "PENDING" and number in self._running
        if back:
            self._running.discard(number)
        return back

    def ending(self, number: str) -> Ending | None:
        """How a job ended, None while it has not."""
        with contextlib.suppress(FileNotFoundError):
            return Ending.from_json(_ending_file(self.folder, number).read_text(encoding="utf-8"))
        state = self._final.get(number)
        if state is None or state.split()[0] in _UNFINISHED:
            return None
        output = self.folder / f"{number}_0_log.out"
        return Ending(
            error=f"Slurm lost this job: {state}. What it had finished is kept: run the same command to resume. "
            f"Its output: {output}"
        )


def check_cluster() -> None:
    """Raises UserError where jobs cannot be submitted, or where nobody would notice that one was lost."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "hydra/launcher=slurm: there is no sbatch here. Start the sweep on a node from which jobs are submitted, or on this "
            "machine alone: hydra/launcher=local"
        )
    try:
        asked = subprocess.run(["sacct", "-n", "-X", "-S", "now"], capture_output=True, text=True, timeout=60)
        said = asked.stderr.strip() if asked.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said:
        raise UserError(
            f"hydra/launcher=slurm: sacct does not answer ({said.splitlines()[0]}). Without it nobody would notice that a job "
            "was lost, and the sweep would wait for ever. Ask for Slurm's accounting (slurmdbd), or run the jobs one by one in "
            "an allocation: hydra/launcher=basic"
        )


def _submit(executor: Any, jobs: Sequence[Job], task: _Task) -> list[str]:
    """Slurm's numbers of the jobs. Raises UserError where it refuses them."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        return [one.job_id for one in executor.map_array(task, [job.to_json() for job in jobs])]
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, OSError) as error:
        lines = [line for line in str(error).splitlines() if "sbatch: error:" in line] or str(error).splitlines()[-1:]
        said = " ".join(line.removeprefix("sbatch: error: ").strip() for line in lines)
        raise UserError(
            f"hydra/launcher=slurm: Slurm refuses the jobs ({said}). With dry_run=true the script is printed; settings are "
            "hydra.launcher.partition, account and so on (conf/hydra/launcher/slurm.yaml)."
        ) from error


def _queue() -> dict[str, str] | None:
    """The state of each of the user's jobs in the queue; None where Slurm does not answer."""
    try:
        asked = subprocess.run(
            ["squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%i|%T"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if asked.returncode != 0:
        return None
    return dict(line.strip().split("|", 1) for line in asked.stdout.splitlines() if "|" in line)


def _accounted(numbers: Sequence[str]) -> dict[str, str]:
    """The last state of jobs that are not in the queue any more."""
    command = ["sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", ",".join(numbers)]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.strip().split("|", 1) for line in asked.stdout.splitlines() if "|" in line)


def _runs_still(number: str) -> bool:
    """Whether Slurm counts a job as running, whatever it has just told it."""
    try:
        asked = subprocess.run(["squeue", "-h", "-j", number, "-o", "%T"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.stdout.strip() == "RUNNING"


def _take_out(numbers: Sequence[str]) -> None:
    """Cancel jobs, and wait until those that run have saved what they have."""
    if not numbers:
        return
    _say(f"Taking {len(numbers)} jobs out of Slurm's queue.")
    subprocess.run(["scancel", *numbers], capture_output=True, timeout=60)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and not set(numbers).isdisjoint(_queue() or {}):
        time.sleep(1.0)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """What asks this process to end has to wait meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending_file(folder: Path, number: str) -> Path:
    return folder / f"{number}_ending.json"


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


def _say(text: str) -> None:
    Terminal(highlight=False).print(text, soft_wrap=True)
