"""The lab: what the stages of one run work with, and the one way to run a stage.

Place in the flow: `sei.run` makes a `Lab` of the configuration and hands it to the recipe. It gives problems, the target,
the teacher and the embedder, and runs stages through the workspace (cache, resume, ledger). It knows no method: what a recipe
skips, replays or thins stands in the recipe. Nothing is loaded before a stage asks for it, so a run that finds everything in
the cache loads nothing heavy.

Example::

    attempts = lab.do(attempt, lab.problems, lab.target(), lab.formats, lab.sampling, style=lab.style)
    mistakes = lab.do(mine, lab.problems, attempts, lab.formats)
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from sei.answers import Style
from sei.config import Config
from sei.data import sources
from sei.data.splits import Splits
from sei.records import Problem, Record
from sei.stage import Output, Stage
from sei.stages.separate import separate
from sei.target.engine import Completion, Engine, Hosted, OnDevice, Query, Replays, Sampling, as_they_end
from sei.target.formats import Formats
from sei.target.load import Dtype, chat_of
from sei.target.machine import device_count
from sei.target.precision import Choice, dtype_for, precision_for
from sei.target.recorded import check_known, normalize_question
from sei.target.weights import Adapter, Weights
from sei.teacher.base import Place, Teacher
from sei.tracking.display import Display
from sei.training.settings import Precision, Trainer
from sei.workspace import Artifact, Workspace

if TYPE_CHECKING:
    from sei.tracking.tracker import Tracker

R = TypeVar("R", bound=Record)


class Target:
    """The target, or another model, with an adapter or without: an engine that is loaded at its first question.

    One engine lives at a time, so that each has the whole accelerator: loading one closes the one before, or goes on with
    what that one has loaded (several adapters of one base).
    """

    def __init__(self, weights: Weights, lab: Lab) -> None:
        self.weights, self._lab = weights, lab
        self.name = weights.label

    @cached_property
    def _engine(self) -> Engine:
        return self._lab.config.engine.open(self.weights)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        choice = self._lab.config.engine
        if isinstance(choice, Replays):  # what it replays does not depend on the weights
            return {"engine": self._engine}
        return {"engine": choice, "weights": self.weights}

    def fingerprint(self) -> dict[str, Any]:
        """How it is asked, and the weights."""
        return self._identity

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """As `Engine.complete`."""
        self._lab.make_room(self)
        return self._engine.complete(queries, sampling)

    def stream(self, queries: Sequence[Query], sampling: Sampling) -> Iterator[tuple[int, list[Completion]]]:
        """As `Streams.stream`, whatever the engine."""
        self._lab.make_room(self)
        return as_they_end(self._engine, queries, sampling)

    @property
    def facts(self) -> dict[str, Any]:
        """What the engine's own processes say of themselves, where it has any."""
        return self._engine.facts if isinstance(self._engine, Hosted) else {}

    def take_over(self, earlier: Engine) -> bool:
        """Whether this target goes on with what `earlier` has loaded."""
        return (
            isinstance(self._engine, Hosted) and isinstance(earlier, Target) and self._engine.take_over(earlier._engine)
        )

    def close(self) -> None:
        if "_engine" in self.__dict__:
            self._engine.close()


