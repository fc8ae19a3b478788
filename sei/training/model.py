"""The model of a training: loaded with exactly those weights trainable that the settings train, and saved with them.

Place in the flow: `training.run` makes a `loader` for the module, which calls it where training runs, and ends with `save`.

Example::

    load = loader("runs/base", Hyperparameters(learning_rate=1e-3), Loop())
    save(load(torch.device("cpu"), None), None, Path("runs/adapter"))
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sei.errors import UserError
from sei.target.generation import keep_freed_memory
from sei.target.load import is_whole_model, load_adapter, load_model
from sei.training import liger
from sei.training.lora import lighten
from sei.training.settings import Hyperparameters

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from sei.training.run import Loop
    from sei.training.sharding import Load


def loader(model: str | Path, settings: Hyperparameters, loop: Loop) -> Load:
    """What gives the model, each time it is called; see `sharding.Load`."""

    def load(device: torch.device, place: str | None) -> PreTrainedModel | PeftModel:
        return _trainable(model, settings, loop, device, place)

    return load


def _trainable(
    model: str | Path, settings: Hyperparameters, loop: Loop, device: torch.device, place: str | None
) -> PreTrainedModel | PeftModel:
    from peft import prepare_model_for_kbit_training

    adapter = loop.adapter
    if device.type == "cpu":
        keep_freed_memory()
    full = settings.method == "full"
    if full and loop.quantization != "none":
        raise UserError("method=full cannot train quantized weights: use quantization=none or method=lora.")
    if adapter is not None and is_whole_model(adapter) != full:
        raise UserError(
            f"{adapter} was not trained with method={settings.method}. Continue with the method it was trained with."
        )
    base = load_model(
        adapter if full and adapter is not None else model,
        revision=loop.revision if adapter is None or not full else None,
        dtype="float32" if full else loop.dtype,
        quantization=loop.quantization,
        attention=loop.attention,
        device=str(device),
        place=place,
    )
    if loop.quantization != "none":
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
        for module in base.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                # On such a processor bitsandbytes would repack the weights at the first evaluation (DPO's reference), for a
                # product through which no gradient flows, also when training comes after it.
                module.support_avx512bf16_for_cpu = False
    if loop.liger:
        liger.apply(base)
    trained: PreTrainedModel | PeftModel = base
    if not full:
        # Without weights there is nothing to put into an adapter either: its structure is enough.
        with torch.device("meta") if place == "meta" else contextlib.nullcontext():
            trained = _with_adapter(base, model, settings, loop, filled=place != "meta")
    lighten(trained)
    if settings.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        base.enable_input_require_grads()
    return trained


def _with_adapter(
    base: PreTrainedModel, model: str | Path, settings: Hyperparameters, loop: Loop, *, filled: bool
) -> PeftModel:
    """`base` with the adapter to go on from, or a new one; trainable."""
    from peft import LoraConfig, PeftConfig, get_peft_model

    if loop.adapter is not None and filled:
        return load_adapter(base, loop.adapter, trainable=True)
    if loop.adapter is not None:
        config = PeftConfig.from_pretrained(str(loop.adapter), inference_mode=False)
    else:
        torch.manual_seed(loop.seed)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]
            lora_dropout=settings.dropout,
            target_modules=list(settings.target_modules),
            task_type="CAUSAL_LM",
        )
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        raise UserError(f"target_modules={list(settings.target_modules)} do not fit {model}: {error}") from error


def save(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase | None,
    output: Path,
    *,
    kept: Path | None = None,
    state: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write to a folder beside `output` and rename it, so that `output` is either complete or absent.

    `kept` is a folder that becomes `steps` below `output`, where readers of the adapter do not look. `state` are the
    weights, where the model holds only a share of them.
    """
    from peft import PeftModel

    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        # The embedding is not trained; to find that out by itself PEFT would ask the hub.
        model.save_pretrained(str(partial), save_embedding_layers=False, state_dict=state)
        _sort_lists(partial / "adapter_config.json")
    else:
        assert tokenizer is not None
        model.save_pretrained(str(partial), state_dict=state)
        tokenizer.save_pretrained(str(partial))
    if kept is not None and kept.is_dir():
        shutil.copytree(kept, partial / "steps")
    shutil.rmtree(output, ignore_errors=True)
    partial.rename(output)


def _sort_lists(file: Path) -> None:
    """PEFT writes module names in an order that varies from process to process: the same adapter should be the same file."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    ordered = {
        name: sorted(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value
        for name, value in settings.items()
    }
    file.write_text(json.dumps(ordered, indent=2, sort_keys=True) + "\n", encoding="utf-8")
