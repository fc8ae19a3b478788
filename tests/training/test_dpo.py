"""Training on pairs: reference, step 0, resume, accounting. The arithmetic is tested in test_losses and test_pairs."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from safetensors.torch import load_file, save_file

from sei.errors import UserError
from sei.records import Example, Pair, Rejected
from sei.stages.finetune import prefer
from sei.target.load import adapter_fingerprint, load_target, load_tokenizer
from sei.target.weights import Adapter, Weights
from sei.training.losses import answer_logps
from sei.training.module import PreferenceModule
from sei.training.pairs import encode_pair, encode_pairs, pair_batches
from sei.training.run import Loop, train_dpo, train_sft
from sei.training.scoring import find_way, token_logps
from sei.training.settings import Hyperparameters, PreferenceHyperparameters, Trainer
from tests.target.small import save_small, small_tokenizer

DPO = PreferenceHyperparameters(learning_rate=5e-3, epochs=3, batch_examples=4, accumulation=2, max_tokens=64, beta=0.5)


def pairs(number: int = 12) -> list[Pair]:
    draws = random.Random(0)
    made = []
    for index in range(number):
        a, b = draws.randint(10, 99), draws.randint(10, 99)
        right, wrong = f"{a}+{b}={a + b}\n#### {a + b}", f"{a}+{b}={a + b + 10}\n#### {a + b + 10}"
        made.append(Pair(f"pair-{index}", f"{a} and {b}:" + " " * (index % 3), right, wrong, "thought", ()))
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("base"), initializer_range=0.05)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that is not the identity: trained on the wrong answers."""
    folder = tmp_path_factory.mktemp("sft") / "adapter"
    examples = [Example(one.id, one.prompt, one.rejected, "cot", ()) for one in pairs()]
    settings = Hyperparameters(learning_rate=1e-2, epochs=2, batch_examples=4, max_tokens=64)
    train_sft(base, folder, examples, settings, Loop(accelerator="cpu"))
    return folder


