"""The log-probability of each labelled token of a row, without ever holding the logits of all of them.

Place in the flow: `training.module` scores every micro-batch here; its losses are sums over what is returned. The body of the
model runs once over the row. Its output matrix (the head) is applied to the labelled positions alone, some hundred at a time,
and each such chunk is computed again in the backward pass: the logits of 8,000 tokens and 128,000 words would be 4 GiB, and
three times that with their softmax and gradient.

No architecture is named. What a model does after its body (a scale or a cap on the logits, LoRA or `modules_to_save` on its
head, a head tied to the embedding) is its own code, called with the body's output put in the place of the body. `find_way`
tries on a few tokens, before training, whether that gives the model's own logits, and whether packed examples stay apart;
where one fails, logits are computed whole, or every example in a pass of its own. Example::

    way = find_way(model)
    logps = token_logps(model, way, batch.row)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from sei.training.attention import Kind, UnsupportedAttentionError, arguments, use_spans
from sei.training.losses import target_logps
from sei.training.packing import Row, Span
from sei.training.settings import LOGITS_AT_ONCE

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Way:
    """How a model is called."""

    attention: Kind
    chunked: bool = True  # the head can be called alone

    def __str__(self) -> str:
        kinds = {
            "spans": "attention over each example's own tokens",
            "flash_attention_2": "FlashAttention by lengths",
            "flex_attention": "FlexAttention by blocks",
            "apart": "each example in a pass of its own, as this architecture cannot pack",
        }
        head = (
            ""
            if self.chunked
            else "; logits of all labelled tokens at once, as this architecture's head is not separable"
        )
        return f"{kinds[self.attention]}{head}"


def token_logps(model: PreTrainedModel | PeftModel, way: Way, row: Row, *, chunk: int = LOGITS_AT_ONCE) -> torch.Tensor:
    """The log-probability of each of the row's targets, [labelled tokens], in float32 and nats.

    `chunk`: how many logits are computed at a time.
    """
    causal = _causal(model)
    forward = partial(_forward, causal, causal.forward, way, row, chunk)
    # Through the whole model's own call, so that whatever wraps it sees one forward pass, which returns the scores.
    with _standing_in(causal, forward):
        return model(input_ids=row.input_ids)


def token_logps_and_divergence(
    model: PeftModel, way: Way, row: Row, *, chunk: int = LOGITS_AT_ONCE
) -> tuple[torch.Tensor, torch.Tensor]:
    """`token_logps`, and how far the model is there from itself without its adapter: two times [labelled tokens], in nats.

    The second is the Kullback-Leibler divergence of the next token's distribution, from that without the adapter (which
    carries no gradient) to that with it.
    """
    causal = _causal(model)
    own = causal.forward
    with torch.no_grad(), model.disable_adapter():
        found, _ = _run(causal, own, way, row)
        before = found[row.predicting]

    def scores(kind: Any, kept: torch.Tensor, before: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = _logits(causal, own, kind, kept) if way.chunked else kept
        with torch.no_grad(), model.disable_adapter():
            reference = (_logits(causal, own, kind, before) if way.chunked else before).float().log_softmax(-1)
        apart = (reference.exp() * (reference - logits.float().log_softmax(-1))).sum(-1)
        return torch.stack([target_logps(logits, targets), apart])

    def forward(**_: Any) -> torch.Tensor:
        found, kind = _run(causal, own, way, row)
        positions = max(1, chunk // causal.config.get_text_config().vocab_size)
        pieces = zip(*(one.split(positions) for one in (found[row.predicting], before, row.targets)), strict=True)
        return torch.cat([checkpoint(scores, kind, *piece, use_reentrant=False) for piece in pieces], dim=1)

    with _standing_in(causal, forward):
        logps, divergence = model(input_ids=row.input_ids)
    return logps, divergence


def find_way(model: PreTrainedModel | PeftModel, wanted: Kind = "spans") -> Way:
    """How this model is to be called: tried on a few tokens, against the model as it is, and prepared."""
    causal = _causal(model)
    if any(one.is_meta for one in causal.parameters()):  # without weights nothing can be tried
        if wanted == "spans":
            use_spans(causal)
        return Way(wanted)
    was_training, own = model.training, causal.config._attn_implementation
    model.eval()
    row = _sample(causal.device, shared=wanted != "flash_attention_2")
    with torch.no_grad():
        chunked = _head_is_separable(causal, row)
        expected, _ = _run(causal, causal.forward, Way("apart", chunked), row)
        if wanted == "spans":
            use_spans(causal)
        attention: Kind = wanted if _agrees(causal, Way(wanted, chunked), row, expected) else "apart"
    if attention != wanted:
        causal.set_attn_implementation(own)
    model.train(was_training)
    return Way(attention, chunked)


def _sample(device: torch.device, *, shared: bool) -> Row:
    """A row of three short examples, the last of which shares a prompt."""
    spans = (Span(5), Span(6), Span(4, 3 if shared else 0))
    positions = torch.tensor([[*range(5), *range(6), *range(spans[2].shared, spans[2].shared + 4)]], device=device)
    none = torch.zeros(0, dtype=torch.long, device=device)
    return Row(torch.arange(3, 18, device=device)[None], positions, spans, none, none)


def _head_is_separable(causal: Any, row: Row) -> bool:
    try:
        hidden, kind = _run(causal, causal.forward, Way("apart"), row)
        found = _logits(causal, causal.forward, kind, hidden)
    except _UNSUITABLE:
        return False
    whole, _ = _run(causal, causal.forward, Way("apart", chunked=False), row)
    return _close(found, whole)


def _agrees(causal: Any, way: Way, row: Row, expected: torch.Tensor) -> bool:
    try:
        found, _ = _run(causal, causal.forward, way, row)
    except _UNSUITABLE:
        return False
    return _close(found, expected)


# What a model raises that does not know an argument, or whose attention wants something else.
_UNSUITABLE = (UnsupportedAttentionError, AttributeError, NotImplementedError, TypeError, ValueError)


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal but for rounding; an example that sees its neighbour is far off."""
    rounding = 1e-4 if expected.dtype == torch.float32 else 5e-2
    apart = (found.float() - expected.float()).abs().max()
    return found.shape == expected.shape and bool(apart <= rounding * expected.float().abs().max())


