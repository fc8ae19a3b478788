"""Who makes attempts beside the target: other models, files of recorded attempts, served models.

Place in the flow: recipes that learn from several models' mistakes, or from sampled right paths, list such sources in their
configuration and get the attempts of all from `sample`.

Example::

    python train.py recipe=correction 'recipe.mistake_sources=[{kind: target}, {kind: recorded, path: FILE}]'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator

from sei.llm.retired import check_served
from sei.llm.settings import ApiSettings, address_complaints, addresses, api_key
from sei.recipes.work import Generated, Work
from sei.records import Attempt, Problem
from sei.stages.attempt import attempt
from sei.target.api import ApiEngine
from sei.target.engine import Engine, Replays
from sei.target.load import Dtype, Quantization
from sei.target.recorded import Recorded, normalize_question
from sei.target.weights import Adapter, Weights
from sei.teacher.base import Priced
from sei.values import Count, NonNegativeFloat, PositiveFloat

if TYPE_CHECKING:
    from sei.lab import Lab


@dataclass(frozen=True)
class _Sampled:
    """How often each problem is attempted, and at which temperature."""

    samples: Count = 1
    temperature: NonNegativeFloat = 0.0

    def complaints(self, place: str) -> Iterator[str]:
        """What is wrong with the source that the configuration has at `place`."""
        if self.samples > 1 and self.temperature == 0:
            yield f"{place}.samples={self.samples} at temperature 0 are all the same: set a temperature"

    def check(self) -> None:
        """Raise UserError where this machine lacks what the source needs."""


@dataclass(frozen=True)
class FromTarget(_Sampled):
    """The target itself."""

    kind: Literal["target"] = "target"

    @property
    def label(self) -> str:
        return "target"

    def engine(self, lab: Lab, adapter: Adapter | None) -> Engine:
        return lab.target(adapter)


@dataclass(frozen=True)
class FromModel(_Sampled):
    """Another model, asked as the target is, and loaded in a way of its own."""

    kind: Literal["hf"] = "hf"
    path: str = ""  # folder or hub id
    revision: str | None = None
    dtype: Dtype = "auto"
    quantization: Quantization = "none"
    parameters_billion: PositiveFloat | None = None  # what its memory is counted from, where it is not on this machine
    gated: bool = False  # the hub asks for a licence to be accepted

    @property
    def label(self) -> str:
        return Path(self.path).name

    def engine(self, lab: Lab, adapter: Adapter | None) -> Engine:
        chat = lab.config.prompt_style != "plain"  # the target's own system message is not for another model
        return lab.model(
            Weights(self.path, self.path, self.revision, lab.generation_dtype(self.dtype), self.quantization, chat)
        )

    def complaints(self, place: str) -> Iterator[str]:
        yield from super().complaints(place)
        if not self.path:
            yield f"{place}: kind=hf needs a path"
        elif Path(self.path).is_absolute() and not Path(self.path).is_dir():
            yield f"{place}.path={self.path}: no such folder"


@dataclass(frozen=True)
class FromFile(_Sampled):
    """A file of recorded attempts; it has the samples that it has."""

    kind: Literal["recorded"] = "recorded"
    path: str = ""  # the file
    requests: str | None = None  # the input of a batch whose output the file is

    @property
    def label(self) -> str:
        return Path(self.path).name.removesuffix(".jsonl")

    def engine(self, lab: Lab, adapter: Adapter | None) -> Engine:
        return Recorded(self.path, self.requests).open(lab.weights())

    def complaints(self, place: str) -> Iterator[str]:
        if not self.path:
            yield f"{place}: kind=recorded needs a path"
        elif not Path(self.path).is_file():
            yield f"{place}.path={self.path}: no such file"


@dataclass(frozen=True)
class FromApi(_Sampled):
    """A served model, with the client's defaults, under the run's one budget."""

    kind: Literal["api"] = "api"
    model: str = ""  # what the endpoint calls it
    base_url: str | list[str] | None = None  # one URL or a list, which is balanced; null: OpenAI's
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key

    @property
    def label(self) -> str:
        return Path(self.model).name

    def settings(self, budget_usd: float | None) -> ApiSettings:
        urls = addresses(self.base_url)
        return ApiSettings(self.model, base_urls=urls, api_key_env=self.api_key_env, budget_usd=budget_usd, group="")

    def engine(self, lab: Lab, adapter: Adapter | None) -> Engine:
        return ApiEngine(self.settings(budget_of(lab)), store=lab.place.store, run_folder=lab.place.run_folder)

    def complaints(self, place: str) -> Iterator[str]:
        yield from super().complaints(place)
        if not self.model:
            yield f"{place}.model: name the model that the endpoint serves"
        yield from address_complaints(place, self.base_url, self.api_key_env)

    def check(self) -> None:
        check_served(self.settings(None))
        api_key(self.settings(None))


def budget_of(lab: Lab) -> float | None:
    """The run's one budget, which is named where the teacher is."""
    teacher = lab.config.teacher
    return teacher.budget_usd if isinstance(teacher, Priced) else None


