"""Train: examples become an adapter (`train_sft`), preference pairs improve one (`train_dpo`).

Place in the flow: `stages.finetune` calls these with plain arguments. After an interruption at any moment, the same call
resumes from the newest readable checkpoint and ends with the same weights as a run that was never interrupted.

Example::

    result = train_sft("runs/base", Path("runs/sft"), examples, Hyperparameters(learning_rate=1e-3))
    result["tokens"], result["final_loss"]
    settings, loop = PreferenceHyperparameters(learning_rate=1e-5, beta=0.1), Loop(adapter=Path("runs/sft"))
    result = train_dpo("runs/base", Path("runs/dpo"), pairs, settings, loop)
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import shutil
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment
from safetensors import SafetensorError

from sei.errors import Ended, UserError
from sei.processes import ignore_endings
from sei.records import Example, Pair, Rejected
from sei.target.load import (
    Attention,
    Chat,
    Dtype,
    Quantization,
    adapter_fingerprint,
    load_tokenizer,
    model_fingerprint,
)
from sei.target.machine import device_count
from sei.training.attention import kind_for
from sei.training.checkpoints import Checkpoints, newest_checkpoint, step_of
from sei.training.model import loader, save
from sei.training.module import PlannedModule, PreferenceModule, SupervisedModule
from sei.training.nodes import environment_of_task
from sei.training.packing import Item, accumulation_for, draw, encode_all, endless, plan_steps, self_check
from sei.training.pairs import encode_pairs, pair_check
from sei.training.progress import PlainProgress
from sei.training.settings import Hyperparameters, PreferenceHyperparameters
from sei.training.sharding import Sharded, gathered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytorch_lightning.strategies import Strategy
    from transformers import PreTrainedTokenizerBase

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True)
class Loop:
    """Where training starts, what it runs on, and what it keeps and shows: everything except model, data and Hyperparameters."""

    revision: str | None = None
    adapter: Path | None = None  # to continue training; its rank and layers then apply, not the hyperparameters'
    chat: Chat = True  # prompts go inside the tokenizer's chat template, where it has one
    dtype: Dtype = "auto"  # of the frozen weights; trained weights are float32
    quantization: Quantization = "none"  # of the frozen weights
    attention: Attention | None = None
    liger: bool = False  # Liger's kernels
    accelerator: str = "auto"
    devices: str | int = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    checkpoints: Path | None = None  # folder for checkpoints; None keeps none
    checkpoint_every: int = 100  # optimizer steps
    seed: int = 0  # of the order of the rows, new LoRA weights and dropout
    loggers: Sequence[Logger] = ()
    callbacks: Sequence[Callback] = ()
    on_check: Callable[[str], None] | None = (
        None  # receives the self-check (the first training row, decoded) and progress
    )


def train_sft(
    model: str | Path,
    output: Path,
    examples: Sequence[Example],
    hyperparameters: Hyperparameters,
    loop: Loop = Loop(),
) -> dict[str, Any]:
    """Fine-tune `model` on `examples` and write the adapter (method=full: the whole model) to folder `output`.

    Returns `tokens` (trained on: prompts, responses and end tokens, no padding), `label_tokens`, `examples` (drawn),
    `steps`, `seconds`, `first_loss` and `final_loss` (nats per token, of the first and last step), `loss_curve`,
    `tokens_curve` and `learning_rate_curve` (after, and of, each step), `device`,
    `trained_parameters`, `accumulation`, `attention` (how packed examples were kept apart), `kept_steps`,
    `resumed_from_step`, and `rejected` (list of records.Rejected).
    Raises UserError if there is nothing to train on or an adapter does not fit.
    """
    tokenizer = load_tokenizer(model, revision=loop.revision, chat=loop.chat)
    encoded, rejected = encode_all(examples, tokenizer, hyperparameters.max_tokens)
    if examples and not encoded:
        raise UserError(_all_rejected("examples", rejected, hyperparameters.max_tokens))
    checked = self_check(encoded, tokenizer)
    if loop.on_check is not None:
        loop.on_check(checked)
    steps = _plan(encoded, hyperparameters, loop.seed)
    lengths = [[len(one) for one in step] for step in steps]
    attention = kind_for(loop.attention, loop.dtype, loop.quantization)
    if attention == "flash_attention_2":
        loop = dataclasses.replace(loop, attention=attention)
    module = SupervisedModule(
        loader(model, hyperparameters, loop),
        steps,
        hyperparameters,
        pad=tokenizer.eos_token_id,
        accumulation=_accumulation(lengths, hyperparameters, loop),
        seed=loop.seed,
        attention=attention,
    )
    run_id = _run_id(model, hyperparameters, loop, module)
    return _fit(module, tokenizer, output, loop, run_id) | {
        "tokens": sum(map(sum, lengths)),
        "label_tokens": sum(one.label_tokens for step in steps for one in step),
        "examples": sum(map(len, steps)),
        "rejected": rejected,
    }


def train_dpo(
    model: str | Path,
    output: Path,
    pairs: Sequence[Pair],
    hyperparameters: PreferenceHyperparameters,
    loop: Loop = Loop(),
    *,
    share_prefix: bool = True,
) -> dict[str, Any]:
    """Train `model` (continuing `loop.adapter`, if there is one) to prefer the chosen to the rejected answer of each pair.

    The reference is the policy at the start. Its log-probabilities are computed once, before the first step, without
    dropout, and kept in the checkpoints folder. The loss of the first step is therefore exactly ln 2 (`sigmoid`); with dropout
    in the policy it scatters around ln 2. With `share_prefix=False` a pair's prompt is computed once for each answer: the
    same result, but slower; flash attention, which cannot share, always works this way.

    Returns what `train_sft` returns, with `pairs` (drawn) for `examples`, a pair's `tokens` being those of prompt and
    both answers; further `chosen_reward_curve`, `rejected_reward_curve`, `reward_margin_curve` and
    `reward_accuracy_curve` (means over the pairs of a step), `cut_prompts` (distinct pairs whose prompt lost its
    beginning) and `reference_seconds`. Losses are per pair, not per token. Raises UserError as `train_sft` does.
    """
    settings = hyperparameters
    tokenizer = load_tokenizer(model, revision=loop.revision, chat=loop.chat)
    encoded, rejected = encode_pairs(pairs, tokenizer, settings.max_tokens)
    if not encoded:
        raise UserError(_all_rejected("pairs", rejected, settings.max_tokens))
    if loop.on_check is not None:
        loop.on_check(pair_check(encoded, tokenizer))
    steps = _plan(encoded, settings, loop.seed)
    # Not flash attention, unless it is asked for: prompts that are shared are worth more.
    attention = kind_for(loop.attention or "sdpa", loop.dtype, loop.quantization)
    share = share_prefix and attention != "flash_attention_2"
    accumulation = _accumulation([[one.width(share) for one in step] for step in steps], settings, loop)
    module = PreferenceModule(
        loader(model, settings, loop),
        steps,
        settings,
        pad=tokenizer.eos_token_id,
        accumulation=accumulation,
        seed=loop.seed,
        attention=attention,
        share_prefix=share,
    )
    run_id = _run_id(model, settings, loop, module)
    if loop.checkpoints is not None:
        module.reference_file = loop.checkpoints / run_id / "reference.safetensors"
    result = _fit(module, tokenizer, output, loop, run_id)
    drawn = [one for step in steps for one in step]
    return result | {
        "tokens": sum(map(len, drawn)),
        "label_tokens": sum(len(one.chosen) + len(one.rejected) for one in drawn),
        "pairs": len(drawn),
        "cut_prompts": sum(one.cut > 0 for one in encoded),
        "reference_seconds": module.reference_seconds,
        "rejected": rejected,
    }


def device_name(device: torch.device, count: int) -> str:
    """`2 x NVIDIA H200`, or `cpu`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return name if count == 1 else f"{count} x {name}"


