"""Prefer: preference pairs turn an adapter into one that prefers the chosen answers (SuperCorrect's second phase).

Place in the flow: pairs -> **adapter** -> outcomes. Like `stages.finetune`, with direct preference optimization: the work
is in `sei.training`, checkpoints and reference log-probabilities lie in the scratch folder. Example::

    prefer(pairs, "runs/base", PreferenceHyperparameters(learning_rate=1e-6, beta=0.1), start=Path("runs/sft"), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sei.records import Pair
from sei.training.job import train
from sei.training.module import PreferenceHyperparameters
from sei.training.run import Loop
from sei.workspace import Output


def prefer(
    pairs: Sequence[Pair],
    model: str,
    hyperparameters: PreferenceHyperparameters,
    *,
    dtype: str,
    chat: bool,
    start: Path | None,
    revision: str | None,
    hardware: Mapping[str, Any],
    scratch: Path,
    loggers: Sequence[Any],
    say: Callable[[str], None],
    keep_every: int | None = None,
) -> Output[Pair]:
    """Train `model` with adapter `start` (None: a new one) on the pairs; both are the reference as they come in.

    All arguments as in `finetune`. The output's records are the pairs that were trained on; the others are rejected as
    `too_long`, `no_preference`, `empty_prompt` or `empty_response`.
    """
    loop = Loop(
        revision=revision,
        adapter=start,
        chat=chat,
        dtype=dtype,  # type: ignore[arg-type]
        keep_every=keep_every,
        loggers=loggers,
        **hardware,
    )
    result = train("dpo", scratch, model, pairs, hyperparameters, loop, say=say)
    rejected = result.pop("rejected")
    refused = {item.source_id for item in rejected}
    result.pop("resumed_from_step")  # of this process, not of the result
    return Output(
        [pair for pair in pairs if pair.id not in refused],
        received=len(pairs),
        rejected=rejected,
        numbers=result,
        files=scratch / "adapter",
    )