def _causal(model: Any) -> Any:
    """The transformers model below PEFT's wrapper."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


Forward = Callable[..., Any]


def _forward(causal: Any, own: Forward, way: Way, row: Row, chunk: int, **_: Any) -> torch.Tensor:
    """What stands in for the model's `own` forward in `token_logps`."""
    found, kind = _run(causal, own, way, row)
    kept = found[row.predicting]
    if not way.chunked:
        return target_logps(kept, row.targets)
    positions = max(1, chunk // causal.config.get_text_config().vocab_size)
    if len(kept) <= positions:
        return _logps(causal, own, kind, kept, row.targets)
    pieces = zip(kept.split(positions), row.targets.split(positions), strict=True)
    scored = [checkpoint(_logps, causal, own, kind, *piece, use_reentrant=False) for piece in pieces]
    return torch.cat(scored)


def _run(causal: Any, own: Forward, way: Way, row: Row) -> tuple[torch.Tensor, Any]:
    """Hidden states of the row's tokens and the kind of output that the body gives; not `chunked`: logits instead."""
    found = []
    for ids, positions, spans, dropped in _apart(row) if way.attention == "apart" else _together(row):
        more = {} if way.attention == "apart" else arguments(way.attention, spans, ids.device)
        called = causal.base_model if way.chunked else own
        output = called(input_ids=ids, position_ids=positions, use_cache=False, **more)
        found.append((output.last_hidden_state if way.chunked else output.logits)[0, dropped:])
    return torch.cat(found) if len(found) > 1 else found[0], type(output)


Call = tuple[
    torch.Tensor, torch.Tensor, tuple[Span, ...], int
]  # ids, positions, spans, tokens at the front to be dropped


def _together(row: Row) -> Iterator[Call]:
    yield row.input_ids, row.position_ids, row.spans, 0


def _apart(row: Row) -> Iterator[Call]:
    """Each span, after those tokens of the span before that it shares."""
    at = before = 0
    for span in row.spans:
        places = [*range(before, before + span.shared), *range(at, at + span.tokens)]
        yield row.input_ids[:, places], row.position_ids[:, places], (Span(len(places)),), span.shared
        before, at = at, at + span.tokens


def _logps(causal: Any, own: Forward, kind: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return target_logps(_logits(causal, own, kind, hidden), targets)


def _logits(causal: Any, own: Forward, kind: Any, hidden: torch.Tensor) -> torch.Tensor:
    """The model's logits of hidden states [positions, hidden]: its own forward, with these in place of what its body gives."""

    def body(*_: Any, **__: Any) -> Any:
        return kind(last_hidden_state=hidden[None])

    with _standing_in(causal.base_model, body):
        nothing = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        return own(input_ids=nothing, use_cache=False).logits[0]


@contextmanager
def _standing_in(module: torch.nn.Module, forward: Forward) -> Iterator[None]:
    """`forward` in the place of the module's."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before
