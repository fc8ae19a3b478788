"""How vLLM is laid out on this machine: groups of GPUs, one process each, and what every process is told.

Place in the flow: `engine` asks for the `specs` of its processes; `choice` says in a plan what they would be. A process gets as
few GPUs as hold the weights (tensor parallel), and there are as many processes as groups (data parallel). Without a GPU there
is one process on the CPU, for tests and small models.

Example::

    groups([80.0] * 4, needed=150.0)       # [[0, 1], [2, 3]]
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sei.errors import UserError
from sei.processes import usable_cores
from sei.target.machine import GIB, found_memory
from sei.target.shape import NF4_BYTES
from sei.target.vllm.pool import Spec
from sei.target.weights import Weights

if TYPE_CHECKING:
    from sei.target.vllm.choice import VLLM

_INVARIANT_FROM = 8.0  # compute capability (vLLM's documentation, "Batch Invariance")
_HEADROOM, _CONTEXT_GIB = 1.15, 1.0  # keys and values of a few answers; CUDA and kernels
_CPU_CACHE_GIB = 4  # of keys and values at most, for each process on a CPU

# Compiling takes longer than it saves. A prompt that is read in parts sets back its random numbers, which vLLM's can do on a
# GPU alone ("CPU Generator does not use offset", seen with 0.32).
_ON_CPU = {"enforce_eager": True, "enable_chunked_prefill": False}


def specs(settings: VLLM, weights: Weights, rank: int | None) -> list[Spec]:
    """The processes for these weights; `rank` is what adapters are to be expected up to, None where there are none."""
    places = group_gpus(settings, weights)
    return [
        Spec(_engine(settings, weights, rank, place), _environment(settings, place, len(places))) for place in places
    ]


def group_gpus(settings: VLLM, weights: Weights) -> list[list[int]]:
    """The GPUs of each process; empty lists stand for the CPU. Raises UserError where there are too few."""
    memory = found_memory()
    if not memory.gpus:
        return [[] for _ in range(settings.processes or 1)]
    needed = 0.0
    if settings.tensor_parallel is None:
        size = NF4_BYTES if settings.quantizes(weights) else 4 if weights.dtype == "float32" else 2
        needed = _parameters(weights.path, weights.revision) * size * _HEADROOM / GIB + _CONTEXT_GIB
    return groups(
        memory.gpus,
        needed / settings.memory,
        tensor_parallel=settings.tensor_parallel,
        processes=settings.processes,
    )


def groups(
    gpus: Sequence[float], needed: float, *, tensor_parallel: int | None = None, processes: int | None = None
) -> list[list[int]]:
    """Groups of GPU numbers for `needed` GiB each: of `tensor_parallel` GPUs, or of the smallest power of two that suffices."""
    size = tensor_parallel or 1
    while tensor_parallel is None and size * min(gpus) < needed:
        size *= 2
    wanted = processes or max(1, len(gpus) // size)
    if size * wanted > len(gpus):
        found = ", ".join(f"{gpu:.0f} GiB" for gpu in gpus)
        raise UserError(
            f"engine=vllm: {wanted} x {size} GPUs are needed{f' (about {needed:.0f} GiB a process)' if needed else ''}; "
            f"found: {found}. Take a smaller model, fewer engine.processes, or name engine.tensor_parallel"
        )
    return [list(range(start, start + size)) for start in range(0, size * wanted, size)]


def is_invariant(settings: VLLM, place: Sequence[int]) -> bool:
    """Whether results of a process there do not depend on the batch."""
    return settings.batch_invariant and bool(place) and invariant_gpus()


@lru_cache
def invariant_gpus() -> bool:
    """Whether this machine's GPUs are of a kind for which vLLM has kernels whose results do not depend on the batch."""
    if shutil.which("nvidia-smi") is None:
        return False
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        found = [float(line) for line in output.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
    return bool(found) and min(found) >= _INVARIANT_FROM


def _engine(settings: VLLM, weights: Weights, rank: int | None, place: Sequence[int]) -> dict[str, Any]:
    """Arguments of vLLM's EngineArgs."""
    quantizes = settings.quantizes(weights)
    return {
        "model": weights.path,
        "revision": weights.revision,
        "tokenizer_revision": weights.revision,
        "dtype": weights.dtype,
        "quantization": "bitsandbytes" if quantizes else None,
        "load_format": "bitsandbytes" if quantizes else "safetensors",
        "generation_config": "vllm",  # the model's own sampling settings do not slip in
        "max_model_len": -1,  # the longest that fits, up to the model's own
        "max_num_seqs": settings.batch_size,
        "tensor_parallel_size": len(place) or 1,
        "gpu_memory_utilization": settings.memory,
        **({} if place else _ON_CPU),
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        **({} if rank is None else {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}),
    }


def _environment(settings: VLLM, place: Sequence[int], processes: int) -> dict[str, str]:
    """What is set for the process, beside what is set here. On a CPU the user's own settings win."""
    common = {"VLLM_NO_USAGE_STATS": "1", "VLLM_BATCH_INVARIANT": str(int(is_invariant(settings, place)))}
    memory = found_memory()
    if place:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(number) for number in range(len(memory.gpus))]
        return common | {"CUDA_VISIBLE_DEVICES": ",".join(names[number].strip() for number in place)}
    space = max(1, min(_CPU_CACHE_GIB, int(memory.main / 8 / processes)))
    usual = {
        "VLLM_CPU_KVCACHE_SPACE": str(space),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # bound to cores it leaves one to others, and shares none with its siblings
        "OMP_NUM_THREADS": str(max(1, usable_cores() // processes)),
    }
    return common | {name: os.environ.get(name, value) for name, value in usual.items()}


@lru_cache
def _parameters(path: str, revision: str | None) -> int:
    """How many parameters there are, counted on a model without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(path, revision=revision or "main", trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return sum(parameter.numel() for parameter in model.parameters())
