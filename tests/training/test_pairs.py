from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from sei.errors import UserError
from sei.records import Pair, Rejected
from sei.training.attention import Kind
from sei.training.losses import MASKED, answer_logps
from sei.training.pairs import (
    LEAST_PROMPT,
    EncodedPair,
    PairBatch,
    encode_pair,
    encode_pairs,
    pair_batches,
    pair_check,
)
from sei.training.scoring import Way, find_way, token_logps
from tests.target.small import small_model, small_tokenizer


def pair(prompt: str, chosen: str, rejected: str, name: str = "pair-1") -> Pair:
    return Pair(name, prompt, chosen, rejected, "thought", ())


def made(number: int, before: int, chosen: int, rejected: int) -> EncodedPair:
    ids = [(31 * number + 7 * offset) % 250 + 1 for offset in range(before + chosen + rejected)]
    return EncodedPair(
        f"pair-{number}",
        number,
        tuple(ids[:before]),
        (*ids[before : before + chosen - 1], 0),
        (*ids[before + chosen : -1], 0),
    )


PAIRS = [made(0, 9, 5, 7), made(1, 30, 2, 14), made(2, 1, 12, 1), made(3, 14, 6, 3), made(4, 4, 1, 1)]


def test_answers_end_and_the_prompt_is_kept_whole_where_it_fits() -> None:
    tokenizer = small_tokenizer()
    prompt, chosen, rejected = (tokenizer(text)["input_ids"] for text in ("12+30=", "42", "4242"))
    encoded = encode_pair(pair("12+30=", "42", "4242"), tokenizer, len(prompt) + len(rejected) + 1)
    assert encoded == EncodedPair("pair-1", 0, tuple(prompt), (*chosen, 0), (*rejected, 0))
    assert len(encoded) == len(prompt) + len(chosen) + len(rejected) + 2


def test_truncation_takes_the_beginning_of_the_prompt_and_nothing_of_the_answers() -> None:
    tokenizer = small_tokenizer()
    text = "Question: Tom has 12 apples and buys 30 more.\nSolution:\n" * 3
    whole = encode_pair(pair(text, "42", "12+30=43"), tokenizer, 1000)
    assert isinstance(whole, EncodedPair)
    limit = len(whole.prompt) + len(whole.rejected) - 5
    cut = encode_pair(pair(text, "42", "12+30=43"), tokenizer, limit)
    assert isinstance(cut, EncodedPair)
    assert (cut.prompt, cut.chosen, cut.rejected) == (whole.prompt[5:], whole.chosen, whole.rejected)
    assert cut.cut == 5
    # The sides change places, the prompt stays the same: both are treated alike.
    swapped = encode_pair(pair(text, "12+30=43", "42"), tokenizer, limit)
    assert isinstance(swapped, EncodedPair)
    assert swapped.prompt == cut.prompt
    assert "1 with a cut prompt" in pair_check([cut], tokenizer)


def test_a_begin_token_survives_truncation() -> None:
    tokenizer = small_tokenizer()
    text = "Tom has 12 apples. " * 10
    tokenizer.bos_token = tokenizer.decode(tokenizer(text)["input_ids"][:1])
    whole, cut = (encode_pair(pair(text, "42", "43"), tokenizer, limit) for limit in (1000, 40))
    assert isinstance(whole, EncodedPair)
    assert isinstance(cut, EncodedPair)
    assert cut.prompt[0] == tokenizer.bos_token_id
    assert cut.prompt[1:] == whole.prompt[-len(cut.prompt) + 1 :]
    assert len(cut.prompt) + max(len(cut.chosen), len(cut.rejected)) == 40