class Lab:
    """What one configuration's stages work with. It holds no state of a method."""

    def __init__(self, config: Config, workspace: Workspace, display: Display, tracker: Tracker | None = None) -> None:
        self.config, self.workspace, self.display, self.tracker = config, workspace, display, tracker
        self.sampling = Sampling(max_new_tokens=config.model.max_new_tokens)
        self._loaded: Engine | None = None
        self._asked: Engine | None = None  # the last that was asked in the stage that runs

    # Problems

    @cached_property
    def splits(self) -> Splits:
        """The problems, checked. With recorded attempts, `train` is every problem that the file has attempts at."""
        splits = self.config.data.load()
        if self.config.eval.sets:
            names = [name for sets in self.config.eval.sets.values() for name in sets]
            # The data set's own tests are loaded already, and held to data.test.
            missing = [name for name in names if name not in splits.tests]
            paths = {name: path for name, path in self.config.eval.paths.items() if name in missing}
            others = sources.load_tests(missing, paths)
            splits = dataclasses.replace(
                splits, tests={name: splits.tests[name] if name in splits.tests else others[name] for name in names}
            )
        engine = self.config.engine
        return self._recorded_splits(splits, engine) if isinstance(engine, Replays) else splits

    def _recorded_splits(self, splits: Splits, engine: Replays) -> Splits:
        problems = [*splits.train, *splits.validation, *(p for test in splits.tests.values() for p in test)]
        known = [problem.question for problem in problems]
        recorded = engine.questions(known)
        check_known(recorded, known, path=engine.path)
        asked = {normalize_question(question) for question in recorded}
        mined = [problem for problem in problems if normalize_question(problem.question) in asked]
        tests = {problem.id for test in splits.tests.values() for problem in test}
        if used := sum(problem.id in tests for problem in mined):
            self.note(
                f"{used} of the {len(mined)} recorded problems belong to a test set. Do not train a model on what is made "
                "from them and then evaluate it on that set."
            )
        return dataclasses.replace(splits, train=mined)

    @cached_property
    def problems(self) -> list[Problem]:
        """The training problems, without those that a validation or test set holds too.

        A recorded engine trains nothing, and its file may well be of test problems: there all stay.
        """
        splits, overlap = self.splits, self.config.data.overlap
        if isinstance(self.config.engine, Replays):
            return splits.train
        held_out = {"validation": splits.validation, **splits.tests}
        return self.do(separate, splits.train, held_out, rouge=overlap.rouge, ngram=overlap.ngram, unread=splits.unread)

    @property
    def held_out(self) -> list[Problem]:
        """Validation and test problems: nothing that is made to train on may resemble them."""
        return [problem for some in (self.splits.validation, *self.splits.tests.values()) for problem in some]

    def test(self, name: str) -> list[Problem]:
        """The problems of one test set that are evaluated."""
        return self.splits.tests[name][: self.config.eval.limit]

    @property
    def style(self) -> Style:
        """How answers of the training data are graded."""
        return self.config.data.style

    def style_of(self, name: str) -> Style:
        """How answers of a test set are graded."""
        return sources.SOURCES[name].style if name in sources.SOURCES else self.style

    # Models

    @cached_property
    def formats(self) -> Formats:
        """The target's prompts and responses for the training data."""
        return Formats(self.config.prompt_style, self.style)

    @property
    def precisions(self) -> dict[str, Choice]:
        """What this run computes with, by task; without the tasks that it does not have."""
        model, trainer, engine = self.config.model, self.config.trainer, self.config.engine
        found: dict[str, Choice] = {}
        if self.trains:
            found["training"] = precision_for(trainer.precision, trainer.accelerator)
            found["frozen_weights"] = dtype_for(model.dtype, trainer.accelerator)
        if not isinstance(engine, Replays):
            found["generation"] = dtype_for(model.dtype, engine.device if isinstance(engine, OnDevice) else "auto")
        return found

    @cached_property
    def trainer(self) -> Trainer:
        """The hardware and loop to train on, with a precision and a number of devices that are never `auto`."""
        trainer = self.config.trainer
        return dataclasses.replace(
            trainer,
            precision=cast(Precision, self.precisions["training"].value),
            devices=device_count(trainer.accelerator, trainer.devices),
        )

    def weights(self, adapter: Adapter | None = None, *, task: str = "generation") -> Weights:
        """The target's weights, with an adapter of this run; `task` is one of `precisions`, whose device may differ."""
        model, precisions = self.config.model, self.precisions
        return Weights(
            model.path,
            model.name,
            revision=model.revision,
            dtype=cast(Dtype, precisions[task].value if task in precisions else model.dtype),
            quantization=model.quantization,
            chat=chat_of(self.config.prompt_style, model.system),
            adapter=adapter,
        )

    def generation_dtype(self, wanted: Dtype) -> Dtype:
        """What `auto` means for weights that this run's engine generates with."""
        engine = self.config.engine
        return cast(Dtype, dtype_for(wanted, engine.device if isinstance(engine, OnDevice) else "auto").value)

    def target(self, adapter: Adapter | None = None) -> Target:
        """The target with `adapter`, to be asked. Cheap until its first question."""
        return self.model(self.weights(adapter))

    def model(self, weights: Weights) -> Target:
        """Any model that the run's engine can load, asked as the target is."""
        return Target(weights, self)

    def make_room(self, engine: Engine | None = None) -> None:
        """Close the engine that is loaded, unless `engine` is it, or goes on with it. `engine` is then the loaded one."""
        loaded = self._loaded
        taken_over = loaded is not None and isinstance(engine, Target) and engine.take_over(loaded)
        if loaded is not None and loaded is not engine and not taken_over:
            loaded.close()
        self._loaded = self._asked = engine

    @cached_property
    def place(self) -> Place:
        """Where the teacher works."""
        return Place(style=self.style, store=self.config.cache_dir / "teacher.sqlite", run_folder=self.workspace.run)

    @cached_property
    def teacher(self) -> Teacher:
        return self.config.teacher.open(self.place)

    # Stages

    def do(self, stage: Stage[R], *args: Any, name: str = "", round: int = 1, **arguments: Any) -> list[R]:
        """The records of a stage, from the cache where they are there already.

        `name` is what the result is called in the run folder (the stage's own name unless given), with the `round` behind
        it from the second on; a stage that has an argument `round` gets it too.
        """
        return self.artifact(stage, *args, name=name, round=round, **arguments).records

    def artifact(self, stage: Stage[R], *args: Any, name: str = "", round: int = 1, **arguments: Any) -> Artifact[R]:
        """As `do`, with numbers and files."""
        if "round" in stage.parameters:
            arguments["round"] = round
        name = name or stage.name
        published = name if round == 1 else f"{name}.round{round}"
        call = stage.call(*args, **arguments)

        def run(scratch: Path) -> Output[R]:
            with contextlib.ExitStack() as stack:
                injected: dict[str, Any] = {"scratch": scratch, "say": self.note}
                watchers = [stack.enter_context(self.tracker.watching(published))] if self.tracker else []
                if "on_progress" in stage.parameters:
                    watchers.append(stack.enter_context(self.display.progress(published)))
                    injected["on_progress"] = lambda done, total: [tell(done, total) for tell in watchers]
                if "loggers" in stage.parameters:
                    injected["loggers"] = self.tracker.loggers(published, call.key) if self.tracker else []
                self._asked = None
                output = call.run(**injected)
                facts: dict[str, Any] = self._asked.facts if isinstance(self._asked, Target) else {}
                return (
                    dataclasses.replace(output, numbers={**output.numbers, "generated_by": facts}) if facts else output
                )

        return self.workspace.stage(call, published, run)

    def note(self, text: str) -> None:
        """Tell the user something."""
        self.display.note(text)

    @property
    def trains(self) -> bool:
        """Whether this run trains and evaluates, or stops at its data (`trainer=none`)."""
        return self.config.trainer.enabled

    # End

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free what engine and teacher hold."""
        self.make_room()
        teacher: Teacher | None = self.__dict__.get("teacher")
        if teacher is not None:
            teacher.close()
