"""The shape of a model: its layers and widths, from which weights, adapters, activations and caches can be counted.

Place in the flow: `sei.fit` and the plan count with it before anything is downloaded or loaded. A local folder's config.json
has the truth; for a model that is not here yet the preset declares it (`model.shape`), and for one of which only the number
of parameters is known it is guessed from LLaMA's proportions.

Example::

    shape = shape_of("meta-llama/Llama-2-7b-hf", None, billions=6.74)
    shape.parameters, shape.adapter_parameters(rank=8, modules=("q_proj", "v_proj"))
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sei.errors import UserError
from sei.values import Count

# NF4 stores 4 bits a weight and, with double quantization, 0.127 bits of constants (QLoRA, arXiv 2305.14314).
NF4_BYTES = 4.127 / 8


@dataclass(frozen=True)
class Shape:
    """A decoder with gated feed-forward layers, as LLaMA, Mistral, Qwen and their like."""

    layers: Count
    hidden: Count
    intermediate: Count
    heads: Count
    kv_heads: Count
    vocabulary: Count
    head_size: Count | None = None  # null: hidden / heads
    tied: bool = False  # the output matrix is the embedding

    @property
    def query_width(self) -> int:
        return self.heads * (self.head_size or self.hidden // self.heads)

    @property
    def kv_width(self) -> int:
        return self.kv_heads * (self.head_size or self.hidden // self.heads)

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of the linear layers of one block."""
        return {
            "q_proj": (self.hidden, self.query_width),
            "k_proj": (self.hidden, self.kv_width),
            "v_proj": (self.hidden, self.kv_width),
            "o_proj": (self.query_width, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def block_parameters(self) -> int:
        """Weights of the linear layers of all blocks: what 4 bits are for."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.matrices.values())

    @property
    def other_parameters(self) -> int:
        """Embedding, output matrix and norms."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        return self.block_parameters + self.other_parameters

    @property
    def cache_width(self) -> int:
        """Numbers that the key-value cache keeps of one token."""
        return 2 * self.layers * self.kv_width

    def adapter_parameters(self, rank: int, modules: Sequence[str]) -> int:
        """Weights of a LoRA adapter on the linear layers named."""
        sizes = self.matrices
        return self.layers * rank * sum(sum(sizes[name]) for name in modules if name in sizes)


def shape_of(path: str, declared: Shape | None, billions: float) -> Shape:
    """The shape of a local folder or a hub model in the local cache, else the one declared, else LLaMA's proportions."""
    folder = Path(path) if Path(path).is_dir() else cached_snapshot(path)
    file = folder / "config.json" if folder else None
    if file is not None and file.is_file():
        try:
            return _read(json.loads(file.read_text(encoding="utf-8")))
        except (KeyError, TypeError):
            pass  # an architecture with other words; loading it will tell whether it is supported
        except ValueError as error:
            raise UserError(f"{file}: not JSON ({error}).") from error
    return declared or _proportions(billions)


def _read(config: dict[str, Any]) -> Shape:
    heads = int(config["num_attention_heads"])
    return Shape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        vocabulary=config["vocab_size"],
        head_size=config.get("head_dim"),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _proportions(billions: float) -> Shape:
    """LLaMA's: 12 h^2 weights a layer and h / 128 layers, where h is the width."""
    hidden = max(64, round((billions * 1e9 * 128 / 12) ** (1 / 3) / 64) * 64)
    heads = max(1, hidden // 128)
    return Shape(max(1, hidden // 128), hidden, round(hidden * 8 / 3), heads, heads, 32_000)


def cached_snapshot(model: str) -> Path | None:
    """The folder of a hub model in the local cache, None where it is not there."""
    found = (hub_cache() / f"models--{model.replace('/', '--')}" / "snapshots").glob("*/config.json")
    return max((file.parent for file in found), key=lambda folder: folder.stat().st_mtime, default=None)


def hub_cache() -> Path:
    """Where the hub's client keeps what it has downloaded."""
    return Path(os.environ.get("HF_HUB_CACHE") or hub_home() / "hub")


def hub_home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
