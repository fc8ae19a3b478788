"""The engine that generates in process with transformers' models.

Place in the flow: `stages.attempt`, `stages.select` and `stages.evaluate` ask it for completions. Prompts are sorted
by length and padded on the left; a row leaves the batch as soon as it ends, so a batch costs what its unfinished rows
cost. The decode loop is our own: on the embedded target it is several times as fast as `generate`, mainly because its
key-value cache grows in place (`benchmarks/` measures both).

A completion does not depend on what else is asked in the same call: sampling draws its random numbers per prompt
(rounding in differently shaped matrix products aside, which can decide a tie).

Example::

    engine = HFEngine("runs/base", adapter="runs/adapter")
    engine.complete([Query(prompt, question)], Sampling(max_new_tokens=200))[0][0].text
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from sei.target.engine import Completion, Query, Sampling
from sei.target.load import (
    Attention,
    Dtype,
    Quantization,
    adapter_fingerprint,
    encode_prompt,
    end_of_turn,
    load_target,
    load_tokenizer,
    model_fingerprint,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OnProgress = Callable[[int, int], None]


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


class HFEngine:
    """Engine over a local folder or hub name, loaded at the first question."""

    name = "hf"

    def __init__(
        self,
        model_path: str | Path,
        adapter: str | Path | None = None,
        *,
        device: str | None = None,
        dtype: Dtype = "auto",
        quantization: Quantization = "none",
        attention: Attention | None = None,
        batch_size: int = 256,
        batch_tokens: int = 131_072,
        revision: str | None = None,
        model_name: str | None = None,
        chat: bool = True,
        on_progress: OnProgress | None = None,
    ) -> None:
        """`device` None takes a GPU where there is one. `model_name` is what completions say they are from. `chat`
        False leaves prompts bare where the tokenizer has a chat template.

        A batch holds at most `batch_size` rows and `batch_tokens` tokens, counting prompts and all new tokens that
        may come; one that does not fit the accelerator's memory is halved. `on_progress(done, total)` is called as
        completions end.
        """
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.on_progress = on_progress
        self.chat = chat
        self.model_name = model_name or str(model_path)
        self._fingerprint: dict[str, Any] | None = None
        self._source = (model_path, adapter, revision, dtype, quantization, attention)
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None
        self._stop_tokens: dict[tuple[str, ...], torch.Tensor] = {}

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "in-memory",
        batch_size: int = 256,
        on_progress: OnProgress | None = None,
    ) -> HFEngine:
        """An engine over a model that is already loaded; its fingerprint is a hash of the weights."""
        engine = cls(name, device=str(model.device), batch_size=batch_size, on_progress=on_progress)
        engine._loaded = (model.eval(), tokenizer)
        engine._fingerprint = {"engine": cls.name, "weights": _hash_weights(model), "dtype": str(model.dtype)}
        return engine

    def fingerprint(self) -> dict[str, Any]:
        """Hashes of weights and adapter, dtype and quantization. Does not load the model."""
        if self._fingerprint is None:
            model, adapter, revision, dtype, quantization, _ = self._source
            self._fingerprint = {
                "engine": self.name,
                "model": model_fingerprint(model, revision),
                "adapter": None if adapter is None else adapter_fingerprint(adapter),
                "dtype": dtype,
                "quantization": quantization,
                "chat": self.chat,
            }
        return self._fingerprint

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """For each query its `sampling.samples` completions. A greedy completion is made once and repeated."""
        model, tokenizer = self._load()
        greedy = sampling.temperature == 0.0
        rows = [
            _Row(query_index, sample, prompt=encode_prompt(tokenizer, query.prompt, query.prefix))
            for query_index, query in enumerate(queries)
            for sample in range(1 if greedy else sampling.samples)
        ]
        if not greedy:
            for row in rows:
                row.uniform = _uniform(sampling, queries[row.query].prompt, row.sample)
        ends = _end_tokens(model, tokenizer)
        may_stop = self._may_stop(tokenizer, sampling.stop, model.config.vocab_size)
        done = 0
        for batch in self._batches(rows, sampling):
            for ended in self._generate_or_halve(model, tokenizer, batch, sampling, ends, may_stop):
                done += ended
                if self.on_progress is not None:
                    self.on_progress(done, len(rows))
        results: list[list[Completion]] = [[] for _ in queries]
        for row in rows:
            completion = Completion(row.text, len(row.tokens), row.truncated, self.model_name)
            results[row.query] += [completion] * (sampling.samples if greedy else 1)
        return results

    def close(self) -> None:
        """Free the model and, on a GPU, its memory. The engine loads again when asked again."""
        self._loaded = None
        self._stop_tokens.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._loaded is None:
            if self.device == "cpu":
                keep_freed_memory()
            path, adapter, revision, dtype, quantization, attention = self._source
            model = load_target(
                path,
                adapter,
                revision=revision,
                dtype=dtype,
                quantization=quantization,
                attention=attention,
                device=self.device,
            )
            self._loaded = (model, load_tokenizer(path, revision=revision, chat=self.chat))
        return self._loaded

    def _batches(self, rows: list[_Row], sampling: Sampling) -> Iterator[list[_Row]]:
        """Rows of like prompt length together, longest first, so that a batch that is too large fails early."""
        batch: list[_Row] = []
        for row in sorted(rows, key=lambda row: -len(row.prompt)):
            longest = len(batch[0].prompt) if batch else len(row.prompt)
            tokens = (len(batch) + 1) * (longest + sampling.max_new_tokens)
            if batch and (len(batch) == self.batch_size or tokens > self.batch_tokens):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _generate_or_halve(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        batch: list[_Row],
        sampling: Sampling,
        ends: torch.Tensor,
        may_stop: torch.Tensor,
    ) -> Iterator[int]:
        """Run `_generate`; where memory does not suffice, both halves of what has not ended, one after the other."""
        try:
            yield from _generate(model, tokenizer, batch, sampling, ends, may_stop)
            return
        except torch.OutOfMemoryError:
            rest = [row for row in batch if not row.ended]
            if len(rest) < 2:
                raise
        torch.cuda.empty_cache()
        for row in rest:
            row.tokens.clear()
        middle = len(rest) // 2
        for half in (rest[:middle], rest[middle:]):
            yield from self._generate_or_halve(model, tokenizer, half, sampling, ends, may_stop)

    def _may_stop(self, tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...], size: int) -> torch.Tensor:
        """[vocabulary] bool: the tokens after which a stop string can be complete, so that only these are decoded."""
        if stop not in self._stop_tokens:
            texts = tokenizer.batch_decode([[index] for index in range(size)], clean_up_tokenization_spaces=False)
            last = {text[-1] for text in stop}
            # A token that is part of a character decodes to U+FFFD; one decoded alone may lose its blank space.
            every = any(character.isspace() or not character.isascii() for character in last)
            flags = [bool(stop) and (every or not last.isdisjoint(text)) for text in texts]
            self._stop_tokens[stop] = torch.tensor(flags, dtype=torch.bool)
        return self._stop_tokens[stop]


def keep_freed_memory() -> None:
    """Let glibc keep the large blocks that each batch frees, where there is glibc.

    Handed back to the system, they are faulted in again page by page for the next batch: a fifth of the time on CPU
    (measured: 17.1 s against 14.9 s for 2,000 completions, 3.4 s against 0.2 s of it in the system).
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


