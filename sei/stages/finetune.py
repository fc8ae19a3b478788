"""Train: examples become an adapter (`finetune`), preference pairs a better one (`prefer`, SuperCorrect's second phase).

Place in the flow: training examples or pairs -> **adapter** -> outcomes. The work is in `sei.training`; checkpoints and
reference log-probabilities lie in the scratch folder, so a killed run goes on in mid-training. Rows that do not fit are
accounted for. Example::

    finetune(examples, weights=Weights("runs/base", "base"), hyperparameters=Hyperparameters(learning_rate=1e-3),
             trainer=Trainer(), scratch=folder, say=print)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sei.records import Example, Pair
from sei.stage import Output, stage
from sei.target.weights import Weights
from sei.training.settings import Hyperparameters, PreferenceHyperparameters, Trainer

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

Row = TypeVar("Row", Example, Pair)


@stage(Example, "adapter", on_top=True)
def finetune(
    examples: Sequence[Example],
    *,
    weights: Weights,
    hyperparameters: Hyperparameters,
    trainer: Trainer,
    seed: int = 0,
    scratch: Path,
    say: Callable[[str], None],
    loggers: Sequence[Logger] = (),
) -> Output[Example]:
    """Train the model of `weights`, on from its adapter (None: a new one). The result is the output's files: an adapter in
    PEFT's format, or a whole model (method=full).

    `say` receives the self-check: one decoded example with its loss mask. With `hyperparameters.keep_every` the adapter as
    it then was lies in `steps/000100` among the files. The output's records are the examples that fit; the others are
    rejected as `too_long` or `empty_response`.
    """
    return _train("sft", examples, weights, hyperparameters, trainer, seed, scratch, say, loggers)


@stage(Pair, "adapter", on_top=True)
def prefer(
    pairs: Sequence[Pair],
    *,
    weights: Weights,
    hyperparameters: PreferenceHyperparameters,
    trainer: Trainer,
    seed: int = 0,
    scratch: Path,
    say: Callable[[str], None],
    loggers: Sequence[Logger] = (),
) -> Output[Pair]:
    """Train the model of `weights`, with its adapter, on the pairs, all else as in `finetune`; the reference is the model
    as it comes in.

    The output's records are the pairs that were trained on; the others are rejected as `too_long`, `no_preference`,
    `empty_prompt` or `empty_response`.
    """
    return _train("dpo", pairs, weights, hyperparameters, trainer, seed, scratch, say, loggers)


def _train(
    kind: Literal["sft", "dpo"],
    rows: Sequence[Row],
    weights: Weights,
    hyperparameters: Hyperparameters,
    trainer: Trainer,
    seed: int,
    scratch: Path,
    say: Callable[[str], None],
    loggers: Sequence[Logger],
) -> Output[Row]:
    from sei.training.job import train
    from sei.training.run import Loop

    loop = Loop(
        revision=weights.revision,
        adapter=weights.adapter.path if weights.adapter else None,
        chat=weights.chat,
        dtype=weights.dtype,
        quantization=weights.quantization,
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.nodes,
        strategy=trainer.strategy,
        precision=trainer.precision,
        liger=trainer.liger,
        checkpoint_every=trainer.checkpoint_every,
        seed=seed,
        loggers=loggers,
    )
    result: dict[str, Any] = train(kind, scratch, weights.path, rows, hyperparameters, loop, say=say)
    rejected = result.pop("rejected")
    refused = {item.source_id for item in rejected}
    result.pop("resumed_from_step")  # of this process, not of the result
    return Output(
        [row for row in rows if row.id not in refused],
        received=len(rows),
        rejected=rejected,
        numbers=result,
        files=scratch / "adapter",
    )
