from __future__ import annotations

import dataclasses
import errno
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from safetensors.torch import load_file

from sei.errors import UserError
from sei.records import Example
from sei.target.engine import Query, Sampling
from sei.target.generation import HFEngine
from sei.target.load import adapter_fingerprint, is_whole_model
from sei.target.machine import device_count
from sei.training.model import loader
from sei.training.module import StepLoader
from sei.training.packing import Encoded, micro_batches
from sei.training.run import Loop, newest_checkpoint, train_sft
from sei.training.settings import Hyperparameters
from tests.target.small import save_small

LORA = Hyperparameters(
    learning_rate=1e-2,
    epochs=3,
    batch_examples=4,
    accumulation=2,
    max_tokens=64,
    dropout=0.1,
    schedule="cosine",
    warmup=0.1,
    weight_decay=0.01,
)


def examples(number: int = 16) -> list[Example]:
    draws = random.Random(0)
    pairs = [(draws.randint(10, 99), draws.randint(10, 99)) for _ in range(number)]
    return [
        Example(f"example-{index}", f"{a}+{b}=", f"{a}+{b}=<<{a}+{b}={a + b}>>{a + b}\n#### {a + b}", "cot", ())
        for index, (a, b) in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("base"), initializer_range=0.05)


def train(base: Path, output: Path, settings: Hyperparameters = LORA, **more: Any) -> dict[str, Any]:
    return train_sft(base, output, examples(), settings, Loop(accelerator="cpu", **more))


def weights(folder: Path, name: str = "adapter_model.safetensors") -> dict[str, torch.Tensor]:
    return load_file(folder / name)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class StopAt(lightning.Callback):
    """Ends training with an exception after so many optimizer steps, as a crash would."""

    def __init__(self, step: int, error: BaseException | None = None) -> None:
        self.step, self.error = step, error or RuntimeError("crash")

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise self.error


class CountBatches(lightning.Callback):
    def __init__(self) -> None:
        self.batches = 0
        self.all_in_training_mode = True

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        self.batches += 1
        self.all_in_training_mode &= all(part.training for part in module.modules())


def test_loss_falls_and_the_figures_hold(base: Path, tmp_path: Path) -> None:
    shown: list[str] = []
    count = CountBatches()
    result = train(base, tmp_path / "adapter", on_check=shown.append, callbacks=[count])
    assert result["steps"] == len(result["loss_curve"]) == 12
    assert result["examples"] == 48
    assert result["final_loss"] < result["first_loss"] - 0.5
    assert 0 < result["label_tokens"] < result["tokens"]
    assert result["resumed_from_step"] == 0
    assert "trained on" in shown[0]
    # Else dropout and gradient checkpointing would be off.
    assert count.all_in_training_mode
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir() if path.suffix != ".md") == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    # The target answers differently with the adapter.
    query, sampling = [Query("12+30=", "")], Sampling(max_new_tokens=12)
    tuned = HFEngine(base, tmp_path / "adapter", device="cpu").complete(query, sampling)
    assert tuned[0][0].text != HFEngine(base, device="cpu").complete(query, sampling)[0][0].text


def test_a_pull_to_the_start_keeps_the_target_nearer_to_it(base: Path, tmp_path: Path) -> None:
    plain = dataclasses.replace(LORA, dropout=0.0)
    curves = {}
    for weight in (0.01, 3.0):
        result = train(base, tmp_path / str(weight), dataclasses.replace(plain, kl_weight=weight))
        curves[weight] = result["kl_curve"]
    free = train(base, tmp_path / "free", plain)
    assert "kl_curve" not in free
    assert curves[3.0][0] == pytest.approx(0, abs=1e-6), "before the first step the target is its own start"
    assert 0 < curves[3.0][-1] < curves[0.01][-1] / 2
    moved = {
        name: sum(float(one.norm()) for key, one in weights(tmp_path / name).items() if "lora_B" in key)
        for name in ("free", "3.0")
    }
    assert moved["3.0"] < moved["free"]


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(base: Path, tmp_path: Path) -> None:
    short = dataclasses.replace(LORA, epochs=1)
    train(base, tmp_path / "one", short)
    train(base, tmp_path / "two", short)
    train(base, tmp_path / "three", short, seed=1)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "three"))
    assert adapter_fingerprint(tmp_path / "one") == adapter_fingerprint(tmp_path / "two")
    assert adapter_fingerprint(tmp_path / "one") != adapter_fingerprint(tmp_path / "three")


