"""How the next token is chosen, and where a completion ends.

Place in the flow: `target.batching` asks for the next tokens of a batch's rows and hands them to the rows. Sampling draws its
random numbers per prompt and sample, so that a completion does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from sei.target.ending import cut, decode, end_tokens, random_seed
from sei.target.engine import Sampling

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
        self._ends = frozenset(end_tokens(tokenizer, getattr(model.generation_config, "eos_token_id", None)))
        self._may_stop = may_stop

    def room(self, row: Row) -> bool:
        """Whether a row may have one more token."""
        return row.length < self.context and len(row.tokens) < self.most

    def add(self, row: Row, token: int) -> None:
        """Give a row its next token, and end it where it is the last."""
        row.tokens.append(token)
        if token in self._ends:
            self.end(row, truncated=False, marker=True)
        elif token in self._may_stop and any(stop in decode(self.tokenizer, row.tokens) for stop in self.stop):
            self.end(row, truncated=False)
        elif not self.room(row):
            self.end(row, truncated=True)

    def end(self, row: Row, *, truncated: bool, marker: bool = False) -> None:
        """Decode, and cut at the first stop string. `marker`: the last token ended the row and is not text."""
        row.text = cut(decode(self.tokenizer, row.tokens[:-1] if marker else row.tokens), self.stop)
        row.truncated = truncated
        row.ended = True


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
    return np.random.default_rng(random_seed(sampling, prompt, sample)).random(sampling.max_new_tokens)


def may_stop(tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...], size: int) -> frozenset[int]:
    """Of `size` tokens those after which a stop string can be complete, so that only these are decoded."""
    if not stop:
        return frozenset()
    texts = tokenizer.batch_decode([[index] for index in range(size)], clean_up_tokenization_spaces=False)
    last = {text[-1] for text in stop}
    # A token that is part of a character decodes to U+FFFD; one decoded alone may lose its blank space.
    every = any(character.isspace() or not character.isascii() for character in last)
    return frozenset(index for index, text in enumerate(texts) if every or not last.isdisjoint(text))
