from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from sei.target import batching, decoding, slots
from sei.target.ending import end_tokens
from sei.target.engine import Query, Sampling
from sei.target.generation import HFEngine
from sei.target.load import encode_prompt, end_of_turn

from .small import save_small, small_model, small_tokenizer

PROMPTS = [
    "Tom has 12",
    "Question: Tom has 12 apples and buys 30 more.\nSolution:\n",
    "12+30=",
    "a",
    "Step 1. apples 42",
]

LIKE_LLAMA = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "initializer_range",
    "max_position_embeddings",
    "eos_token_id",
)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return small_model()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return small_tokenizer()


def queries(prompts: list[str] = PROMPTS) -> list[Query]:
    return [Query(prompt, prompt) for prompt in prompts]


def texts(engine: HFEngine, sampling: Sampling, prompts: list[str] = PROMPTS) -> list[list[str]]:
    return [[one.text for one in completions] for completions in engine.complete(queries(prompts), sampling)]


def test_greedy_equals_generate_one_prompt_at_a_time(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    # 90 new tokens make the cache grow past its first storage; batches of 3 mix lengths.
    completions = HFEngine.of(model, tokenizer, batch_size=3).complete(queries(), Sampling(max_new_tokens=90))
    for prompt, [completion] in zip(PROMPTS, completions, strict=True):
        ids = torch.tensor([encode_prompt(tokenizer, prompt)])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=90, do_sample=False)
        expected = expected[0, ids.shape[1] :].tolist()
        assert completion.text == tokenizer.decode(expected, skip_special_tokens=True)
        assert completion.tokens == len(expected)
        assert completion.truncated == (expected[-1] != tokenizer.eos_token_id)


