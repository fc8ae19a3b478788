"""DPO of the embedded target: `sei.training` beside TRL's DPOTrainer, on the CPU.

Usage: `python benchmarks/dpo_training.py [--pairs 256] [--batch 16] [--repeats 7] [--precision fp32] [--threads 2]`.
Needs TRL: `pip install -c constraints.txt -e ".[test]"`. Prints ratios, asserts nothing.

Same model, adapter to start from, pairs, pairs per optimizer step, epochs, and number of threads. Pairs are like
SuperCorrect's: after a problem and its steps before the first wrong one, the right cause and correction against wrong ones.
TRL runs with AdamW as we do, without gradient checkpointing and logging: with the reference in every step (its default), and
with the reference computed before training (`precompute_ref_log_probs`, in larger batches). For DPO it neither packs rows
nor groups them by length, and its padding_free is switched off (TRL 1.16). Ours also runs without prefix sharing, to show
what the sharing is worth. The time is that of the training loop and of the reference, without loading, tokenizing and
saving. The variants take turns in one process, and each ratio is of times within one turn.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from sft_training import (
    ALPHA,
    MAX_TOKENS,
    RANK,
    TARGETS,
    Stopwatch,
    Variant,
    arguments,
    compare,
    examples,
    ours_watch,
    prepare,
    profile,
    theirs_settings,
    theirs_watch,
)

from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import pretraining_stories
from sei.records import Pair

LEARNING_RATE, BETA, EPOCHS = 1e-4, 0.1, 3
REFERENCE_BATCH = 32  # for TRL's reference, computed before training


def pairs(count: int) -> list[Pair]:
    """Cause and correction of a wrong step, right against wrong, after the problem and the steps before it."""
    draws, made = random.Random(0), []
    for story in pretraining_stories(6):
        if len(made) == count:
            break
        problem, wrong, other = story.problem("train"), corrupt(story, draws), corrupt(story, draws)
        right = problem.solution.splitlines()
        before = "\n".join(right[: wrong.step - 1])
        chosen = "\n".join((f"Cause: {wrong.explanation}", "Correction:", *right[wrong.step - 1 :]))
        lines = (*wrong.lines[wrong.step - 1 :], f"#### {wrong.answer}")
        rejected = "\n".join((f"Cause: {other.explanation}", "Correction:", *lines))
        prompt = f"Question: {problem.question}\nSolution:\n{before}\n"
        made.append(Pair(f"pair-{len(made)}", prompt, chosen, rejected, "thought", ()))
    return made


def main() -> None:
    options = arguments(__doc__, "pairs", 256, 16)
    prepare(options.threads)
    import datasets
    from trl import DPOConfig, DPOTrainer

    from sei.target.load import load_adapter, load_model, load_tokenizer
    from sei.target.tiny import WEIGHTS
    from sei.training.module import PreferenceModule
    from sei.training.pairs import encode_pairs
    from sei.training.run import Loop, train_dpo, train_sft
    from sei.training.settings import Hyperparameters, PreferenceHyperparameters

    datasets.disable_caching()  # or else TRL would reuse its reference of the previous turn
    rows = pairs(options.pairs)
    tokenizer = load_tokenizer(WEIGHTS)
    encoded, _ = encode_pairs(rows, tokenizer, MAX_TOKENS)
    assert len(encoded) == len(rows)
    steps = -(-EPOCHS * len(rows) // options.batch)

    prompts = [len(one.prompt) for one in encoded]
    answers = [len(side) for one in encoded for side in (one.chosen, one.rejected)]

    def middle(lengths: list[int]) -> str:
        return f"{min(lengths)} to {max(lengths)} (median {sorted(lengths)[len(lengths) // 2]})"

    print(
        f"{len(rows)} pairs, {EPOCHS} epochs, {options.batch} pairs per step; tokens per prompt {middle(prompts)}, per answer "
        f"{middle(answers)}; LoRA r {RANK}, {options.precision}, {options.threads} threads"
    )
    folder = Path(tempfile.mkdtemp())
    precision: Any = "32-true" if options.precision == "fp32" else "bf16-mixed"
    start = folder / "start"
    lora: dict[str, Any] = {"rank": RANK, "alpha": ALPHA, "target_modules": TARGETS, "max_tokens": MAX_TOKENS}
    train_sft(WEIGHTS, start, examples(64), Hyperparameters(1e-3, batch_examples=8, **lora), Loop(accelerator="cpu"))
    settings = PreferenceHyperparameters(LEARNING_RATE, epochs=EPOCHS, batch_examples=options.batch, beta=BETA, **lora)

    def ours(share: bool) -> Variant:
        def run() -> tuple[Stopwatch, float]:
            watch = Stopwatch()
            loop = Loop(
                accelerator="cpu",
                adapter=start,
                dtype="float32",
                precision=precision,
                callbacks=[ours_watch(watch)],
            )
            score = PreferenceModule._score_all

            def watched(module: PreferenceModule) -> Any:
                watch.start()
                table = score(module)
                watch.stop()
                return table

            with mock.patch.object(PreferenceModule, "_score_all", watched):
                result = train_dpo(WEIGHTS, folder / "ours", rows, settings, loop, share_prefix=share)
            return watch, result["pairs"]

        return run

    if options.profile:
        profile(lambda: ours(True)()[0].seconds, steps, options.precision)
        return

    dataset = datasets.Dataset.from_list(
        [{"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} for one in rows]
    )

    def theirs(attention: Any, **more: Any) -> Variant:
        def run() -> tuple[Stopwatch, float]:
            watch = Stopwatch()

            class Watched(DPOTrainer):
                def _precompute_ref_logps(self, *values: Any, **named: Any) -> Any:
                    watch.start()
                    found = super()._precompute_ref_logps(*values, **named)
                    watch.stop()
                    return found

            trainer = Watched(
                model=load_adapter(load_model(WEIGHTS, dtype="float32", attention=attention), start, trainable=True),
                args=DPOConfig(
                    **theirs_settings(folder, options.precision),
                    learning_rate=LEARNING_RATE,
                    per_device_train_batch_size=options.batch,
                    num_train_epochs=EPOCHS,
                    max_length=MAX_TOKENS,
                    beta=BETA,
                    **more,
                ),
                train_dataset=dataset,
                processing_class=tokenizer,
                callbacks=[theirs_watch(watch)],
            )
            assert (watch.seconds > 0) == ("precompute_ref_log_probs" in more)
            trainer.train()
            return watch, EPOCHS * len(rows)

        return run

    precomputed = {"precompute_ref_log_probs": True, "precompute_ref_batch_size": REFERENCE_BATCH}
    compare(
        {
            "ours": ours(True),
            "ours, prompts twice": ours(False),
            "TRL, sdpa": theirs("sdpa"),
            "TRL, sdpa, reference before": theirs("sdpa", **precomputed),
            "TRL, eager, reference before": theirs("eager", **precomputed),
        },
        options.repeats,
        "pairs",
    )


if __name__ == "__main__":
    main()
