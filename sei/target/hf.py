"""`engine=hf`: the target generates with transformers, in this process, or in one for each GPU of a cluster.

Place in the flow: bound by conf/engine/hf.yaml; `generation` does the work and is loaded at the first question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sei.errors import UserError
from sei.target.cluster.choice import Clustered
from sei.target.engine import Engine
from sei.target.weights import Weights


@dataclass(frozen=True)
class HF(Clustered):
    """How transformers generates."""

    device: str = "auto"

    def open(self, weights: Weights) -> Engine:
        if self.cluster is not None:
            return self.over_cluster("hf", weights)
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
        found = list(self.cluster_complaints())
        if self.cluster is not None and ":" in self.device:
            found.append(
                f"engine.device={self.device} is one GPU of one machine; with engine.cluster=ray set engine.device=auto"
            )
        return found

    @property
    def on_gpus(self) -> bool:
        return self.device != "cpu"

    def announce(self, weights: Weights) -> list[str]:
        """What it would start for these weights."""
        return [] if self.cluster is None else self.announce_cluster("hf", weights)

    def adapter_complaints(self, rank: int, modules: Sequence[str]) -> list[str]:
        return []

    def check(self) -> None:
        if self.cluster is not None:
            self.check_cluster()
        elif self.device.startswith("cuda"):
            import torch

            if not torch.cuda.is_available():
                raise UserError(
                    f"engine.device={self.device}: this machine has no GPU that torch sees. Set engine.device=auto"
                )
