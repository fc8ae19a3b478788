"""Resources: what the stages of one run work with, made from its configuration when first used.

Place in the flow: `Kit` builds on this; it binds the stages to problems, engines, teacher and embedder found here. Nothing
is loaded before a stage asks for it, so a run that finds everything in the cache loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf

from sei.answers import Style
from sei.data import sources
from sei.data.splits import Splits
from sei.errors import UserError
from sei.records import Problem, Record
from sei.target.engine import Engine, Sampling
from sei.target.formats import Formats
from sei.target.formats import Style as PromptStyle
from sei.target.precision import Choice, dtype_for, precision_for
from sei.teacher.base import Teacher
from sei.tracking.display import Display
from sei.workspace import Artifact, Output, Workspace

if TYPE_CHECKING:
    from sei.clustering.base import Embedder
    from sei.target.load import Dtype
    from sei.target.recorded import RecordedEngine
    from sei.teacher.api.client import ApiSettings
    from sei.teacher.api.roles import Roles
    from sei.tracking.tracker import Tracker

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Adapter:
    """Trained weights: a folder in PEFT's format, or a whole model after full fine-tuning."""

    path: Path
    fingerprint: str
    kept: tuple[tuple[int, Path], ...] = ()  # (optimizer step, folder) of the checkpoints kept on the way, in order


