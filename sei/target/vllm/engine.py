"""The engine that generates with vLLM, in processes of its own.

Place in the flow: `stages.attempt`, `stages.select` and `stages.evaluate` ask it for completions. Prompts are encoded here, as
they are for training, and go over as token ids; token ids come back and become text here. How a completion ends, what of it
is text and what counts as truncated is `ending`'s, the same as with `engine=hf`. The processes start at the first question
and end with `close`, so that training has the whole GPU.

A greedy completion is that of `engine=hf`, as far as rounding lets two implementations agree. A sampled one has a seed of its
own, made of the same three things (seed, prompt, sample number), but vLLM draws other numbers from it.

Example::

    engine = VLLMEngine(Weights("runs/base", "base", dtype="float32"), VLLM(python="vllm-env/bin/python"))
    engine.complete([Query(prompt, question)], Sampling(max_new_tokens=200))[0][0].text
"""

from __future__ import annotations

import dataclasses
import gc
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sei.errors import UserError
from sei.target.ending import end_tokens, finished, random_seed
from sei.target.engine import Completion, Query, Sampling
from sei.target.load import encode_prompt, is_whole_model, load_tokenizer
from sei.target.vllm import adapters
from sei.target.vllm.layout import specs
from sei.target.vllm.pool import Answer, Pool, Request
from sei.target.weights import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sei.target.vllm.choice import VLLM


