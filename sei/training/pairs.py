"""From preference pairs to micro-batches whose rows hold the prompt of a pair once.

Place in the flow: `training.run.train_dpo` encodes the pairs; `packing` draws them, cuts them into optimizer steps and
finds rows. A pair lies in a row as [prompt, chosen, rejected]. The positions of the rejected answer
continue from the prompt's, and the mask lets it see the prompt and itself. So both answers are computed as in rows of
their own, at the cost of one prompt. Several pairs share a row in the same way: no token sees another pair.

Example::

    encoded, rejected = encode_pairs(pairs, tokenizer, max_tokens=1024)
    batches = pair_batches(encoded[:8], parts=2, pad=0)
    logits = model(batches[0].input_ids, attention_mask=attention_mask(batches[0].segments, "sdpa", dtype), ...).logits
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from sei.errors import UserError
from sei.records import Pair, Rejected
from sei.target.load import encode_answer, encode_prompt
from sei.training.packing import share_out

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST_PROMPT = 16
"""Tokens of its prompt that a pair must keep (all, if the prompt is shorter); with fewer it is rejected as too long."""

_PARTS = 3  # of a pair in the mask: prompt, chosen, rejected


@dataclass(frozen=True)
class EncodedPair:
    """One pair as tokens. Both answers close with the end token."""

    pair_id: str
    number: int  # of this pair among those encoded together: its row in the table of reference log-probabilities
    prompt: tuple[int, ...]  # at least one token, without its beginning if the pair was too long
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    cut: int = 0  # tokens cut off the prompt

    def __len__(self) -> int:
        return len(self.prompt) + len(self.chosen) + len(self.rejected)

    def width(self, share: bool) -> int:
        """Tokens of this pair in a row."""
        return len(self) if share else len(self) + len(self.prompt)


class PairBatch(NamedTuple):
    """What one forward pass takes. Answers are numbered: pair i has answers 2i (chosen) and 2i + 1 (rejected)."""

    input_ids: torch.Tensor  # [rows, width]
    position_ids: torch.Tensor  # [rows, width]
    segments: torch.Tensor | None  # [rows, width]: 3 * pair + part; -1 padding. None: positions restart, mask follows
    kept: torch.Tensor  # [rows, width] bool: the positions that predict a token of an answer; only they get logits
    rows: torch.Tensor  # [answer tokens]: which of the kept positions predicts the token
    targets: torch.Tensor  # [answer tokens]: the token
    answers: torch.Tensor  # [answer tokens]: its answer
    lengths: torch.Tensor  # [pairs, 2] answer tokens of chosen and rejected
    numbers: torch.Tensor  # [pairs] EncodedPair.number
    step_pairs: int  # pairs of the whole optimizer step, over all micro-batches and devices


def encode_pair(
    pair: Pair, tokenizer: PreTrainedTokenizerBase, max_tokens: int, number: int = 0
) -> EncodedPair | Rejected:
    """Tokens of prompt and both answers; prompt and longer answer together have at most `max_tokens`.

    A longer pair loses the beginning of its prompt (except a begin token), so that both answers keep the same prompt; the
    answers are never cut. Pairs are rejected if they are too long even so (`too_long`, see LEAST_PROMPT), if their prompt or
    an answer is empty, if their answers are equal (`no_preference`), and if the tokenizer can write the text of its end token
    within an answer only as the end token (`end_token_inside`).
    """
    prompt = tuple(encode_prompt(tokenizer, pair.prompt, pair.prefix))
    chosen, rejected = (
        tuple(encode_answer(tokenizer, text, pair.prompt, pair.prefix)) for text in (pair.chosen, pair.rejected)
    )
    if not prompt:
        return Rejected.make(pair.id, "empty_prompt", raw=pair.chosen)
    if not chosen or not rejected:
        return Rejected.make(pair.id, "empty_response", "rejected" if chosen else "chosen", raw=pair.prompt)
    if chosen == rejected:
        return Rejected.make(pair.id, "no_preference", "chosen and rejected are equal", raw=pair.chosen)
    if tokenizer.eos_token_id in (*chosen, *rejected):
        return Rejected.make(pair.id, "end_token_inside", raw=pair.chosen)
    end = () if pair.kind == "step" else (tokenizer.eos_token_id,)  # after a step the solution continues
    longer = max(len(chosen), len(rejected)) + len(end)
    room = max_tokens - longer
    cut = max(0, len(prompt) - room)
    if cut and room < min(len(prompt), LEAST_PROMPT):
        detail = f"{longer} tokens of the longer answer and {min(len(prompt), LEAST_PROMPT)} of the prompt, at most {max_tokens}"
        return Rejected.make(
            pair.id, "too_long", detail, raw=pair.chosen if len(chosen) >= len(rejected) else pair.rejected
        )
    if cut:
        begin = prompt[:1] if prompt[0] == tokenizer.bos_token_id else ()
        prompt = begin + prompt[cut + len(begin) :]
    return EncodedPair(pair.id, number, prompt, chosen + end, rejected + end, cut)


def encode_pairs(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> tuple[list[EncodedPair], list[Rejected]]:
    """`encode_pair` for each pair: those that can be trained on, numbered from 0, and those rejected."""
    encoded: list[EncodedPair] = []
    rejected: list[Rejected] = []
    for pair in pairs:
        result = encode_pair(pair, tokenizer, max_tokens, len(encoded))
        if isinstance(result, EncodedPair):
            encoded.append(result)
        else:
            rejected.append(result)
    return encoded, rejected


def pair_check(encoded: Sequence[EncodedPair], tokenizer: PreTrainedTokenizerBase) -> str:
    """Text that shows the first pair, for a person to look at, and how many prompts were cut.

    Raises UserError if an answer holds the end token before its last place.
    """
    for one in encoded:
        if tokenizer.eos_token_id in (*one.chosen[:-1], *one.rejected[:-1]):
            raise UserError(
                f"Pair {one.pair_id}: the end token ({tokenizer.eos_token!r}) stands within an answer, so the model would "
                "learn to stop in the middle."
            )
    first = encoded[0]
    cut = sum(one.cut > 0 for one in encoded)
    return (
        f"Pair {first.pair_id} of {len(encoded)} ({cut} with a cut prompt)\n"
        f"--- prompt, {len(first.prompt)} tokens:\n{tokenizer.decode(list(first.prompt))}\n"
        f"--- chosen, {len(first.chosen)} tokens:\n{tokenizer.decode(list(first.chosen))}\n"
        f"--- rejected, {len(first.rejected)} tokens:\n{tokenizer.decode(list(first.rejected))}\n---"
    )


def pair_batches(step: Sequence[EncodedPair], *, parts: int, pad: int, share: bool = True) -> list[PairBatch]:
    """An optimizer step as `parts` micro-batches (accumulation times devices); see `packing.micro_batches`.

    With `share=False` each answer has a prompt of its own, for attention that takes no mask (flash attention).
    """
    shares = share_out([one.width(share) for one in step], parts)
    return [_tensors([[step[index] for index in row] for row in part], pad, len(step), share) for part in shares]


def attention_mask(segments: torch.Tensor, attention: str, dtype: torch.dtype) -> torch.Tensor:
    """The mask of shared rows, [rows, 1, width, width], as `attention` expects it: bool for sdpa, a term to add for eager.

    segments: [rows, width], see PairBatch. A token sees itself and what is before it, of its own pair: the prompt and
    its own answer. Padding sees padding, because a softmax over nothing is undefined.
    """
    width = segments.shape[1]
    pair = segments.div(_PARTS, rounding_mode="floor")
    same_pair = pair[:, :, None] == pair[:, None, :]
    visible = (segments[:, :, None] == segments[:, None, :]) | (segments % _PARTS == 0)[:, None, :]
    causal = torch.ones(width, width, dtype=torch.bool, device=segments.device).tril()
    allowed = (same_pair & visible & causal)[:, None]
    if attention == "sdpa":
        return allowed
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)


def _tensors(rows: Sequence[Sequence[EncodedPair]], pad: int, step_pairs: int, share: bool) -> PairBatch:
    width = max((sum(one.width(share) for one in row) for row in rows), default=1)
    input_ids = torch.full((max(1, len(rows)), width), pad)
    position_ids = torch.zeros_like(input_ids)
    segments = torch.full_like(input_ids, -1)
    predicting: list[int] = []  # flat positions
    targets: list[int] = []
    answers: list[int] = []
    pairs = [one for row in rows for one in row]
    number = 0
    for row_number, row in enumerate(rows):
        at = 0
        for one in row:
            before, chosen, rejected = len(one.prompt), len(one.chosen), len(one.rejected)
            start = row_number * width + at
            again = () if share else one.prompt
            tokens = one.prompt + one.chosen + again + one.rejected
            second = before if share else 0  # position of the first token after the chosen answer
            positions = [*range(before + chosen), *range(second, second + len(again) + rejected)]
            end = at + len(tokens)
            input_ids[row_number, at:end] = torch.tensor(tokens)
            position_ids[row_number, at:end] = torch.tensor(positions)
            parts = torch.tensor([0] * before + [1] * chosen + [2] * (len(again) + rejected))
            segments[row_number, at:end] = parts + _PARTS * number
            predicting += range(start + before - 1, start + before + chosen - 1)
            # The first token of the rejected answer is predicted by the end of its prompt, the others by one another.
            follows = start + len(tokens) - rejected
            predicting += [start + before - 1 if share else follows - 1, *range(follows, follows + rejected - 1)]
            targets += one.chosen + one.rejected
            answers += [2 * number] * chosen + [2 * number + 1] * rejected
            number += 1
            at = end
    flat = torch.tensor(predicting, dtype=torch.long)
    kept = torch.zeros(input_ids.numel(), dtype=torch.bool)
    kept[flat] = True
    return PairBatch(
        input_ids,
        position_ids,
        segments if share else None,
        kept.view_as(input_ids),
        kept.cumsum(0)[flat] - 1,
        torch.tensor(targets, dtype=torch.long),
        torch.tensor(answers, dtype=torch.long),
        torch.tensor([[len(one.chosen), len(one.rejected)] for one in pairs], dtype=torch.long).view(-1, 2),
        torch.tensor([one.number for one in pairs], dtype=torch.long),
        step_pairs,
    )