class Resources:
    """Problems, engines, teacher and embedder of one configuration, and the one way to run a stage on them."""

    def __init__(
        self, config: DictConfig, workspace: Workspace, display: Display, tracker: Tracker | None = None
    ) -> None:
        self.config, self.workspace, self.display, self.tracker = config, workspace, display, tracker
        self.formats = Formats(self.prompt_style, self.style)
        self.sampling = Sampling(max_new_tokens=config.model.max_new_tokens)
        self._engine: tuple[str, Engine] | None = None

    @cached_property
    def splits(self) -> Splits:
        """The problems, checked. With recorded attempts, `train` is every problem that the file has attempts at."""
        data = self.config.data
        if data.kind == "arithmetic":
            from sei.data import arithmetic

            splits = arithmetic.load(train=data.train, validation=data.validation, test=data.test, seed=data.seed)
        else:
            splits = sources.load(data.kind, path=data.path, validation=data.validation, seed=data.seed)
            splits = Splits(
                splits.train[: data.train],
                splits.validation,
                {name: problems[: data.test] for name, problems in splits.tests.items()},
            )
        if self.config.eval.sets:
            names = [name for sets in self.config.eval.sets.values() for name in sets]
            # The data set's own tests are loaded already, and held to data.test.
            missing = [name for name in names if name not in splits.tests]
            paths = {name: path for name, path in self.config.eval.paths.items() if name in missing}
            others = sources.load_tests(missing, paths)
            tests = {name: splits.tests[name] if name in splits.tests else others[name] for name in names}
            splits = Splits(splits.train, splits.validation, tests)
        if self.config.engine.kind == "recorded":
            return self._recorded_splits(splits)
        if not splits.train:
            able = ", ".join(["arithmetic", *(name for name, source in sources.SOURCES.items() if source.has_train)])
            raise UserError(
                f"data={data.kind}: {data.kind} has no training problems. Choose data for training ({able}) and name "
                f"it in eval.sets: +eval.sets.out_of_domain=[{data.kind}]"
            )
        return splits

    def _recorded_splits(self, splits: Splits) -> Splits:
        from sei.target.recorded import check_known, normalize_question

        problems = [*splits.train, *splits.validation, *(p for test in splits.tests.values() for p in test)]
        recorded = self._recorded_engine(self.config.engine.path).questions()
        check_known(recorded, [problem.question for problem in problems], path=self.config.engine.path)
        asked = {normalize_question(question) for question in recorded}
        mined = [problem for problem in problems if normalize_question(problem.question) in asked]
        tests = {problem.id for test in splits.tests.values() for problem in test}
        if used := sum(problem.id in tests for problem in mined):
            self.display.note(
                f"{used} of the {len(mined)} recorded problems belong to a test set: what is made from them must not "
                "train a model that is then evaluated on that set."
            )
        return Splits(mined, splits.validation, splits.tests)

    @property
    def _held_out(self) -> list[Problem]:
        """Validation and test problems: nothing that is made to train on may resemble them."""
        return [problem for some in (self.splits.validation, *self.splits.tests.values()) for problem in some]

    @property
    def style(self) -> Style:
        """How answers of this data set are graded."""
        return self.style_of(self.config.data.kind)

    def style_of(self, name: str) -> Style:
        """How answers of the problem set `name` are graded; the arithmetic world's sets are like GSM8K."""
        return sources.SOURCES[name].style if name in sources.SOURCES else "gsm8k"

    @property
    def prompt_style(self) -> PromptStyle:
        """Which prompts the target is asked with: those it knows already, else the paper's."""
        model, recipe = self.config.model.style, self.config.recipe.style
        return cast("PromptStyle", (model or recipe).name)

    @property
    def _chat(self) -> bool:
        """Whether prompts go inside the tokenizer's chat template, where it has one."""
        return self.prompt_style != "plain"

    @cached_property
    def teacher(self) -> Teacher:
        if self.config.teacher.kind == "api":
            from sei.teacher.api.teacher import ApiTeacher

            return ApiTeacher.open(
                api_settings(self.config.teacher),
                dataset=self.style,
                store=self._teacher_store,
                run_folder=self.workspace.run,
                limits=self._teacher_limits,
            )
        from sei.teacher.symbolic import SymbolicTeacher

        return SymbolicTeacher()

    @property
    def roles(self) -> Roles:
        """What an API teacher is asked, and within which limits."""
        from sei.teacher.api import roles

        return roles.Roles(self.style, roles.limits_with(self._teacher_limits))

    @property
    def _teacher_limits(self) -> dict[str, Any]:
        return cast(dict[str, Any], OmegaConf.to_container(self.config.teacher.limits))

    @property
    def _teacher_store(self) -> Path:
        return Path(self.config.cache_dir) / "teacher.sqlite"

    @property
    def _teacher_code(self) -> tuple[str, ...]:
        return ("sei.teacher.api.teacher" if self.config.teacher.kind == "api" else "sei.teacher.symbolic",)

    @cached_property
    def _teacher_fingerprint(self) -> dict[str, Any]:
        """Without opening an API teacher: a run that finds everything in the cache needs no key."""
        if self.config.teacher.kind == "api":
            from sei.teacher.api.teacher import ApiTeacher

            return ApiTeacher.describe(self.config.teacher.model, self.roles)
        return self.teacher.fingerprint()

    @cached_property
    def embedder(self) -> Embedder:
        from sei.clustering import make_embedder

        return make_embedder(self.config.embedder.kind, path=self.config.embedder.path)

    def engine(self, adapter: Adapter | None) -> Engine:
        """The target with `adapter`. One engine lives at a time: asking for another closes the one before."""
        identity = adapter.fingerprint if adapter else "base"
        if self._engine is None or self._engine[0] != identity:
            self.close()
            self._engine = (identity, self._make_engine(adapter))
        return self._engine[1]

    @contextmanager
    def other_engine(self, source: DictConfig) -> Iterator[Engine]:
        """The engine of a source that is not the target, closed afterwards. The target's is closed before."""
        self.close()
        engine = self._make_other_engine(source)
        try:
            yield engine
        finally:
            engine.close()

    def _make_engine(self, adapter: Adapter | None) -> Engine:
        engine, model = self.config.engine, self.config.model
        if engine.kind == "recorded":
            return self._recorded_engine(engine.path)
        return self._hf_engine(
            model.path,
            adapter=adapter.path if adapter else None,
            revision=model.revision,
            model_name=f"{model.name}+{adapter.fingerprint[:8]}" if adapter else model.name,
        )

    def _make_other_engine(self, source: DictConfig) -> Engine:
        if source.kind == "recorded":
            return self._recorded_engine(source.path)
        if source.kind == "hf":
            return self._hf_engine(source.path)
        from sei.target.api import ApiEngine

        settings = source_settings(source, self.config.teacher.budget_usd)
        return ApiEngine(settings, store=self._teacher_store, run_folder=self.workspace.run)

    def _recorded_engine(self, path: str) -> RecordedEngine:
        from sei.target.recorded import RecordedEngine

        return RecordedEngine(path)

    def _hf_engine(self, path: str, **of_the_target: Any) -> Engine:
        """Another model than the target is loaded and asked as the target is."""
        from sei.target.hf import HFEngine

        engine, model = self.config.engine, self.config.model
        return HFEngine(
            path,
            device=None if engine.device == "auto" else engine.device,
            dtype=cast("Dtype", self.dtype.value),
            quantization=model.quantization.name,
            batch_size=engine.batch_size,
            chat=self._chat,
            **of_the_target,
        )

    def end(self) -> None:
        """Free what engine and teacher hold, at the end of a run."""
        self.close()
        teacher = self.__dict__.get("teacher")
        if teacher is not None and self.config.teacher.kind == "api":
            teacher.close()

    def close(self) -> None:
        """Free what the engine holds."""
        if self._engine is not None:
            self._engine[1].close()
            self._engine = None

    @cached_property
    def _model_fingerprint(self) -> str:
        from sei.target.load import model_fingerprint

        return model_fingerprint(self.config.model.path, self.config.model.revision)

    def _engine_fingerprint(self, adapter: Adapter | None) -> dict[str, Any]:
        if self.config.engine.kind == "recorded":
            return self.engine(None).fingerprint()
        model = self.config.model
        return {
            "model": self._model_fingerprint,
            "adapter": adapter.fingerprint if adapter else None,
            "dtype": self.dtype.value,
            "quantization": model.quantization.name,
            "batch_size": self.config.engine.batch_size,
            "chat": self._chat,
        }

    @cached_property
    def precision(self) -> Choice:
        """The trainer's precision, never `auto`."""
        return precision_for(self.config.trainer.precision, self.config.trainer.accelerator)

    @cached_property
    def training_dtype(self) -> Choice:
        """Of the frozen weights where the trainer runs, never `auto`."""
        return dtype_for(self.config.model.dtype, self.config.trainer.accelerator)

    @cached_property
    def dtype(self) -> Choice:
        """Of the weights where the engine runs, never `auto`."""
        return dtype_for(self.config.model.dtype, self.config.engine.device)

    @property
    def precisions(self) -> dict[str, Choice]:
        """What this run computes with, by task; without the tasks that it does not have."""
        found = {"training": self.precision, "frozen_weights": self.training_dtype} if self.trains else {}
        return found if self.config.engine.kind == "recorded" else found | {"generation": self.dtype}

    @property
    def thought_sampling(self) -> Sampling:
        """How templates and checks are decoded: greedily, with room for them."""
        return Sampling(max_new_tokens=self.config.recipe.templates.max_new_tokens or self.config.model.max_new_tokens)

    @property
    def trains(self) -> bool:
        """Whether this run trains and evaluates, or stops at its data (`trainer=none`)."""
        return bool(self.config.trainer.kind != "none")

    def _stage(
        self,
        name: str,
        record_type: type[R],
        run: Callable[[Path], Output[R]],
        *,
        code: Sequence[str],
        inputs: dict[str, Sequence[Any]],
        parameters: dict[str, Any] | None = None,
        round: int = 1,
        cache_as: str | None = None,
    ) -> Artifact[R]:
        return self.workspace.stage(
            cache_as or name,
            record_type,
            run,
            code=code,
            inputs=inputs,
            parameters=parameters or {},
            published=name if round == 1 else f"{name}.round{round}",
        )


def api_settings(teacher: DictConfig) -> ApiSettings:
    """The teacher group as the API client takes it."""
    from sei.teacher.api.prices import Price

    return _settings(
        teacher,
        mode=teacher.mode,
        structured=teacher.structured,
        max_concurrency=teacher.max_concurrency,
        timeout_s=teacher.timeout_s,
        budget_usd=teacher.budget_usd,
        price=Price(**teacher.price) if teacher.price.input is not None else None,
    )


def source_settings(source: DictConfig, budget_usd: float | None) -> ApiSettings:
    """A source of attempts behind an API, with the client's defaults, under the run's one budget."""
    return _settings(source, budget_usd=budget_usd)


def _settings(endpoint: DictConfig, **more: Any) -> ApiSettings:
    from sei.teacher.api.client import ApiSettings

    urls = [endpoint.base_url] if isinstance(endpoint.base_url, str) else list(endpoint.base_url or ())
    return ApiSettings(model=endpoint.model, base_urls=tuple(urls), api_key_env=endpoint.api_key_env, **more)
