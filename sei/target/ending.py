"""How a completion ends and what its text is, and its random numbers: the same for every engine that has the token ids.

Place in the flow: `decoding` (transformers, in this process) and `vllm` (processes of their own) both go by these rules, so
that an attempt is cut, counted and called truncated in the same way whichever of them made it.

Example::

    ends = end_tokens(tokenizer, model.generation_config.eos_token_id)
    finished(tokenizer, tokens, ends, stop=("Question:",), limited=len(tokens) == limit)   # ("...#### 42", False)
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sei.target.engine import Sampling
from sei.target.load import end_of_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def end_tokens(tokenizer: PreTrainedTokenizerBase, configured: int | list[int] | None) -> list[int]:
    """All tokens that end a completion: the tokenizer's, the chat template's, and what the model's generation settings name
    (`configured`)."""
    listed = [*(configured if isinstance(configured, list) else [configured]), end_of_turn(tokenizer)]
    return sorted({tokenizer.eos_token_id, *(token for token in listed if token is not None)})


def finished(
    tokenizer: PreTrainedTokenizerBase,
    tokens: Sequence[int],
    ends: Collection[int],
    stop: Sequence[str],
    *,
    limited: bool,
) -> tuple[str, bool]:
    """The text of a completion of these tokens, and whether it is truncated.

    An end token is not text, and neither is what begins with a stop string. `limited`: there was no room for another token.
    """
    ended = bool(tokens) and tokens[-1] in ends
    text = decode(tokenizer, tokens[:-1] if ended else tokens)
    kept = cut(text, stop)
    return kept, limited and not ended and kept == text


def cut(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of the stop strings."""
    return text[: min((position for position in map(text.find, stop) if position >= 0), default=None)]


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The text of tokens; special tokens have none."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def random_seed(sampling: Sampling, prompt: str, sample: int) -> int:
    """128 bits that depend on seed, prompt and sample number alone, and so not on what else is asked in the same call."""
    digest = hashlib.sha256(f"{sampling.seed}\0{sample}\0{prompt}".encode()).digest()
    return int.from_bytes(digest[:16], "big")
