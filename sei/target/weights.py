"""Which weights: the target as the configuration names it, and an adapter that was trained for it.

Place in the flow: `lab.target(adapter)` and `stages.finetune` hand `Weights` to whoever loads them, an engine to generate
or the trainer to train on. They identify the model in cache keys without loading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sei.target.load import Chat, Dtype, Quantization


@dataclass(frozen=True)
class Adapter:
    """Trained weights: a folder in PEFT's format, or a whole model after full fine-tuning."""

    path: Path
    place: str = ""  # the same in the run folder
    kept: tuple[tuple[int, Path], ...] = ()  # (optimizer step, folder) of the checkpoints kept on the way, in order

    @cached_property
    def hash(self) -> str:
        """SHA-256 of its weights and settings."""
        from sei.target.load import adapter_fingerprint

        return adapter_fingerprint(self.path)

    def fingerprint(self) -> dict[str, Any]:
        return {"adapter": self.hash}


@dataclass(frozen=True)
class Weights:
    """A model, with an adapter or without, and how it is loaded."""

    path: str  # folder or hub id
    name: str  # what attempts say they are from
    revision: str | None = None
    dtype: Dtype = "auto"
    quantization: Quantization = "none"
    chat: Chat = (
        True  # prompts go inside the tokenizer's chat template, where it has one; a text: with this system message
    )
    adapter: Adapter | None = None

    @property
    def label(self) -> str:
        """The name, with the beginning of the adapter's hash."""
        return f"{self.name}+{self.adapter.hash[:8]}" if self.adapter else self.name

    @cached_property
    def hash(self) -> str:
        """SHA-256 of a local folder's content, else `name@revision`."""
        from sei.target.load import model_fingerprint

        return model_fingerprint(self.path, self.revision)

    def fingerprint(self) -> dict[str, Any]:
        return {
            "model": self.hash,
            "dtype": self.dtype,
            "quantization": self.quantization,
            "chat": self.chat,
            "adapter": self.adapter,
        }
