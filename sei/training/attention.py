"""Attention of examples that share one row without seeing one another, and without a mask of row by row.

Place in the flow: `packing` and `pairs` lay the examples of a micro-batch one after another in one row and say where each lies
(`Span`); `training.scoring` hands this to the model with the arguments made here. There are four ways to keep spans apart:

    spans              attention over each span's own tokens, by PyTorch's kernels: runs on every device, and nothing is
                       computed that a mask would discard
    flash_attention_2  FlashAttention's kernel for rows of many lengths, from the places where spans begin; no shared prompts
    flex_attention     FlexAttention with a mask by blocks of 128 tokens; on a GPU (on a CPU it has no backward)
    apart              every span in a forward pass of its own: for architectures to which none of the others applies

Example::

    use_spans(model)
    model(input_ids=ids, position_ids=positions, **arguments("spans", (Span(40), Span(31)), ids.device))
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.utils import is_flash_attn_2_available

from sei.target.load import Attention, Dtype, Quantization
from sei.training.packing import Span

Kind = Literal["spans", "flash_attention_2", "flex_attention", "apart"]

_NAME = "sei_spans"  # among transformers' attention functions
_UNKNOWN_HERE = (
    "softcap",
    "s_aux",
    "position_bias",
)  # what some architectures do in attention, and PyTorch's kernels do not


def kind_for(attention: Attention | None, dtype: Dtype, quantization: Quantization) -> Kind:
    """How packed examples are kept apart: as named, else FlashAttention where it is installed (and has the 16 bits that it
    needs), else by spans."""
    if attention in ("flash_attention_2", "flex_attention"):
        return attention
    half = dtype in ("bfloat16", "float16") and quantization == "none"
    return "flash_attention_2" if attention is None and half and is_flash_attn_2_available() else "spans"


class UnsupportedAttentionError(Exception):
    """The architecture's attention does something that attention by spans cannot do."""


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    spans: Sequence[Span] | None = None,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by spans, called as transformers does: query [1, heads, tokens, size], result [1, tokens, heads, size]."""
    if unknown := [name for name in _UNKNOWN_HERE if more.get(name) is not None]:
        raise UnsupportedAttentionError(f"attention by spans has no {unknown[0]}")
    if spans is None or attention_mask is not None:
        raise UnsupportedAttentionError("the architecture does not hand spans on to its attention")
    result = value.dtype
    if query.device.type == "cpu":
        # Its kernel takes three times as long in bfloat16 (backward, AVX512-BF16, 100 tokens), so this much stays in float32.
        query, key, value = query.float(), key.float(), value.float()
    with torch.autocast("cpu", enabled=False) if query.device.type == "cpu" else nullcontext():
        found = _by_spans(query, key, value, spans, dropout=dropout, scaling=scaling, window=sliding_window)
    return found.transpose(1, 2).contiguous().to(result), None


def _by_spans(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    spans: Sequence[Span],
    *,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    # Splits and not slices: the gradient of a split is one concatenation, that of each slice as large as the row.
    asking, keys, values = (tensor.split([span.tokens for span in spans], dim=2) for tensor in (query, key, value))
    found = []
    for number, span in enumerate(spans):
        seen, told = keys[number], values[number]
        if span.shared:
            seen, told = (
                torch.cat((part[number - 1][:, :, : span.shared], own), dim=2)
                for part, own in ((keys, seen), (values, told))
            )
        mask = _mask(span, window, query.device)
        found.append(
            scaled_dot_product_attention(
                asking[number],
                seen,
                told,
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=key.shape[1] != query.shape[1],
            )
        )
    return torch.cat(found, dim=2)


def _mask(span: Span, window: int | None, device: torch.device) -> torch.Tensor | None:
    """What each token of a span sees, [tokens, shared + tokens]; None: all before it."""
    width = span.shared + span.tokens
    if not span.shared and (window is None or width <= window):
        return None
    mask = torch.ones(span.tokens, width, dtype=torch.bool, device=device).tril(span.shared)
    return mask if window is None else mask.triu(span.shared - window + 1)


AttentionInterface.register(_NAME, attend)


def use_spans(model: Any) -> None:
    """Have a transformers model attend by spans."""
    model.set_attn_implementation(_NAME)


def arguments(kind: Kind, spans: Sequence[Span], device: torch.device) -> dict[str, Any]:
    """What the model is called with, beside tokens and positions, so that the spans of its one row stay apart."""
    if kind == "flash_attention_2":
        if any(span.shared for span in spans):
            raise ValueError("flash attention cannot share prompts")
        # Named, and not left to be found from positions, which transformers does for one row only, and silently not for more.
        ends = torch.tensor([0, *(span.tokens for span in spans)], device=device).cumsum(0).int()
        longest = max(span.tokens for span in spans)
        return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}
    if kind == "flex_attention":
        return {"attention_mask": block_mask(spans, device)}
    return {"spans": tuple(spans)}


def block_mask(spans: Sequence[Span], device: torch.device) -> Any:
    """FlexAttention's mask of a row: the blocks of 128 x 128 tokens in which anything is seen, and by which rule."""
    from torch.nn.attention.flex_attention import create_block_mask

    numbers, shared, starts = _by_token(spans, device)
    width = len(numbers)

    def sees(batch: torch.Tensor, head: torch.Tensor, asking: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        own = numbers[asking] == numbers[asked]
        prompt = (numbers[asking] - 1 == numbers[asked]) & (asked - starts[asked] < shared[asking])
        return (asking >= asked) & (own | prompt)

    return create_block_mask(sees, None, None, width, width, device=str(device))


def _by_token(spans: Sequence[Span], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each token: the number of its span, how much of the span before that sees, and where it begins."""
    lengths = torch.tensor([span.tokens for span in spans], device=device)
    begins = lengths.cumsum(0) - lengths
    shared = torch.tensor([span.shared for span in spans], device=device)
    numbers = torch.arange(len(spans), device=device)
    found = (one.repeat_interleave(lengths) for one in (numbers, shared, begins))
    return next(found), next(found), next(found)