def _plan(encoded: Sequence[Item], settings: Hyperparameters, seed: int) -> list[list[Item]]:
    """The optimizer steps: `settings.steps` of them, or as many as `tokens`, or else `epochs`, allow."""
    batch: dict[str, int | None] = {"batch_examples": settings.batch_examples}
    if settings.batch_tokens is not None:
        batch = {"batch_tokens": settings.batch_tokens}
    if settings.steps is not None:
        if settings.tokens is not None:
            raise UserError(f"Give either tokens={settings.tokens} or steps={settings.steps}, not both.")
        return plan_steps(endless(encoded, seed), **batch, steps=settings.steps)
    epochs = settings.epochs if settings.tokens is None else None
    steps = plan_steps(draw(encoded, seed=seed, epochs=epochs, tokens=settings.tokens), **batch)
    if not steps:
        raise UserError(f"epochs={settings.epochs} of {len(encoded)} rows is less than one row. Give more epochs.")
    return steps


def _accumulation(lengths: Sequence[Sequence[int]], settings: Hyperparameters, loop: Loop) -> int:
    if settings.accumulation is not None:
        return settings.accumulation
    return accumulation_for(lengths, processes(loop), settings.micro_tokens or 8 * settings.max_tokens)


def _fit(
    module: PlannedModule, tokenizer: PreTrainedTokenizerBase, output: Path, loop: Loop, run_id: str
) -> dict[str, Any]:
    """Run the planned steps, save the result, and report on the training."""
    saved = tokenizer if module.settings.method == "full" else None
    # A folder of its own for each run that differs in anything that decides the result.
    folder = None if loop.checkpoints is None else loop.checkpoints / run_id
    resume = None if folder is None else newest_checkpoint(folder)
    kept = output.with_name(f"{output.name}.kept") if folder is None else folder / "kept"
    callbacks: list[Callback] = []
    if folder is not None:
        callbacks.append(Checkpoints(folder, loop.checkpoint_every))
    if loop.on_check is not None and not sys.stderr.isatty():
        callbacks.append(PlainProgress(loop.on_check))
    if module.settings.keep_every is not None:
        callbacks.append(_Keep(module.settings.keep_every, kept, saved, fresh=resume is None))
    with _quiet(), _disk_errors(output), _interruptible():
        trainer = _trainer(module, loop, callbacks)
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    losses = module.curves.get("loss", [])
    if len(losses) != len(module.steps):
        raise RuntimeError(f"training ended after {len(losses)} of {len(module.steps)} steps")
    with _disk_errors(output):
        _save(trainer, module, saved, output, kept if module.settings.keep_every is not None else None)
    trainer.strategy.barrier()
    every = module.settings.keep_every
    return {
        "steps": len(module.steps),
        "seconds": module.seconds,
        "first_loss": losses[0],
        "final_loss": losses[-1],
        "trained_parameters": sum(one.numel() for one in module.parameters() if one.requires_grad),
        "accumulation": module.accumulation,
        "attention": str(module.way),
        "device": device_name(trainer.strategy.root_device, trainer.world_size),
        "kept_steps": [] if every is None else list(range(every, len(module.steps) + 1, every)),
        "resumed_from_step": 0 if resume is None else step_of(resume),
    } | {f"{name}_curve": curve for name, curve in module.curves.items()}


