"""From examples to optimizer steps: tokens and mask, training budget, packed rows, micro-batches.

Place in the flow: `training.run` encodes the examples, draws them up to the budget, cuts the draw into optimizer
steps, and `training.module` feeds each step's micro-batches. All functions are pure. The examples of a micro-batch lie one
after another in one row, without padding; each is a span of its own, and `training.attention` keeps spans from seeing one
another. `training.pairs` uses the same draw, steps and rows.

Example::

    encoded, rejected = encode_all(examples, tokenizer, max_tokens=512)
    steps = plan_steps(draw(encoded, seed=0, tokens=100_000), batch_tokens=1024)
    batches = micro_batches(steps[0], parts=2, pad=0)
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

from sei.errors import UserError
from sei.records import Example, Rejected
from sei.target.load import encode_answer, encode_prompt
from sei.training.losses import MASKED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Item = TypeVar("Item", bound=Sized)  # Encoded, or pairs.EncodedPair


@dataclass(frozen=True)
class Encoded:
    """One example as tokens. `labels` equals `input_ids` on the response and its end token, MASKED on the prompt."""

    example_id: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def label_tokens(self) -> int:
        """How many tokens are trained on."""
        return sum(label != MASKED for label in self.labels)


class Span(NamedTuple):
    """Tokens of a row that see themselves and those before them, within the span alone.

    `shared`: they also see so many first tokens of the span before, which is where a pair's two answers have their prompt.
    """

    tokens: int
    shared: int = 0


class Row(NamedTuple):
    """What one forward pass takes: all tokens of a micro-batch, and those that are to be predicted."""

    input_ids: torch.Tensor  # [1, width]
    position_ids: torch.Tensor  # [1, width]; they restart with every example
    spans: tuple[Span, ...]  # from left to right; their tokens add up to the width
    predicting: torch.Tensor  # [labelled tokens]: the position in the row that predicts the token
    targets: torch.Tensor  # [labelled tokens]: the token


class MicroBatch(NamedTuple):
    """A share of an optimizer step. An empty one is one padding token that predicts nothing."""

    row: Row
    step_tokens: int  # labelled tokens of the whole optimizer step, over all micro-batches and devices


def encode(example: Example, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Encoded | Rejected:
    """Tokens of prompt, response and end token. An example longer than `max_tokens` is rejected, never cut.

    The text of the end token in a response is text; a tokenizer that knows no other way to write it has it rejected.
    """
    prompt = encode_prompt(tokenizer, example.prompt, example.prefix)
    response = encode_answer(tokenizer, example.response, example.prompt, example.prefix)
    ids = (*prompt, *response, tokenizer.eos_token_id)
    if not response:
        return Rejected.make(example.id, "empty_response", raw=example.prompt)
    if tokenizer.eos_token_id in response:
        return Rejected.make(example.id, "end_token_inside", raw=example.response)
    if len(ids) > max_tokens:
        return Rejected.make(example.id, "too_long", f"{len(ids)} tokens, at most {max_tokens}", raw=example.response)
    # Without a prompt the first token cannot be predicted from anything, and must not be from the example packed before it.
    masked = max(1, len(prompt))
    return Encoded(example.id, ids, (MASKED,) * masked + ids[masked:])


def encode_all(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> tuple[list[Encoded], list[Rejected]]:
    """`encode` for each example: those that can be trained on, and those rejected."""
    results = [encode(example, tokenizer, max_tokens) for example in examples]
    return (
        [result for result in results if isinstance(result, Encoded)],
        [result for result in results if isinstance(result, Rejected)],
    )


def self_check(encoded: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> str:
    """Text that shows the first example with its mask, for a person to look at.

    Raises UserError if an example has no labelled token, which would train nothing, or if its labels do not hold the end
    token exactly once, as the last, which would train a model that never stops or stops too early.
    """
    if not encoded:
        raise UserError("There is nothing to train on: no examples are left.")
    end = tokenizer.eos_token_id
    for one in encoded:
        if not one.label_tokens:
            raise UserError(f"Example {one.example_id}: all labels are masked, so nothing would be learned from it.")
        if one.labels[-1] != end:
            raise UserError(
                f"Example {one.example_id}: its output lacks the end token ({tokenizer.eos_token!r}), so the model "
                "would not learn to stop."
            )
        if (times := one.labels.count(end)) > 1:
            raise UserError(
                f"Example {one.example_id}: its output holds the end token ({tokenizer.eos_token!r}) {times} times, so the "
                "model would learn to stop in the middle."
            )
    first = encoded[0]
    masked = [token for token, label in zip(first.input_ids, first.labels, strict=True) if label == MASKED]
    trained = [label for label in first.labels if label != MASKED]
    return (
        f"Example {first.example_id} of {len(encoded)}\n"
        f"--- masked, {len(masked)} tokens:\n{tokenizer.decode(masked)}\n"
        f"--- trained on, {len(trained)} tokens:\n{tokenizer.decode(trained)}\n---"
    )


def draw(encoded: Sequence[Item], *, seed: int, epochs: float | None = None, tokens: int | None = None) -> list[Item]:
    """The examples in training order: seeded epochs, each a fresh shuffle of all examples.

    With `epochs`, the first round(epochs * n) of them. With `tokens`, as many as fit the budget: drawing ends before
    the first example that would exceed it, so the sum of lengths (prompt, response and end token, no padding) falls
    short of the budget by less than one example, whichever recipe the examples come from. Exactly one of the two
    must be given. Raises UserError if the budget is too small for the first example.
    """
    if (epochs is None) == (tokens is None):
        raise ValueError("give either epochs or tokens")
    if not encoded:
        return []
    stream = endless(encoded, seed)
    if epochs is not None:
        return list(islice(stream, round(epochs * len(encoded))))
    assert tokens is not None
    drawn: list[Item] = []
    left = tokens
    while len(one := next(stream)) <= left:
        drawn.append(one)
        left -= len(one)
    if not drawn:
        raise UserError(f"A budget of {tokens} training tokens is too small for one example of {len(one)} tokens.")
    return drawn


def endless(encoded: Sequence[Item], seed: int) -> Iterator[Item]:
    """Epoch after epoch, each a fresh shuffle of all examples."""
    epoch = 0
    while True:
        order = list(range(len(encoded)))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        yield from (encoded[index] for index in order)
        epoch += 1


def plan_steps(
    drawn: Iterable[Item],
    *,
    batch_examples: int | None = None,
    batch_tokens: int | None = None,
    steps: int | None = None,
) -> list[list[Item]]:
    """Cut the draw into optimizer steps, in order; at most `steps` of them, so that the draw may be endless.

    A step holds `batch_examples` examples, or as many as fit `batch_tokens` tokens (at least one). Exactly one of
    the two must be given; the last step holds the rest.
    """
    if (batch_examples is None) == (batch_tokens is None):
        raise ValueError("give either batch_examples or batch_tokens")
    return list(islice(_cut(drawn, batch_examples, batch_tokens), steps))


def _cut(drawn: Iterable[Item], batch_examples: int | None, batch_tokens: int | None) -> Iterator[list[Item]]:
    step: list[Item] = []
    tokens = 0
    for one in drawn:
        if batch_examples is not None:
            full = len(step) == batch_examples
        else:
            assert batch_tokens is not None
            full = tokens + len(one) > batch_tokens
        if full and step:
            yield step
            step, tokens = [], 0
        step.append(one)
        tokens += len(one)
    if step:
        yield step


def accumulation_for(steps: Sequence[Sequence[int]], devices: int, micro_tokens: int) -> int:
    """The smallest number of micro-batches per step and device that keeps each of them within `micro_tokens`.

    steps: for each optimizer step the lengths of what it holds. The number is the same for all steps, because Lightning's
    accumulation is constant. What is longer than `micro_tokens` is a micro-batch of its own.
    """
    found = 1
    for lengths in steps:
        limit = max(micro_tokens, *lengths)
        while max(sum(lengths[index] for index in part) for part in share_out(lengths, found * devices)) > limit:
            found += 1
    return found


def share_out(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of the items of an optimizer step, as `parts` micro-batches of about as many tokens.

    The longest come first, each into the part that has the least so far. With fewer items than parts, the last are empty.
    """
    found: list[list[int]] = [[] for _ in range(parts)]
    fill = [0] * parts
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        part = fill.index(min(fill))
        found[part].append(index)
        fill[part] += lengths[index]
    return found


def micro_batches(step: Sequence[Encoded], *, parts: int, pad: int) -> list[MicroBatch]:
    """An optimizer step as `parts` micro-batches (accumulation times devices).

    An empty part is one padding token and adds 0 to loss and gradient; it exists because every device must take part in
    every step.
    """
    step_tokens = sum(one.label_tokens for one in step)
    shares = share_out([len(one) for one in step], parts)
    return [MicroBatch(_row([step[index] for index in share], pad), step_tokens) for share in shares]


def _row(examples: Sequence[Encoded], pad: int) -> Row:
    ids = [token for one in examples for token in one.input_ids]
    labels = [label for one in examples for label in one.labels]
    positions = [position for one in examples for position in range(len(one))]
    # The first token of an example is never labelled, so none is predicted from the example before it.
    labelled = [place for place, label in enumerate(labels) if label != MASKED]
    return Row(
        torch.tensor([ids or [pad]]),
        torch.tensor([positions or [0]]),
        tuple(Span(len(one)) for one in examples) or (Span(1),),
        torch.tensor([place - 1 for place in labelled], dtype=torch.long),
        torch.tensor([labels[place] for place in labelled], dtype=torch.long),
    )
