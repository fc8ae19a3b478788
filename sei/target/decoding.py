"""How the next token is chosen, and where a completion ends.

Place in the flow: `target.batching` asks for the next tokens of a batch's rows and hands them to the rows. Sampling draws its
random numbers per prompt and sample, so that a completion does not depend on what else is in the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from sei.target.engine import Sampling
from sei.target.load import end_of_turn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(eq=False)
class Row:
    """One completion in the making."""

    query: int
    sample: int
    prompt: list[int]
    uniform: np.ndarray | None = None  # [max_new_tokens] in [0, 1), None when greedy
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    truncated: bool = False
    ended: bool = False
    shared: int = 0  # tokens that its prompt begins with and that its neighbours' prompts begin with too

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.tokens)


class Ending:
    """Ends rows: at an end token, at the first stop string, at the limit of new tokens or of the model's context."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        may_stop: frozenset[int],
    ) -> None:
        """`may_stop` is what the function of this name gives for `sampling.stop`."""
        self.tokenizer, self.stop = tokenizer, sampling.stop
        self.most = sampling.max_new_tokens
        self.context: int = getattr(model.config, "max_position_embeddings", None) or 2**31
        self._ends = frozenset(end_tokens(model, tokenizer))
        self._may_stop = may_stop

    def room(self, row: Row) -> bool:
        """Whether a row may have one more token."""
        return row.length < self.context and len(row.tokens) < self.most

    def add(self, row: Row, token: int) -> None:
        """Give a row its next token, and end it where it is the last."""
        row.tokens.append(token)
        if token in self._ends:
            self.end(row, truncated=False, marker=True)
        elif token in self._may_stop and any(stop in self._decode(row.tokens) for stop in self.stop):
            self.end(row, truncated=False)
        elif not self.room(row):
            self.end(row, truncated=True)

    def end(self, row: Row, *, truncated: bool, marker: bool = False) -> None:
        """Decode, and cut at the first stop string. `marker`: the last token ended the row and is not text."""
        text = self._decode(row.tokens[:-1] if marker else row.tokens)
        cuts = [position for position in map(text.find, self.stop) if position >= 0]
        row.text = text[: min(cuts)] if cuts else text
        row.truncated = truncated
        row.ended = True

    def _decode(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def choose(logits: torch.Tensor, rows: Sequence[Row], sampling: Sampling) -> torch.Tensor:
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
    numbers = [float(row.uniform[len(row.tokens)]) for row in rows]  # type: ignore[index]
    uniform = torch.tensor(numbers, device=logits.device)
    at = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)
    # Rounding can put the point beyond the last token that has any probability: take that token then.
    last = (probabilities > 0).long().cumsum(-1).argmax(-1, keepdim=True)
    at = torch.minimum(at, last)
    return (at if order is None else order.gather(-1, at))[:, 0]


def uniform(sampling: Sampling, prompt: str, sample: int) -> np.ndarray:
    """[max_new_tokens] numbers in [0, 1) that depend on seed, prompt and sample number alone."""
    digest = hashlib.sha256(f"{sampling.seed}\0{sample}\0{prompt}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big")).random(sampling.max_new_tokens)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """All tokens that end a completion: the tokenizer's, the chat template's, and what the model's generation settings name."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    listed = [*(configured if isinstance(configured, list) else [configured]), end_of_turn(tokenizer)]
    return sorted({tokenizer.eos_token_id, *(token for token in listed if token is not None)})


def may_stop(tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...], size: int) -> frozenset[int]:
    """Of `size` tokens those after which a stop string can be complete, so that only these are decoded."""
    if not stop:
        return frozenset()
    texts = tokenizer.batch_decode([[index] for index in range(size)], clean_up_tokenization_spaces=False)
    last = {text[-1] for text in stop}
    # A token that is part of a character decodes to U+FFFD; one decoded alone may lose its blank space.
    every = any(character.isspace() or not character.isascii() for character in last)
    return frozenset(index for index, text in enumerate(texts) if every or not last.isdisjoint(text))
