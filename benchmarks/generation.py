"""Generation by the embedded target: `engine=hf` beside transformers' `generate` on batches sorted by length.

Usage: `python benchmarks/generation.py [--prompts 400] [--batch 256] [--repeats 3] [--threads 2]`. Prints completed tokens a
second, the ratios within each turn, and how many completions differ; asserts nothing.

Two sorts of prompts: bare questions, and the prompts of one-shot selection, each demonstration before ten questions. Greedy,
float32, at most 200 new tokens.
"""

from __future__ import annotations

import argparse

from sft_training import Stopwatch, Variant, compare, prepare

from sei.data.arithmetic.generate import pretraining_stories
from sei.target.formats import Formats

QUESTIONS = 10  # behind each demonstration
NEW_TOKENS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare(options.threads)
    formats, stories = Formats("plain"), pretraining_stories(7)
    problems = [next(stories).problem("train") for _ in range(options.prompts)]
    shown, asked = problems[QUESTIONS : QUESTIONS + options.prompts // QUESTIONS], problems[:QUESTIONS]
    kinds = {
        "questions": [formats.solve(problem.question) for problem in problems],
        "one-shot prompts": [formats.one_shot(d.question, d.solution, p.question) for d in shown for p in asked],
    }
    for kind, prompts in kinds.items():
        texts: dict[str, list[str]] = {}
        ours, theirs = engine(prompts, options.batch, texts), generate(prompts, options.batch, texts)
        print(f"{len(prompts)} {kind}, greedy, {options.batch} a batch, {options.threads} threads")
        compare({"engine=hf": ours, "generate": theirs}, options.repeats, "tokens")
        different = sum(one != other for one, other in zip(texts["engine=hf"], texts["generate"], strict=True))
        print(f"completions that differ: {different} of {len(prompts)}\n")


def engine(prompts: list[str], batch: int, texts: dict[str, list[str]]) -> Variant:
    from sei.target.engine import Query, Sampling
    from sei.target.generation import HFEngine
    from sei.target.tiny import WEIGHTS

    made = HFEngine(WEIGHTS, device="cpu", batch_size=batch)

    def run() -> tuple[Stopwatch, float]:
        watch = Stopwatch()
        watch.start()
        found = made.complete([Query(prompt, prompt) for prompt in prompts], Sampling(max_new_tokens=NEW_TOKENS))
        watch.stop()
        texts["engine=hf"] = [one.text for [one] in found]
        return watch, sum(one.tokens for [one] in found)

    return run


def generate(prompts: list[str], batch: int, texts: dict[str, list[str]]) -> Variant:
    from sei.target.load import encode_prompt, load_target, load_tokenizer
    from sei.target.tiny import WEIGHTS

    model, tokenizer = load_target(WEIGHTS, dtype="float32"), load_tokenizer(WEIGHTS)

    def run() -> tuple[Stopwatch, float]:
        watch = Stopwatch()
        watch.start()
        ids = [encode_prompt(tokenizer, prompt) for prompt in prompts]
        order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
        found: dict[int, list[int]] = {}
        for start in range(0, len(order), batch):
            indices = order[start : start + batch]
            padded = tokenizer.pad({"input_ids": [ids[i] for i in indices]}, padding_side="left", return_tensors="pt")
            made = model.generate(**padded, max_new_tokens=NEW_TOKENS, do_sample=False)
            for index, row in zip(indices, made[:, padded["input_ids"].shape[1] :].tolist(), strict=True):
                end = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
                found[index] = row[:end]
        watch.stop()
        texts["generate"] = [tokenizer.decode(found[index], skip_special_tokens=True) for index in range(len(ids))]
        return watch, sum(map(len, found.values()))

    return run


if __name__ == "__main__":
    main()