@dataclass
class _Row:
    """One completion in the making."""

    query: int
    sample: int
    prompt: list[int]
    uniform: np.ndarray | None = None  # [max_new_tokens] in [0, 1), None when greedy
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    truncated: bool = False
    ended: bool = False

    def end(
        self, tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...], *, truncated: bool, marker: int | None = None
    ) -> None:
        """Decode, and cut at the first stop string. `marker` is the token that ended the row, which is not text."""
        text = _decode(tokenizer, self.tokens if marker is None else self.tokens[:-1])
        cuts = [position for position in map(text.find, stop) if position >= 0]
        self.text = text[: min(cuts)] if cuts else text
        self.truncated = truncated
        self.ended = True


class _GrowingLayer(DynamicLayer):
    """A layer of the key-value cache that is written in place and grows by `step` positions.

    transformers' own concatenates, which copies the whole cache for every token: more memory traffic than all of a
    small model's arithmetic. `keys` and `values` are views [batch, heads, length, head size] of the storage.
    """

    step = 64

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._key_store, self._value_store = key_states[:, :, :0], value_states[:, :, :0]
        if end > self._key_store.shape[-2]:
            self._key_store = self._grown(self._key_store, key_states, length, end)
            self._value_store = self._grown(self._value_store, value_states, length, end)
        self._key_store[:, :, length:end] = key_states
        self._value_store[:, :, length:end] = value_states
        self.keys, self.values = self._key_store[:, :, :end], self._value_store[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        length = self.get_seq_length()
        self._key_store, self._value_store = self._key_store[indices], self._value_store[indices]
        self.keys, self.values = self._key_store[:, :, :length], self._value_store[:, :, :length]

    def _grown(self, store: torch.Tensor, new: torch.Tensor, length: int, end: int) -> torch.Tensor:
        batch, heads, _, size = new.shape
        grown = new.new_empty(batch, heads, end + self.step, size)
        grown[:, :, :length] = store[:, :, :length]
        return grown


def _new_cache(model: PreTrainedModel) -> DynamicCache:
    """A cache for `model` whose full-attention layers grow in place; sliding or recurrent layers stay as they are."""
    cache = DynamicCache(config=model.config)
    cache.layers = [_GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


@torch.inference_mode()
def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: list[_Row],
    sampling: Sampling,
    ends: torch.Tensor,
    may_stop: torch.Tensor,
) -> Iterator[int]:
    """Complete all rows of `batch`, longest prompt first; yields how many ended whenever some did."""
    device = model.device
    limit = getattr(model.config, "max_position_embeddings", None) or 2**31
    alive = []
    for row in batch:
        if sampling.max_new_tokens > 0 and len(row.prompt) < limit:
            alive.append(row)
        else:
            row.end(tokenizer, (), truncated=True)
    if len(alive) < len(batch):
        yield len(batch) - len(alive)
    if not alive:
        return

    ids, lengths, mask = _padded(alive, tokenizer.eos_token_id, device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = _new_cache(model)
    for step in range(sampling.max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen = _choose(logits, alive, step, sampling)  # [rows]
        tokens = chosen.tolist()
        at_end = torch.isin(chosen, ends.to(device)).tolist()
        checks = may_stop[chosen.cpu()].tolist() if sampling.stop else [False] * len(tokens)
        kept = []
        for index, (row, token) in enumerate(zip(alive, tokens, strict=True)):
            row.tokens.append(token)
            room = len(row.prompt) + len(row.tokens) < limit and len(row.tokens) < sampling.max_new_tokens
            if at_end[index]:
                row.end(tokenizer, sampling.stop, truncated=False, marker=token)
            elif checks[index] and _has_stop(tokenizer, row.tokens, sampling.stop):
                row.end(tokenizer, sampling.stop, truncated=False)
            elif not room:
                row.end(tokenizer, sampling.stop, truncated=True)
            else:
                kept.append(index)
        if len(kept) < len(alive):
            yield len(alive) - len(kept)
        if not kept:
            return
        if len(kept) < len(alive):
            alive = [alive[index] for index in kept]
            index_tensor = torch.tensor(kept, device=device)
            cache.batch_select_indices(index_tensor)
            chosen, mask, lengths = chosen[index_tensor], mask[index_tensor], lengths[index_tensor]
        ids = chosen[:, None]
        positions = (lengths + step)[:, None]
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=-1)


def _padded(rows: list[_Row], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The prompts, padded on the left: ids [rows, longest], lengths [rows], and a mask [rows, longest] that is 1 on prompts."""
    longest = max(len(row.prompt) for row in rows)
    ids = torch.tensor([[pad] * (longest - len(row.prompt)) + row.prompt for row in rows], device=device)
    lengths = torch.tensor([len(row.prompt) for row in rows], device=device)
    return ids, lengths, (torch.arange(longest, device=device) >= longest - lengths[:, None]).long()


def _choose(logits: torch.Tensor, rows: list[_Row], step: int, sampling: Sampling) -> torch.Tensor:
    """The next token of each row, [rows], from logits [rows, vocabulary]: greedy, or by inverting the CDF at each row's
    own uniform number after nucleus (top-p) truncation (Holtzman et al., arXiv 1904.09751)."""
    if sampling.temperature == 0.0:
        return logits.argmax(-1)
    probabilities = (logits.float() / sampling.temperature).softmax(-1)
    order = None
    if sampling.top_p < 1.0:
        probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    cumulative = probabilities.cumsum(-1)
    uniform = torch.tensor([float(row.uniform[step]) for row in rows], device=logits.device)  # type: ignore[index]
    at = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)
    # Rounding can put the point beyond the last token that has any probability: take that token then.
    last = (probabilities > 0).long().cumsum(-1).argmax(-1, keepdim=True)
    at = torch.minimum(at, last)
    return (at if order is None else order.gather(-1, at))[:, 0]


def _uniform(sampling: Sampling, prompt: str, sample: int) -> np.ndarray:
    """[max_new_tokens] numbers in [0, 1) that depend on seed, prompt and sample number alone."""
    digest = hashlib.sha256(f"{sampling.seed}\0{sample}\0{prompt}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big")).random(sampling.max_new_tokens)


def _has_stop(tokenizer: PreTrainedTokenizerBase, tokens: list[int], stop: tuple[str, ...]) -> bool:
    text = _decode(tokenizer, tokens)
    return any(string in text for string in stop)


def _decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """All tokens that end a completion: the tokenizer's, the chat template's, and what the model's generation settings name."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    listed = [*(configured if isinstance(configured, list) else [configured]), end_of_turn(tokenizer)]
    return torch.tensor(sorted({tokenizer.eos_token_id, *(token for token in listed if token is not None)}))


def _hash_weights(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
