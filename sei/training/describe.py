"""The target as it will be asked and trained: the exact tokens of one prompt and one training row, special ones shown.

Place in the flow: a dry run prints this before anything is paid or trained. Only the tokenizer is loaded.

Example::

    print(describe(weights, "Question: 1+1?\\nSolution:\\n", example, max_tokens=512))
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sei.records import Example, Rejected
from sei.target.load import encode_prompt, end_of_turn, load_tokenizer
from sei.target.shape import cached_snapshot
from sei.target.weights import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def describe(weights: Weights, prompt: str, row: Example, *, max_tokens: int) -> str:
    """Several lines: id and revision, template, system message, tokens that end an answer, a prompt and a training row."""
    local = Path(weights.path).is_dir()
    lines = [weights.path if local else f"{weights.path}, revision {weights.revision or 'main (not pinned)'}"]
    if not (local or cached_snapshot(weights.path)):
        wanted = f"hf download {weights.path} --include 'token*' '*.jinja' config.json generation_config.json"
        return "\n".join([*lines, f"its tokenizer is not on this machine; to see its tokens here: {wanted}"])
    from sei.training.packing import encode, self_check

    tokenizer = load_tokenizer(weights.path, revision=weights.revision, chat=weights.chat)
    lines.append(_template(tokenizer, weights))
    ends = {tokenizer.eos_token_id: "end token, which training teaches"}
    if (turn := end_of_turn(tokenizer)) is not None:
        ends[turn] = "end token and end of turn, which training teaches" if turn in ends else "end of turn"
    shown = ", ".join(f"{tokenizer.convert_ids_to_tokens(token)!r} ({what})" for token, what in ends.items())
    lines.append(f"generation stops on: {shown}, and on what the model's generation_config.json adds")
    ids = encode_prompt(tokenizer, prompt)
    lines.append(f"one prompt, {len(ids)} tokens:\n{tokenizer.decode(ids)!r}")
    encoded = encode(row, tokenizer, max_tokens)
    if isinstance(encoded, Rejected):
        return "\n".join([*lines, f"one training row: rejected as {encoded.reason} {encoded.detail}".rstrip()])
    return "\n".join([*lines, f"one training row: {self_check([encoded], tokenizer)}"])


def _template(tokenizer: PreTrainedTokenizerBase, weights: Weights) -> str:
    if tokenizer.chat_template is None:
        why = "the prompts are bare for this target" if weights.chat is False else "it comes with none"
        return f"chat template: none ({why})"
    system = (
        f"with the system message {weights.chat!r}" if isinstance(weights.chat, str) else "with what it says by itself"
    )
    return f"chat template: its own, {system}"
