"""GPU-hours of a run, estimated from stated rates; for a dry run, so that nobody books a machine by guessing.

Place in the flow: `sei.plan` prices with it the work that a recipe counts (`recipes.work`). An estimate: half or twice as much
is no surprise. The rates:

    The GPU is one A100 80 GB SXM: 312 TFLOP/s in bf16 without sparsity and 2.039 TB/s (NVIDIA's data sheet of June 2021).
    Training takes 6 operations for each weight and token (2 forward, 2 for the gradient of what flows, 2 for that of the
    weights: Kaplan et al. 2020, arXiv 2001.08361), 4 where the weights are frozen, 2 more where activations are computed
    again; 35 % of the peak is reached (ours; PaLM, arXiv 2204.02311, reports 46 % of TPUs at its best).
    Reading a prompt takes 2 operations for each weight and token, at 50 % of the peak (ours).
    Writing a token reads all weights once for a batch of 256 answers (the most that vLLM runs together by default), and each
    answer's key-value cache. vLLM reaches 40 % of that bound, and transformers 10 % (ours: an 8B model then writes some 6,000
    and 1,500 tokens a second). That vLLM need not read again what prompts share is not counted.

Example::

    generation_hours(shape, Generated("attempts", 7473, 120, 130), RATES[0])
"""

from __future__ import annotations

from dataclasses import dataclass

from sei.recipes.work import Generated, Trained
from sei.target.shape import Shape

GPU = "A100 80 GB"
_FLOPS, _BYTES = 312e12, 2.039e12  # a second
_TRAINING, _READING = 0.35, 0.5  # of the peak
_TOGETHER = 256  # answers in a batch
_HOUR = 3600.0


@dataclass(frozen=True)
class Rate:
    """Which share of the memory's bound writing reaches."""

    name: str
    share: float


RATES = (Rate("with vLLM", 0.4), Rate("with transformers", 0.1))


def generation_hours(shape: Shape, work: Generated, rate: Rate) -> float:
    """GPU-hours to generate in 16 bits."""
    reading = work.completions * work.tokens_in * 2 * shape.parameters / (_FLOPS * _READING)
    together = min(_TOGETHER, max(1, work.completions))
    kept = (work.tokens_in + work.tokens_out / 2) * shape.cache_width * 2
    step = (shape.parameters * 2 + together * kept) / _BYTES
    writing = work.completions / together * work.tokens_out * step / rate.share
    return (reading + writing) / _HOUR


def training_hours(shape: Shape, work: Trained) -> float:
    """GPU-hours to train."""
    operations = (6 if work.phase.method == "full" else 4) + (2 if work.phase.gradient_checkpointing else 0)
    done = work.tokens * operations + work.scored * 2
    return done * shape.parameters / (_FLOPS * _TRAINING) / _HOUR
