"""The settings of training: hyperparameters of a phase (`recipe.training`, `recipe.preference`), and the `trainer` group.

Place in the flow: a recipe's schema holds them, `stages.finetune` and `sei.training` work with them. What they are set to,
and where each number comes from, stands in `conf/recipe`. Example::

    Hyperparameters(learning_rate=2e-5, epochs=3, rank=8, alpha=32)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge

from sei.values import Count, NonNegativeFloat, PositiveFloat, Share

Method = Literal["lora", "full"]
Schedule = Literal["linear", "cosine", "constant"]
Optimizer = Literal["adamw", "paged_adamw_32bit"]
Preference = Literal["sigmoid", "ipo"]
STRATEGIES = ("auto", "ddp", "fsdp2")
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]

LOGITS_AT_ONCE = 2**25
"""128 MiB in float32: of 128,000 words 262 positions. With fewer a GPU would idle between the products."""


@dataclass(frozen=True)
class Hyperparameters:
    """What decides the result of a training phase, apart from model, data and seed."""

    learning_rate: PositiveFloat
    epochs: PositiveFloat = 1.0
    tokens: Count | None = None  # train on this many tokens (see packing.draw) instead of `epochs`
    steps: Count | None = None  # train exactly this many optimizer steps instead of `epochs`
    keep_every: Count | None = None  # keep the adapter as it then is every so many optimizer steps, for eval.select
    batch_examples: Count = 1  # examples an optimizer step
    batch_tokens: Count | None = None  # tokens an optimizer step, instead of `batch_examples`
    accumulation: Count | None = None  # micro-batches a step and device; None: as few as `micro_tokens` allows
    micro_tokens: Count | None = None  # tokens of one micro-batch, padding included; None: 8 * max_tokens. Memory only
    max_tokens: Annotated[int, Ge(16)] = 512  # of one example, or of a pair's prompt with either answer
    method: Method = "lora"
    rank: Count = 8
    alpha: PositiveFloat = 32.0
    dropout: Share = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "linear"
    warmup: Share = 0.0  # share of the steps
    weight_decay: NonNegativeFloat = 0.0
    beta2: Share = 0.999
    max_grad_norm: NonNegativeFloat = 1.0  # 0: no clipping
    gradient_checkpointing: bool = False
    kl_weight: NonNegativeFloat = (
        0.0  # of the divergence from the target without the adapter, added to the loss; LoRA only
    )


@dataclass(frozen=True)
class PreferenceHyperparameters(Hyperparameters):
    """The same for training on pairs: an example is a pair, and `dpo_loss` says what the loss's options mean."""

    beta: PositiveFloat = 0.1
    loss: Preference = "sigmoid"
    label_smoothing: Share = 0.0
    sft_weight: NonNegativeFloat = 0.0  # of `sft_term`, added to the loss


@dataclass(frozen=True)
class Trainer:
    """Hardware and loop: conf/trainer."""

    enabled: bool = True  # false: stop before training
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: str | int = "auto"
    strategy: str = "auto"  # several devices: auto and ddp give each the whole model, fsdp2 a share of it
    precision: Precision = "auto"
    checkpoint_every: Count = 100  # optimizer steps
    liger: bool = False  # Liger's kernels, on a GPU: `training.liger`

    def fingerprint(self) -> dict[str, Any]:
        """What of it decides the trained weights. The number of devices does: a step's micro-batches, and with them what
        dropout draws, follow from it. Who holds which weights (`strategy`) does not."""
        kernels = {"liger": True} if self.liger else {}  # which round differently
        return {"precision": self.precision, "devices": str(self.devices)} | kernels

    def complaints(self) -> list[str]:
        faults = []
        devices = str(self.devices)
        if not (devices in ("auto", "-1") or (devices.isdecimal() and int(devices) > 0)):
            faults.append(f"trainer.devices={self.devices}: must be a number of devices, or auto")
        if self.strategy not in STRATEGIES:
            faults.append(
                f"trainer.strategy={self.strategy}: choose one of {', '.join(STRATEGIES)}. trainer=ddp gives every device the "
                "whole model, trainer=fsdp2 spreads one over all of them"
            )
        if self.sharded and self.precision in ("16-mixed", "64-true"):
            faults.append(
                f"trainer.precision={self.precision}: trainer=fsdp2 cannot train with it. Choose trainer.precision=bf16-mixed or "
                "32-true, or trainer=ddp"
            )
        return faults

    @property
    def sharded(self) -> bool:
        """Whether devices share one model."""
        return self.strategy == "fsdp2"
