"""Supervised fine-tuning of the embedded target: `sei.training` beside TRL's SFTTrainer, on the CPU.

Usage: `python benchmarks/sft_training.py [--examples 512] [--batch 16] [--repeats 7] [--precision fp32] [--threads 2]`.
Needs TRL: `pip install -c constraints.txt -e ".[test]"`. Prints ratios, asserts nothing.

Same model, LoRA, examples, examples per optimizer step, and number of threads; both compute the loss on responses only.
Rows are what the embedded recipes train on: chains of thought, and corrections of wrong solutions, which are longer.
TRL runs with AdamW as we do, without gradient checkpointing and logging, in three ways: as a user would first write it
(random batches, padded to their longest row), with batches of similar length, and with its own packing (best-fit decreasing,
into rows of the longest example, all rows of a step joined into one; it asks for flash attention, which a CPU does not
have). A packed row holds several examples, so the same number of examples per step means fewer rows per step. The time is
that of the training loop, from its first batch to its last optimizer step, without loading, tokenizing and saving; tokens are
those of the examples, without padding. The variants take turns in one process, and each ratio is of times within one turn.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import pretraining_stories
from sei.records import Correction, Example, Mistake
from sei.stages.assemble import from_corrections, from_problems
from sei.target.formats import Formats

LEARNING_RATE = 2e-3
RANK, ALPHA = 32, 64
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MAX_TOKENS = 512

Variant = Callable[[], tuple["Stopwatch", float]]  # the time it took, and how many tokens or pairs it trained on


def examples(count: int) -> list[Example]:
    """Chains of thought and corrections, half and half, in random order."""
    formats, draws = Formats("plain"), random.Random(0)
    rows: list[Example] = []
    for story in pretraining_stories(5):
        if len(rows) >= count:
            break
        problem, wrong = story.problem("train"), corrupt(story, draws)
        mistake = Mistake(
            f"mistake-{problem.id}",
            problem.id,
            "",
            problem.question,
            problem.answer,
            problem.solution,
            "\n".join((*wrong.lines, f"#### {wrong.answer}")),
            "",
        )
        steps = tuple(problem.solution.splitlines()[wrong.step - 1 : -1])
        correction = Correction("", mistake.id, wrong.step, wrong.explanation, steps, problem.solution, problem.answer)
        rows += from_problems([problem], formats) + from_corrections([correction], [mistake], formats)
    draws.shuffle(rows)
    return rows[:count]


class Stopwatch:
    """Time between two events of a training loop: wall time and processor time (of all threads)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor = 0.0
        self._started = (0.0, 0.0)

    def start(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._started[0]
        self.processor += time.process_time() - self._started[1]


def theirs_watch(watch: Stopwatch) -> Any:
    from transformers import TrainerCallback

    class Watched(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            watch.start()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            watch.stop()

    return Watched()


def theirs_settings(folder: Path, precision: str) -> dict[str, Any]:
    """Settings of both TRL trainers: plain AdamW on the CPU, nothing saved and nothing logged."""
    return {
        "output_dir": str(folder / "theirs"),
        "use_cpu": True,
        "bf16": precision == "bf16",
        "gradient_checkpointing": False,
        "optim": "adamw_torch",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }


def ours_watch(watch: Stopwatch) -> Any:
    from pytorch_lightning import Callback

    class Watched(Callback):
        def on_train_start(self, *_: Any) -> None:
            watch.start()

        def on_train_end(self, *_: Any) -> None:
            watch.stop()

    return Watched()


def compare(variants: dict[str, Variant], repeats: int, unit: str) -> None:
    """Run the variants in turn and print their rates, and the ratios of the first one's to each other's.

    On a machine with other work the ratio of processor times says more than that of wall times.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, variant in variants.items():
            watch, units = variant()
            if turn:  # the first turn warms up
                found[name].append((units / watch.seconds, units / watch.processor))
        print(f"turn {turn} of {repeats}", file=sys.stderr)
    ours = found[next(iter(variants))]
    for name, rates in found.items():
        ratios = []
        for measure in (0, 1):
            every = sorted(mine[measure] / other[measure] for mine, other in zip(ours, rates, strict=True))
            ratios.append(f"{statistics.median(every):.2f} [{every[0]:.2f}, {every[-1]:.2f}]")
        rate = statistics.median(rate for rate, _ in rates)
        print(f"{name:42} {rate:8.1f} {unit}/s   ours / this: wall time {ratios[0]}, processor time {ratios[1]}")


def arguments(description: str | None, what: str, count: int, batch: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(f"--{what}", type=int, default=count)
    parser.add_argument("--batch", type=int, default=batch, help=f"{what} per optimizer step")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="show instead where our time goes")
    return parser.parse_args()


def prepare(threads: int) -> None:
    """Before torch is imported: waiting threads sleep, no progress is shown, and the hub is not contacted."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import datasets
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    logging.set_verbosity_error()


def profile(train: Callable[[], float], steps: int, precision: str) -> None:
    """Where our time goes, and how far it is from the time of its matrix products alone, in the same precision.

    Products inside sdpa are not counted; DPO's reference is part of its steps.
    """
    import torch
    from torch.profiler import ProfilerActivity
    from torch.utils.flop_counter import FlopCounterMode

    train()
    seconds = statistics.median(train() for _ in range(3))
    with FlopCounterMode(display=False) as counter:
        train()
    flops = counter.get_total_flops()
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        profiled = train()
    kinds = {
        "linear layers (mm, addmm)": ("aten::mm", "aten::addmm"),
        "attention (its products, softmax)": ("aten::bmm", "aten::_scaled_dot", "aten::_softmax"),
        "log-softmax and loss": ("aten::_log_softmax", "aten::nll_loss"),
        "element by element (mul, add, silu, ...)": ("aten::mul", "aten::add", "aten::silu", "aten::div", "aten::neg"),
        "copies, fills, joins": ("aten::copy_", "aten::fill_", "aten::zero_", "aten::cat"),
    }
    times = dict.fromkeys([*kinds, "other operators"], 0.0)
    for one in found.key_averages():
        if one.key.startswith("aten::"):
            kind = next((kind for kind, names in kinds.items() if one.key.startswith(names)), "other operators")
            times[kind] += one.self_cpu_time_total
    total = profiled * 1e6
    print(f"{1e3 * seconds / steps:.1f} ms per step; under the profiler {1e3 * profiled / steps:.1f} ms, of which")
    for kind, spent in times.items():
        print(f"  {kind:46} {100 * spent / total:5.1f} %")
    print(f"  {'between operators (Python, Lightning, AdamW)':46} {100 * (1 - sum(times.values()) / total):5.1f} %")

    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    shapes: dict[tuple[Any, ...], int] = {}
    for event in found.events():
        if event.name in ("aten::mm", "aten::addmm", "aten::bmm"):
            operands = [tuple(shape) for shape in event.input_shapes if len(shape) >= 2][-2:]
            if len(operands) == 2:
                key = (event.name == "aten::bmm", *operands)
                shapes[key] = shapes.get(key, 0) + 1
    best = 0.0
    for (batched, left, right), times_called in shapes.items():
        one, other = (torch.randn(shape, dtype=dtype) for shape in (left, right))
        product = torch.bmm if batched else torch.mm
        rounds = []
        for _ in range(5):
            start = time.perf_counter()
            product(one, other)
            rounds.append(time.perf_counter() - start)
        best += min(rounds) * times_called
    square = torch.randn(1024, 1024, dtype=dtype)
    rounds = []
    for _ in range(10):
        start = time.perf_counter()
        square @ square
        rounds.append(time.perf_counter() - start)
    print(
        f"matrix products: {flops / steps / 1e9:.2f} GFLOP per step; the whole step reaches {flops / seconds / 1e9:.1f} GFLOP/s, "
        f"the same products alone {flops / best / 1e9:.1f}, a product of 1024 x 1024 {2 * 1024**3 / min(rounds) / 1e9:.1f}: "
        f"the step takes {seconds / best:.1f} times as long as its matrix products alone"
    )


def main() -> None:
    options = arguments(__doc__, "examples", 512, 16)
    prepare(options.threads)
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from sei.target.load import load_model, load_tokenizer
    from sei.target.tiny import WEIGHTS
    from sei.training.packing import encode_all
    from sei.training.run import Loop, train_sft
    from sei.training.settings import Hyperparameters

    rows = examples(options.examples)
    tokenizer = load_tokenizer(WEIGHTS)
    lengths = sorted(len(one) for one in encode_all(rows, tokenizer, MAX_TOKENS)[0])
    tokens = sum(lengths)
    steps = -(-len(rows) // options.batch)
    print(
        f"{len(rows)} examples of {lengths[0]} to {lengths[-1]} tokens (median {lengths[len(lengths) // 2]}), "
        f"{options.batch} per step, LoRA r {RANK}, {options.precision}, {options.threads} threads"
    )
    folder = Path(tempfile.mkdtemp())
    settings = Hyperparameters(
        LEARNING_RATE,
        epochs=1,
        batch_examples=options.batch,
        max_tokens=MAX_TOKENS,
        rank=RANK,
        alpha=ALPHA,
        target_modules=TARGETS,
    )

    def ours() -> tuple[Stopwatch, float]:
        watch = Stopwatch()
        loop = Loop(
            accelerator="cpu",
            dtype="float32",
            precision="32-true" if options.precision == "fp32" else "bf16-mixed",
            callbacks=[ours_watch(watch)],
        )
        result = train_sft(WEIGHTS, folder / "ours", rows, settings, loop)
        assert result["tokens"] == tokens
        return watch, tokens

    if options.profile:
        profile(lambda: ours()[0].seconds, steps, options.precision)
        return

    dataset = Dataset.from_list([{"prompt": one.prompt, "completion": one.response} for one in rows])

    def theirs(attention: Any, batch: int, max_length: int = MAX_TOKENS, **more: Any) -> Variant:
        def run() -> tuple[Stopwatch, float]:
            watch = Stopwatch()
            trainer = SFTTrainer(
                model=load_model(WEIGHTS, dtype="float32", attention=attention),
                args=SFTConfig(
                    **theirs_settings(folder, options.precision),
                    learning_rate=LEARNING_RATE,
                    per_device_train_batch_size=batch,
                    num_train_epochs=1,
                    max_length=max_length,
                    **more,
                ),
                train_dataset=dataset,
                processing_class=tokenizer,
                peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=[*TARGETS], task_type="CAUSAL_LM"),
                callbacks=[theirs_watch(watch)],
            )
            trainer.train()
            return watch, tokens

        return run

    packed_rows = max(1, round(options.batch * tokens / len(rows) / lengths[-1]))
    variants: dict[str, Variant] = {"ours": ours}
    alike = {"train_sampling_strategy": "group_by_length"}
    variants |= {
        "TRL, sdpa": theirs("sdpa", options.batch),
        "TRL, sdpa, batches of similar length": theirs("sdpa", options.batch, **alike),
        "TRL, eager, batches of similar length": theirs("eager", options.batch, **alike),
        "TRL, sdpa, its packing": theirs("sdpa", packed_rows, packing=True, max_length=lengths[-1]),
    }
    compare(variants, options.repeats, "tokens")


if __name__ == "__main__":
    main()
