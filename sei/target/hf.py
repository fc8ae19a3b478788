"""`engine=hf`: the target generates with transformers, in this process.

Place in the flow: bound by conf/engine/hf.yaml; `generation` does the work and is loaded at the first question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sei.errors import UserError
from sei.target.engine import Engine
from sei.target.weights import Weights
from sei.values import Count


@dataclass(frozen=True)
class HF:
    """How transformers generates."""

    batch_size: Count = 256
    device: str = "auto"

    def open(self, weights: Weights) -> Engine:
        from sei.target.generation import HFEngine

        return HFEngine(
            weights.path,
            adapter=weights.adapter.path if weights.adapter else None,
            device=None if self.device == "auto" else self.device,
            dtype=weights.dtype,
            quantization=weights.quantization,
            batch_size=self.batch_size,
            revision=weights.revision,
            model_name=weights.label,
            chat=weights.chat,
        )

    def fingerprint(self) -> dict[str, Any]:
        """The size of batches counts: sums in another order can decide a tie between two tokens."""
        return {"batch_size": self.batch_size}

    def complaints(self) -> list[str]:
        return []

    def check(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            if not torch.cuda.is_available():
                raise UserError(
                    f"engine.device={self.device}: this machine has no GPU that torch sees. Set engine.device=auto"
                )
