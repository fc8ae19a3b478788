"""What this machine has: memory of its GPUs, main memory, and room on its disks.

Place in the flow: `sei.fit` compares it with what a run needs before anything heavy is imported, and the choice of an engine
asks whether there is a GPU. Takes milliseconds; looks at nothing outside this machine.

Example::

    found_memory()      # Memory(gpus=(79.6, 79.6), main=503.5)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
# One of these exists wherever CUDA or ROCm can work: NVIDIA, AMD, Windows' GPU seen from its Linux.
_GPU_NODES = ("nvidia*", "kfd", "dxg")


@dataclass(frozen=True)
class Memory:
    """In GiB: each GPU's memory, and the main memory."""

    gpus: tuple[float, ...]
    main: float

    def __str__(self) -> str:
        gpus = ", ".join(f"{gpu:.0f} GiB" for gpu in self.gpus) or "none"
        return f"GPUs found: {gpus}; main memory: {self.main:.0f} GiB"


def found_memory() -> Memory:
    """Memory of this machine's visible GPUs (from nvidia-smi) and main memory, without importing torch."""
    main = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    if shutil.which("nvidia-smi") is None:
        return Memory((), main)
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return Memory((), main)
    gpus = [float(line) / 1024 for line in output.split() if line.isdecimal()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and all(part.strip().isdecimal() for part in visible.split(",")):
        chosen = [int(part) for part in visible.split(",")]
        gpus = [gpus[index] for index in chosen if index < len(gpus)]
    elif visible in ("", "-1"):
        gpus = []
    return Memory(tuple(gpus), main)


def free_disk(folder: Path) -> float:
    """GiB that may be written below `folder`, which need not exist yet."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(place).free / GIB


def may_have_gpu() -> bool:
    """False where no GPU can be there, so that a run that finds everything in the cache need not import torch."""
    return sys.platform == "win32" or any(any(Path("/dev").glob(node)) for node in _GPU_NODES)


def device_count(accelerator: str, devices: str | int) -> int:
    """How many training processes `devices` gives a node: a number, a list (`0,1`), or every GPU (`auto`, -1)."""
    text = str(devices)
    if "," in text:
        return len([part for part in text.split(",") if part.strip()])
    if text not in ("auto", "-1"):
        return int(text)
    if accelerator not in ("auto", "gpu", "cuda") or not may_have_gpu():
        return 1
    import torch

    return torch.cuda.device_count() or 1
