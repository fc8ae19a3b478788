"""How much memory one device needs to train: counted from the model's shape and a phase's hyperparameters.

Place in the flow: `sei.fit` refuses with it what cannot fit before anything is spent, and the plan prints its parts. What is
counted is what this package's training keeps: weights as they are loaded, 16 bytes for each trained weight, what autograd
saves in each layer (`per_token`), and the logits of as many labelled tokens as are computed at a time. `benchmarks/memory.py`
prints the count beside peaks that were measured on a CPU. No GPU was measured.

Example::

    parts = training_memory(shape, Hyperparameters(learning_rate=1e-4), Setting(dtype_bytes=2, mixed=True, gpu=True))
    sum(parts.values()) / 2**30
"""

from __future__ import annotations

from dataclasses import dataclass

from sei.target.load import Quantization
from sei.target.shape import NF4_BYTES, Shape
from sei.training.settings import LOGITS_AT_ONCE, Hyperparameters


@dataclass(frozen=True)
class Setting:
    """What it is trained on, beside the hyperparameters."""

    dtype_bytes: int = 2  # of a frozen weight that is not quantized
    mixed: bool = True  # products in 16 bits
    quantization: Quantization = "none"
    gpu: bool = True
    devices: int = 1

    @property
    def activation_bytes(self) -> int:
        """Of one number that autograd saves. Preparing a quantized model makes its embedding, and so what flows, fp32."""
        return 2 if self.quantization == "none" and (self.mixed or self.dtype_bytes == 2) else 4


def training_memory(shape: Shape, phase: Hyperparameters, on: Setting) -> dict[str, float]:
    """Bytes by part; their sum is the peak of one device."""
    tokens = micro_batch(phase, on.devices)
    size = on.activation_bytes
    trained = trained_parameters(shape, phase)
    layer = tokens * per_token(shape, phase, on)
    passing = tokens * 3 * shape.intermediate * size
    logits = min(tokens * shape.vocabulary, max(LOGITS_AT_ONCE, shape.vocabulary)) * (12 if size == 4 else 16)
    if phase.gradient_checkpointing:
        saved: float = shape.layers * tokens * shape.hidden * size
        peak = max(logits, layer + passing)
    else:
        saved, peak = shape.layers * layer, max(logits, passing)
    return {
        "weights": weight_bytes(shape, phase, on),
        "trained": trained * _bytes_per_trained(phase, on),
        "activations": saved,
        "logits or one layer's backward": peak,
    }


def micro_batch(phase: Hyperparameters, devices: int) -> int:
    """Tokens of the largest micro-batch, as `packing.accumulation_for` allows them."""
    step = phase.batch_tokens or phase.batch_examples * phase.max_tokens
    share = -(-step // (devices * (phase.accumulation or 1)))
    limit = phase.micro_tokens or 8 * phase.max_tokens
    tokens = share if phase.accumulation else min(limit, share)
    return max(tokens, min(phase.max_tokens, step))


def trained_parameters(shape: Shape, phase: Hyperparameters) -> int:
    return shape.parameters if phase.method == "full" else shape.adapter_parameters(phase.rank, phase.target_modules)


def weight_bytes(shape: Shape, phase: Hyperparameters, on: Setting) -> float:
    """The weights that are not trained, and the 16-bit copies that mixed precision makes of fp32 ones."""
    if on.quantization == "nf4":
        # On a CPU the file that was quantized stays mapped, because the weights that were not quantized lie in it.
        mapped = 0 if on.gpu else shape.block_parameters * on.dtype_bytes
        return shape.block_parameters * NF4_BYTES + shape.other_parameters * 4 + mapped
    copies = 2 if on.mixed and (phase.method == "full" or on.dtype_bytes == 4) else 0
    return shape.parameters * ((0 if phase.method == "full" else on.dtype_bytes) + copies)


def _bytes_per_trained(phase: Hyperparameters, on: Setting) -> int:
    """fp32 with a gradient and two moments; the optimizer's own copy on a GPU; the buckets that devices exchange."""
    return 16 + (4 if on.gpu and phase.optimizer == "adamw" else 0) + (4 if on.devices > 1 else 0)


def per_token(shape: Shape, phase: Hyperparameters, on: Setting) -> float:
    """Bytes that autograd saves of one token in one layer."""
    size, full = on.activation_bytes, phase.method == "full"
    norms = 2 * shape.hidden * 4 + (2 * shape.hidden * size if full else 0)
    # Queries, keys, values and result, on a CPU in fp32 (`training.attention`), and a sum for each head.
    attention = (2 * shape.query_width + 2 * shape.kv_width) * (size if on.gpu else 4) + 4 * shape.heads
    numbers = 3 * shape.intermediate
    trained = shape.matrices if full else {name: shape.matrices[name] for name in phase.target_modules}
    inputs = {
        "attention": shape.hidden,
        "o_proj": shape.query_width,
        "mlp": shape.hidden,
        "down_proj": shape.intermediate,
    }
    taken = {_input_of(name) for name in trained}
    numbers += sum(inputs[name] for name in taken)
    extra = 0.0
    if not full:
        numbers += phase.rank * len(trained)
        if phase.dropout:  # each layer's own copy, and what was dropped
            extra = sum(entering for entering, _ in trained.values()) * (size + (1 if on.gpu else 4))
    return norms + attention + numbers * size + extra


def _input_of(name: str) -> str:
    """Layers that take the same input save it once."""
    return {
        "q_proj": "attention",
        "k_proj": "attention",
        "v_proj": "attention",
        "gate_proj": "mlp",
        "up_proj": "mlp",
    }.get(name, name)
