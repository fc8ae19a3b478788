from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from sei.errors import UserError
from sei.records import Example, Rejected
from sei.training.attention import Kind
from sei.training.losses import MASKED, sft_loss
from sei.training.packing import (
    Encoded,
    accumulation_for,
    draw,
    encode,
    encode_all,
    micro_batches,
    plan_steps,
    self_check,
    share_out,
)
from sei.training.scoring import Way, find_way, token_logps
from tests.target.small import small_model, small_tokenizer


def example(prompt: str, response: str, name: str = "example-1") -> Example:
    return Example(name, prompt, response, "cot", ())


def made(length: int, name: str = "x", masked: int = 1) -> Encoded:
    ids = tuple((7 * length + offset) % 250 + 1 for offset in range(length))
    return Encoded(name, ids, (MASKED,) * masked + ids[masked:])


def test_mask_is_exact() -> None:
    tokenizer = small_tokenizer()
    encoded = encode(example("12+30=", "42\n"), tokenizer, 100)
    assert isinstance(encoded, Encoded)
    prompt, response = tokenizer("12+30=")["input_ids"], tokenizer("42\n")["input_ids"]
    assert encoded.input_ids == (*prompt, *response, 0)
    assert encoded.labels == (*[MASKED] * len(prompt), *response, 0)
    assert encoded.label_tokens == len(response) + 1


def test_first_token_is_never_trained_on() -> None:
    encoded = encode(example("", "42"), small_tokenizer(), 100)
    assert isinstance(encoded, Encoded)
    assert encoded.labels[0] == MASKED
    assert encoded.labels[1:] == encoded.input_ids[1:]


def test_too_long_and_empty_are_rejected_not_cut() -> None:
    tokenizer = small_tokenizer()
    fits = example("12+30=", "4242424242", "fits")
    length = len(encode(fits, tokenizer, 1000))  # type: ignore[arg-type]
    assert isinstance(encode(fits, tokenizer, length), Encoded)
    encoded, rejected = encode_all([fits, example("1", "", "empty")], tokenizer, length - 1)
    assert encoded == []
    assert [(one.source_id, one.reason) for one in rejected] == [("fits", "too_long"), ("empty", "empty_response")]
    assert rejected[0].detail == f"{length} tokens, at most {length - 1}"
    assert isinstance(rejected[0], Rejected)


def test_the_end_token_is_where_the_output_ends_and_nowhere_else() -> None:
    tokenizer = small_tokenizer()
    encoded, rejected = encode_all([example("Tom<|end|> has ", "42<|end|>\n#### 42<|end|>")], tokenizer, 100)
    assert rejected == []
    assert encoded[0].input_ids.count(0) == 1
    self_check(encoded, tokenizer)

    class Old:  # a tokenizer that cannot write the text of its end token
        eos_token_id, chat_template, added_tokens_decoder = 0, None, {}

        def __call__(self, text: str, **options: bool) -> dict[str, list[int]]:
            return {"input_ids": tokenizer(text)["input_ids"]}

        def __len__(self) -> int:
            return 300

    row = encode(example("Tom has ", "4<|end|>2"), Old(), 100)  # type: ignore[arg-type]
    assert isinstance(row, Rejected)
    assert (row.reason, row.raw) == ("end_token_inside", "4<|end|>2")


def test_self_check_shows_prompt_and_output_apart() -> None:
    tokenizer = small_tokenizer()
    encoded, _ = encode_all([example("Tom has ", "42 apples")], tokenizer, 100)
    text = self_check(encoded, tokenizer)
    assert f"masked, {len(encoded[0]) - encoded[0].label_tokens} tokens:\nTom has \n" in text
    assert f"trained on, {encoded[0].label_tokens} tokens:\n42 apples<|end|>\n" in text


def test_self_check_refuses_masked_unended_and_nothing() -> None:
    tokenizer = small_tokenizer()
    good = Encoded("good", (5, 6, 0), (MASKED, 6, 0))
    with pytest.raises(UserError, match="Example bad: all labels are masked"):
        self_check([good, Encoded("bad", (5, 6, 0), (MASKED,) * 3)], tokenizer)
    with pytest.raises(UserError, match=r"Example bad: its output lacks the end token \('<\|end\|>'\)"):
        self_check([good, Encoded("bad", (5, 6, 7), (MASKED, 6, 7))], tokenizer)
    with pytest.raises(UserError, match=r"Example bad: its output holds the end token .* 2 times"):
        self_check([good, Encoded("bad", (0, 6, 0, 7, 0), (MASKED, 6, 0, 7, 0))], tokenizer)
    self_check([Encoded("chat", (0, 6, 7, 0), (MASKED, MASKED, 7, 0))], tokenizer)  # a template's marker in the prompt
    with pytest.raises(UserError, match="nothing to train on"):
        self_check([], tokenizer)


