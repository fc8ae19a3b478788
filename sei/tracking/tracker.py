"""One W&B run for each job: its history while stages run, and how it ended.

Place in the flow: `sei.run` opens a `Tracker` around the recipe; stages report to it through the lab. `offline` needs no
account: W&B writes into the run folder, and `wandb sync` uploads it later. A job that was killed goes on in the same W&B
run, whichever process continues it. Loss curves are written as CSV too. W&B never makes a job fail: what goes wrong with it
is said once, and the job goes on. Example::

    with Tracker(config.logger, run, labels(config, origin), composed, say=print) as tracker:
        tracker.stage(artifact)
        tracker.summarize(values)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from sei.config import Logger
from sei.tracking.curves import CurveFile, Row, curves_of, rows_of
from sei.tracking.journal import PLACE, Journal
from sei.tracking.lineage import Lineage
from sei.tracking.names import Labels, plain_key
from sei.tracking.tables import Table
from sei.workspace import Artifact

Spent = Callable[[], Mapping[str, float]]
Mode = Literal["online", "offline", "disabled"]

_PROJECT = "sei"
_EVERY = 15.0  # seconds between two rows about a stage that is running
_MOST_ERROR = 500  # characters of what a failed run ended with
_OWN_FOLDERS = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR")


class Tracker:
    """The job's W&B run, `offline` or online, with its curves as CSV; `none` does nothing."""

    def __init__(
        self,
        settings: Logger,
        folder: Path,
        labels: Labels,
        config: Mapping[str, Any],
        *,
        say: Callable[[str], None],
        spent: Spent = dict,
    ) -> None:
        """`config` is what the page shows of the configuration, `spent` what the teacher has cost so far, by name."""
        self.settings, self.folder = settings, folder
        self._labels, self._config, self._say, self._spent = labels, config, say, spent
        self._run: Any = None
        self._journal: Journal | None = None
        self._lineage: Lineage | None = None
        self._lock = threading.Lock()  # rows come from the stage and from the thread that watches it
        self._tokens = 0  # trained on, in the stages that are finished
        self._complained: set[str] = set()
        self._defined: set[str] = set()
        self._environment: dict[str, str | None] = {}

    # Start and end

    def __enter__(self) -> Self:
        mode = self._mode()
        if mode != "disabled":
            with self._harmless("cannot start, so this run is not tracked"):
                self._start(mode)
                return self
            self._run = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            with self._harmless("could not be finished"):
                said = None if error is None else f"{type(error).__name__}: {_first_line(error)}"[:_MOST_ERROR]
                self._run.summary.update({"status": "failed" if error else "done", "error": said})
                self._run.finish(exit_code=0 if kind is None else 1)
                if self._journal is not None:
                    self._journal.finish()
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _mode(self) -> Mode:
        """Online only where `logger=wandb` says so: WANDB_MODE may keep a run on this machine, not send it away."""
        if self.settings.kind == "none":
            return "disabled"
        wanted = os.environ.get("WANDB_MODE", "online")
        if wanted == "disabled":
            return "disabled"
        if self.settings.kind == "wandb":
            return "offline" if wanted in ("offline", "dryrun") else "online"
        if os.environ.get("WANDB_MODE") == "online":
            self._say("WANDB_MODE=online, but logger=offline: give logger=wandb to upload this run.")
        return "offline"

    def _start(self, mode: Mode) -> None:
        """Open the run; where W&B cannot be reached, offline, so that nothing is lost."""
        self._set_folders()
        if f"-{os.getpid()}-" not in os.environ.get("WANDB_SERVICE", ""):
            # Of the process that started this one: it would hold the run of a job that was killed, and refuse the next.
            os.environ.pop("WANDB_SERVICE", None)
        import wandb

        self._journal = Journal(self.folder / PLACE, self.folder.name)
        if mode == "online":
            try:
                wandb.setup(wandb.Settings(silent=True))
                if not wandb.login(prompt=False, verify=False):
                    raise ValueError("no account is known: run `wandb login` or set WANDB_API_KEY")
                self._run = self._open(mode)
            except Exception as error:
                wandb.teardown()  # its service holds on to the run that it could not open
                self._say(
                    f"W&B online cannot start ({_first_line(error)}), so this run goes on offline; upload it later: wandb sync "
                    f"{self.folder / 'wandb'}/offline-run-*"
                )
        if self._run is None:
            self._run = self._open("offline")
        self._journal.open("offline" if self._run.offline else str(self._run.url))
        self._journal.next_step = max(self._journal.next_step, self._run.step)
        self._lineage = Lineage(
            self._run, self._journal, self.folder, upload=self.settings.upload, prefix=self._labels.artifacts
        )
        self._run.summary.update({"status": "running", "error": None})
        self._run.define_metric("tokens_trained", summary="none")
        self._run.define_metric("teacher/*", summary="none")
        self._run.define_metric("eval/*", step_metric="tokens_trained", summary="none")

    def _open(self, mode: Mode) -> Any:
        import wandb

        settings, labels, online = self.settings, self._labels, mode == "online"
        extra = [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]
        assert self._journal is not None
        return wandb.init(
            dir=_unless("WANDB_DIR", str(self.folder)),
            mode=mode,
            entity=settings.entity,
            project=settings.project or _unless("WANDB_PROJECT", _PROJECT),
            id=_unless("WANDB_RUN_ID", self._journal.run_id),
            resume="allow",
            name=settings.name or _unless("WANDB_NAME", labels.name),
            group=settings.group or _unless("WANDB_RUN_GROUP", labels.group),
            job_type=_unless("WANDB_JOB_TYPE", labels.job_type),
            notes=settings.notes,
            tags=list(dict.fromkeys([*labels.tags, *extra])),
            config={
                **self._config,
                "variant": labels.variant,
                "ablation": labels.ablation,
                "experiment": labels.experiment,
            },
            settings=wandb.Settings(
                silent=True,
                **_without_set(
                    WANDB_CONSOLE=("console", "auto" if _switch(settings.console, online) else "off"),
                    WANDB_DISABLE_GIT=("disable_git", not _switch(settings.commit, online)),
                    WANDB_SAVE_CODE=("save_code", False),
                    WANDB_X_DISABLE_STATS=("x_disable_stats", not _switch(settings.device_metrics, online)),
                ),
            ),
        )

    def _set_folders(self) -> None:
        """What W&B stages lies in the run folder; its settings too where the home cannot be written."""
        folders = {name: self.folder / "wandb" / name.split("_")[1].lower() for name in _OWN_FOLDERS}
        if not _writable(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")):
            folders["WANDB_CONFIG_DIR"] = self.folder / "wandb" / "config"
        for name, folder in folders.items():
            if name not in os.environ:
                self._environment[name] = None
                os.environ[name] = str(folder)

    @contextlib.contextmanager
    def _harmless(self, trouble: str) -> Iterator[None]:
        """Whatever goes wrong with W&B inside is said, once a kind, and no reason for the job to stop."""
        try:
            yield
        except Exception as error:
            if trouble not in self._complained:
                self._complained.add(trouble)
                self._say(f"W&B {trouble} ({_first_line(error)}). Everything is in {self.folder} all the same.")

    # History

    def log(self, row: str | None, values: Mapping[str, Any]) -> None:
        """One row of the history, on the next step. A row with a key is logged once, whatever process comes to it."""
        journal = self._journal
        if self._run is None or journal is None:
            return
        with self._lock, self._harmless("takes no rows"):
            if row is None or row not in journal.rows:
                self._run.log(dict(values), step=journal.next_step, commit=True)
                journal.add(row)

    def loggers(self, stage: str, key: str) -> list[Any]:
        """Loggers for Lightning's trainer in stage `stage` of the run, whose cache key is `key`."""
        if self.settings.kind == "none":
            return []
        from sei.training.rows import RowLogger

        return [RowLogger(self.following(stage, key))]

    def following(self, stage: str, key: str) -> Callable[[int, Row], None]:
        """What is to be called with each optimizer step of a training, counted from 1, and its figures."""
        file = CurveFile(self._curve(stage))

        def add(step: int, row: Row) -> None:
            file.add(step, row)
            self._log_curve(stage, key, step, row)

        return add

    @contextlib.contextmanager
    def watching(self, stage: str) -> Iterator[Callable[[int, int], None]]:
        """Rows about a stage while it runs; yields `update(done, total)`."""
        counts: dict[str, int] = {}
        started, ended = time.monotonic(), threading.Event()

        def update(done: int, total: int) -> None:
            counts.update(done=done, total=total)

        def watch() -> None:
            while not ended.wait(_EVERY):
                self._log_stage(stage, None, {"seconds": time.monotonic() - started, **counts})

        if self._run is None:
            yield update
            return
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield update
        finally:
            ended.set()
            thread.join()

    def stage(self, artifact: Artifact[Any]) -> None:
        """A stage is finished, here or in the cache: its curves, and its account of every record."""
        manifest, stage = artifact.manifest, artifact.stage
        if self.settings.kind != "none" and curves_of(artifact.numbers):
            rows = rows_of(artifact.numbers)
            CurveFile(self._curve(stage)).write(rows)
            for step, row in enumerate(rows, start=1):
                self._log_curve(stage, manifest["key"], step, row)
        self._tokens += int(artifact.numbers.get("tokens", 0))
        account = {name: manifest[name] for name in ("received", "passed", "records", "seconds")}
        account |= {"rejected": sum(manifest["rejected"].values()), "done": manifest["received"]}
        self._log_stage(stage, f"ledger/{stage}:{manifest['key']}", account)
        if self._lineage is not None:
            with self._harmless("takes no artifacts"):
                self._lineage.stage(artifact)

    def _log_stage(self, stage: str, row: str | None, account: Mapping[str, float]) -> None:
        prefix = f"ledger/{plain_key(stage)}"
        self._define(f"{prefix}/*", f"{prefix}/seconds")
        values = {f"{prefix}/{name}": value for name, value in account.items()}
        values |= {f"teacher/{name}": value for name, value in self.spending().items()}
        self.log(row, values)

    def _log_curve(self, stage: str, key: str, step: int, row: Row) -> None:
        name, _, number = stage.partition(".round")
        prefix = "/".join([f"round{number or 1}", *([name] if name != "adapter" else []), "train"])
        self._define(f"{prefix}/*", f"{prefix}/step")
        values = {f"{prefix}/{figure}": value for figure, value in row.items()}
        total = {f"{prefix}/step": step, "tokens_trained": self._tokens + int(row["tokens"])}
        self.log(f"{prefix}:{key}:{step}", values | total)

    def _define(self, metrics: str, axis: str) -> None:
        """Draw `metrics` over `axis`, and keep them out of the summary, whose keys are the same for all runs."""
        if self._run is None or metrics in self._defined:
            return
        self._defined.add(metrics)
        with self._harmless("takes no axes"):
            self._run.define_metric(axis, summary="none", hidden=True)
            self._run.define_metric(metrics, step_metric=axis, summary="none")

    def _curve(self, stage: str) -> Path:
        return self.folder / "curves" / f"{stage}.csv"

    # Result

    def spending(self) -> Mapping[str, float]:
        """What the teacher has cost so far, by name."""
        with self._harmless("was not told what the teacher cost"):
            return self._spent()
        return {}

    def summarize(self, figures: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """What the job ended with: accuracy over tokens and checkpoints from `figures`, and the summary's `values`."""
        for tokens, when in ((0, "before"), (figures["tokens_trained"], "after")):
            sides = {plain_key(name): entry[when] for name, entry in figures["eval"].items() if entry[when]}
            row = {f"eval/{name}": side["accuracy"] for name, side in sides.items()}
            if row:
                self.log(f"eval:{tokens}:{row}", {"tokens_trained": tokens, **row})
        for score in (figures["checkpoints"] or {"scores": []})["scores"]:
            self._define("checkpoint/*", "checkpoint/step")
            sides = {"validation": score["validation"], **score["tests"]}
            row = {f"checkpoint/{plain_key(name)}": side["accuracy"] for name, side in sides.items() if side}
            self.log(f"checkpoint:{score['step']}:{row}", {"checkpoint/step": score["step"], **row})
        if self._run is not None:
            with self._harmless("takes no summary"):
                self._run.summary.update(dict(values))

    def show(self, tables: Mapping[str, Table], outcomes: Sequence[str]) -> None:
        """Tables, and the files of the run folder that hold what was evaluated. Texts only where `upload` permits them."""
        if self._run is None or self._lineage is None:
            return
        import wandb

        wandb.Table.MAX_ROWS = wandb.Table.MAX_ARTIFACT_ROWS  # else W&B keeps the first 10,000
        for name, table in tables.items():
            if table.texts and self.settings.upload == "none":
                continue
            with self._harmless("takes no tables"):
                shown = wandb.Table(columns=list(table.columns), data=table.rows, allow_mixed_types=True)
                self.log(f"tables/{name}:{_digest(table.rows)}", {f"tables/{name}": shown})
        with self._harmless("takes no artifacts"):
            self._lineage.evaluation(outcomes, _digest([(self.folder / name).read_text("utf-8") for name in outcomes]))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


def _unless(variable: str, value: str | None) -> str | None:
    """`value`, or None where W&B's own variable says something: an argument would overrule it."""
    return None if os.environ.get(variable) else value


def _without_set(**settings: tuple[str, Any]) -> dict[str, Any]:
    """The settings whose W&B variable is not set."""
    return {name: value for variable, (name, value) in settings.items() if not os.environ.get(variable)}


def _switch(wanted: bool | None, online: bool) -> bool:
    return online if wanted is None else wanted


def _writable(folder: Path) -> bool:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return existing.is_dir() and os.access(existing, os.W_OK)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