def test_accumulation_does_not_change_the_result(base: Path, tmp_path: Path) -> None:
    plain = dataclasses.replace(LORA, dropout=0.0, epochs=1, accumulation=1)
    once = train(base, tmp_path / "once", plain)
    four = train(base, tmp_path / "four", dataclasses.replace(plain, accumulation=4))
    assert four["loss_curve"] == pytest.approx(once["loss_curve"], rel=1e-4)
    for name, tensor in weights(tmp_path / "once").items():
        # Adam divides by the gradient's size, so rounding near zero gradients shows; hence not 1e-6.
        assert torch.allclose(weights(tmp_path / "four")[name], tensor, atol=2e-4), name


def test_ctrl_c_stays_a_keyboard_interrupt_and_works_again(base: Path, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(base, tmp_path / "out", callbacks=[StopAt(3, KeyboardInterrupt())])
        assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_interrupted_training_ends_with_the_same_weights(base: Path, tmp_path: Path, precision: str) -> None:
    whole = train(base, tmp_path / "whole", precision=precision)
    more: dict[str, Any] = {"precision": precision, "checkpoints": tmp_path / "checkpoints", "checkpoint_every": 3}
    with pytest.raises(RuntimeError, match="crash"):
        train(base, tmp_path / "resumed", callbacks=[StopAt(8)], **more)
    assert not (tmp_path / "resumed").exists()
    count = CountBatches()
    resumed = train(base, tmp_path / "resumed", callbacks=[count], **more)
    assert resumed["resumed_from_step"] == 6
    assert count.batches == (12 - 6) * 2
    assert resumed["loss_curve"] == whole["loss_curve"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))


def test_checkpoint_holds_trained_weights_alone_and_a_damaged_one_is_passed_over(base: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"checkpoints": tmp_path / "checkpoints", "checkpoint_every": 2}
    with pytest.raises(RuntimeError, match="crash"):
        train(base, tmp_path / "adapter", callbacks=[StopAt(5)], **more)
    [folder] = (tmp_path / "checkpoints").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["step=2.ckpt", "step=4.ckpt"]
    newest = newest_checkpoint(folder)
    assert newest == folder / "step=4.ckpt"
    state = torch.load(newest, weights_only=True)["state_dict"]
    assert state
    assert all(".lora_" in name for name in state)
    newest.write_bytes(newest.read_bytes()[:2000])
    with pytest.warns(UserWarning, match="damaged checkpoint skipped"):
        result = train(base, tmp_path / "adapter", **more)
    assert result["resumed_from_step"] == 2


def test_other_settings_do_not_resume_this_checkpoint(base: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"checkpoints": tmp_path / "checkpoints", "checkpoint_every": 2}
    with pytest.raises(RuntimeError, match="crash"):
        train(base, tmp_path / "adapter", callbacks=[StopAt(5)], **more)
    result = train(base, tmp_path / "adapter", dataclasses.replace(LORA, learning_rate=5e-3), **more)
    assert result["resumed_from_step"] == 0


def test_goes_on_from_an_adapter(base: Path, tmp_path: Path) -> None:
    first = train(base, tmp_path / "first")
    second = train(base, tmp_path / "second", adapter=tmp_path / "first")
    assert second["first_loss"] < (first["first_loss"] + first["final_loss"]) / 2
    assert second["trained_parameters"] == first["trained_parameters"]


