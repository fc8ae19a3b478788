"""The LightningModules: supervised fine-tuning, and direct preference optimization, of LoRA, QLoRA or all weights.

Place in the flow: `training.run` plans the optimizer steps and hands them here; Lightning runs them on its hardware.
A checkpoint holds what training changes (trained weights, optimizer, schedule, position in the plan, curves) and
can be read without unpickling objects. `PlannedModule` contains what the two kinds of training share; they differ in their
micro-batches and in the loss. Example::

    module = SupervisedModule(load, steps, hyperparameters, pad=0, accumulation=1)
    Trainer(max_steps=len(steps)).fit(module)
"""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as lightning
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import get_scheduler

from sei.errors import UserError
from sei.training.attention import Kind
from sei.training.losses import answer_logps, dpo_loss, sft_loss, sft_term
from sei.training.packing import Encoded, MicroBatch, Row, micro_batches
from sei.training.pairs import EncodedPair, PairBatch, pair_batches
from sei.training.scoring import Way, find_way, token_logps, token_logps_and_divergence
from sei.training.settings import Hyperparameters, PreferenceHyperparameters
from sei.training.sharding import Load, Sharded, load_sharded

if TYPE_CHECKING:
    from peft import PeftModel
    from pytorch_lightning.utilities.types import OptimizerLRScheduler
    from transformers import PreTrainedModel