def _save(
    trainer: lightning.Trainer,
    module: PlannedModule,
    tokenizer: PreTrainedTokenizerBase | None,
    output: Path,
    kept: Path | None = None,
) -> None:
    """`model.save` in the first process; every process has to call this, since each may hold a share of the weights."""
    assert module.model is not None
    state = gathered(module.model) if isinstance(trainer.strategy, Sharded) else None
    if trainer.is_global_zero:
        save(module.model, tokenizer, output, kept=kept, state=state)


def _trainer(module: PlannedModule, loop: Loop, callbacks: Sequence[Callback]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=loop.accelerator,
        devices=loop.devices,
        num_nodes=loop.num_nodes,
        strategy=_strategy(loop),
        precision=loop.precision,  # type: ignore[arg-type]
        max_epochs=1,  # the plan holds all epochs
        max_steps=len(module.steps),
        accumulate_grad_batches=module.accumulation,
        gradient_clip_val=module.settings.max_grad_norm or None,
        callbacks=[*loop.callbacks, *([RichProgressBar()] if sys.stderr.isatty() else []), *callbacks],
        logger=list(loop.loggers) or False,
        log_every_n_steps=1,
        enable_checkpointing=loop.checkpoints is not None,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        use_distributed_sampler=False,  # StepLoader deals out the parts itself
        # On one machine `training.job` has started this process, whatever scheduler it finds around it: no one but Lightning
        # starts the others.
        plugins=[LightningEnvironment() if loop.num_nodes == 1 else environment_of_task()],
    )


