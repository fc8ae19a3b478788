"""Checkpoints of a training: when they are saved, and which of them a training goes on from.

Place in the flow: `training.run` gives `Checkpoints` to Lightning, and resumes from `newest_checkpoint`. A scheduler tells a
process some time before it ends it (SIGTERM, USR2); a training that is told so computes the optimizer step that it has begun,
saves a checkpoint and ends, so that no step is lost. Ctrl-C ends it at once. Example::

    trainer = Trainer(callbacks=[Checkpoints(folder, every=100)])
    trainer.fit(module, ckpt_path=newest_checkpoint(folder))
"""

from __future__ import annotations

import pickle
import signal
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from sei.errors import Ended
from sei.processes import ENDING, raise_ended
from sei.training.module import PlannedModule
from sei.training.sharding import check_sharded_checkpoint


class Checkpoints(ModelCheckpoint):
    """Saves to `folder` every so many optimizer steps, and after the step in which a signal tells the process to end.

    Made where `raise_ended` handles such signals, it hears them in its place while steps are computed.
    """

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(
            folder,
            filename="step={step}",
            auto_insert_metric_name=False,
            every_n_train_steps=every,
            monitor="step",
            mode="max",
            save_top_k=2,  # in case the newest is damaged
            enable_version_counter=False,
        )
        self._told = 0  # the number of the signal that came
        # Before Lightning puts a handler of its own in front, which asks all processes in the midst of whatever they compute.
        self._heard = [one for one in ENDING if signal.getsignal(one) is raise_ended]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        for one in self._heard:
            signal.signal(one, self._hear)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._told = number

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        assert isinstance(pl_module, PlannedModule)
        if (batch_idx + 1) % pl_module.accumulation == 0:
            self._end_if_told(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        for one in self._heard:
            signal.signal(one, raise_ended)
        self._end_if_told(trainer)

    def _end_if_told(self, trainer: lightning.Trainer) -> None:
        """All processes are asked, since not each of them may have been told, or not yet."""
        if not trainer.strategy.reduce_boolean_decision(self._told > 0, all=False):
            return
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        raise Ended(self._told or signal.SIGTERM)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of `folder` that can be read completely, None if there is none."""
    for path in sorted(folder.glob("step=*.ckpt"), key=step_of, reverse=True):
        try:
            if path.is_dir():
                check_sharded_checkpoint(path)
            else:
                torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            warnings.warn(f"{path}: damaged checkpoint skipped ({error})", stacklevel=2)
        else:
            return path
    return None


def step_of(path: Path) -> int:
    """The optimizer step after which a checkpoint was saved."""
    return int(path.stem.removeprefix("step="))
