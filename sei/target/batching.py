"""Continuous batching: rows that have ended are replaced by waiting ones, so that the batch stays full to the end.

Place in the flow: `target.generation` hands over all rows of a call; `decode` yields those that have ended. How many
rows are in the batch at once goes by the memory that is free and what a token takes of it. Where that was too much, half of
it is used from then on, and the rows go on with the tokens that they have.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import torch

from sei.target.decoding import Ending, Row, choose
from sei.target.engine import Sampling
from sei.target.slots import STEP, SlotCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PREFILL = 8192  # tokens of prompts that are read at once: enough to keep a device busy
SHARE = 0.6  # of the free memory that a batch's keys and values may take; the rest is for what the model computes with
UNKNOWN = 131_072  # tokens of a batch whose cache is not ours, so that it is not known what one takes
SHARED = 16  # tokens that prompts must begin with alike, for these to be read once
REFILL = 0.125  # share of the slots that is free when new rows come in, or when the batch shrinks at the end


@dataclass
class Limits:
    """What fits: rows in a batch, their tokens in the cache, and tokens of prompts that are read at once."""

    rows: int
    tokens: int
    prefill: int = PREFILL

    @classmethod
    def of(cls, model: PreTrainedModel, rows: int) -> Limits:
        """By the memory that is free now; `rows` at the most."""
        cache = SlotCache(model)
        probe = torch.zeros(1, 1, dtype=torch.long, device=model.device)
        with torch.inference_mode():
            model(input_ids=probe, past_key_values=cache.cache, use_cache=True, logits_to_keep=1)
        each = cache.bytes_per_token()
        return cls(rows, int(SHARE * free_memory(model.device)) // each if each else UNKNOWN)

    def slots(self, longest: int) -> int:
        """How many rows of at most `longest` tokens the batch can have."""
        return max(1, min(self.rows, self.tokens // (longest + STEP)))

    def halve(self, rows: int, longest: int) -> None:
        """Remember that `rows` of at most `longest` tokens were too many."""
        self.tokens = rows * (longest + STEP) // 2
        self.prefill = max(1, self.prefill // 2)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def decode(
    model: PreTrainedModel, rows: Sequence[Row], sampling: Sampling, ending: Ending, limits: Limits
) -> Iterator[list[Row]]:
    """Complete all rows, longest first, so that a batch that is too large fails early; yields those that have ended."""
    if full := [row for row in rows if not ending.room(row)]:
        for row in full:
            ending.end(row, truncated=True)
        yield full
    while open_ := [row for row in rows if not row.ended]:
        batch, lost = Batch(model, in_order(open_), sampling, ending, limits), False
        try:
            while batch.rows or batch.waiting:
                batch.advance()
                if batch.ended:
                    yield batch.ended
        except torch.OutOfMemoryError:
            if batch.size == 1:
                raise
            limits.halve(batch.size, batch.longest)
            lost = True
        if lost and batch.ended:  # just before memory did
            yield batch.ended
        if model.device.type == "cuda":
            del batch
            torch.cuda.empty_cache()


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Longest first, so that a batch that is too large fails early; neighbours that begin alike stay together.

    One-shot selection puts one demonstration before many questions: it is read once for all of them (`Row.shared`).
    """
    families: list[list[Row]] = []
    shared: list[int] = []  # by family; of one alone nothing
    for row in rows:
        if families:
            common = _in_common(families[-1][0].prompt, row.prompt)
            if common >= (0.75 * shared[-1] if shared[-1] else SHARED):  # else the next demonstration has begun
                families[-1].append(row)
                shared[-1] = min(common, shared[-1] or common)
                continue
        families.append([row])
        shared.append(0)
    for family, common in zip(families, shared, strict=True):
        for row in family:
            row.shared = common
        family.sort(key=lambda row: -row.length)
    return [row for family in sorted(families, key=lambda family: -family[0].length) for row in family]


def _in_common(one: list[int], other: list[int]) -> int:
    """How many tokens two prompts begin with that are the same; each keeps its last token for itself."""
    most = min(len(one), len(other)) - 1
    return next((place for place in range(most) if one[place] != other[place]), most)


