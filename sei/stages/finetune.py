"""Train: examples become an adapter (`finetune`), preference pairs a better one (`prefer`, SuperCorrect's second phase).

Place in the flow: training examples or pairs -> **adapter** -> outcomes. The work is in `sei.training`; checkpoints and
reference log-probabilities lie in the scratch folder, so a killed run goes on in mid-training. Rows that do not fit are
accounted for. Example::

    finetune(examples, "runs/base", Hyperparameters(learning_rate=1e-3), Loop(keep_every=100), scratch=folder, say=print)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sei.records import Example, Pair
from sei.training.job import Kind, train
from sei.training.module import Hyperparameters, PreferenceHyperparameters
from sei.training.run import Loop
from sei.workspace import Output

Row = TypeVar("Row", Example, Pair)


def finetune(
    examples: Sequence[Example],
    model: str,
    hyperparameters: Hyperparameters,
    loop: Loop,
    *,
    scratch: Path,
    say: Callable[[str], None],
) -> Output[Example]:
    """Train `model` on from `loop.adapter` (None: a new one). The adapter is the output's files, in PEFT's format.

    `say` receives the self-check: one decoded example with its loss mask. With `loop.keep_every` the adapter as it then
    was lies in `steps/000100` among the files. The output's records are the examples that fit; the others are rejected
    as `too_long` or `empty_response`.
    """
    return _train("sft", examples, model, hyperparameters, loop, scratch, say)


def prefer(
    pairs: Sequence[Pair],
    model: str,
    hyperparameters: PreferenceHyperparameters,
    loop: Loop,
    *,
    scratch: Path,
    say: Callable[[str], None],
) -> Output[Pair]:
    """Train `model` with `loop.adapter` on the pairs, all else as in `finetune`; both are the reference as they come in.

    The output's records are the pairs that were trained on; the others are rejected as `too_long`, `no_preference`,
    `empty_prompt` or `empty_response`.
    """
    return _train("dpo", pairs, model, hyperparameters, loop, scratch, say)


def _train(
    kind: Kind,
    rows: Sequence[Row],
    model: str,
    hyperparameters: Hyperparameters,
    loop: Loop,
    scratch: Path,
    say: Callable[[str], None],
) -> Output[Row]:
    result = train(kind, scratch, model, rows, hyperparameters, loop, say=say)
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
