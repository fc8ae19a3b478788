"""Memory that training takes: `sei.training.memory`'s count beside the measured peak of the process, on the CPU.

Usage: `nice python benchmarks/memory.py [--only NAME]`. Each case is a process of its own: a random LLaMA of 50 to 150 million
weights is trained for two optimizer steps on rows of the largest length, and the peak of its resident memory is read from the
kernel (VmHWM). A toy of the same kind is trained before it in the same process, so that whatever libraries load late is there:
what the process then takes is shown by itself, and the error is of what comes on top. Prints, asserts nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sei.target.shape import Shape
from sei.training.memory import Setting, training_memory
from sei.training.settings import Hyperparameters, PreferenceHyperparameters

SMALL = Shape(layers=8, hidden=512, intermediate=1408, heads=8, kv_heads=8, vocabulary=32_000)  # 58M
DEEP = Shape(layers=24, hidden=512, intermediate=1408, heads=8, kv_heads=4, vocabulary=32_000, tied=True)  # 88M
WIDE = Shape(layers=8, hidden=1024, intermediate=2816, heads=16, kv_heads=16, vocabulary=32_000, tied=True)  # 136M
WORDS = Shape(layers=4, hidden=512, intermediate=1408, heads=8, kv_heads=8, vocabulary=128_000, tied=True)  # 78M

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LORA = Hyperparameters(
    learning_rate=1e-3, batch_examples=2, max_tokens=256, micro_tokens=512, rank=16, target_modules=ALL
)
FULL = dataclasses.replace(LORA, method="full")
ATTENTION = dataclasses.replace(LORA, rank=8, dropout=0.1, target_modules=ALL[:4])
CHECKPOINTED = {"gradient_checkpointing": True}
FP32, BF16, NF4 = Setting(4, False, gpu=False), Setting(2, True, gpu=False), Setting(4, False, "nf4", gpu=False)


_STEPS = 2  # the second has the moments of the first


def preference(like: Hyperparameters) -> PreferenceHyperparameters:
    return PreferenceHyperparameters(**dataclasses.asdict(like))


CASES: dict[str, tuple[Shape, Hyperparameters, Setting]] = {
    "full, fp32": (SMALL, FULL, FP32),
    "full, fp32, checkpointing": (DEEP, dataclasses.replace(FULL, **CHECKPOINTED), FP32),
    "full, 16-bit products": (SMALL, FULL, BF16),
    "LoRA r 16, fp32": (SMALL, LORA, FP32),
    "LoRA r 16, fp32, checkpointing": (DEEP, dataclasses.replace(LORA, **CHECKPOINTED), FP32),
    "LoRA r 16, bf16": (WIDE, LORA, BF16),
    "LoRA r 8 on attention, dropout, fp32": (WIDE, ATTENTION, FP32),
    "LoRA r 16, NF4": (WIDE, LORA, NF4),
    "LoRA r 16, NF4, checkpointing": (DEEP, dataclasses.replace(LORA, **CHECKPOINTED), NF4),
    "LoRA r 16, 128,000 words, fp32": (WORDS, LORA, FP32),
    "LoRA r 16, micro_tokens 256, fp32": (DEEP, dataclasses.replace(LORA, micro_tokens=256), FP32),
    "DPO, LoRA r 16, fp32": (SMALL, preference(LORA), FP32),
}


TOY = Shape(layers=2, hidden=64, intermediate=128, heads=4, kv_heads=2, vocabulary=800, tied=True)


def measure(name: str, folder: Path) -> dict[str, float]:
    """In this process: train the toy, then the case, and say what each took at most (bytes)."""
    toy = folder / "toy"
    save_random(TOY, toy)
    train(name, toy)
    gc.collect()
    libraries = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    tokens = train(name, folder)
    return {"libraries": libraries, "peak": _memory("VmHWM"), "tokens": tokens}


def train(name: str, folder: Path) -> float:
    """Train the model of a folder as the case says, on rows of the largest length; tokens of a micro-batch."""
    import torch

    from sei.records import Example, Pair
    from sei.target.load import load_tokenizer
    from sei.training import run

    _, phase, on = CASES[name]
    rows: list[Any] = []
    tokenizer = load_tokenizer(folder)
    words = tokenizer("\n".join(map(str, range(10, 99))) * 20)["input_ids"]
    for number in range(phase.batch_examples):
        if isinstance(phase, PreferenceHyperparameters):
            half = phase.max_tokens // 2 - 6  # a row holds both answers
            answers = [tokenizer.decode(words[start : start + half]) for start in (number, number + 9)]
            rows.append(Pair(f"p{number}", "Q", *answers, "thought", ()))
        else:
            text = tokenizer.decode(words[number : number + phase.max_tokens - 6])
            rows.append(Example(f"e{number}", "Q", text, "cot", ()))
    torch.set_num_threads(2)
    loop = run.Loop(
        dtype="float32" if on.dtype_bytes == 4 else "bfloat16",
        quantization=on.quantization,
        accelerator="cpu",
        precision="bf16-mixed" if on.mixed else "32-true",
    )
    carry_out = run.train_dpo if isinstance(phase, PreferenceHyperparameters) else run.train_sft
    result = carry_out(folder, folder / "adapter", rows, dataclasses.replace(phase, steps=_STEPS), loop)  # type: ignore[operator]
    return float(result["tokens"] / _STEPS / result["accumulation"])


def _memory(figure: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith(figure))


def save_random(shape: Shape, folder: Path) -> None:
    """A LLaMA of random weights, with the embedded target's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from sei.target import tiny
    from sei.target.load import load_tokenizer

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer(Path(tiny.__file__).parent / "weights").save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="the cases whose name begins so")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]))))
        return
    print(f"{'case':<38} {'weights':>8} {'libraries':>10} {'counted':>8} {'measured':>9} {'error':>7}   MiB")
    for name, (shape, phase, on) in CASES.items():
        if options.only and not name.startswith(options.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            save_random(shape, Path(folder))
            command = [sys.executable, __file__, "--measure", name, folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        parts = training_memory(shape, phase, on)
        counted, measured = sum(parts.values()) / 2**20, (found["peak"] - found["libraries"]) / 2**20
        shown = "  ".join(f"{part} {value / 2**20:,.0f}" for part, value in parts.items())
        print(
            f"{name:<38} {shape.parameters / 1e6:>7.0f}M {found['libraries'] / 2**20:>10,.0f} {counted:>8,.0f} "
            f"{measured:>9,.0f} {counted / measured - 1:>+7.0%}   {found['tokens']:.0f} tokens: {shown}",
            flush=True,
        )


if __name__ == "__main__":
    main()
