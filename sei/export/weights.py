"""The trained weights of a run as a repository that anyone can load.

Place in the flow: the run's adapter -> **a folder** in PEFT's format, or of a whole model (after full fine-tuning, or merged).
Weights are safetensors; the base model is named by its hub id, never by a path.

Example::

    copy_weights(run, Path("shared/my-adapter"))
    merge(run, Path("shared/my-model")).largest_difference        # of the logits, against the adapter beside the base
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sei.errors import UserError
from sei.export.finished import FinishedRun
from sei.run_files import read_object
from sei.target.load import encode_prompt, is_whole_model, load_adapter, load_model
from sei.workspace import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PROBE = "Question: Tom has 3 apples and buys 4 more. How many does he have?"


@dataclass(frozen=True)
class Merged:
    """What merging did, for the card."""

    dtype: str
    largest_difference: float  # of any logit of a short prompt, between adapter beside base and merged weights
    same_answer: bool  # whether both take the same next token after each token of that prompt
    untied: bool  # whether the head got weights of its own, because the adapter changes one of two that were shared


def copy_weights(run: FinishedRun, folder: Path) -> None:
    """Copy the adapter, or the whole model of a full fine-tuning, to `folder`; without checkpoints kept on the way."""
    source = run.adapter
    whole = is_whole_model(source)
    if not whole and not (source / "adapter_model.safetensors").is_file():
        raise UserError(
            f"{source}: no adapter_model.safetensors here. Run the job again; it finds its results in the cache."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if whole:
        for path in sorted([*source.glob("*.safetensors"), *source.glob("*.json"), *source.glob("*.jinja")]):
            shutil.copyfile(path, folder / path.name)
        run.tokenizer.save_pretrained(str(folder))
        return
    shutil.copyfile(source / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    settings = read_object(source / "adapter_config.json")
    settings["base_model_name_or_path"] = run.base_id or ""
    settings["revision"] = run.config["model"]["revision"] if run.base_id else None
    write_json(folder / "adapter_config.json", settings)


def merge(run: FinishedRun, folder: Path) -> Merged:
    """Write base model and adapter as one model to `folder`, in the dtype of the base's own weights, with its tokenizer.

    A quantized run trained its adapter on weights that 4 bits rounded; here it is added to the weights as published. Raises
    UserError for a run whose weights are whole already.
    """
    import torch

    if is_whole_model(run.adapter):
        raise UserError(f"{run.adapter}: the run tuned the whole model; there is nothing to merge. Leave --merged out.")
    model = run.config["model"]
    base = load_model(run.base_path, revision=model["revision"], dtype="auto")
    untied = _untie(base, run.adapter)
    tuned = load_adapter(base, run.adapter)
    ids = torch.tensor([encode_prompt(run.tokenizer, _PROBE)])
    with torch.inference_mode():
        beside = tuned(input_ids=ids).logits.float()
        merged = tuned.merge_and_unload()
        inside = merged(input_ids=ids).logits.float()
    folder.mkdir(parents=True, exist_ok=True)
    merged.save_pretrained(str(folder))
    run.tokenizer.save_pretrained(str(folder))
    return Merged(
        dtype=str(merged.dtype).removeprefix("torch."),
        largest_difference=float((beside - inside).abs().max()),
        same_answer=bool((beside.argmax(-1) == inside.argmax(-1)).all()),
        untied=untied,
    )


def _untie(model: PreTrainedModel, adapter: Path) -> bool:
    """Give the head weights of its own, where it shares the embedding's and the adapter changes one of the two.

    Merged into the shared weights, what was learned for the one would change the other too.
    """
    settings = read_object(adapter / "adapter_config.json")
    named = [settings.get(key) or [] for key in ("target_modules", "modules_to_save")]
    touched = {
        str(name).rpartition(".")[2] for names in named for name in ([names] if isinstance(names, str) else names)
    }
    head: Any = model.get_output_embeddings()
    inner: Any = model.get_input_embeddings()
    sharing = {name.rpartition(".")[2] for name, module in model.named_modules() if module is head or module is inner}
    if head is None or head.weight is not inner.weight or not touched & sharing:
        return False
    import torch

    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False
    return True
