"""The loss over labelled positions in checkpointed chunks beside all logits at once: peak memory and time, on the CPU.

Usage: `python benchmarks/logits.py [--tokens 1000] [--vocabulary 128000] [--hidden 256] [--repeats 3]`. A LLaMA of two layers
with random weights is given one row, all of whose tokens are predicted; forward and backward pass, float32, LoRA. Every
measurement is a process of its own, which reads its peak from the kernel (VmHWM), in turn with and without chunks. Prints
ratios, asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def measure(tokens: int, vocabulary: int, hidden: int, logits: int) -> dict[str, float]:
    """In this process: seconds of processor and wall, MiB at most beyond what was there before, and the loss."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from sei.target.generation import keep_freed_memory
    from sei.training.packing import Row, Span
    from sei.training.scoring import find_way, token_logps

    keep_freed_memory()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))
    way = find_way(model)  # type: ignore[arg-type]
    ids = torch.randint(0, vocabulary, (1, tokens))
    positions = torch.arange(tokens)
    row = Row(ids, positions[None], (Span(tokens),), positions[:-1], ids[0, 1:])
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    started, processor = time.perf_counter(), time.process_time()
    loss = -token_logps(model, way, row, chunk=logits).mean()  # type: ignore[arg-type]
    loss.backward()
    return {
        "seconds": time.perf_counter() - started,
        "processor": time.process_time() - processor,
        "mib": (_memory("VmHWM") - before) / 2**20,
        "loss": loss.item(),
    }


def _memory(figure: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--vocabulary", type=int, default=128_000)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.tokens, options.vocabulary, options.hidden, options.measure)))
        return
    from sei.training.settings import LOGITS_AT_ONCE

    kinds = {"in chunks": LOGITS_AT_ONCE, "all at once": options.tokens * options.vocabulary}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    sizes = [f"--{name}={getattr(options, name)}" for name in ("tokens", "vocabulary", "hidden")]
    for _ in range(options.repeats):
        for kind, logits in kinds.items():
            command = [sys.executable, __file__, *sizes, f"--measure={logits}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[kind].append(json.loads(done.stdout.strip().splitlines()[-1]))
    middle = {
        kind: {key: statistics.median(one[key] for one in several) for key in several[0]}
        for kind, several in found.items()
    }
    for kind, one in middle.items():
        print(
            f"{kind:12} {one['mib']:8.0f} MiB {one['seconds']:7.2f} s, of processor {one['processor']:7.2f} s, "
            f"loss {one['loss']:.7f}"
        )
    chunks, whole = middle.values()
    print(
        f"in chunks / all at once: memory {chunks['mib'] / whole['mib']:.2f}, "
        f"processor time {chunks['processor'] / whole['processor']:.2f}, wall time {chunks['seconds'] / whole['seconds']:.2f}"
    )


if __name__ == "__main__":
    main()
