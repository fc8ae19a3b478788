"""Trainings in two processes that import the libraries once: `python -m tests.training.ranks FOLDER NAME...`, in each of them.

`tests/training/test_ranks.py` starts them and compares what they write with the same trainings in one process. How a run starts
its processes is tested in `test_job.py`; here they are started as another launcher would.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as lightning
import torch
from torch.distributed.tensor import DTensor

from sei.records import Example
from sei.training import model as training_model
from sei.training.checkpoints import newest_checkpoint
from sei.training.job import leave
from sei.training.run import Loop, train_dpo, train_sft
from sei.training.settings import Hyperparameters, PreferenceHyperparameters
from tests.training.test_dpo import pairs

# 12 rows, five a step: the last step of 21 rows has one, so that one process has nothing to do in it. Some steps are clipped and
# others not: Adam takes no notice of a gradient that is too large throughout, clipping does.
SFT = Hyperparameters(learning_rate=1e-3, epochs=1.75, batch_examples=5, max_tokens=64, max_grad_norm=2.4, keep_every=2)
FULL = {"method": "full", "max_grad_norm": 3.5}
DPO = PreferenceHyperparameters(**dataclasses.asdict(SFT), beta=0.5)


@dataclass(frozen=True)
class Case:
    """One training; `settings` and `loop` change SFT or DPO and Loop."""

    kind: Literal["sft", "dpo"]
    strategy: Literal["ddp", "fsdp2"]
    settings: dict[str, Any] = field(default_factory=dict)
    loop: dict[str, Any] = field(default_factory=dict)
    onwards: bool = False  # from an adapter

    def hyperparameters(self, processes: int) -> Hyperparameters:
        # As many micro-batches in all, so that dropout draws the same.
        return dataclasses.replace(SFT if self.kind == "sft" else DPO, accumulation=4 // processes, **self.settings)

    def train(self, folder: Path, output: Path, processes: int, **more: Any) -> dict[str, Any]:
        adapter = folder / "adapter" if self.onwards else None
        options: dict[str, Any] = {"precision": "32-true"} | self.loop | more
        loop = Loop(accelerator="cpu", devices=processes, strategy=self.strategy, adapter=adapter, **options)
        settings = self.hyperparameters(processes)
        if self.kind == "sft":
            return train_sft(folder / "base", output, examples(), settings, loop)
        assert isinstance(settings, PreferenceHyperparameters)
        return train_dpo(folder / "base", output, pairs(), settings, loop)


CASES = {
    "ddp nf4": Case("sft", "ddp", {"dropout": 0.1, "gradient_checkpointing": True}, {"quantization": "nf4"}),
    "ddp dpo": Case("dpo", "ddp", onwards=True),
    "fsdp2 lora": Case("sft", "fsdp2", {"dropout": 0.1}),
    "fsdp2 dpo full": Case("dpo", "fsdp2", {**FULL, "gradient_checkpointing": True}),
    "ddp lora": Case("sft", "ddp", {"dropout": 0.1}),
    "ddp full": Case("sft", "ddp", FULL),
    "ddp dpo full": Case("dpo", "ddp", FULL),
    "fsdp2 dpo": Case("dpo", "fsdp2", onwards=True),
    "fsdp2 lora checkpointing": Case("sft", "fsdp2", {"gradient_checkpointing": True}),
    "fsdp2 onwards": Case("sft", "fsdp2", {"max_grad_norm": 1.2}, onwards=True),
    "fsdp2 full": Case("sft", "fsdp2", {**FULL, "gradient_checkpointing": True}),
    "fsdp2 dpo new": Case("dpo", "fsdp2", {"loss": "ipo", "sft_weight": 0.1, "max_grad_norm": 2.0}),
    "fsdp2 mixed": Case("sft", "fsdp2", FULL, {"precision": "bf16-mixed"}),
    "fsdp2 dpo mixed": Case("dpo", "fsdp2", {}, {"precision": "bf16-mixed", "dtype": "bfloat16"}),
    "fsdp2 dpo 16 bits": Case("dpo", "fsdp2", {}, {"precision": "bf16-true"}),
}
FIRST = ("ddp nf4", "ddp dpo", "fsdp2 lora", "fsdp2 dpo full")  # those not marked slow
RESUMED = "fsdp2 dpo full"  # trained again, with a crash and a damaged checkpoint


def examples() -> list[Example]:
    return [Example(one.id, one.prompt, one.chosen, "cot", ()) for one in pairs()]


class Crash(lightning.Callback):
    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == 5:
            raise RuntimeError("crash")


class Held(lightning.Callback):
    """Which share of the weights this process holds, and where it was told to load them."""

    def __init__(self) -> None:
        self.share, self.places = 0.0, list[str | None]()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        weights = [one.detach() for one in module.parameters()]
        own = sum(one.to_local().numel() if isinstance(one, DTensor) else one.numel() for one in weights)
        self.share = own / sum(one.numel() for one in weights)

    @contextlib.contextmanager
    def watching(self) -> Any:
        load = training_model.load_model

        def noting(*arguments: Any, **options: Any) -> Any:
            self.places.append(options["place"])
            return load(*arguments, **options)

        training_model.load_model = noting
        yield
        training_model.load_model = load


def start(folder: Path, names: list[str]) -> None:
    """Run the cases in two processes. Raises CalledProcessError."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.training.ranks", str(folder), *names]
    environment = {**os.environ, **address, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen(command, env={**environment, "LOCAL_RANK": str(rank)}) for rank in (0, 1)]
    try:
        for process in processes:
            if status := process.wait(timeout=300):
                raise subprocess.CalledProcessError(status, command)
    finally:
        for process in processes:
            process.kill()


def run(folder: Path, name: str, rank: int) -> None:
    """One case in this process; what it found out goes to `folder/<name>/<rank>.json`."""
    case, place, held = CASES[name], folder / name, Held()
    with held.watching():
        result = case.train(folder, place / "two", 2, callbacks=[held])
    assert result.pop("rejected") == []
    (place / f"{rank}.json").write_text(json.dumps({"result": result, "share": held.share, "places": held.places}))


def resume(folder: Path, name: str) -> None:
    """A case that crashes, loses half of a file of its newest checkpoint, and goes on from the one before."""
    case, place = CASES[name], folder / "resumed"
    more: dict[str, Any] = {"checkpoints": place / "checkpoints", "checkpoint_every": 2}
    with contextlib.suppress(RuntimeError):
        case.train(folder, place / "two", 2, callbacks=[Crash()], **more)
    [found] = (place / "checkpoints").iterdir()
    newest = newest_checkpoint(found)
    assert newest == found / "step=4.ckpt"
    torch.distributed.barrier()
    if os.environ["LOCAL_RANK"] == "0":
        share = newest / "share-1-of-2.pt"
        share.write_bytes(share.read_bytes()[: share.stat().st_size // 2])
    torch.distributed.barrier()
    result = case.train(folder, place / "two", 2, **more)
    (place / "result.json").write_text(json.dumps({"from": result["resumed_from_step"], "loss": result["loss_curve"]}))


def main(folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names:
        run(folder, name, int(os.environ["LOCAL_RANK"]))
    if RESUMED in names:
        resume(folder, RESUMED)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
    leave()
