"""A logger for Lightning that hands each optimizer step's figures on.

Place in the flow: `training.job` passes rows between processes with it, the tracker writes curves. Example::

    Loop(loggers=[RowLogger(lambda step, row: print(step, row["loss"]))])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only


class RowLogger(Logger):
    """Calls `on_row(step, figures)` in the first process of a training; steps count from 1."""

    def __init__(self, on_row: Callable[[int, Mapping[str, float]], None]) -> None:
        super().__init__()
        self._on_row = on_row

    @property
    def name(self) -> str:
        return "rows"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: the run's configuration has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None
        self._on_row(step, dict(metrics))
