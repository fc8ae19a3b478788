"""W&B and CSV: curves and tables of a run.

Place in the flow: `train.py` opens a `Tracker` around the recipe; training logs through Lightning's own loggers, and the
final figures become the run's summary. `offline` needs no account: W&B writes into the run folder, and `wandb sync` can
upload it later. The run is always finished, also after an exception, and then marked as failed.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from sei.errors import UserError

Kind = Literal["offline", "wandb", "none"]


class Tracker:
    """One W&B run (`offline` or online) with a CSV beside it; `none` does nothing."""

    def __init__(
        self,
        kind: Kind,
        run_folder: Path,
        *,
        project: str,
        name: str,
        group: str,
        job_type: str,
        tags: list[str],
        config: dict[str, Any],
    ) -> None:
        self.kind, self.run_folder = kind, run_folder
        self._run: Any = None
        if kind == "none":
            return
        for what in ("CACHE", "CONFIG", "DATA"):  # W&B's own folders, which otherwise need a home that can be written
            os.environ.setdefault(f"WANDB_{what}_DIR", str(run_folder / "wandb" / what.lower()))
        import wandb

        if kind == "wandb" and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
            raise UserError(
                "logger=wandb needs an account: run `wandb login` or set WANDB_API_KEY, or use logger=offline."
            )
        self._run = wandb.init(
            dir=run_folder,
            mode="offline" if kind == "offline" else "online",
            project=project,
            name=name,
            group=group,
            job_type=job_type,
            tags=tags,
            config=config,
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
            ),
        )

    def lightning_loggers(self, stage: str) -> list[Any]:
        """Loggers for Lightning's Trainer: CSV in `<run>/curves/<stage>`, and the open W&B run."""
        if self.kind == "none":
            return []
        from pytorch_lightning.loggers import CSVLogger, WandbLogger

        return [
            CSVLogger(self.run_folder / "curves", name=stage, version=""),
            WandbLogger(experiment=self._run, prefix="" if stage.startswith("adapter") else stage),
        ]

    def summarize(self, values: dict[str, Any], tables: dict[str, tuple[list[str], list[list[Any]]]]) -> None:
        """Final figures into the run's summary, and tables as (columns, rows)."""
        if self._run is None:
            return
        import wandb

        self._run.summary.update(values)
        for name, (columns, rows) in tables.items():
            self._run.log({name: wandb.Table(columns=[*columns], data=rows)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if kind is None else 1)