def test_pairs_that_cannot_be_trained_on_are_rejected_with_their_reason() -> None:
    tokenizer = small_tokenizer()
    long = "0123456789" * 3
    length = len(tokenizer(long)["input_ids"]) + 1
    limit = length + LEAST_PROMPT - 1
    pairs = [
        pair("Tom has ", "42", "42", "same"),
        pair("Tom has " * 20, "42", long, "long"),
        pair("Tom", "42", long, "short prompt"),
        pair("Tom has ", "", "42", "empty"),
        pair("", "43", "42", "no prompt"),
        pair("Tom has ", "43", "42", "good"),
    ]
    encoded, rejected = encode_pairs(pairs, tokenizer, limit)
    assert [(one.pair_id, one.number) for one in encoded] == [("short prompt", 0), ("good", 1)]
    assert [(one.source_id, one.reason) for one in rejected] == [
        ("same", "no_preference"),
        ("long", "too_long"),
        ("empty", "empty_response"),
        ("no prompt", "empty_prompt"),
    ]
    assert rejected[1].detail == f"{length} tokens of the longer answer and 16 of the prompt, at most {limit}"
    assert rejected[1].raw == long
    # One token more, and the long pair keeps its least prompt.
    kept = encode_pair(pairs[1], tokenizer, limit + 1)
    assert isinstance(kept, EncodedPair)
    assert len(kept.prompt) == LEAST_PROMPT
    assert isinstance(encode_pair(pairs[1], tokenizer, 10), Rejected)


def test_the_text_of_the_end_token_is_text_and_a_pair_that_ends_early_is_refused() -> None:
    tokenizer = small_tokenizer()
    one = encode_pair(pair("Tom<|end|> ", "4<|end|>2", "43<|end|>"), tokenizer, 100)
    assert isinstance(one, EncodedPair)
    assert [part.count(0) for part in (one.prompt, one.chosen, one.rejected)] == [0, 1, 1]
    pair_check([one], tokenizer)
    with pytest.raises(UserError, match=r"Pair early: the end token \('<\|end\|>'\) stands within an answer"):
        pair_check([one, EncodedPair("early", 1, (5,), (6, 0, 7, 0), (8, 0))], tokenizer)


def logps(model: PreTrainedModel, way: Way, batch: PairBatch) -> torch.Tensor:
    return answer_logps(token_logps(model, way, batch.row), batch.answers, 2 * len(batch.numbers)).view(-1, 2)


def alone(model: torch.nn.Module, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
    """The answer's log-probability in a row of its own, without any of our batching."""
    ids = torch.tensor([prompt + answer])
    labels = torch.tensor((MASKED,) * len(prompt) + answer)
    return -torch.nn.functional.cross_entropy(model(input_ids=ids).logits[0, :-1], labels[1:], reduction="sum")


@pytest.mark.parametrize("kind", ["spans", "apart"])
@pytest.mark.parametrize("share", [True, False])
def test_shared_and_packed_pairs_score_as_answers_alone(kind: Kind, share: bool) -> None:
    reference, model = small_model(initializer_range=0.05), small_model(initializer_range=0.05)
    way = find_way(model) if kind == "spans" else Way(kind)
    found = {}
    for batch in pair_batches(PAIRS, parts=2, pad=0, share=share):
        scored = logps(model, way, batch)
        found |= dict(zip(batch.numbers.tolist(), scored.tolist(), strict=True))
        lengths = [[len(PAIRS[number].chosen), len(PAIRS[number].rejected)] for number in batch.numbers.tolist()]
        assert batch.lengths.tolist() == lengths
        assert batch.step_pairs == 5
    for one in PAIRS:
        expected = [alone(reference, one.prompt, answer).item() for answer in (one.chosen, one.rejected)]
        assert found[one.number] == pytest.approx(expected, abs=1e-5), one.number


def test_sharing_holds_each_prompt_once() -> None:
    tokens = {
        share: sum(
            int((batch.row.input_ids >= 0).sum()) for batch in pair_batches(PAIRS[:1], parts=1, pad=0, share=share)
        )
        for share in (True, False)
    }
    assert tokens == {True: 9 + 5 + 7, False: 9 + 5 + 9 + 7}


def test_gradient_with_sharing_equals_gradient_of_answers_alone() -> None:
    # Chosen and rejected weigh differently, or a mix-up of the two would not show. With 7 parts, two are empty.
    reference = small_model(initializer_range=0.05)
    for one in PAIRS:
        (2 * alone(reference, one.prompt, one.chosen) - alone(reference, one.prompt, one.rejected)).backward()
    model = small_model(initializer_range=0.05)
    way = find_way(model)
    for batch in pair_batches(PAIRS, parts=7, pad=0):
        (logps(model, way, batch) * torch.tensor([2.0, -1.0])).sum().backward()
    for (name, expected), found in zip(reference.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(found.grad, expected.grad, atol=1e-5, rtol=1e-4), name
