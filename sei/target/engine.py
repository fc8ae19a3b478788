"""The Engine protocol: how the target (or any model) is asked for text.

Place in the flow: `stages.attempt`, `stages.select` and `stages.evaluate` ask an engine; `hf` generates in process,
`vllm` in processes of its own, `recorded` replays a file, and `api` asks a served model. `conf/engine` names one by an
`EngineChoice`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from sei.answers import Style
from sei.reading import Reading
from sei.target.weights import Weights


@dataclass(frozen=True)
class Query:
    """One thing to complete: the filled prompt, and the bare question (what a recorded engine looks up)."""

    prompt: str
    question: str
    prefix: str = ""  # the beginning of the answer; what is asked for is the rest


@dataclass(frozen=True)
class Sampling:
    """How to decode. temperature 0 is greedy; `samples` completions per query."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()  # generation ends when one of these strings appears; it is not part of the text

    def until(self, stop: Sequence[str]) -> Sampling:
        """As this, and ending at these strings too."""
        return dataclasses.replace(self, stop=tuple(dict.fromkeys((*self.stop, *stop))))


@dataclass(frozen=True)
class Completion:
    """One completion. `truncated`: it ended at `max_new_tokens`, not by an end token or stop string."""

    text: str
    tokens: int
    truncated: bool
    model: str


_LIMITS = frozenset({"length", "max_tokens", "max_new_tokens", "max_output_tokens", "max_length", "model_length"})


def ended_at_limit(finish_reason: object) -> bool:
    """Whether a server's or a file's `finish_reason` says that the completion was cut at its token limit."""
    return isinstance(finish_reason, str) and finish_reason.strip().lower() in _LIMITS


class Asking(Protocol):
    """How a problem is put to a model, and which part of its output is the answer: `Formats` or `Thoughts`."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Where the next prompt would begin: what a model goes on with that does not stop by itself."""
        ...

    def read(self, output: str) -> Reading:
        """The solution in an output."""
        ...

    def steps(self, output: str) -> list[str]:
        """The steps of the solution in an output; empty where none can be told."""
        ...

    def fingerprint(self) -> dict[str, Any]: ...

    def solve(self, question: str) -> str:
        """The text to complete."""
        ...

    def read_answer(self, output: str, grading: Style) -> str:
        """What is to be graded."""
        ...


class Engine(Protocol):
    """Anything that completes prompts."""

    name: str

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that identify the model behind this engine (weights' hash, adapter's hash, dtype)."""
        ...

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """For each query in order, its completions (`sampling.samples` of them; `recorded` gives what the file has)."""
        ...

    def close(self) -> None:
        """Free the accelerator. Idempotent."""
        ...


@runtime_checkable
class Streams(Protocol):
    """An engine that hands over a query's completions as soon as it has them, with the query's place."""

    def stream(self, queries: Sequence[Query], sampling: Sampling) -> Iterator[tuple[int, list[Completion]]]: ...


AT_ONCE = 1024  # queries that an engine is asked at once that answers all of them or none


def as_they_end(engine: Engine, queries: Sequence[Query], sampling: Sampling) -> Iterator[tuple[int, list[Completion]]]:
    """Each query's place and completions, in the order in which the engine has them."""
    if isinstance(engine, Streams):
        yield from engine.stream(queries, sampling)
        return
    for start in range(0, len(queries), AT_ONCE):
        yield from enumerate(engine.complete(queries[start : start + AT_ONCE], sampling), start=start)


class EngineChoice(Protocol):
    """What `conf/engine` names: how the target is asked. The class's fields are the keys of its YAML."""

    def open(self, weights: Weights) -> Engine:
        """An engine for these weights. Nothing is loaded before its first question."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """What of it decides the completions, beside the weights."""
        ...

    def complaints(self) -> list[str]:
        """What is wrong with its settings."""
        ...

    def check(self) -> None:
        """Raise UserError where this machine lacks what it needs."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """An engine choice that says where it generates: `auto`, or a torch device such as cuda:1."""

    @property
    def device(self) -> str: ...


@runtime_checkable
class Hosted(Protocol):
    """An engine whose model lives in processes of its own, which another engine of its kind can go on with."""

    facts: dict[str, Any]
    """What the processes say of themselves: versions, and how they compute. Empty before they run."""

    def take_over(self, earlier: object) -> bool:
        """Go on with the processes of `earlier`, which then has none. False where they are not what this engine needs."""
        ...


@runtime_checkable
class Hosts(Protocol):
    """An engine choice that starts processes, says so beforehand, and cannot load every adapter."""

    def announce(self, weights: Weights) -> list[str]:
        """What it would start for these weights, in sentences."""
        ...

    def adapter_complaints(self, rank: int, modules: Sequence[str]) -> Iterable[str]:
        """Why it could not load LoRA weights of this rank on these modules."""
        ...


@runtime_checkable
class Replays(Protocol):
    """An engine that has its completions already, and so none for other questions or after training."""

    @property
    def path(self) -> Any:
        """The file they are from."""
        ...

    def questions(self, known: Iterable[str] = ()) -> list[str]:
        """The distinct questions that it has completions for; `known` are those it may have been asked."""
        ...