def processes(loop: Loop) -> int:
    """How many processes train together."""
    return device_count(loop.accelerator, loop.devices) * loop.num_nodes


def _is_sharded(loop: Loop) -> bool:
    return loop.strategy == "fsdp2" and processes(loop) > 1


def _strategy(loop: Loop) -> str | Strategy:
    """Lightning's strategy; on one device there is nothing to share out."""
    if processes(loop) == 1:
        return "auto"
    return Sharded(data_parallel_size=processes(loop), tensor_parallel_size=1) if _is_sharded(loop) else "ddp"


class _Keep(Callback):
    """Saves the adapter every so many optimizer steps, each time to a folder of its own."""

    def __init__(self, every: int, folder: Path, tokenizer: PreTrainedTokenizerBase | None, *, fresh: bool) -> None:
        self.every, self.folder, self.tokenizer, self.fresh = every, folder, tokenizer, fresh

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.fresh and trainer.is_global_zero:
            shutil.rmtree(self.folder, ignore_errors=True)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PlannedModule)
        step, inside = divmod(batch_idx + 1, pl_module.accumulation)
        if not inside and step % self.every == 0:
            # Lightning runs checkpoint callbacks last, so every checkpoint comes after what is kept up to its step.
            _save(trainer, pl_module, self.tokenizer, self.folder / f"{step:06d}")


def _run_id(model: str | Path, settings: Hyperparameters, loop: Loop, module: PlannedModule) -> str:
    """16 hex digits of everything that decides the trained weights, and what is kept of them."""
    parts = [
        type(module).__name__,
        model_fingerprint(model, loop.revision),
        None if loop.adapter is None else adapter_fingerprint(loop.adapter),
        dataclasses.asdict(settings),
        module.accumulation,
        [[list(vars(one).values()) for one in step] for step in module.steps],
        loop.dtype,
        loop.quantization,
        loop.precision,
        loop.liger,
        loop.seed,
        processes(loop) if _is_sharded(loop) else 1,  # the shares of a checkpoint fit no other number
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _all_rejected(what: str, rejected: Sequence[Rejected], max_tokens: int) -> str:
    if not rejected:
        return f"There is nothing to train on: there are no {what}."
    count, reasons = len(rejected), Counter(one.reason for one in rejected)
    counts = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    return f"There is nothing to train on: {count} of {count} {what} were rejected (max_tokens={max_tokens}): {counts}."


@contextmanager
def _disk_errors(output: Path) -> Iterator[None]:
    """A full disk or a folder that cannot be written to is for the user to fix; thanks to checkpoints little is lost."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in _DISK_ERRORS:
            raise
        raise UserError(
            f"{output}: the adapter or its checkpoints could not be written ({error}). Free some space or "
            "choose another folder, then run the same command: training resumes from the newest checkpoint."
        ) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Hand on a Ctrl-C or an `Ended`, which Lightning turns into an exit; and put back the handlers that it changes."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
            if isinstance(ended.__context__, Ended):
                ignore_endings()
        raise ended.__context__ from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Lightning says of hardware, of loggers to buy and of how a loop should be written: errors are raised."""
    logs = [logging.getLogger(name) for name in _LIGHTNING]
    levels = [log.level for log in logs]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        for log in logs:
            log.setLevel(logging.ERROR)
            warnings.filterwarnings("ignore", module=log.name)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


_LIGHTNING = ("pytorch_lightning", "lightning_fabric", "lightning_utilities")
