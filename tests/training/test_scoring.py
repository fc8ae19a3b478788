"""Logits in chunks are the logits, for heads of every kind, and a model that cannot be called so is called in another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM, MambaConfig, MambaForCausalLM

from sei.training.attention import use_spans
from sei.training.losses import target_logps
from sei.training.packing import Row, Span
from sei.training.scoring import Way, find_way, token_logps, token_logps_and_divergence
from tests.target.small import small_model

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


def seeded(make: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    return make().eval()


def adapted(**options: Any) -> Any:
    torch.manual_seed(0)
    config = LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False, **options)
    return get_peft_model(small_model(), config)


MODELS: dict[str, Callable[[], Any]] = {
    "tied": small_model,
    "untied": lambda: small_model(tie_word_embeddings=False),
    "LoRA on the head": lambda: adapted(target_modules=["q_proj", "lm_head"]),
    "a copy of the head": lambda: adapted(target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "scaled logits": lambda: seeded(lambda: CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.3))),
    "capped logits": lambda: seeded(
        lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, final_logit_softcapping=2.0, query_pre_attn_scalar=8))
    ),
}
ROW = Row(
    torch.arange(1, 31)[None],
    torch.tensor([[*range(18), *range(12)]]),
    (Span(18), Span(12)),
    torch.tensor([3, 4, 5, 6, 7, 15, 16, 20, 21, 28]),
    torch.tensor([5, 6, 7, 8, 9, 17, 18, 22, 23, 30]),
)


def whole(model: Any) -> torch.Tensor:
    """The same without any of our code: each example alone, all its logits."""
    logits = torch.cat([model(input_ids=ids).logits[0] for ids in (ROW.input_ids[:, :18], ROW.input_ids[:, 18:])])
    return target_logps(logits[ROW.predicting], ROW.targets)


def with_gradients(model: Any, logps: torch.Tensor) -> dict[str, torch.Tensor]:
    (logps * torch.linspace(-1, 2, len(logps))).sum().backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [300, 900, 2**25])  # one position at a time, three, all
def test_values_and_gradients_in_chunks_are_those_of_the_whole(name: str, chunk: int) -> None:
    reference, model = MODELS[name](), MODELS[name]()
    way = find_way(model)
    assert way.chunked, name
    expected, found = whole(reference), token_logps(model, way, ROW, chunk=chunk)
    assert torch.allclose(found, expected, atol=1e-6, rtol=1e-6)
    ours, theirs = with_gradients(model, found), with_gradients(reference, expected)
    assert ours.keys() == theirs.keys()
    for part, gradient in theirs.items():
        assert torch.allclose(ours[part], gradient, atol=1e-6 * gradient.abs().max().item() + 1e-6, rtol=1e-5), part


def test_the_logits_are_never_whole() -> None:
    """The largest tensor that autograd keeps for the backward pass is smaller than the logits of all positions."""
    model, sizes = small_model(), [0]
    way = find_way(model)

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() >= 2 and tensor.shape[-1] == 300 and tensor.shape[-2] != 64:  # the matrix itself
            sizes.append(tensor.numel())
        return tensor

    for chunk, most in ((900, 0), (2**25, 10 * 300)):
        sizes[:] = [0]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            token_logps(model, way, ROW, chunk=chunk)
        assert max(sizes) == most


def test_attention_that_caps_its_scores_is_not_replaced() -> None:
    model = MODELS["capped logits"]()
    own = model.config._attn_implementation
    assert find_way(model) == Way("apart")
    assert model.config._attn_implementation == own
    assert torch.allclose(token_logps(model, Way("apart"), ROW), whole(model), atol=1e-5)


def test_a_state_that_runs_through_the_row_is_found_out() -> None:
    sizes = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "initializer_range": 0.3}
    model = seeded(lambda: MambaForCausalLM(MambaConfig(**sizes)))
    way = find_way(model)
    assert way.attention == "apart"
    assert torch.allclose(token_logps(model, way, ROW), whole(model), atol=1e-5)


def changed(ids: torch.Tensor) -> torch.Tensor:
    """What this head adds to the logits of even tokens, by the token that stands there."""
    return (ids[..., None] % 7) * (torch.arange(300) % 2 == 0)


def test_a_head_that_looks_at_more_than_the_body_gives_is_computed_whole() -> None:
    model, reference = small_model(), small_model()
    own = model.forward

    def forward(input_ids: torch.Tensor, **more: Any) -> Any:
        output = own(input_ids=input_ids, **more)
        output.logits = output.logits + changed(input_ids)
        return output

    model.forward = forward
    way = find_way(model)
    assert way == Way("spans", chunked=False)
    use_spans(reference)
    with torch.no_grad():
        logits = reference(input_ids=ROW.input_ids, position_ids=ROW.position_ids, spans=ROW.spans).logits[0]
    expected = target_logps((logits + changed(ROW.input_ids)[0])[ROW.predicting], ROW.targets)
    assert torch.allclose(token_logps(model, way, ROW, chunk=300), expected, atol=1e-6)
    assert "logits of all labelled tokens at once" in str(way)


@pytest.mark.parametrize("chunk", [300, 900, 10**6])
@pytest.mark.parametrize("name", ["LoRA on the head", "a copy of the head"])
def test_the_divergence_from_the_model_without_its_adapter(name: str, chunk: int) -> None:
    reference, model = MODELS[name](), MODELS[name]()
    for one in (reference, model):
        if name == "a copy of the head":
            with torch.no_grad():
                one.get_output_embeddings().weight.mul_(1.5)
    way = find_way(model)
    logps, apart = token_logps_and_divergence(model, way, ROW, chunk=chunk)
    assert torch.allclose(logps, token_logps(model, way, ROW), atol=1e-5)

    def distribution() -> torch.Tensor:
        parts = [reference(input_ids=ids).logits[0] for ids in (ROW.input_ids[:, :18], ROW.input_ids[:, 18:])]
        return torch.cat(parts)[ROW.predicting].log_softmax(-1)

    with torch.no_grad():
        after = distribution()
        with reference.disable_adapter():
            before = distribution()
    expected = (before.exp() * (before - after)).sum(-1)
    assert expected.min() > 1e-4, "the adapter changes nothing, so nothing is tested"
    assert torch.allclose(apart, expected, atol=1e-5)


def test_the_divergence_moves_the_adapter_alone() -> None:
    model = MODELS["LoRA on the head"]()
    _, apart = token_logps_and_divergence(model, find_way(model), ROW, chunk=900)
    apart.sum().backward()
    grown = {name for name, one in model.named_parameters() if one.grad is not None and one.grad.abs().max() > 0}
    assert grown
    assert all("lora_" in name for name in grown)
    assert {name for name, one in model.named_parameters() if one.requires_grad} >= grown
