"""How far a training is, where there is no terminal to draw a bar on: a line each half minute.

Place in the flow: `training.run` adds it to Lightning's trainer. Example::

    training: step 120 of 300, loss 0.5213, 1:30 of about 3:45
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback

from sei.terminal import SlowLines
from sei.training.module import PlannedModule


class PlainProgress(Callback):
    """Says through `say` how many optimizer steps are done, and the loss of the last one."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._lines = SlowLines("training: step", say)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PlannedModule)
        if trainer.is_global_zero and (losses := pl_module.curves.get("loss")):
            self._lines.update(len(losses), len(pl_module.steps), f", loss {losses[-1]:.4f}")
