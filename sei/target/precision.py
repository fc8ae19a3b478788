"""Which numbers a device computes well with: what `trainer.precision=auto` and `model.dtype=auto` mean on this machine.

Place in the flow: `sei.lab` resolves both here before a stage is keyed or run, so that trainer, engine, cache
and report see a value and never `auto`. Torch is imported only where there may be a GPU to ask about.

The choice follows from what the device is, not from a timing: both values are part of cache keys, and a timing on a busy
machine could turn out differently from run to run. The rule:

    a GPU that computes in bfloat16 natively        bf16-mixed   bfloat16
    another GPU                                     16-mixed     float16
    a processor with AVX512-BF16 or AMX-BF16        bf16-mixed   bfloat16
    any other processor                             32-true      float32

Measured with the embedded target on an AMD EPYC with AVX512-BF16 (`benchmarks/precision.py`, 2 threads; the lesser
processors are that one held to their instructions), bfloat16 against float32:

                            LoRA training       generation
    AVX512-BF16             1.5 times as fast   0.95 (1.6 with 100M random weights, measured once)
    AVX512 without it       0.55                0.7
    AVX2 alone              0.1                 0.3

Without the instructions every product of bfloat16 is emulated. AMX was not measured; processors that have it have AVX512-BF16
too. The bfloat16 of Arm and Apple was not measured either, so there the choice is the safe one. No GPU was measured.

Example::

    choose_precision(device_facts("auto"))  # Choice("32-true", "this processor has no fast bfloat16")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sei.target.machine import may_have_gpu

_FAST = frozenset({"avx512_bf16", "amx_bf16"})  # as Linux names them in /proc/cpuinfo


@dataclass(frozen=True)
class DeviceFacts:
    """What decides: whether the work is done on a GPU, whether that has bfloat16, and the processor's flags."""

    gpu: bool = False
    gpu_bf16: bool = False
    cpu_flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """A precision or dtype; `why` this device gets it, None where the user named it."""

    value: str
    why: str | None = None

    def __str__(self) -> str:
        return self.value if self.why is None else f"{self.value} (auto: {self.why})"


def choose_precision(facts: DeviceFacts) -> Choice:
    """The trainer's precision, in Lightning's words."""
    if facts.gpu:
        return Choice("bf16-mixed" if facts.gpu_bf16 else "16-mixed", _why(facts))
    return Choice("bf16-mixed" if facts.cpu_flags & _FAST else "32-true", _why(facts))


def choose_dtype(facts: DeviceFacts) -> Choice:
    """The dtype of the target's weights where they are not trained."""
    if facts.gpu:
        return Choice("bfloat16" if facts.gpu_bf16 else "float16", _why(facts))
    return Choice("bfloat16" if facts.cpu_flags & _FAST else "float32", _why(facts))


def precision_for(wanted: str, device: str) -> Choice:
    """`wanted`, or what `auto` means where `device` trains."""
    return choose_precision(device_facts(device)) if wanted == "auto" else Choice(wanted)


def dtype_for(wanted: str, device: str) -> Choice:
    """`wanted`, or what `auto` means for weights on `device`."""
    return choose_dtype(device_facts(device)) if wanted == "auto" else Choice(wanted)


def device_facts(device: str) -> DeviceFacts:
    """The facts of what `device` is here: a trainer's accelerator (auto, cpu, gpu) or a torch device (cuda:1)."""
    if (device in ("auto", "gpu") or device.startswith("cuda")) and may_have_gpu():
        import torch

        if torch.cuda.is_available():
            # Emulated bfloat16 (before Ampere) counts as supported unless one says otherwise, and is slow.
            return DeviceFacts(gpu=True, gpu_bf16=torch.cuda.is_bf16_supported(including_emulation=False))
    return DeviceFacts(cpu_flags=cpu_flags())


def cpu_flags(file: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instruction sets of this x86 processor; none where the system does not tell (macOS, Windows, Arm)."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), frozenset())


def _why(facts: DeviceFacts) -> str:
    if facts.gpu:
        return "this GPU computes in bfloat16" if facts.gpu_bf16 else "this GPU has no fast bfloat16"
    return "this processor has fast bfloat16" if facts.cpu_flags & _FAST else "this processor has no fast bfloat16"