Source = Annotated[FromTarget | FromModel | FromFile | FromApi, Discriminator("kind")]


def the_target() -> list[Source]:
    """The default: the target alone."""
    return [FromTarget()]


def sample(
    lab: Lab,
    problems: Sequence[Problem],
    sources: Sequence[Source],
    adapter: Adapter | None = None,
    *,
    name: str = "attempts",
    round: int = 1,
) -> list[Attempt]:
    """Attempts of several sources, `samples` of each at its temperature, one stage a source."""
    attempts: list[Attempt] = []
    for source, label in zip(sources, labels(sources), strict=True):
        sampling = dataclasses.replace(
            lab.sampling,
            samples=source.samples,
            temperature=source.temperature,
            # At temperature 0 nothing is drawn: one cache entry for all seeds.
            seed=lab.config.seed if source.temperature else 0,
        )
        named = name if len(sources) == 1 else f"{name}.{label}"
        if not isinstance(source, FromTarget):
            lab.make_room()
        engine = source.engine(lab, adapter)
        try:
            if isinstance(engine, Replays):
                _note_unasked(lab, engine, problems, named)
            attempts += lab.do(
                attempt, problems, engine, lab.formats, sampling, style=lab.style, name=named, round=round
            )
        finally:
            if not isinstance(source, FromTarget):
                engine.close()
    return attempts


def labels(sources: Sequence[Source]) -> list[str]:
    """What sources are called in file names: the target, or model or file; numbered where names repeat."""
    names = [source.label for source in sources]
    return [
        f"{name}.{names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def complaints(sources: Sequence[Source], key: str) -> Iterator[str]:
    """What is wrong with the list of sources under the configuration's `key`."""
    for number, source in enumerate(sources):
        yield from source.complaints(f"{key}[{number}]")


def loaded(sources: Sequence[Source], key: str) -> Iterator[tuple[str, FromModel]]:
    """(configuration key, source) of those that are loaded here beside the target."""
    for number, source in enumerate(sources):
        if isinstance(source, FromModel):
            yield f"{key}[{number}]", source


def served(sources: Sequence[Source]) -> list[FromApi]:
    """The sources that are asked over an API."""
    return [source for source in sources if isinstance(source, FromApi)]


def work(lab: Lab, sources: Sequence[Source], stage: str) -> Iterator[Generated]:
    """The attempts that are generated here, one part for each source."""
    for source, label in zip(sources, labels(sources), strict=True):
        if isinstance(source, (FromTarget, FromModel)):
            yield Work(lab).attempts(f"{stage}, {label}", len(lab.splits.train) * source.samples)


def _note_unasked(lab: Lab, engine: Replays, problems: Sequence[Problem], name: str) -> None:
    """Say how many recorded attempts have no use, because their questions are none of the `problems`."""
    asked = {normalize_question(problem.question) for problem in problems}
    recorded = engine.questions(problem.question for problem in problems)
    if unused := sum(normalize_question(question) not in asked for question in recorded):
        lab.note(f"{name}: {unused:,} of {len(recorded):,} recorded questions belong to none of its problems")
