"""Which adapters vLLM can load, and under which name and number.

Place in the flow: `choice` refuses with `complaints` what a training phase would make and vLLM could not load; `engine` checks
each adapter before any process is started. Rules of vLLM 0.32 (vllm/lora/peft_helper.py, vllm/config/lora.py).

Example::

    rank_limit(read(Path("runs/sft/adapter")))      # 16 for an adapter of rank 9
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sei.errors import UserError

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's max_lora_rank may be
_WHOLE = ("lm_head", "embed_tokens")  # layers whose weights are the vocabulary's
_numbers: dict[str, int] = {}


def request(path: Path, fingerprint: str) -> dict[str, Any]:
    """A LoRARequest's fields. Name and number are new for each fingerprint, as long as this process lives: under a name or
    number that it knows vLLM may answer from the key-value cache of the adapter that had it before."""
    number = _numbers.setdefault(fingerprint, len(_numbers) + 1)
    return {"lora_name": f"sei-{fingerprint[:24]}", "lora_int_id": number, "lora_path": str(path.resolve())}


def read(path: Path) -> dict[str, Any]:
    """The adapter's settings. Raises UserError for one that vLLM cannot load, or not as it was trained."""
    file = path / "adapter_config.json"
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as an adapter's settings ({error}).") from error
    if faults := list(_faults(settings)):
        raise UserError(f"{path}: vLLM cannot load this adapter: {'; '.join(faults)}. Use engine=hf, which can.")
    return settings


def rank_limit(settings: Mapping[str, Any]) -> int:
    """The smallest rank that vLLM can be prepared for and that this adapter does not exceed."""
    rank = max(_ranks(settings))
    return next(allowed for allowed in RANKS if allowed >= rank)


def complaints(rank: int, modules: Sequence[str]) -> Iterator[str]:
    """What vLLM could not load of LoRA weights of this rank on these modules."""
    if rank > RANKS[-1]:
        yield f"its rank is {rank}, and vLLM's largest is {RANKS[-1]}"
    if whole := [name for name in modules if name in _WHOLE]:
        yield f"it adapts {' and '.join(whole)} (target_modules)"


def _faults(settings: Mapping[str, Any]) -> Iterator[str]:
    kind = settings.get("peft_type")
    if kind != "LORA":
        yield f"it is of type {kind}, not LORA"
        return
    if saved := settings.get("modules_to_save"):
        yield f"it replaces whole layers (modules_to_save: {', '.join(saved)})"
    if settings.get("use_dora"):
        yield "it is a DoRA adapter (use_dora)"
    if settings.get("lora_bias") or settings.get("bias") not in (None, "none"):
        yield "it trains biases (bias, lora_bias)"
    for name in ("alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora", "trainable_token_indices"):
        if settings.get(name):
            yield f"it was made with {name}"
    modules = settings.get("target_modules") or []
    yield from complaints(max(_ranks(settings)), [modules] if isinstance(modules, str) else modules)


def _ranks(settings: Mapping[str, Any]) -> list[int]:
    return [int(settings["r"]), *map(int, (settings.get("rank_pattern") or {}).values())]