def train(base: Path, output: Path, settings: PreferenceHyperparameters = DPO, **more: Any) -> dict[str, Any]:
    share = more.pop("share_prefix", True)
    return train_dpo(base, output, pairs(), settings, Loop(accelerator="cpu", **more), share_prefix=share)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Watch(lightning.Callback):
    """Keeps the reference table, whether it ever had a gradient, and how often it was computed."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.crash_at = crash_at
        self.tables: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        assert isinstance(module, PreferenceModule)
        assert module.reference is not None
        assert not module.reference.requires_grad
        assert all(part.training for part in module.modules())
        self.tables.append(module.reference.clone())
        if trainer.global_step == self.crash_at:
            raise RuntimeError("crash")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_first_loss_is_ln_2_exactly_and_training_learns_the_preference(
    base: Path, adapter: Path, tmp_path: Path, precision: str
) -> None:
    shown: list[str] = []
    result = train(base, tmp_path / "dpo", adapter=adapter, on_check=shown.append, precision=precision)
    # A step has four pairs, so neither the sum nor the division rounds.
    assert result["first_loss"] == torch.tensor(2.0).log().item()
    for name in ("chosen_reward", "rejected_reward", "reward_margin", "reward_accuracy"):
        assert result[f"{name}_curve"][0] == 0.0, name
    assert result["steps"] == len(result["loss_curve"]) == len(result["reward_margin_curve"]) == 9
    assert result["pairs"] == 36
    assert result["final_loss"] < 0.5
    assert result["reward_accuracy_curve"][-1] == 1.0
    assert result["reward_margin_curve"][-1] == pytest.approx(
        result["chosen_reward_curve"][-1] - result["rejected_reward_curve"][-1], abs=1e-6
    )
    assert 0 < result["label_tokens"] < result["tokens"]
    assert "Pair pair-0 of 12" in shown[0]


def test_with_dropout_the_reference_is_without_and_the_first_loss_scatters_around_ln_2(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    watch, plain = Watch(), Watch()
    settings = dataclasses.replace(DPO, epochs=1, dropout=0.0)
    train(base, tmp_path / "plain", settings, adapter=adapter, callbacks=[plain])
    # The adapter's own dropout holds, so it has to be in its configuration.
    wet = tmp_path / "wet"
    train_sft(
        base,
        wet,
        [Example(one.id, one.prompt, one.rejected, "cot", ()) for one in pairs()],
        Hyperparameters(learning_rate=1e-2, epochs=2, batch_examples=4, max_tokens=64, dropout=0.3),
        Loop(accelerator="cpu"),
    )
    result = train(base, tmp_path / "dpo", settings, adapter=wet, callbacks=[watch])
    assert result["first_loss"] != pytest.approx(math.log(2), abs=1e-6)
    assert result["first_loss"] == pytest.approx(math.log(2), abs=0.2)
    again = scores(base, wet)
    assert torch.allclose(watch.tables[0], again, atol=1e-4)
    assert not torch.allclose(plain.tables[0], again, atol=1e-2)


def scores(base: Path, adapter: Path | None) -> torch.Tensor:
    """Log-probabilities of all pairs under base model and adapter, merged, outside of training: [pairs, 2]."""
    model = load_target(base, adapter)
    encoded, _ = encode_pairs(pairs(), load_tokenizer(base), DPO.max_tokens)
    [batch] = pair_batches(encoded, parts=1, pad=0)
    with torch.no_grad():
        logps = token_logps(model, find_way(model), batch.row)
    found = answer_logps(logps, batch.answers, 2 * len(encoded)).view(-1, 2)
    return found[batch.numbers.argsort()]


def test_the_reference_is_base_and_adapter_as_loaded_and_stays_so(base: Path, adapter: Path, tmp_path: Path) -> None:
    watch = Watch()
    train(base, tmp_path / "dpo", adapter=adapter, callbacks=[watch])
    assert torch.allclose(watch.tables[0], scores(base, adapter), atol=1e-4)
    assert not torch.allclose(watch.tables[0], scores(base, None), atol=1e-1)
    assert torch.equal(watch.tables[0], watch.tables[-1])
    # What was logged last is what the pairs' scores say of the policy one step earlier: the margin has grown.
    gain = (scores(base, tmp_path / "dpo") - watch.tables[0]) * DPO.beta
    assert (gain[:, 0] > gain[:, 1]).all()


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_no_sharing_and_other_accumulation_give_the_same_training(
    base: Path, adapter: Path, tmp_path: Path, loss: str
) -> None:
    settings = dataclasses.replace(DPO, loss=loss, sft_weight=0.1, epochs=1)
    shared = train(base, tmp_path / "shared", settings, adapter=adapter)
    apart = train(base, tmp_path / "apart", settings, adapter=adapter, share_prefix=False)
    once = train(base, tmp_path / "once", dataclasses.replace(settings, accumulation=None), adapter=adapter)
    assert (shared["accumulation"], once["accumulation"]) == (2, 1)
    for other in (apart, once):
        assert other["loss_curve"] == pytest.approx(shared["loss_curve"], rel=1e-4)
        assert other["reward_margin_curve"] == pytest.approx(shared["reward_margin_curve"], abs=1e-4)


def test_label_smoothing_and_sft_term_change_the_first_loss_as_they_should(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    one_step = dataclasses.replace(DPO, steps=1, batch_examples=12)
    smooth = train(base, tmp_path / "a", dataclasses.replace(one_step, label_smoothing=0.1), adapter=adapter)
    assert smooth["first_loss"] == pytest.approx(math.log(2), abs=1e-6)
    helped = train(base, tmp_path / "b", dataclasses.replace(one_step, sft_weight=2.0), adapter=adapter)
    encoded, _ = encode_pairs(pairs(), load_tokenizer(base), DPO.max_tokens)
    lengths = torch.tensor([len(one.chosen) for one in encoded])
    expected = math.log(2) + 2 * (-scores(base, adapter)[:, 0] / lengths).mean().item()
    assert helped["first_loss"] == pytest.approx(expected, rel=1e-4)
    ipo = train(base, tmp_path / "c", dataclasses.replace(one_step, loss="ipo"), adapter=adapter)
    assert ipo["first_loss"] == pytest.approx((1 / (2 * 0.5)) ** 2, abs=1e-5)


def test_interrupted_training_reads_its_reference_and_ends_with_the_same_weights(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(base, tmp_path / "whole", adapter=adapter)
    more: dict[str, Any] = {"adapter": adapter, "checkpoints": tmp_path / "checkpoints", "checkpoint_every": 2}
    with pytest.raises(RuntimeError, match="crash"):
        train(base, tmp_path / "resumed", callbacks=[Watch(crash_at=5)], **more)
    [file] = (tmp_path / "checkpoints").glob("*/reference.safetensors")
    # A mark in the file shows that it is read; and nothing may be computed.
    table = load_file(file)["logps"].clone()
    with monkeypatch.context() as patch:
        patch.setattr(PreferenceModule, "_score_all", lambda self: pytest.fail("the reference was computed again"))
        resumed = train(base, tmp_path / "resumed", **more)
    assert resumed["resumed_from_step"] == 4
    assert resumed["loss_curve"] == whole["loss_curve"]
    assert resumed["reward_margin_curve"] == whole["reward_margin_curve"]
    assert same(tmp_path / "whole", tmp_path / "resumed")
    # Without the file, or with half of it, the reference is still the policy at the start, not at the checkpoint.
    watch = Watch()
    for path in file.parent.glob("step=*.ckpt"):
        if path.stem not in ("step=4", "step=8"):
            path.unlink()
    file.write_bytes(file.read_bytes()[:20])
    train(base, tmp_path / "again", callbacks=[watch], **more)
    assert torch.equal(watch.tables[0], table)
    assert same(tmp_path / "whole", tmp_path / "again")
    # Other settings have a reference file of their own.
    save_file({"logps": table + 1}, file)
    other = train(base, tmp_path / "other", dataclasses.replace(DPO, beta=0.4), **more)
    assert other["first_loss"] == pytest.approx(math.log(2), abs=1e-6)


CHILD = """
import sys
from pathlib import Path
from tests.training.test_dpo import DPO, train
train(Path(sys.argv[1]), Path(sys.argv[2]), adapter=Path(sys.argv[3]), checkpoints=Path(sys.argv[4]), checkpoint_every=2)
"""


def test_killed_training_ends_with_the_same_weights(base: Path, adapter: Path, tmp_path: Path) -> None:
    train(base, tmp_path / "whole", adapter=adapter)
    command = [sys.executable, "-c", CHILD, str(base), str(tmp_path / "killed"), str(adapter), str(tmp_path / "ckpt")]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    while process.poll() is None and not list(tmp_path.glob("ckpt/*/step=4.ckpt")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = train(base, tmp_path / "killed", adapter=adapter, checkpoints=tmp_path / "ckpt", checkpoint_every=2)
    assert result["resumed_from_step"] >= 2
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_stage_accounts_for_every_pair_and_keeps_adapters(base: Path, adapter: Path, tmp_path: Path) -> None:
    bad = Pair("equal", "12 and 13:", "25", "25", "thought", ())
    output = prefer(
        [*pairs(), bad],
        weights=Weights(str(base), "base", adapter=Adapter(adapter)),
        hyperparameters=dataclasses.replace(DPO, keep_every=4),
        trainer=Trainer(accelerator="cpu", precision="32-true", checkpoint_every=4),
        scratch=tmp_path,
        say=lambda text: None,
    )
    assert output.received == 13
    assert [one.id for one in output.records] == [one.id for one in pairs()]
    assert [(one.source_id, one.reason) for one in output.rejected] == [("equal", "no_preference")]
    assert output.numbers["kept_steps"] == [4, 8]
    assert output.files is not None
    assert sorted(path.name for path in (output.files / "steps").iterdir()) == ["000004", "000008"]
    steps = [adapter_fingerprint(output.files / "steps" / name) for name in ("000004", "000008")]
    assert len({*steps, adapter_fingerprint(output.files), adapter_fingerprint(adapter)}) == 4


def test_nothing_to_train_on_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 of 1 pairs were rejected \(max_tokens=64\): 1 no_preference\."):
        train_dpo(base, tmp_path / "a", [Pair("p", "1", "2", "2", "step", ())], DPO, Loop(accelerator="cpu"))
    with pytest.raises(UserError, match="there are no pairs"):
        train_dpo(base, tmp_path / "a", [], DPO, Loop(accelerator="cpu"))
    with pytest.raises(UserError, match="Give either tokens=100 or steps=2, not both"):
        train(base, tmp_path / "a", dataclasses.replace(DPO, tokens=100, steps=2))


def test_a_step_does_not_end_the_response_and_a_prefix_is_shared() -> None:
    tokenizer = small_tokenizer()
    whole = encode_pair(Pair("a", "12 and 13:", "25", "26", "thought", (), "so "), tokenizer, 100)
    step = encode_pair(Pair("b", "12 and 13:", "25", "26", "step", ()), tokenizer, 100)
    assert not isinstance(whole, Rejected)
    assert not isinstance(step, Rejected)
    assert whole.chosen == (*step.chosen, tokenizer.eos_token_id)
    assert whole.prompt == (*step.prompt, *tokenizer("so ", add_special_tokens=False)["input_ids"])
