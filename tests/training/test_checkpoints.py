"""A training that a signal tells to end: the step that it has begun is saved, and the next one goes on after it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning

from sei.errors import Ended
from sei.processes import ends_in_order, raise_ended
from tests.target.small import save_small
from tests.training.test_run import same, train, weights


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("base"), initializer_range=0.05)


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Told(lightning.Callback):
    """Tells the process to end in the midst of an optimizer step, which has two micro-batches."""

    def __init__(self, batch: int, *numbers: int) -> None:
        self.batch, self.numbers = batch, numbers

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.batch:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("batch", "numbers", "step"),
    [
        (14, (signal.SIGTERM, signal.SIGUSR2), 8),  # as Slurm preempts
        (15, (signal.SIGUSR2,), 8),  # as before its time limit
        (23, (signal.SIGTERM,), 12),  # in the last step
    ],
)
def test_the_step_that_was_begun_is_saved(
    base: Path, tmp_path: Path, batch: int, numbers: tuple[int, ...], step: int
) -> None:
    more: dict[str, Any] = {"checkpoints": tmp_path / "checkpoints", "checkpoint_every": 100}
    with ends_in_order():
        with pytest.raises(Ended) as told:
            train(base, tmp_path / "resumed", callbacks=[Told(batch, *numbers)], **more)
        assert told.value.number in numbers
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # while the run puts things in order
    assert [path.name for path in tmp_path.glob("checkpoints/*/*")] == [f"step={step}.ckpt"]
    assert not (tmp_path / "resumed").exists()
    resumed = train(base, tmp_path / "resumed", **more)
    assert resumed["resumed_from_step"] == step
    whole = train(base, tmp_path / "whole")
    assert resumed["loss_curve"] == whole["loss_curve"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))


def test_who_is_not_told_goes_on(base: Path, tmp_path: Path) -> None:
    with ends_in_order():
        result = train(base, tmp_path / "out", checkpoints=tmp_path / "checkpoints")
        assert signal.getsignal(signal.SIGTERM) is raise_ended
    assert result["steps"] == 12


def test_a_signal_that_someone_else_handles_stays_theirs(base: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    with ends_in_order():
        train(base, tmp_path / "out", checkpoints=tmp_path / "c", callbacks=[Told(14, signal.SIGUSR2)])
    assert heard == [signal.SIGUSR2]
