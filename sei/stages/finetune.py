"""Finetune: training examples become an adapter.

Place in the flow: training examples -> **adapter** -> outcomes. The work is in `sei.training`; this stage keeps its
checkpoints in the scratch folder, so a killed run goes on in mid-training, and accounts for examples that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sei.records import Example
from sei.training.job import train
from sei.training.module import Hyperparameters
from sei.training.run import Loop
from sei.workspace import Output


def finetune(
    examples: Sequence[Example],
    model: str,
    hyperparameters: Hyperparameters,
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
) -> Output[Example]:
    """Train `model` on from adapter `start` (None: a new one). The adapter is the output's files, in PEFT's format.

    `hardware` holds `Loop`'s accelerator, devices, strategy, precision and checkpoint_every. `say` receives the
    self-check: one decoded example with its loss mask. `keep_every`: every so many optimizer steps the adapter as it then
    is goes to `steps/000100` among the files. The output's records are the examples that fit.
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
    result = train("sft", scratch, model, examples, hyperparameters, loop, say=say)
    rejected = result.pop("rejected")
    refused = {item.source_id for item in rejected}
    result.pop("resumed_from_step")  # of this process, not of the result
    return Output(
        [example for example in examples if example.id not in refused],
        received=len(examples),
        rejected=rejected,
        numbers=result,
        files=scratch / "adapter",
    )