class Batch:
    """Rows in the making, by slot, and the cache they stand in."""

    def __init__(
        self, model: PreTrainedModel, waiting: Sequence[Row], sampling: Sampling, ending: Ending, limits: Limits
    ) -> None:
        self.model, self.sampling, self.ending, self.limits = model, sampling, ending, limits
        self.waiting = deque(waiting)
        self.rows: dict[int, Row] = {}  # by slot
        self.ended: list[Row] = []
        self.size = self.longest = 0  # slots, and the tokens that a row of them may come to

    @torch.inference_mode()
    def advance(self) -> None:
        """Let new rows in where there is room, and give every row its next token. `ended` are then those that it ended."""
        self.ended = []
        free = self.size - len(self.rows)
        if self.waiting and (not self.rows or (self._cache.refillable and free >= REFILL * self.size)):
            self._fill()
        elif not self.waiting and free >= REFILL * self.size:
            self._move(len(self.rows))
        if self.rows:
            self._step()

    def _begin(self) -> None:
        """An empty batch for the rows that wait."""
        self._cache = SlotCache(self.model)
        self.longest = max(map(self._may_come_to, self._next_in()))
        self.size = self.limits.slots(self.longest)
        device = self.model.device
        self._lengths = torch.zeros(self.size, dtype=torch.long, device=device)  # tokens in the cache
        self._next = torch.zeros_like(self._lengths)  # the token that each row goes on with
        self._mask = torch.zeros(self.size, 0, dtype=torch.long, device=device)

    def _may_come_to(self, row: Row) -> int:
        return len(row.prompt) + self.ending.most

    def _fill(self) -> None:
        """Let rows in until every slot has one."""
        if not self.rows:
            self._begin()
        else:
            self.longest = max(map(self._may_come_to, (*self.rows.values(), *self._next_in())))
            if (size := self.limits.slots(self.longest)) > self.size:
                self._move(size)
        free = deque(slot for slot in range(self.size) if slot not in self.rows)
        while free and self.waiting:
            new = self._chunk(len(free))
            self._read(new, [free.popleft() for _ in new])

    def _next_in(self) -> list[Row]:
        return list(itertools.islice(self.waiting, self.limits.rows))

    def _chunk(self, most: int) -> list[Row]:
        """The next rows, as many as are read at once: all of them with a beginning that they share, or all without."""
        rows = [self.waiting.popleft()]
        cost = rows[0].length
        while self.waiting and len(rows) < most:
            row, before = self.waiting[0], rows[-1]
            together = _same_beginning(before, row)
            cost += row.length - (row.shared if together else 0)
            if self._cache.refillable and (cost > self.limits.prefill or bool(row.shared) != bool(before.shared)):
                break
            rows.append(self.waiting.popleft())
        return rows

    def _read(self, rows: list[Row], slots: list[int]) -> None:
        """Run the model on the rows' prompts (and what they have behind them), into `slots` of the cache."""
        texts = [row.prompt + row.tokens for row in rows]
        if rows[0].shared and self._cache.shareable:
            cache, mask, logits = self._read_shared(rows, texts)
        else:
            cache = SlotCache(self.model) if self._cache.refillable else self._cache
            ids, mask = self._padded(texts)
            logits = self._run(ids, mask, _positions(mask), cache)
            cache.columns.end = mask.shape[1]
        where = torch.tensor(slots, device=mask.device)
        if self._cache.refillable:
            self._place(where, cache, mask)
        else:
            self._mask = mask
        self._lengths[where] = mask.sum(-1)
        self.rows |= dict(zip(slots, rows, strict=True))
        self._take(slots, logits)

    def _read_shared(self, rows: list[Row], texts: list[list[int]]) -> tuple[SlotCache, torch.Tensor, torch.Tensor]:
        """As reading them whole: what neighbours begin with is read once. Cache, mask and logits behind each row."""
        families: list[Row] = []
        family_of = []
        for before, row in zip([None, *rows], rows, strict=False):
            if before is None or not _same_beginning(before, row):
                families.append(row)
            family_of.append(len(families) - 1)
        beginnings, mask = self._padded([row.prompt[: row.shared] for row in families])
        read, cache = SlotCache(self.model), SlotCache(self.model)
        self._run(beginnings, mask, _positions(mask), read)
        width = read.columns.end = mask.shape[1]
        ids, own = self._padded([text[row.shared :] for row, text in zip(rows, texts, strict=True)])
        chosen = torch.tensor(family_of, device=ids.device)
        for layer, one in zip(cache.layers(), read.layers(), strict=True):
            layer.begin(one, chosen, own.shape[1])
        cache.columns.end = width
        mask = torch.cat([mask[chosen], own], dim=-1)
        logits = self._run(ids, mask, _positions(mask)[:, width:], cache)
        # What is masked between a beginning and its row's own part goes before both.
        order = mask.argsort(dim=-1, stable=True)[:, -max(map(len, texts)) :]
        for layer in cache.layers():
            layer.arrange(order)
        cache.columns.end = order.shape[1]
        return cache, mask.gather(-1, order), logits

    def _padded(self, texts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids, padded on the left, and a mask that is 1 on texts; both [texts, longest]."""
        longest, pad = max(map(len, texts)), self.ending.tokenizer.eos_token_id
        ids = torch.tensor([[pad] * (longest - len(text)) + text for text in texts], device=self.model.device)
        lengths = torch.tensor([len(text) for text in texts], device=self.model.device)
        return ids, (torch.arange(longest, device=ids.device) >= longest - lengths[:, None]).long()

    def _place(self, slots: torch.Tensor, other: SlotCache, mask: torch.Tensor) -> None:
        """Put what `other` has into slots of the cache."""
        longest, columns = mask.shape[1], self._cache.columns
        if not self._mask.shape[1]:
            columns.end = longest
            self._mask = self._mask.new_zeros(self.size, longest + STEP)
        elif longest > columns.end:
            self._move(self.size, end=longest)
        for layer, one in zip(self._cache.layers(), other.layers(), strict=True):
            layer.place(slots, one, (self.size, self._mask.shape[1]))
        self._mask[slots] = 0
        self._mask[slots, columns.end - longest : columns.end] = mask

    def _step(self) -> None:
        """One token more for every row."""
        columns = self._cache.columns
        if columns.end == self._mask.shape[1]:
            self._move(self.size)
        if self._cache.refillable:
            columns.start = columns.end - self._width()
        slots = sorted(self.rows)
        self._mask[:, columns.end] = 1
        mask = self._mask[:, columns.start : columns.end + 1]
        logits = self._run(self._next[:, None], mask, self._lengths[:, None], self._cache)
        columns.end += 1
        self._lengths += 1
        self._take(slots, logits if len(slots) == self.size else logits[torch.tensor(slots, device=logits.device)])

    def _width(self) -> int:
        """Columns that the longest row has in the cache: all its tokens but the last one."""
        return max((row.length - 1 for row in self.rows.values()), default=0)

    def _run(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """The logits behind each row, [rows, vocabulary]."""
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def _take(self, slots: list[int], logits: torch.Tensor) -> None:
        """Choose the next token of the rows in `slots`; rows that end leave theirs."""
        rows = [self.rows[slot] for slot in slots]
        chosen = choose(logits, rows, self.sampling)
        self._next[torch.tensor(slots, device=chosen.device)] = chosen
        for slot, row, token in zip(slots, rows, chosen.tolist(), strict=True):
            self.ending.add(row, token)
            if row.ended:
                self.ended.append(self.rows.pop(slot))
                self._lengths[slot] = 0  # what still runs in the slot counts its positions from here

    def _move(self, size: int, *, end: int = 0) -> None:
        """New storage for `size` slots: the rows first, as far to the left as `end` and their length allow."""
        kept = torch.tensor(sorted(self.rows), dtype=torch.long, device=self._mask.device)
        columns = self._cache.columns
        if self._cache.refillable:
            width = self._width()
            columns.start, end = columns.end - width, max(width, end)
            for layer in self._cache.layers():
                layer.move(kept, size, end)
        else:
            width, end, size = columns.end, columns.end, len(kept)
            self._cache.cache.batch_select_indices(kept)
        mask = self._mask.new_zeros(size, end + STEP)
        mask[: len(kept), end - width : end] = self._mask[kept, columns.start : columns.end]
        self._mask = mask
        columns.start, columns.end = end - width, end
        spare = (0, size - len(kept))
        self._lengths = torch.nn.functional.pad(self._lengths[kept], spare)
        self._next = torch.nn.functional.pad(self._next[kept], spare)
        self.rows = dict(enumerate(self.rows[slot] for slot in sorted(self.rows)))
        self.size = size


def _same_beginning(one: Row, other: Row) -> bool:
    return 0 < one.shared == other.shared and one.prompt[: one.shared] == other.prompt[: other.shared]


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)