def test_budget_is_missed_by_less_than_one_example_for_any_data() -> None:
    for data in ([made(length) for length in range(5, 25)], [made(40), made(11)]):
        for budget in (41, 100, 999):
            drawn = draw(data, seed=3, tokens=budget)
            total = sum(map(len, drawn))
            assert budget - max(map(len, data)) < total <= budget


def test_draw_repeats_whole_epochs_in_new_order_and_depends_on_seed() -> None:
    data = [made(5, name=str(index)) for index in range(8)]
    drawn = [one.example_id for one in draw(data, seed=0, epochs=2.5)]
    assert len(drawn) == 20
    first, second = drawn[:8], drawn[8:16]
    assert sorted(first) == sorted(second) == sorted(one.example_id for one in data)
    assert first != second
    assert len(set(drawn[16:])) == 4
    assert drawn == [one.example_id for one in draw(data, seed=0, epochs=2.5)]
    assert drawn != [one.example_id for one in draw(data, seed=1, epochs=2.5)]
    assert drawn[:13] == [one.example_id for one in draw(data, seed=0, tokens=69)]


def test_draw_refuses_a_budget_below_one_example() -> None:
    with pytest.raises(UserError, match=r"budget of 4 training tokens is too small for one example of 5 tokens"):
        draw([made(5)], seed=0, tokens=4)


def test_steps_by_examples_and_by_tokens() -> None:
    data = [made(length) for length in (4, 3, 5, 20, 2, 2)]
    lengths = [[len(one) for one in step] for step in plan_steps(data, batch_examples=4)]
    assert lengths == [[4, 3, 5, 20], [2, 2]]
    lengths = [[len(one) for one in step] for step in plan_steps(data, batch_tokens=10)]
    assert lengths == [[4, 3], [5], [20], [2, 2]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 6))
def test_parts_hold_each_example_once_and_are_evened_out(lengths: list[int], parts: int) -> None:
    shares = share_out(lengths, parts)
    assert len(shares) == parts
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    fill = [sum(lengths[index] for index in share) for share in shares]
    assert max(fill) - min(fill) <= max(lengths)


def test_accumulation_is_the_least_that_keeps_micro_batches_small() -> None:
    assert accumulation_for([[4, 3, 3, 2], [1]], 1, 12) == 1
    assert accumulation_for([[4, 3, 3, 2], [1]], 1, 11) == 2
    assert accumulation_for([[4, 3, 3, 2], [1]], 2, 11) == 1
    assert accumulation_for([[5, 5, 4, 3, 3]], 1, 10) == 3  # 5 + 4 and 5 + 3 + 3: the first of two has too much
    assert accumulation_for([[30, 2]], 1, 10) == 2  # what is longer than that is alone


def loss_of(model: PreTrainedModel, way: Way, step: list[Encoded], parts: int) -> torch.Tensor:
    """Summed over micro-batches, with its gradient added to the model's."""
    total = torch.zeros(())
    for batch in micro_batches(step, parts=parts, pad=0):
        assert batch.row.input_ids.shape == (1, sum(span.tokens for span in batch.row.spans))
        loss = sft_loss(token_logps(model, way, batch.row), batch.step_tokens)
        loss.backward()
        total += loss.detach()
    return total


@pytest.mark.parametrize("parts", [1, 3, 8])
@pytest.mark.parametrize("kind", ["spans", "apart"])
def test_loss_and_gradient_of_packed_examples_equal_those_of_single_ones(parts: int, kind: Kind) -> None:
    # With 8 parts and 5 examples, 3 parts are padding alone.
    step = [made(length, masked=3) for length in (9, 30, 14, 5, 22)]
    step_tokens = sum(one.label_tokens for one in step)
    assert step_tokens == 80 - 5 * 3
    reference, expected = small_model(), torch.zeros(())
    for one in step:
        logits = reference(input_ids=torch.tensor([one.input_ids])).logits[0, :-1]
        labels = torch.tensor(one.labels[1:])  # MASKED is what cross-entropy ignores
        loss = cross_entropy(logits, labels, reduction="sum") / step_tokens
        loss.backward()
        expected += loss.detach()
    model = small_model()
    way = find_way(model)
    assert way == Way("spans")
    if kind == "apart":
        model, way = small_model(), Way("apart")
    found = loss_of(model, way, step, parts)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    for (name, one), other in zip(reference.named_parameters(), model.parameters(), strict=True):
        assert torch.allclose(other.grad, one.grad, atol=1e-6, rtol=1e-4), name
