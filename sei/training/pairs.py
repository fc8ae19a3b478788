"""From preference pairs to micro-batches whose rows hold the prompt of a pair once.

Place in the flow: `training.run.train_dpo` encodes the pairs; `packing` draws them, cuts them into optimizer steps and
shares these out. A pair lies in a row as [prompt, chosen], [rejected]. The positions of the rejected answer continue from the
prompt's, and it sees the prompt and itself. So both answers are computed as in rows of their own, at the cost of one prompt.
Several pairs share a row in the same way: no token sees another pair.

Example::

    encoded, rejected = encode_pairs(pairs, tokenizer, max_tokens=1024)
    batches = pair_batches(encoded[:8], parts=2, pad=0)
    logps = answer_logps(token_logps(model, way, batches[0].row), batches[0].answers, 2 * len(batches[0].numbers))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from sei.errors import UserError
from sei.records import Pair, Rejected
from sei.target.load import encode_answer, encode_prompt
from sei.training.packing import Row, Span, share_out

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST_PROMPT = 16
"""Tokens of its prompt that a pair must keep (all, if the prompt is shorter); with fewer it is rejected as too long."""


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
    """A share of an optimizer step. Answers are numbered: pair i has answers 2i (chosen) and 2i + 1 (rejected)."""

    row: Row
    answers: torch.Tensor  # [labelled tokens]: the answer that the token belongs to
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

    With `share=False` each answer has a prompt of its own, for attention that cannot share it (flash attention).
    """
    shares = share_out([one.width(share) for one in step], parts)
    return [_batch([step[index] for index in part], pad, len(step), share) for part in shares]


def _batch(pairs: Sequence[EncodedPair], pad: int, step_pairs: int, share: bool) -> PairBatch:
    ids: list[int] = []
    positions: list[int] = []
    spans: list[Span] = []
    predicting: list[int] = []
    for one in pairs:
        before, chosen, rejected = len(one.prompt), len(one.chosen), len(one.rejected)
        shared = before if share else 0
        again = () if share else one.prompt
        start, second = len(ids), len(ids) + before + chosen + len(again)  # second: where the rejected answer begins
        ids += (*one.prompt, *one.chosen, *again, *one.rejected)
        positions += [*range(before + chosen), *range(shared, before + rejected)]
        spans += [Span(before + chosen), Span(len(again) + rejected, shared)]
        predicting += range(start + before - 1, start + before + chosen - 1)
        # The first token of the rejected answer is predicted by the end of its prompt, the others by one another.
        predicting += [start + before - 1 if share else second - 1, *range(second, second + rejected - 1)]
    targets = [token for one in pairs for token in (*one.chosen, *one.rejected)]
    lengths = [[len(one.chosen), len(one.rejected)] for one in pairs]
    answers = [2 * pair + side for pair, both in enumerate(lengths) for side in (0, 1) for _ in range(both[side])]
    row = Row(
        torch.tensor([ids or [pad]]),
        torch.tensor([positions or [0]]),
        tuple(spans) or (Span(1),),
        torch.tensor(predicting, dtype=torch.long),
        torch.tensor(targets, dtype=torch.long),
    )
    return PairBatch(
        row,
        torch.tensor(answers, dtype=torch.long),
        torch.tensor(lengths, dtype=torch.long).view(-1, 2),
        torch.tensor([one.number for one in pairs], dtype=torch.long),
        step_pairs,
    )
