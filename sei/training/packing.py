"""From examples to optimizer steps: tokens and mask, training budget, packed rows, micro-batches.

Place in the flow: `training.run` encodes the examples, draws them up to the budget, cuts the draw into optimizer
steps, and `training.module` feeds each step's micro-batches. All functions are pure. Several examples share one row;
they cannot attend to one another, because each restarts its positions at 0 and transformers builds a block-diagonal causal
mask from restarting positions. `training.pairs` uses the same draw, steps and rows.

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


class MicroBatch(NamedTuple):
    """What one forward pass takes. Padding has position 0 and predicts nothing."""

    input_ids: torch.Tensor  # [rows, width]
    position_ids: torch.Tensor  # [rows, width]
    kept: torch.Tensor  # [rows, width] bool: the positions that predict a labelled token; only they get logits
    targets: torch.Tensor  # [labelled tokens]: the tokens to predict, row by row
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
    accumulation is constant. A row wider than `micro_tokens` is a micro-batch of its own.
    """
    most = 1
    for lengths in steps:
        width = max(lengths)
        rows = max(1, micro_tokens // width)
        most = max(most, -(-len(pack_rows(lengths, width)) // rows))
    return -(-most // devices)


def pack_rows(lengths: Sequence[int], max_tokens: int, *, at_least: int = 1) -> list[list[int]]:
    """Indices of examples, row by row: no row longer than `max_tokens`, and as few rows as first-fit decreasing finds.

    The rows (at least `at_least`, if there are enough examples) are then evened out: each example goes to the row that is
    shortest so far, so that the other rows need little padding to the width of the widest.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    fitted: list[list[int]] = []
    fill: list[int] = []
    for index in order:
        if lengths[index] > max_tokens:
            raise ValueError(f"example of {lengths[index]} tokens in rows of {max_tokens}")
        row = next((row for row, used in enumerate(fill) if used + lengths[index] <= max_tokens), None)
        if row is None:
            row = len(fitted)
            fitted.append([])
            fill.append(0)
        fitted[row].append(index)
        fill[row] += lengths[index]
    count = max(len(fitted), min(at_least, len(lengths)))
    even: list[list[int]] = [[] for _ in range(count)]
    fill = [0] * count
    for index in order:
        row = fill.index(min(fill))
        even[row].append(index)
        fill[row] += lengths[index]
    return even if max(fill, default=0) <= max_tokens else fitted


def share_out(lengths: Sequence[int], parts: int) -> list[list[list[int]]]:
    """Indices of the items of an optimizer step, as `parts` micro-batches of rows, the widest rows first.

    Rows are as wide as the longest item: wider ones would only add attention that the mask discards. If there are fewer
    rows than parts, the last parts are empty.
    """
    rows = pack_rows(lengths, max(lengths), at_least=parts)
    rows.sort(key=lambda row: -sum(lengths[index] for index in row))
    # Neighbouring rows are of similar width, so contiguous shares need little padding.
    return [rows[len(rows) * part // parts : len(rows) * (part + 1) // parts] for part in range(parts)]


def micro_batches(step: Sequence[Encoded], *, parts: int, pad: int) -> list[MicroBatch]:
    """An optimizer step as `parts` micro-batches (accumulation times devices).

    An empty part is one padding token and adds 0 to loss and gradient; it exists because every device must take part in
    every step.
    """
    step_tokens = sum(one.label_tokens for one in step)
    shares = share_out([len(one) for one in step], parts)
    return [_tensors([[step[index] for index in row] for row in share], pad, step_tokens) for share in shares]


def _tensors(rows: Sequence[Sequence[Encoded]], pad: int, step_tokens: int) -> MicroBatch:
    width = max((sum(map(len, row)) for row in rows), default=1)
    input_ids = torch.full((max(1, len(rows)), width), pad)
    position_ids = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, MASKED)
    for number, row in enumerate(rows):
        at = 0
        for one in row:
            end = at + len(one)
            input_ids[number, at:end] = torch.tensor(one.input_ids)
            position_ids[number, at:end] = torch.arange(len(one))
            labels[number, at:end] = torch.tensor(one.labels)
            at = end
    predicted = labels.roll(-1, dims=1)  # the first token of a row is never labelled, so nothing wraps around
    kept = predicted != MASKED
    return MicroBatch(input_ids, position_ids, kept, predicted[kept], step_tokens)