class StepLoader:
    """The micro-batches of this device, step after step. Its state is its position, where a resumed run continues.

    `batches(step, parts)` makes the micro-batches of one step.
    """

    def __init__(
        self,
        steps: Sequence[Sequence[Any]],
        batches: Callable[[Sequence[Any], int], Sequence[Any]],
        *,
        accumulation: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.steps = steps
        self.batches = batches
        self.accumulation = accumulation
        self.rank = rank
        self.world_size = world_size
        self._position = 0  # micro-batches of this device given out so far

    def __len__(self) -> int:
        return len(self.steps) * self.accumulation

    def __iter__(self) -> Iterator[Any]:
        first, done = divmod(self._position, self.accumulation)
        for step in self.steps[first:]:
            batches = self.batches(step, self.accumulation * self.world_size)
            for batch in batches[self.rank :: self.world_size][done:]:
                self._position += 1
                yield batch
            done = 0

    def state_dict(self) -> dict[str, int]:
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._position = state["position"]


class PlannedModule(lightning.LightningModule):
    """Trains a causal language model on planned optimizer steps; a subclass defines on what, and with which loss."""

    def __init__(
        self,
        load: Load,
        steps: Sequence[Sequence[Any]],
        hyperparameters: Hyperparameters,
        *,
        pad: int,
        accumulation: int,
        seed: int = 0,
        attention: Kind = "spans",
    ) -> None:
        """`load` gives the model with its trainable weights on a device; it is called once in each process."""
        super().__init__()
        self.strict_loading = False  # a checkpoint holds the trained weights alone
        self.steps = steps
        self.settings = hyperparameters
        self.pad = pad
        self.seed = seed  # of dropout
        self.accumulation = accumulation
        self.attention = attention
        self.model: PreTrainedModel | PeftModel | None = None
        self.way: Way | None = None
        # Figures for each optimizer step, always including "loss", "learning_rate" and "tokens" (trained on so far).
        self.curves: dict[str, list[float]] = {}
        self.seconds = 0.0
        self._load = load
        self._step_figures: torch.Tensor | None = None
        self._resumed_at = 0.0

    @abstractmethod
    def batches(self, step: Sequence[Any], parts: int) -> Sequence[Any]:
        """An optimizer step as `parts` micro-batches."""

    @abstractmethod
    def figures(self, batch: Any) -> dict[str, torch.Tensor]:
        """The micro-batch's share of each figure of its step: the sums over micro-batches and devices are the step's figures.

        `loss` is minimized, and carries the gradient.
        """

    def configure_model(self) -> None:
        if self.model is not None:
            return
        device = self.trainer.strategy.root_device
        if isinstance(self.trainer.strategy, Sharded):
            mesh = self.trainer.strategy.device_mesh["data_parallel"]
            self.model, self.way = load_sharded(
                self._load, mesh, device, self.trainer.precision_plugin, lambda model: find_way(model, self.attention)
            )
        else:
            self.model = self._load(device, None)
            self.way = find_way(self.model, self.attention)

    def logps(self, row: Row) -> torch.Tensor:
        """The log-probability of each labelled token of a row under the model as it is."""
        assert self.model is not None
        assert self.way is not None
        return token_logps(self.model, self.way, row)

    def train_dataloader(self) -> StepLoader:
        return StepLoader(
            self.steps,
            self.batches,
            accumulation=self.accumulation,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.settings
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups = [
            {"params": [one for one in trained if one.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        optimizer = _optimizer(settings, groups, self.trainer.strategy.root_device)
        scheduler = get_scheduler(
            "constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
            optimizer,
            num_warmup_steps=round(settings.warmup * len(self.steps)),
            num_training_steps=len(self.steps),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        assert self.model is not None
        # Lightning leaves a submodule in the mode it was loaded in, and transformers loads for evaluation.
        self.model.train()
        self._resumed_at = time.monotonic() - self.seconds

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        # Dropout depends only on the position in the plan, so that a resumed run draws what it would have drawn.
        position = batch_idx * self.trainer.world_size + self.trainer.global_rank
        torch.manual_seed((self.seed << 32) + position)
        figures = self.figures(batch)
        self._record({name: figure.detach() for name, figure in figures.items()}, batch_idx)
        # Lightning divides by the number of micro-batches and averages over devices; the loss is a sum over both.
        return figures["loss"] * self.accumulation * self.trainer.world_size

    def _record(self, figures: dict[str, torch.Tensor], batch_idx: int) -> None:
        """Add a micro-batch's shares to the figures of its step, and keep and log them when the step is whole."""
        shares = self.trainer.strategy.reduce(torch.stack([*figures.values()]), reduce_op="sum")
        assert isinstance(shares, torch.Tensor)
        self._step_figures = shares if self._step_figures is None else self._step_figures + shares
        if (batch_idx + 1) % self.accumulation:
            return
        values = dict(zip(figures, self._step_figures.tolist(), strict=True))
        self._step_figures = None
        values["learning_rate"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        earlier = self.curves.get("tokens", [])
        values["tokens"] = (earlier[-1] if earlier else 0) + sum(map(len, self.steps[len(earlier)]))
        for name, value in values.items():
            self.curves.setdefault(name, []).append(value)
        for logger in self.trainer.loggers:  # not through Lightning's log, which rounds counts to float32
            logger.log_metrics(values, step=len(self.curves["tokens"]))

    def on_train_end(self) -> None:
        self.seconds = time.monotonic() - self._resumed_at

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = self._trained_names()
        checkpoint["state_dict"] = {name: checkpoint["state_dict"][name] for name in sorted(trained)}
        checkpoint["curves"] = {name: list(curve) for name, curve in self.curves.items()}
        checkpoint["seconds"] = time.monotonic() - self._resumed_at

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if set(checkpoint["state_dict"]) != self._trained_names():
            raise ValueError("the checkpoint's weights are not the ones that this run trains")
        self.curves = {name: list(curve) for name, curve in checkpoint["curves"].items()}
        self.seconds = checkpoint["seconds"]

    def _trained_names(self) -> set[str]:
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}


class SupervisedModule(PlannedModule):
    """Supervised fine-tuning: the loss is on the labelled tokens of examples."""

    def batches(self, step: Sequence[Encoded], parts: int) -> list[MicroBatch]:
        return micro_batches(step, parts=parts, pad=self.pad)

    def figures(self, batch: MicroBatch) -> dict[str, torch.Tensor]:
        weight = self.settings.kl_weight
        if not weight:
            return {"loss": sft_loss(self.logps(batch.row), batch.step_tokens)}
        assert self.way is not None
        logps, apart = token_logps_and_divergence(cast("PeftModel", self.model), self.way, batch.row)
        divergence = apart.sum() / batch.step_tokens
        return {"loss": sft_loss(logps, batch.step_tokens) + weight * divergence, "kl": divergence}


class PreferenceModule(PlannedModule):
    """Direct preference optimization on pairs, against the policy as it is when training starts."""

    settings: PreferenceHyperparameters

    def __init__(self, *arguments: Any, share_prefix: bool, **more: Any) -> None:
        """`share_prefix`: rows hold a pair's prompt once."""
        super().__init__(*arguments, **more)
        self.share_prefix = share_prefix
        self.reference_seconds = 0.0
        self.reference: torch.Tensor | None = None  # [pairs, 2] log-probabilities (sums) of chosen and rejected
        self.reference_file: Path | None = None  # where it exists (a resumed run) it is read, and nothing is computed

    def batches(self, step: Sequence[EncodedPair], parts: int) -> list[PairBatch]:
        return pair_batches(step, parts=parts, pad=self.pad, share=self.share_prefix)

    def configure_model(self) -> None:
        """Load the policy; then, before a checkpoint changes it, score every pair with it as it is."""
        super().configure_model()
        if self.reference is None:
            started = time.monotonic()
            self.reference = self._read_reference()
            if self.reference is None:
                self.reference = self._score_all()
                self._write_reference(self.reference)
            self.reference_seconds = time.monotonic() - started

    def figures(self, batch: PairBatch) -> dict[str, torch.Tensor]:
        assert self.reference is not None
        settings = self.settings
        policy = self._logps(batch)
        reference = self.reference.to(policy.device)[batch.numbers]
        tokens = batch.lengths if settings.loss == "ipo" else torch.ones_like(batch.lengths)
        policy_logps, ref_logps = policy / tokens, reference / tokens
        losses, chosen_rewards, rejected_rewards = dpo_loss(
            policy_logps[:, 0],
            policy_logps[:, 1],
            ref_logps[:, 0],
            ref_logps[:, 1],
            beta=settings.beta,
            label_smoothing=settings.label_smoothing,
            kind=settings.loss,
        )
        if settings.sft_weight:
            losses = losses + settings.sft_weight * sft_term(policy[:, 0], batch.lengths[:, 0])
        margins = chosen_rewards - rejected_rewards
        of_pairs = {
            "loss": losses,
            "chosen_reward": chosen_rewards,
            "rejected_reward": rejected_rewards,
            "reward_margin": margins,
            "reward_accuracy": (margins > 0).float(),
        }
        return {name: values.sum() / batch.step_pairs for name, values in of_pairs.items()}

    def _logps(self, batch: PairBatch) -> torch.Tensor:
        """Log-probabilities of chosen and rejected answers under the model as it is, [pairs, 2]."""
        return answer_logps(self.logps(batch.row), batch.answers, 2 * len(batch.numbers)).view(-1, 2)

    @torch.no_grad()
    def _score_all(self) -> torch.Tensor:
        """The table of reference log-probabilities: evaluation mode (no dropout), each pair where the plan first has it.

        A pair is scored in the very micro-batch in which training first sees it. So, without dropout, its first
        log-probabilities in training equal its reference bit by bit, and the first step's loss is exactly ln 2. Devices
        share the work.
        """
        assert self.model is not None
        trainer, device = self.trainer, self.trainer.strategy.root_device
        trainer.precision_plugin.convert_module(self.model)  # as training will (bf16-true); in place
        self.model.eval()
        count = 1 + max(one.number for step in self.steps for one in step)
        table = torch.zeros(count, 2, dtype=torch.float32, device=device)
        seen: set[int] = set()
        for step in self.steps:
            if seen.issuperset(one.number for one in step):
                continue
            batches = self.batches(step, self.accumulation * trainer.world_size)
            for first in range(0, len(batches), trainer.world_size):
                together = batches[first : first + trainer.world_size]
                batch = together[trainer.global_rank]
                new = [_new(one.numbers.tolist(), seen) for one in together]
                if not any(new):
                    continue
                # All devices or none: each may hold a share of the weights, which the others need.
                with trainer.precision_plugin.forward_context():
                    logps = self._logps(self.transfer_batch_to_device(batch, device, 0))
                mine = new[trainer.global_rank]
                table[batch.numbers[mine].to(device)] = logps[mine]
        # Each row was filled by one device and is 0 on the others.
        reduced = trainer.strategy.reduce(table, reduce_op="sum")
        assert isinstance(reduced, torch.Tensor)
        return reduced.cpu()

    def _read_reference(self) -> torch.Tensor | None:
        try:
            return None if self.reference_file is None else load_file(self.reference_file)["logps"].clone()
        except (OSError, SafetensorError):
            return None  # absent, or truncated by a full disk: it is computed again

    def _write_reference(self, table: torch.Tensor) -> None:
        if self.reference_file is None or not self.trainer.is_global_zero:
            return
        self.reference_file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.reference_file.with_suffix(f".{os.getpid()}.partial")
        save_file({"logps": table}, partial)
        partial.rename(self.reference_file)


def _new(numbers: Sequence[int], seen: set[int]) -> list[int]:
    """The places of those that were not seen before; they are now."""
    places = [place for place, number in enumerate(numbers) if number not in seen]
    seen.update(numbers)
    return places


def _optimizer(settings: Hyperparameters, groups: list[dict[str, Any]], device: torch.device) -> torch.optim.Optimizer:
    betas = (0.9, settings.beta2)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas)
    if device.type != "cuda":
        raise UserError(
            f"optimizer={settings.optimizer} pages the memory of a GPU; on {device.type} use optimizer=adamw."
        )
    from bitsandbytes.optim import PagedAdamW32bit

    return PagedAdamW32bit(groups, lr=settings.learning_rate, betas=betas)
