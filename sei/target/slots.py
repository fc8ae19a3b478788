"""The key-value cache of a batch whose rows come and go.

Place in the flow: `target.batching` decodes on it. A row of the batch is a *slot*; what a row has in the cache ends at the same
column for all, so that each step writes one column, and what is before a row's beginning is masked. A row that has ended is
written over by a new one; nothing is copied for that but what the new one brings. Columns that no living row needs are left
out of every step, and once the storage is full the rest moves to its beginning.

transformers' own cache concatenates, which copies all of it for every token: more memory traffic than all of a small
model's arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STEP = 64  # columns that storage has in reserve
_PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)


@dataclass
class Columns:
    """The columns of the storage that are in use, `start` to `end`: the same in every layer."""

    start: int = 0
    end: int = 0


class SlotLayer(DynamicLayer):
    """One layer. `stores`: its keys and its values, [slots, heads, room, size]. A sliding window keeps all its columns too."""

    def __init__(self, columns: Columns, sliding: bool) -> None:
        super().__init__()
        self.columns, self.is_sliding = columns, sliding
        self.stores: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write behind the columns in use; whoever runs the model then says that they are in use."""
        start, end = self.columns.start, self.columns.end
        new = end + key_states.shape[-2]
        if not self.stores:
            self.lazy_initialization(key_states, value_states)
            self.stores = [key_states, value_states]
        else:
            for store, states in zip(self.stores, (key_states, value_states), strict=True):
                store[:, :, end:new] = states
        keys, values = (store[:, :, start:new] for store in self.stores)
        return keys, values

    def get_seq_length(self) -> int:
        return self.columns.end - self.columns.start

    def move(self, kept: torch.Tensor, slots: int, end: int) -> None:
        """New storage of `slots`: the slots `kept` first, their columns in use before `end`."""
        start, width = self.columns.start, self.get_seq_length()
        for index, store in enumerate(self.stores):
            moved = _empty(store, slots, end + STEP)
            moved[: len(kept), :, end - width : end] = store[:, :, start : start + width].index_select(0, kept)
            self.stores[index] = moved

    def begin(self, other: SlotLayer, rows: torch.Tensor, more: int) -> None:
        """Begin as `rows` of another cache, with room for `more` columns."""
        self.lazy_initialization(other.stores[0], other.stores[1])
        pad = torch.nn.functional.pad
        self.stores = [pad(store.index_select(0, rows), (0, 0, 0, more)) for store in other.stores]

    def arrange(self, columns: torch.Tensor) -> None:
        """Keep these columns of each row, [rows, columns], in this order."""
        rows = torch.arange(len(columns), device=columns.device)[:, None]
        self.stores = [store[rows, :, columns].transpose(1, 2) for store in self.stores]

    def place(self, slots: torch.Tensor, other: SlotLayer, room: tuple[int, int]) -> None:
        """Put the rows of another cache into `slots`, before the last column in use. `room`: slots and columns of the
        storage, where there is none yet."""
        if not self.stores:
            self.lazy_initialization(other.stores[0], other.stores[1])
            self.stores = [_empty(store, *room) for store in other.stores]
        end = self.columns.end
        for store, new in zip(self.stores, other.stores, strict=True):
            store[slots, :, end - new.shape[2] : end] = new


def _empty(like: torch.Tensor, slots: int, room: int) -> torch.Tensor:
    """Zeros: what is masked is multiplied by 0 all the same, which leaves what is not a number as it is."""
    return like.new_zeros(slots, like.shape[1], room, like.shape[3])


class SlotCache:
    """A cache for `model`; `cache` is what its forward takes.

    `refillable`: rows can be placed among others. Where the model has layers of another kind (a recurrent state, say), they
    stay transformers' own, and a batch ends before the next begins. `shareable`: what several rows begin with can be read
    once; a sliding window counts columns, and these have gaps then.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.columns = Columns()
        self.cache = DynamicCache(config=model.config)
        kinds = [getattr(layer, "is_sliding", None) for layer in self.cache.layers if type(layer) in _PLAIN]
        self.refillable = len(kinds) == len(self.cache.layers)
        self.shareable = self.refillable and not any(kinds)
        if self.refillable:
            self.cache.layers = [SlotLayer(self.columns, bool(sliding)) for sliding in kinds]

    def layers(self) -> list[SlotLayer]:
        return [layer for layer in self.cache.layers if isinstance(layer, SlotLayer)]

    def bytes_per_token(self) -> int:
        """What one position of one row takes, in all layers."""
        stores = [store for layer in self.layers() for store in layer.stores]
        return sum(store.shape[1] * store.shape[3] * store.element_size() for store in stores)
