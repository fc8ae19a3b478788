"""`trainer=ddp` and `trainer=fsdp2` in two processes on a CPU give what one process gives; `ranks.py` has the cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sei.target.load import load_target
from sei.training.run import Loop, train_sft
from sei.training.settings import Hyperparameters
from tests.target.small import save_small
from tests.training.ranks import CASES, FIRST, RESUMED, examples, start

CLOSE = 1e-5  # of two losses; 16 bits: what one rounding makes of a loss around 5
LOOSE = 3e-2


def prepared(folder: Path, names: list[str]) -> Path:
    """A base with tied embeddings, an adapter for it that is not the identity, and what two processes made of them."""
    base = save_small(folder / "base", initializer_range=0.05)
    first = Hyperparameters(learning_rate=1e-2, batch_examples=4, max_tokens=64)
    train_sft(base, folder / "adapter", examples(), first, Loop(accelerator="cpu"))
    start(folder, names)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("few"), [*FIRST])


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("others"), [name for name in CASES if name not in FIRST])


@pytest.mark.parametrize("name", FIRST)
def test_two_processes_give_what_one_gives(few: Path, name: str) -> None:
    compare(few, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in FIRST])
def test_two_processes_give_what_one_gives_in_every_other_case(others: Path, name: str) -> None:
    compare(others, name)


def compare(folder: Path, name: str) -> None:
    case, place = CASES[name], folder / name
    exact = case.loop.get("precision", "32-true") == "32-true"
    one = case.train(folder, place / "one", 1)
    parts = [json.loads((place / f"{rank}.json").read_text()) for rank in (0, 1)]
    two = parts[0]["result"]
    for curve in [key for key in one if key.endswith("_curve")]:
        assert two[curve] == pytest.approx(one[curve], abs=CLOSE if exact else LOOSE), curve
    for key in ("steps", "tokens", "label_tokens", "trained_parameters", "kept_steps", "resumed_from_step"):
        assert two[key] == one[key], key
    assert two["device"] == "2 x cpu"
    if case.kind == "dpo" and case.settings.get("loss") != "ipo":
        assert two["first_loss"] == pytest.approx(0.6931472, abs=1e-6)
    sharded = case.strategy == "fsdp2"
    assert [part["share"] for part in parts] == [pytest.approx(0.5 if sharded else 1.0, abs=0.01)] * 2
    assert [part["places"] for part in parts] == ([["cpu"], ["meta"]] if sharded else [[None], [None]])
    same_form(place / "one", place / "two", 1e-4 if exact else LOOSE)
    answers(folder, place, 1e-4 if exact else 0.5)


def same_form(one: Path, two: Path, tolerance: float) -> None:
    """The same files, which differ in nothing but the last digits of the weights."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(two)) for path in two.rglob("*") if path.is_file())
    for name in names:
        if not name.endswith(".safetensors"):
            assert (one / name).read_bytes() == (two / name).read_bytes(), name
            continue
        assert (one / name).stat().st_size == (two / name).stat().st_size
        first, second = load_file(one / name), load_file(two / name)
        assert {key: (value.shape, value.dtype) for key, value in first.items()} == {
            key: (value.shape, value.dtype) for key, value in second.items()
        }
        worst = max(float((first[key].float() - second[key].float()).abs().max()) for key in first)
        assert worst < tolerance, name


@torch.no_grad()
def answers(folder: Path, place: Path, tolerance: float) -> None:
    """Both results are loaded as a run would load them, and say the same of some text; not what the base says."""
    ids = torch.arange(1, 41).view(2, 20)
    one, two, base = (
        load_target(folder / "base", adapter)(ids).logits for adapter in (place / "one", place / "two", None)
    )
    assert torch.allclose(one, two, atol=tolerance)
    assert not torch.allclose(two, base, atol=1e-3)


def test_a_crash_and_a_damaged_checkpoint_change_nothing(few: Path) -> None:
    found: dict[str, Any] = json.loads((few / "resumed" / "result.json").read_text())
    assert found["from"] == 2
    assert found["loss"] == json.loads((few / RESUMED / "0.json").read_text())["result"]["loss_curve"]
    undisturbed, resumed = (load_file(few / path / "two/model.safetensors") for path in (RESUMED, "resumed"))
    assert all(torch.equal(undisturbed[key], resumed[key]) for key in undisturbed)