def test_rows_that_end_leave_the_others_unchanged(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    # Sampling at a high temperature ends rows at different steps, so the cache is compacted many times.
    prompts = [f"{index} apples and {index} more" for index in range(40)]
    sampling = Sampling(max_new_tokens=120, temperature=1.0, seed=3)
    engine = HFEngine.of(model, tokenizer)
    together = engine.complete(queries(prompts), sampling)
    ended = [completion for [completion] in together if not completion.truncated]
    assert len({completion.tokens for completion in ended}) >= 3
    for prompt, completions in list(zip(prompts, together, strict=True))[:12]:
        assert engine.complete(queries([prompt]), sampling) == [completions]


def test_truncation_is_per_completion(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    [[short]] = HFEngine.of(model, tokenizer).complete(queries(["12"]), Sampling(max_new_tokens=3))
    assert short.truncated
    assert short.tokens == 3


def test_stop_string_ends_and_is_cut_off(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    engine = HFEngine.of(model, tokenizer)
    [[free]] = engine.complete(queries(["Tom has"]), Sampling(max_new_tokens=40))
    stop = next(free.text[at : at + 2] for at in range(12, len(free.text)) if free.text[at : at + 2].isascii())
    [[stopped]] = engine.complete(queries(["Tom has"]), Sampling(max_new_tokens=40, stop=("never there", stop)))
    assert stopped.text == free.text[: free.text.find(stop)]
    assert not stopped.truncated
    assert stopped.tokens < free.tokens


IM_CHAT = (
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_the_end_of_turn_of_the_chat_template_ends_a_completion() -> None:
    model, tokenizer = small_model(vocab_size=301), small_tokenizer()
    tokenizer.add_tokens(["<|im_end|>"], special_tokens=True)  # token 300; the end token is 0
    sampling = Sampling(max_new_tokens=120, temperature=2.0)
    prompts = [f"{index} apples" for index in range(30)]
    bare = HFEngine.of(model, tokenizer).complete(queries(prompts), sampling)
    tokenizer.chat_template = IM_CHAT
    assert end_of_turn(tokenizer) == 300
    assert end_tokens(tokenizer, model.generation_config.eos_token_id) == [0, 300]
    chat = HFEngine.of(model, tokenizer).complete(queries(prompts), sampling)
    ended = [sum(not one.truncated for [one] in completions) for completions in (bare, chat)]
    assert ended[0] < ended[1]
    assert not any("<|im_end|>" in one.text for [one] in chat)


def test_templates_that_write_no_end_or_refuse_have_none() -> None:
    tokenizer = small_tokenizer()
    assert end_of_turn(tokenizer) is None
    for template in (
        "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}",
        "{% for message in messages %}{{ message.content }} {{ raise_exception('no') }}{% endfor %}",
        "{% if",
    ):
        tokenizer.chat_template = template
        assert end_of_turn(tokenizer) is None


def test_sampling_is_seeded_per_prompt_and_sample(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    engine = HFEngine.of(model, tokenizer, batch_size=4)
    sampling = Sampling(max_new_tokens=20, temperature=0.8, top_p=0.9, samples=3, seed=1)
    first = texts(engine, sampling)
    assert first == texts(engine, sampling)
    assert len(set(first[0])) == 3
    assert first[0] == texts(engine, sampling, PROMPTS[:1])[0]
    assert first != texts(engine, Sampling(max_new_tokens=20, temperature=0.8, top_p=0.9, samples=3, seed=2))


def test_greedy_samples_are_repeated(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    [outputs] = texts(HFEngine.of(model, tokenizer), Sampling(max_new_tokens=5, samples=3), ["12"])
    assert len(outputs) == 3
    assert len(set(outputs)) == 1


def test_choose_inverts_the_cumulative_distribution_inside_the_nucleus() -> None:
    # Probabilities .1 .6 .3. The nucleus of .8 is tokens 1 and 2 (.6, .3), rescaled to 2/3 and 1/3.
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().repeat(4, 1)
    rows = [decoding.Row(0, 0, []) for _ in range(4)]
    for row, value in zip(rows, [0.0, 0.66, 0.67, 0.999999], strict=True):
        row.uniform = torch.tensor([value]).numpy()
    assert decoding.choose(logits, rows, Sampling(temperature=1.0, top_p=0.8)).tolist() == [1, 1, 2, 2]
    # Without a nucleus the order is the vocabulary's: [0, .1) [.1, .7) [.7, 1).
    assert decoding.choose(logits, rows, Sampling(temperature=1.0)).tolist() == [0, 1, 1, 2]


def test_top_p_and_temperature_change_the_draw() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(1000, 1)
    rows = [decoding.Row(0, 0, []) for _ in range(1000)]
    for index, row in enumerate(rows):
        row.uniform = torch.tensor([(index + 0.5) / 1000]).numpy()
    drawn = decoding.choose(logits, rows, Sampling(temperature=1.0))
    assert drawn.bincount().tolist() == [500, 300, 200]
    # At temperature .5 the probabilities are squared: .25 .09 .04, that is .658 .237 .105.
    drawn = decoding.choose(logits, rows, Sampling(temperature=0.5))
    assert drawn.bincount().tolist() == pytest.approx([658, 237, 105], abs=1)


def test_prompt_as_long_as_the_context_is_truncated_at_once(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    [[full], [other]] = HFEngine.of(model, tokenizer).complete(queries(["9 " * 300, "12"]), Sampling(max_new_tokens=4))
    assert (full.text, full.tokens, full.truncated) == ("", 0, True)
    assert other.tokens == 4


def test_out_of_memory_halves_the_batch_and_generates_nothing_twice(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 7 rows do not fit once they have 9 tokens: they go on from there, and the limit is remembered."""
    prompts = [f"{index} apples and {index} more" for index in range(30)]
    sampling = Sampling(max_new_tokens=40, temperature=1.0, seed=3)
    expected = HFEngine.of(model, tokenizer).complete(queries(prompts), sampling)
    engine = HFEngine.of(model, tokenizer, batch_size=16)
    step, add = batching.Batch._step, decoding.Ending.add
    sizes: list[int] = []
    added: list[int] = []

    def small_memory(batch: batching.Batch) -> None:
        sizes.append(batch.size)
        if batch.size > 7 and any(len(row.tokens) > 9 for row in batch.rows.values()):
            raise torch.OutOfMemoryError("too large")
        step(batch)

    monkeypatch.setattr(batching.Batch, "_step", small_memory)
    monkeypatch.setattr(decoding.Ending, "add", lambda self, row, token: (added.append(token), add(self, row, token)))
    assert engine.complete(queries(prompts), sampling) == expected
    assert len(added) == sum(completion.tokens for [completion] in expected)
    assert sizes[0] == 16
    assert min(sizes) <= 7
    sizes.clear()
    assert engine.complete(queries(prompts), sampling) == expected
    assert max(sizes) <= 7, "what did not fit was tried again"


def test_a_row_that_ended_just_before_memory_did_is_not_lost(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long prompt has room for one token, which reading it gives."""
    long = next(text for n in range(400) if len(encode_prompt(tokenizer, text := "9" * n)) == 255)
    expected = HFEngine.of(model, tokenizer).complete(queries([long, *PROMPTS]), Sampling(max_new_tokens=6))
    assert expected[0][0].tokens == 1
    step = batching.Batch._step
    failures = iter([torch.OutOfMemoryError("too large")])

    def once(batch: batching.Batch) -> None:
        for failure in failures:
            raise failure
        step(batch)

    monkeypatch.setattr(batching.Batch, "_step", once)
    assert HFEngine.of(model, tokenizer).complete(queries([long, *PROMPTS]), Sampling(max_new_tokens=6)) == expected


def test_one_row_that_does_not_fit_is_an_error(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(batch: batching.Batch) -> None:
        raise torch.OutOfMemoryError("too large")

    monkeypatch.setattr(batching.Batch, "_step", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        texts(HFEngine.of(model, tokenizer), Sampling(max_new_tokens=40))


def test_a_sliding_window_and_refilled_slots_do_not_disturb_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    base = small_model().config.to_dict()
    model = MistralForCausalLM(MistralConfig(**{k: base[k] for k in LIKE_LLAMA}, sliding_window=8)).eval()
    prompts = [f"{index} apples and {'more ' * (index % 5)}" for index in range(12)]
    found = HFEngine.of(model, tokenizer, batch_size=3).complete(queries(prompts), Sampling(max_new_tokens=30))
    for prompt, [completion] in zip(prompts, found, strict=True):
        ids = torch.tensor([encode_prompt(tokenizer, prompt)])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, do_sample=False)
        assert completion.text == tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)


def test_layers_that_no_row_can_be_put_into_are_filled_batch_by_batch(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [f"{index} apples and {index} more" for index in range(20)]
    sampling = Sampling(max_new_tokens=90, temperature=1.0, seed=3)
    expected = HFEngine.of(model, tokenizer).complete(queries(prompts), sampling)
    monkeypatch.setattr(slots, "_PLAIN", ())
    assert not slots.SlotCache(model).refillable
    assert HFEngine.of(model, tokenizer, batch_size=8).complete(queries(prompts), sampling) == expected


def test_waiting_rows_come_in_as_others_end(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is full until nothing waits, so that the steps are hardly more than the tokens need."""
    prompts = [f"{index} apples and {index} more" for index in range(60)]
    living: list[tuple[int, int]] = []
    step = batching.Batch._step

    def watched(batch: batching.Batch) -> None:
        living.append((len(batch.rows), len(batch.waiting)))
        step(batch)

    monkeypatch.setattr(batching.Batch, "_step", watched)
    sampling = Sampling(max_new_tokens=90, temperature=1.0)
    found = HFEngine.of(model, tokenizer, batch_size=8).complete(queries(prompts), sampling)
    steps, living[:] = list(living), []
    assert found == HFEngine.of(model, tokenizer).complete(queries(prompts), sampling)
    assert not any(waiting for _, waiting in living), "all fit at once, and none was put in another's place"
    assert {rows for rows, waiting in steps if waiting} == {8}


def test_what_neighbours_begin_with_is_read_once_and_changes_nothing(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One-shot prompts: three demonstrations of different lengths before the same six questions, and others among them."""
    shown = [
        f"Question: {name} has 12 apples and buys {'30 ' * size}more.\n"
        for name, size in (("Al", 3), ("Bo", 9), ("Cy", 5))
    ]
    prompts = [f"{example}Question: {'more ' * index}{index}?" for example in shown for index in range(6)]
    prompts = ["12+30=", *prompts[:12], "a", *prompts[12:], "Step 1. apples 42"]
    sampling = Sampling(max_new_tokens=40, temperature=1.0, seed=3, samples=2)
    read: list[int] = []
    padded = batching.Batch._padded

    def counted(batch: batching.Batch, texts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        read.append(sum(map(len, texts)))
        return padded(batch, texts)

    monkeypatch.setattr(batching.Batch, "_padded", counted)
    found = HFEngine.of(model, tokenizer).complete(queries(prompts), sampling)
    shared = sum(read)
    assert found == HFEngine.of(model, tokenizer, batch_size=5).complete(queries(prompts), sampling)
    monkeypatch.setattr(batching, "SHARED", 10**6)
    read.clear()
    assert found == HFEngine.of(model, tokenizer).complete(queries(prompts), sampling)
    assert shared < 0.4 * sum(read)


def test_prompts_that_begin_alike_stay_together_longest_first() -> None:
    long, short, alone = list(range(100, 140)), list(range(40)), [7] * 45
    rows = [decoding.Row(0, 0, prompt) for prompt in ([*short, 1], [*short, 2, 3], alone, [*long, 4, 5, 6], [*long, 7])]
    assert [row.prompt[-1] for row in batching.in_order(rows)] == [7, 6, 7, 3, 1]
    assert [row.shared for row in rows] == [40, 40, 0, 40, 40]


def test_the_batch_is_as_large_as_memory_allows(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token takes 2 layers x (keys and values) x 2 heads x 16 numbers x 4 bytes = 512 bytes."""
    monkeypatch.setattr(batching, "free_memory", lambda device: 10_240_000)
    limits = batching.Limits.of(model, 256)
    assert limits.tokens == batching.SHARE * 20_000
    assert limits.slots(136) == 12_000 // (136 + slots.STEP) == 60
    assert limits.slots(10**6) == 1
    assert limits.slots(1) == 184
    assert batching.Limits.of(model, 100).slots(1) == 100


def test_progress_counts_every_completion(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    seen: list[tuple[int, int]] = []
    engine = HFEngine.of(model, tokenizer, batch_size=2, on_progress=lambda done, total: seen.append((done, total)))
    engine.complete(queries(), Sampling(max_new_tokens=4))
    assert seen[-1] == (5, 5)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_loads_lazily_with_adapter_and_frees(tmp_path: Path) -> None:
    base = save_small(tmp_path / "base")
    tuned = get_peft_model(small_model(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    engine = HFEngine(base, tmp_path / "adapter", device="cpu")
    fingerprint = engine.fingerprint()
    assert engine._loaded is None
    expected = HFEngine.of(tuned.merge_and_unload(), small_tokenizer()).complete(queries(), Sampling(max_new_tokens=9))
    found = engine.complete(queries(), Sampling(max_new_tokens=9))
    assert [one.text for [one] in found] == [one.text for [one] in expected]
    plain = HFEngine(base, device="cpu")
    assert texts(plain, Sampling(max_new_tokens=9)) != [[one.text] for [one] in found]
    assert plain.fingerprint() != fingerprint
    engine.close()
    engine.close()
    assert engine._loaded is None
