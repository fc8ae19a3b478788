from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from sei.training.lora import lighten
from tests.target.small import small_model


def adapted(**options: Any) -> Any:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 12, "task_type": "CAUSAL_LM", "init_lora_weights": False}
    return get_peft_model(small_model(initializer_range=0.05), LoraConfig(**(settings | options)))


@pytest.mark.parametrize(("dropout", "autocast"), [(0.0, False), (0.5, False), (0.0, True)])
def test_logits_and_gradients_are_pefts(dropout: float, autocast: bool) -> None:
    theirs = adapted(lora_dropout=dropout, target_modules=["q_proj", "k_proj", "down_proj", "o_proj"]).train()
    ours = copy.deepcopy(theirs)
    assert lighten(ours) == 8
    found = []
    for model in (theirs, ours):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(input_ids=torch.arange(1, 31)[None], use_cache=False).logits.float()
        logits.log_softmax(-1)[0, :, 7].sum().backward()
        found.append((logits, {name: one.grad for name, one in model.named_parameters() if one.grad is not None}))
    close = 0.1 if autocast else 1e-5  # of the largest
    assert (found[0][0] - found[1][0]).abs().max() <= close * found[0][0].abs().max()
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        assert (found[1][1][name] - gradient).abs().max() <= close * gradient.abs().max(), name


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_bias": True}])
def test_layers_of_other_kinds_stay(options: dict[str, bool]) -> None:
    assert lighten(adapted(target_modules=["q_proj"], **options)) == 0


def test_an_adapter_that_is_off_or_merged_stays_so() -> None:
    model = adapted(target_modules=["q_proj"])
    ids = torch.arange(1, 31)[None]
    lighten(model)
    with torch.no_grad():
        tuned = model(input_ids=ids).logits
        with model.disable_adapter():
            off = model(input_ids=ids).logits
        merged = model.merge_and_unload()(input_ids=ids).logits
        assert torch.allclose(off, small_model(initializer_range=0.05)(input_ids=ids).logits)
        assert torch.allclose(merged, tuned, atol=1e-5)
        assert not torch.allclose(off, tuned, atol=1e-2)