class VLLMEngine:
    """Engine over a local folder or hub name, with a LoRA adapter or without."""

    name = "vllm"

    def __init__(self, weights: Weights, settings: VLLM) -> None:
        """Raises UserError for an adapter that vLLM cannot load. Starts nothing."""
        self.weights, self._settings = weights, settings
        self._base, self._adapter, self._rank = weights, None, None
        adapter = weights.adapter
        if adapter is not None and is_whole_model(adapter.path):
            self._base = dataclasses.replace(weights, path=str(adapter.path), revision=None)
        elif adapter is not None:
            self._rank = adapters.rank_limit(adapters.read(adapter.path))
            self._adapter = adapters.request(adapter.path, adapter.hash)
        self._pool: Pool | None = None
        self._pool_rank: int | None = None
        self.facts: dict[str, Any] = {}

    def fingerprint(self) -> dict[str, Any]:
        return {"engine": self.name, "settings": self._settings, "weights": self.weights}

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """For each query its `sampling.samples` completions. A greedy completion is made once and repeated."""
        made = dict(self.stream(queries, sampling))
        return [made[place] for place in range(len(queries))]

    def stream(self, queries: Sequence[Query], sampling: Sampling) -> Iterator[tuple[int, list[Completion]]]:
        """The place of each query and its completions, as soon as it has all of them."""
        tokenizer, (ends, limit) = self._tokenizer, self._limits
        greedy = sampling.temperature == 0.0
        samples = range(1 if greedy else sampling.samples)
        requests: list[Request] = []
        done: dict[int, dict[int, Completion]] = {place: {} for place in range(len(queries))}
        for place, query in enumerate(queries):
            prompt = encode_prompt(tokenizer, query.prompt, query.prefix)
            room = max(0, min(sampling.max_new_tokens, limit - len(prompt)))
            for sample in samples:
                if room:
                    how = _sampling(sampling, query.prompt, sample, ends, room)
                    requests.append(Request(place * len(samples) + sample, prompt, how, self._adapter))
                else:  # the prompt alone fills the context
                    done[place][sample] = Completion("", 0, True, self.weights.label)

        def completions(place: int) -> tuple[int, list[Completion]]:
            made = done.pop(place)
            return place, [made[sample] for sample in samples] * (sampling.samples if greedy else 1)

        for place in [place for place, made in done.items() if made]:
            yield completions(place)
        for request, answer in self._ask(requests):
            place, sample = divmod(request.id, len(samples))
            done[place][sample] = self._completion(answer, ends, sampling.stop)
            if len(done[place]) == len(samples):
                yield completions(place)

    def take_over(self, earlier: object) -> bool:
        """Go on with the processes of `earlier`, where they have loaded what this engine needs."""
        if not isinstance(earlier, VLLMEngine) or earlier._pool is None or self._pool is not None:
            return False
        same = self._without_adapter(self._base) == self._without_adapter(earlier._base)
        if not same or self._settings != earlier._settings or (self._rank or 0) > (earlier._pool_rank or 0):
            return False
        self._pool, self._pool_rank, self.facts = earlier._pool, earlier._pool_rank, earlier.facts
        earlier._pool = None
        return True

    def close(self) -> None:
        """End the processes. Idempotent; the next question starts them again."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _ask(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer]]:
        if not requests:
            return
        try:
            pool = self._start()
            longest = max(request.cost for request in requests)
            if longest > (fits := int(pool.ready["max_model_len"])):
                raise UserError(
                    f"engine=vllm: prompt and answer have up to {longest:,} tokens, and beside the weights there is memory "
                    f"for {fits:,}. Lower model.max_new_tokens, or raise engine.memory or engine.tensor_parallel"
                )
            yield from pool.run(requests)
        except BaseException:
            self.close()
            raise

    def _start(self) -> Pool:
        if self._pool is None:
            _free_gpu()
            wanted = specs(self._settings, self._base, self._rank)
            self._pool = Pool(self._settings.executable, wanted, depth=self._settings.batch_size)
            self._pool_rank = self._rank
            self._pool.start()
            self.facts = {
                "engine": self.name,
                **self._pool.ready,
                "processes": len(wanted),
                "tensor_parallel": wanted[0].engine["tensor_parallel_size"],
                "batch_invariant": wanted[0].environment["VLLM_BATCH_INVARIANT"] == "1",
            }
        return self._pool

    def _completion(self, answer: Answer, ends: list[int], stop: Sequence[str]) -> Completion:
        if answer.reason not in ("stop", "length"):
            raise RuntimeError(
                f"vLLM ended a completion of {len(answer.tokens)} tokens for the reason '{answer.reason}'"
            )
        limited = answer.reason == "length"
        text, truncated = finished(self._tokenizer, answer.tokens, ends, stop, limited=limited)
        return Completion(text, len(answer.tokens), truncated, self.weights.label)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.weights.path, revision=self.weights.revision, chat=self.weights.chat)

    @cached_property
    def _limits(self) -> tuple[list[int], int]:
        """The tokens that end a completion, and how many tokens the model can look back on: as transformers finds them."""
        from transformers import AutoConfig, GenerationConfig

        source: dict[str, Any] = {"revision": self._base.revision or "main"}
        config = AutoConfig.from_pretrained(self._base.path, trust_remote_code=False, **source)
        try:
            generation = GenerationConfig.from_pretrained(self._base.path, **source)
        except OSError:  # it has none
            generation = GenerationConfig.from_model_config(config)
        limit = getattr(config, "max_position_embeddings", None) or 2**31
        return end_tokens(self._tokenizer, generation.eos_token_id), limit

    @staticmethod
    def _without_adapter(weights: Weights) -> Weights:
        return dataclasses.replace(weights, adapter=None, name="")


def _free_gpu() -> None:
    """Hand back the GPU memory that this process keeps for itself after training: vLLM takes a share of the whole."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _sampling(sampling: Sampling, prompt: str, sample: int, ends: list[int], room: int) -> dict[str, Any]:
    """Arguments of vLLM's SamplingParams."""
    drawn = {"top_p": sampling.top_p, "seed": random_seed(sampling, prompt, sample) >> 65}  # 63 bits
    return {
        "temperature": sampling.temperature,
        **(drawn if sampling.temperature else {}),
        "max_tokens": room,
        "stop": list(sampling.stop),
        "stop_token_ids": ends,
        "detokenize": bool(sampling.stop),  # for stop strings; the text is made of the tokens here
        "include_stop_str_in_output": True,
    }
