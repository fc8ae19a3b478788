"""Examples of one row do not see one another: for every way of attention, changing one changes nothing of the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from sei.training.attention import Kind, arguments, attend, block_mask, use_spans
from sei.training.packing import Span
from tests.target.small import small_model

SPANS = (Span(9), Span(7), Span(5, 4), Span(12))  # the third sees the first four tokens of the second
NAME = "varlen_of_the_tests"


def by_lengths(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> tuple[torch.Tensor, None]:
    """What FlashAttention's kernel does with the arguments that it is given."""
    assert query.shape[0] == 1, "several rows would be read as one example each"
    assert mask is None
    ends = more["cu_seq_lens_q"].tolist()
    assert ends == more["cu_seq_lens_k"].tolist()
    assert more["max_length_q"] == more["max_length_k"] == max(b - a for a, b in pairwise(ends))
    groups = module.num_key_value_groups
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    found = [
        scaled_dot_product_attention(
            query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True, scale=more["scaling"]
        )
        for a, b in pairwise(ends)
    ]
    return torch.cat(found, 2).transpose(1, 2), None


AttentionInterface.register(NAME, by_lengths)


def positions(spans: Sequence[Span]) -> torch.Tensor:
    return torch.tensor([[place for one in spans for place in range(one.shared, one.shared + one.tokens)]])


def hidden(model: Any, kind: Kind, ids: torch.Tensor, spans: Sequence[Span]) -> tuple[torch.Tensor, ...]:
    """Hidden states, span by span."""
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        output = model.base_model(
            input_ids=ids, position_ids=positions(spans), use_cache=False, **arguments(kind, spans, ids.device)
        )
    return output.last_hidden_state[0].split([one.tokens for one in spans])


def prepared(kind: Kind) -> LlamaForCausalLM:
    model = small_model()
    if kind == "spans":
        use_spans(model)
    else:
        model.set_attn_implementation(NAME if kind == "flash_attention_2" else kind)
    return model


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", ["spans", "flash_attention_2", "flex_attention"])
def test_nothing_leaks_from_one_example_to_another(kind: Kind) -> None:
    spans = SPANS if kind != "flash_attention_2" else tuple(Span(one.tokens) for one in SPANS)
    model, ids = prepared(kind), torch.randint(1, 300, (1, 33), generator=torch.Generator().manual_seed(0))
    before = hidden(model, kind, ids, spans)
    own = small_model()
    starts = [0, 9, 16, 21]
    for number, (start, span) in enumerate(zip(starts, spans, strict=True)):
        # As alone, after what it shares.
        row = torch.cat((ids[:, 9 : 9 + span.shared], ids[:, start : start + span.tokens]), 1)
        with torch.no_grad():
            alone = own.base_model(input_ids=row).last_hidden_state[0, span.shared :]
        assert (before[number] - alone).abs().max() < 1e-5, number
        # What it does not share may change: bit by bit the same.
        changed = ids.clone()
        changed[0, start + 4 : start + span.tokens] = 299 - changed[0, start + 4 : start + span.tokens]
        after = hidden(model, kind, changed, spans)
        for other in range(len(spans)):
            assert torch.equal(before[other], after[other]) == (other != number), (number, other)


def test_the_block_mask_by_hand() -> None:
    mask = block_mask((Span(2), Span(3), Span(2, 2)), torch.device("cpu"))
    rows = ["1000000", "1100000", "0010000", "0011000", "0011100", "0011010", "0011011"]
    places = torch.arange(7)
    seen = mask.mask_mod(torch.tensor(0), torch.tensor(0), places[:, None], places[None, :])
    assert ["".join(str(int(one)) for one in row) for row in seen] == rows


def test_flash_attention_shares_no_prompt() -> None:
    with pytest.raises(ValueError, match="cannot share prompts"):
        arguments("flash_attention_2", SPANS, torch.device("cpu"))


def test_a_sliding_window_is_kept() -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=5,
        initializer_range=0.2,
    )
    model = MistralForCausalLM(config).eval()
    model.set_attn_implementation("eager")
    ids, spans = torch.randint(0, 50, (1, 24)), (Span(11), Span(9), Span(4, 7))
    with torch.no_grad():
        alone = [
            model.base_model(input_ids=row).last_hidden_state[0, -span.tokens :]
            for row, span in zip(
                (ids[:, :11], ids[:, 11:20], torch.cat((ids[:, 11:18], ids[:, 20:]), 1)), spans, strict=True
            )
        ]
    use_spans(model)
    for one, other in zip(hidden(model, "spans", ids, spans), alone, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_gradients_of_attention_by_spans_equal_those_with_a_dense_mask() -> None:
    torch.manual_seed(0)
    made = [torch.randn(1, 4, 33, 8, requires_grad=True) for _ in range(3)]
    weight = torch.randn(1, 33, 4, 8)
    places = torch.arange(33)
    mask = block_mask(SPANS, torch.device("cpu")).mask_mod(
        torch.tensor(0), torch.tensor(0), places[:, None], places[None, :]
    )
    dense = scaled_dot_product_attention(*made, attn_mask=mask).transpose(1, 2)
    ours, _ = attend(torch.nn.Module(), *made, None, spans=SPANS)
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), made),
        torch.autograd.grad((dense * weight).sum(), made),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-6)