def test_full_fine_tuning_gives_a_whole_model_that_the_engine_takes(base: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(LORA, method="full", learning_rate=3e-3)
    result = train(base, tmp_path / "model", settings)
    assert result["final_loss"] < result["first_loss"] - 0.5
    assert (tmp_path / "model" / "model.safetensors").is_file()
    query, sampling = [Query("12+30=", "")], Sampling(max_new_tokens=12)
    tuned = HFEngine(base, tmp_path / "model", device="cpu").complete(query, sampling)
    assert tuned[0][0].text == HFEngine(tmp_path / "model", device="cpu").complete(query, sampling)[0][0].text
    assert tuned[0][0].text != HFEngine(base, device="cpu").complete(query, sampling)[0][0].text
    with pytest.raises(UserError, match="was not trained with method=lora"):
        train(base, tmp_path / "other", adapter=tmp_path / "model")


def test_qlora_trains_on_cpu(base: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(LORA, gradient_checkpointing=True)
    result = train(base, tmp_path / "adapter", settings, quantization="nf4")
    assert result["final_loss"] < result["first_loss"] - 0.5
    assert all(tensor.dtype == torch.float32 for tensor in weights(tmp_path / "adapter").values())
    engine = HFEngine(base, tmp_path / "adapter", device="cpu", quantization="nf4")
    [[completion]] = engine.complete([Query("12+30=", "")], Sampling(max_new_tokens=8))
    assert completion.tokens > 0


def test_quantized_weights_pass_gradients_on_after_an_evaluation(base: Path) -> None:
    """Fails without our doing on processors with AVX512-BF16, as DPO's reference is an evaluation before training."""
    plain = dataclasses.replace(LORA, dropout=0.0)
    model = loader(base, plain, Loop(accelerator="cpu", quantization="nf4"))(torch.device("cpu"), None)
    ids = torch.arange(1, 41).view(2, 20)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return [one.grad.clone() for one in model.parameters() if one.grad is not None]

    before = gradients()
    with torch.no_grad():
        model.eval()(input_ids=ids)
    after = gradients()
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(before, after, strict=True))


def test_gradient_checkpointing_does_not_change_the_result(base: Path, tmp_path: Path) -> None:
    plain = train(base, tmp_path / "plain")
    saving = train(base, tmp_path / "saving", dataclasses.replace(LORA, gradient_checkpointing=True))
    assert saving["loss_curve"] == pytest.approx(plain["loss_curve"], rel=1e-3)


def test_token_budget_is_kept(base: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(LORA, tokens=700, batch_tokens=128)
    result = train(base, tmp_path / "adapter", settings)
    longest = result["tokens"] / result["examples"] * 1.5
    assert 700 - longest < result["tokens"] <= 700


def test_bad_input_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"16 of 16 examples were rejected \(max_tokens=8\): 16 too_long"):
        train(base, tmp_path / "a", dataclasses.replace(LORA, max_tokens=8))
    with pytest.raises(UserError, match=r"target_modules=\['wrong'\] do not fit"):
        train(base, tmp_path / "b", dataclasses.replace(LORA, target_modules=("wrong",)))
    with pytest.raises(UserError, match="optimizer=paged_adamw_32bit pages the memory of a GPU"):
        train(base, tmp_path / "c", dataclasses.replace(LORA, optimizer="paged_adamw_32bit"))
    with pytest.raises(UserError, match="method=full cannot train quantized weights"):
        train(base, tmp_path / "d", dataclasses.replace(LORA, method="full"), quantization="nf4")


def test_full_disk_and_unusable_folder_are_named(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = dataclasses.replace(LORA, epochs=0.25)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"adapter: the adapter or its checkpoints could not be written .*file"):
        train(base, tmp_path / "file" / "adapter", short)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(UserError, match=r"No space left on device.*resumes from the newest checkpoint"):
        train(base, tmp_path / "adapter", short, checkpoints=tmp_path / "checkpoints", checkpoint_every=1)


def test_devices_get_disjoint_parts_of_each_step_and_every_example_once() -> None:
    steps = [[Encoded(f"{step}-{index}", (step, index, 0), (-100, index, 0)) for index in range(5)] for step in (1, 2)]
    seen: list[list[tuple[int, int]]] = []
    for rank in (0, 1):
        loader = StepLoader(
            steps,
            lambda step, parts: micro_batches(step, parts=parts, pad=9),
            accumulation=2,
            rank=rank,
            world_size=2,
        )
        batches = list(loader)
        assert len(batches) == len(loader) == 4
        pairs = [
            (int(row[at]), int(row[at + 1]))
            for batch in batches
            for row in batch.row.input_ids
            for at in range(0, len(row), 3)
            if row[at] != 9
        ]
        seen.append(pairs)
    assert not set(seen[0]) & set(seen[1])
    assert sorted(seen[0] + seen[1]) == [(step, index) for step in (1, 2) for index in range(5)]


def test_steps_are_trained_exactly_whatever_the_number_of_examples(base: Path, tmp_path: Path) -> None:
    result = train(base, tmp_path / "a", dataclasses.replace(LORA, steps=7, batch_examples=5, epochs=1))
    assert (result["steps"], result["examples"], len(result["loss_curve"])) == (7, 35, 7)
    by_tokens = train(base, tmp_path / "b", dataclasses.replace(LORA, steps=3, batch_tokens=100))
    assert by_tokens["steps"] == 3
    with pytest.raises(UserError, match="Give either tokens=100 or steps=7, not both"):
        train(base, tmp_path / "c", dataclasses.replace(LORA, steps=7, tokens=100))


def test_automatic_accumulation_keeps_micro_batches_small_and_the_result(base: Path, tmp_path: Path) -> None:
    class Widest(lightning.Callback):
        tokens = 0

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            self.tokens = max(self.tokens, batch.row.input_ids.numel())

    whole, parts = Widest(), Widest()
    plain = dataclasses.replace(LORA, dropout=0.0, epochs=1, batch_examples=8, accumulation=None)
    once = train(base, tmp_path / "once", plain, callbacks=[whole])
    several = train(base, tmp_path / "several", dataclasses.replace(plain, micro_tokens=100), callbacks=[parts])
    assert once["accumulation"] == 1
    assert several["accumulation"] == -(-whole.tokens // 100) > 1
    assert parts.tokens <= 100 < whole.tokens
    assert several["loss_curve"] == pytest.approx(once["loss_curve"], rel=1e-4)


def test_kept_adapters_are_what_shorter_trainings_end_with(base: Path, tmp_path: Path) -> None:
    constant = dataclasses.replace(LORA, schedule="constant", warmup=0.0)
    result = train(base, tmp_path / "long", dataclasses.replace(constant, steps=8, keep_every=3))
    assert result["kept_steps"] == [3, 6]
    kept = tmp_path / "long" / "steps"
    assert sorted(path.name for path in kept.iterdir()) == ["000003", "000006"]
    train(base, tmp_path / "short", dataclasses.replace(constant, steps=6))
    assert same(weights(kept / "000006"), weights(tmp_path / "short"))
    assert not (tmp_path / "long.kept" / "000003.partial").exists()
    # What is kept changes nothing about the adapter itself.
    train(base, tmp_path / "plain", dataclasses.replace(constant, steps=8))
    assert adapter_fingerprint(tmp_path / "long") == adapter_fingerprint(tmp_path / "plain")
    assert HFEngine(base, tmp_path / "long", device="cpu").complete([Query("12+30=", "")], Sampling(max_new_tokens=4))


def test_kept_adapters_survive_an_interruption(base: Path, tmp_path: Path) -> None:
    keeping = dataclasses.replace(LORA, keep_every=2)
    train(base, tmp_path / "whole", keeping)
    more: dict[str, Any] = {"checkpoints": tmp_path / "checkpoints", "checkpoint_every": 3}
    with pytest.raises(RuntimeError, match="crash"):
        train(base, tmp_path / "resumed", keeping, callbacks=[StopAt(9)], **more)
    # Kept after the last checkpoint (step 6), so it is written again.
    [kept] = (tmp_path / "checkpoints").glob("*/kept")
    (kept / "000008" / "adapter_model.safetensors").write_bytes(b"")
    assert train(base, tmp_path / "resumed", keeping, **more)["resumed_from_step"] == 6
    names = [f"{step:06d}" for step in range(2, 13, 2)]
    assert sorted(path.name for path in (tmp_path / "resumed" / "steps").iterdir()) == names
    for name in names:
        assert same(weights(tmp_path / "whole/steps" / name), weights(tmp_path / "resumed/steps" / name)), name
    assert same(weights(tmp_path / "whole/steps/000012"), weights(tmp_path / "whole"))
    assert is_whole_model(tmp_path / "whole") is False


def test_devices_are_counted() -> None:
    assert [device_count("cpu", one) for one in ("auto", -1, "2", 3, "0,1", "0,")] == [1, 1, 2, 3, 2, 1]
