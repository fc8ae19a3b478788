"""The engine that generates in process with transformers' models.

Place in the flow: `stages.attempt`, `stages.select` and `stages.evaluate` ask it for completions. All prompts of a call pass
through one batch (`target.batching`), longest first: a row that ends makes room for the next, and what neighbours begin with is
read once. The decode loop is our own, with a key-value cache that is written in place (`target.slots`);
`benchmarks/generation.py` measures it beside transformers' `generate`.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sei.target.batching import Limits, decode
from sei.target.decoding import Ending, Row, may_stop, uniform
from sei.target.engine import Completion, Query, Sampling
from sei.target.load import (
    Attention,
    Chat,
    Dtype,
    Quantization,
    adapter_fingerprint,
    encode_prompt,
    load_target,
    load_tokenizer,
    model_fingerprint,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OnProgress = Callable[[int, int], None]


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h


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
        revision: str | None = None,
        model_name: str | None = None,
        chat: Chat = True,
        on_progress: OnProgress | None = None,
    ) -> None:
        """`device` None takes a GPU where there is one. `model_name` is what completions say they are from. `chat`
        False leaves prompts bare where the tokenizer has a chat template.

        At most `batch_size` rows are generated at once, and no more than the free memory has room for (`Limits`).
        `on_progress(done, total)` is called as completions end.
        """
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = batch_size
        self.on_progress = on_progress
        self.chat = chat
        self.model_name = model_name or str(model_path)
        self._fingerprint: dict[str, Any] | None = None
        self._source = (model_path, adapter, revision, dtype, quantization, attention)
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None
        self._stop_tokens: dict[tuple[str, ...], frozenset[int]] = {}
        self._limits: Limits | None = None  # found at the first question; what fitted is remembered

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
        results: list[list[Completion]] = [[] for _ in queries]
        for index, completions in self.stream(queries, sampling):
            results[index] = completions
        return results

    def stream(self, queries: Sequence[Query], sampling: Sampling) -> Iterator[tuple[int, list[Completion]]]:
        """As `complete`, each query's completions with its place as soon as they are all there."""
        model, tokenizer = self._load()
        samples = 1 if sampling.temperature == 0.0 else sampling.samples
        open_ = [
            [Row(index, sample, encode_prompt(tokenizer, query.prompt, query.prefix)) for sample in range(samples)]
            for index, query in enumerate(queries)
        ]
        rows = [row for own in open_ for row in own]
        if sampling.temperature != 0.0:
            for row in rows:
                row.uniform = uniform(sampling, queries[row.query].prompt, row.sample)
        if self._limits is None:
            self._limits = Limits.of(model, self.batch_size)
        ending = Ending(model, tokenizer, sampling, self._may_stop(tokenizer, sampling.stop, model.config.vocab_size))
        done = 0
        for ended in decode(model, rows, sampling, ending, self._limits):
            done += len(ended)
            if self.on_progress is not None:
                self.on_progress(done, len(rows))
            for index in dict.fromkeys(row.query for row in ended):
                if all(row.ended for row in open_[index]):
                    made = [
                        Completion(row.text, len(row.tokens), row.truncated, self.model_name) for row in open_[index]
                    ]
                    yield index, made * (sampling.samples // samples)

    def close(self) -> None:
        """Free the model and, on a GPU, its memory. The engine loads again when asked again."""
        self._loaded = None
        self._stop_tokens.clear()
        self._limits = None
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

    def _may_stop(self, tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...], size: int) -> frozenset[int]:
        if stop not in self._stop_tokens:
            self._stop_tokens[stop] = may_stop(tokenizer, stop, size)
        return self._stop_tokens[stop]


def keep_freed_memory() -> None:
    """Let glibc keep the large blocks that each batch frees, where there is glibc.

    Handed back to the system, they are faulted in again page by page for the next batch: a fifth of the time on CPU
    (measured: 17.1 s against 14.9 s for 2,000 completions, 3.4 s against 0.2 s of it in the system). And let all threads share
    one heap: a backward pass runs in a thread of its own, which could not use what the forward pass has freed (58M weights with
    LoRA took 802 MiB with two heaps, 678 with one).
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def _hash_weights(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
