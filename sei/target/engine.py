"""The Engine protocol: how the target (or any model) is asked for text.

Place in the flow: `stages.attempt`, `stages.select` and `stages.evaluate` ask an engine; `hf` generates in process,
`recorded` replays a file; vLLM and OpenAI-compatible servers implement the same protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


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


@dataclass(frozen=True)
class Completion:
    """One completion. `truncated`: it ended at `max_new_tokens`, not by an end token or stop string."""

    text: str
    tokens: int
    truncated: bool
    model: str


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
