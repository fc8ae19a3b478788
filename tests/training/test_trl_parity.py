"""The same DPO training by us and by TRL's DPOTrainer: losses, gradients and weights of 20 steps agree.

Same embedded target, adapter to start from, pairs in the same order, AdamW and schedule; float32, no dropout.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch

from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import pretraining_stories
from sei.records import Example, Pair
from sei.target.load import load_adapter, load_model, load_tokenizer
from sei.target.tiny import WEIGHTS
from sei.training.packing import draw
from sei.training.pairs import encode_pairs
from sei.training.run import Loop, train_dpo, train_sft
from sei.training.settings import Hyperparameters, PreferenceHyperparameters

pytestmark = pytest.mark.slow

STEPS, BATCH = 20, 4
TOLERANCE = 1e-4


def pairs() -> list[Pair]:
    """The right solution against a wrong one; a prompt ends in a line break, where tokens do not merge."""
    draws, made = random.Random(0), []
    for story, index in zip(pretraining_stories(7), range(STEPS * BATCH), strict=False):
        problem, wrong = story.problem("train"), corrupt(story, draws)
        rejected = "\n".join((*wrong.lines, f"#### {wrong.answer}"))
        made.append(
            Pair(f"pair-{index}", f"Question: {problem.question}\n", problem.solution, rejected, "instance", ())
        )
    return made


def snapshot(model: Any, *, gradients: bool) -> dict[str, torch.Tensor]:
    """The trained weights, or their gradients, by names that both sides share."""
    return {
        name[name.index("layers.") :]: (parameter.grad if gradients else parameter).detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


class Ours(lightning.Callback):
    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, trainer: lightning.Trainer, module: Any, optimizer: Any) -> None:
        self.gradients.append(snapshot(module.model, gradients=True))

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        self.weights.append(snapshot(module.model, gradients=False))


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_loss_gradient_and_weights_equal_trl(kind: Any, tmp_path: Path) -> None:
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    # A start that is not the base model, or a reference without the adapter would pass.
    start = tmp_path / "start"
    examples = [Example(one.id, one.prompt, one.chosen, "cot", ()) for one in pairs()]
    sft = Hyperparameters(learning_rate=2e-3, steps=20, batch_examples=8, max_tokens=256)
    train_sft(WEIGHTS, start, examples, sft, Loop(accelerator="cpu"))

    settings = PreferenceHyperparameters(
        learning_rate=1e-3,
        epochs=1,
        batch_examples=BATCH,
        max_tokens=512,
        beta=0.1,
        loss=kind,
        schedule="linear",
        max_grad_norm=0.0,
        accumulation=1,
    )
    ours = Ours()
    loop = Loop(accelerator="cpu", adapter=start, callbacks=[ours])
    result = train_dpo(WEIGHTS, tmp_path / "ours", pairs(), settings, loop)
    assert result["steps"] == STEPS

    tokenizer = load_tokenizer(WEIGHTS)
    encoded, rejected = encode_pairs(pairs(), tokenizer, settings.max_tokens)
    assert not rejected
    order = [one.number for one in draw(encoded, seed=loop.seed, epochs=1)]
    rows = [pairs()[number] for number in order]

    gradients: list[dict[str, torch.Tensor]] = []
    weights: list[dict[str, torch.Tensor]] = []
    losses: list[float] = []

    class Theirs(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
            gradients.append(snapshot(model, gradients=True))

        def on_step_end(self, *_: Any, model: Any, **__: Any) -> None:
            weights.append(snapshot(model, gradients=False))

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    trainer = trl.DPOTrainer(
        model=load_adapter(load_model(WEIGHTS, dtype="float32"), start, trainable=True),
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "theirs"),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            max_grad_norm=0.0,
            optim="adamw_torch",
            per_device_train_batch_size=BATCH,
            max_steps=STEPS,
            train_sampling_strategy="sequential",
            max_length=None,
            beta=settings.beta,
            loss_type=[kind],
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} for one in rows]
        ),
        processing_class=tokenizer,
        callbacks=[Theirs()],
    )
    # The same tokens on both sides, to begin with.
    for number, row in zip(order, trainer.train_dataset, strict=True):
        mine = encoded[number]
        assert (row["prompt_ids"], row["chosen_ids"]) == ([*mine.prompt], [*mine.chosen])
        assert row["rejected_ids"] == [*mine.rejected]
    trainer.train()

    assert len(losses) == len(gradients) == len(weights) == STEPS
    assert losses == pytest.approx(result["loss_curve"], abs=TOLERANCE)
    moved = 0.0
    for step in range(STEPS):
        assert ours.gradients[step].keys() == gradients[step].keys()
        for name, gradient in gradients[step].items():
            assert (ours.gradients[step][name] - gradient).abs().max() <= TOLERANCE, (step, name)
            assert (ours.weights[step][name] - weights[step][name]).abs().max() <= TOLERANCE, (step, name)
            moved = max(moved, (weights[step][name] - weights[0][name]).abs().max().item())
    differences = [
        max((mine[name] - other[name]).abs().max().item() for name in other)
        for mine, other in ((ours.gradients[-1], gradients[-1]), (ours.weights[-1], weights[-1]))
    ]
    apart = max(abs(one - other) for one, other in zip(losses, result["loss_curve"], strict=True))
    print(
        f"{kind}: loss {losses[0]:.4f} -> {losses[-1]:.4f}; largest difference: loss {apart:.1e}, last gradient "
        f"{differences[0]:.1e}, last weights {differences[1]:.1e}; weights moved by up to {moved:.1e}"
    )
    # Else the tolerance would say nothing.
    assert moved > 20 * TOLERANCE
    assert max(gradient.abs().max().item() for gradient in gradients[-1].values()) > 20 * TOLERANCE
