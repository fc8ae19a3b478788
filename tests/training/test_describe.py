"""The target as a dry run shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.records import Example
from sei.target import tiny
from sei.target.weights import Weights
from sei.training.describe import describe
from tests.target.small import save_small, small_tokenizer

ROW = Example("e1", "12+30=", "42", "cot", ())


def test_the_embedded_target_s_prompt_and_row_are_shown_token_by_token() -> None:
    weights = Weights(str(Path(tiny.__file__).parent / "weights"), "tiny", chat=False)
    text = describe(weights, "Question: 1+1?\nSolution:\n", ROW, max_tokens=100)
    assert "chat template: none (the prompts are bare for this target)" in text
    assert "one prompt, " in text
    assert "'Question: 1+1?\\nSolution:\\n'" in text
    assert "--- trained on, 2 tokens:\n42<end>" in text, "its end token is seen, and trained"


def test_a_chat_target_s_template_system_message_and_ends_are_shown(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    tokenizer = small_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message.role }}]{{ message.content }}<|turn|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    text = describe(Weights(str(folder), "small", chat="Be brief."), "12+30=", ROW, max_tokens=100)
    assert "chat template: its own, with the system message 'Be brief.'" in text
    assert "'<|end|>' (end token, which training teaches), '<|turn|>' (end of turn)" in text
    assert "'[system]Be brief.<|turn|>[user]12+30=<|turn|>[assistant]'" in text
    assert "rejected as too_long" in describe(Weights(str(folder), "small"), "12+30=", ROW, max_tokens=16)


def test_a_tokenizer_that_is_not_here_is_said_without_asking_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    text = describe(Weights("owner/absent", "absent"), "12+30=", ROW, max_tokens=100)
    assert text.startswith("owner/absent, revision main (not pinned)")
    assert "hf download owner/absent" in text
