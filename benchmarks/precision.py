"""Training and generation of the embedded target in float32 and in bfloat16, on the CPU: is `auto` right on this machine?

Usage: `python benchmarks/precision.py [--examples 512] [--batch 16] [--repeats 5] [--threads 2]`. Prints tokens a second,
ratios and what `trainer.precision=auto` and `model.dtype=auto` choose here (sei/target/precision.py); asserts nothing.

Training is LoRA on the rows of `sft_training.py`, its loop alone, at `32-true` and `bf16-mixed`. Generation is greedy,
through the engine, with weights of float32 and of bfloat16. The variants run in turn, in one process, and ratios are taken
within each turn. A lesser processor can be tried on a better one: `ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python
benchmarks/precision.py` computes as one that has AVX2 alone does; the flags, and with them the choice, stay those of the
processor.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from sft_training import (
    ALPHA,
    LEARNING_RATE,
    MAX_TOKENS,
    RANK,
    TARGETS,
    Stopwatch,
    Variant,
    compare,
    examples,
    ours_watch,
    prepare,
)

from sei.data.arithmetic.generate import pretraining_stories


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=512, help="rows trained on, and half as many prompts answered")
    parser.add_argument("--batch", type=int, default=16, help="examples an optimizer step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare(options.threads)
    from sei.target.engine import Query, Sampling
    from sei.target.formats import Formats
    from sei.target.generation import HFEngine
    from sei.target.precision import dtype_for, precision_for
    from sei.target.tiny import WEIGHTS
    from sei.training.run import Loop, train_sft
    from sei.training.settings import Hyperparameters

    rows, folder = examples(options.examples), Path(tempfile.mkdtemp())
    settings = Hyperparameters(
        LEARNING_RATE,
        epochs=1,
        batch_examples=options.batch,
        max_tokens=MAX_TOKENS,
        rank=RANK,
        alpha=ALPHA,
        target_modules=TARGETS,
    )

    def training(precision: str) -> Variant:
        def run() -> tuple[Stopwatch, float]:
            watch = Stopwatch()
            loop = Loop(
                accelerator="cpu",
                dtype="float32",
                precision=precision,
                callbacks=[ours_watch(watch)],
            )
            return watch, train_sft(WEIGHTS, folder / "trained", rows, settings, loop)["tokens"]

        return run

    formats, stories = Formats("plain"), pretraining_stories(7)
    questions = [next(stories).problem("train").question for _ in range(options.examples // 2)]
    queries = [Query(formats.solve(question), question) for question in questions]

    def generation(dtype: Any) -> Variant:
        engine = HFEngine(WEIGHTS, dtype=dtype, device="cpu", batch_size=64)

        def run() -> tuple[Stopwatch, float]:
            watch = Stopwatch()
            watch.start()
            completions = engine.complete(queries, Sampling(max_new_tokens=200))
            watch.stop()
            return watch, sum(one.tokens for [one] in completions)

        return run

    print(f"training: {len(rows)} rows, {options.batch} a step, LoRA r {RANK}, {options.threads} threads")
    compare(
        {
            "32-true": training("32-true"),
            "bf16-mixed": training("bf16-mixed"),
        },
        options.repeats,
        "tokens",
    )
    print(f"generation: {len(queries)} prompts, 64 a batch, greedy")
    compare({"float32": generation("float32"), "bfloat16": generation("bfloat16")}, options.repeats, "tokens")
    print(f"auto here: trainer.precision={precision_for('auto', 'cpu')}, model.dtype={dtype_for('auto', 'cpu')}")


if __name__ == "__main__":
    main()
