from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from sei.target import generation as hf
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
    assert hf._end_tokens(model, tokenizer).tolist() == [0, 300]
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
    rows = [hf._Row(0, 0, []) for _ in range(4)]
    for row, value in zip(rows, [0.0, 0.66, 0.67, 0.999999], strict=True):
        row.uniform = torch.tensor([value]).numpy()
    assert hf._choose(logits, rows, 0, Sampling(temperature=1.0, top_p=0.8)).tolist() == [1, 1, 2, 2]
    # Without a nucleus the order is the vocabulary's: [0, .1) [.1, .7) [.7, 1).
    assert hf._choose(logits, rows, 0, Sampling(temperature=1.0)).tolist() == [0, 1, 1, 2]


def test_top_p_and_temperature_change_the_draw() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(1000, 1)
    rows = [hf._Row(0, 0, []) for _ in range(1000)]
    for index, row in enumerate(rows):
        row.uniform = torch.tensor([(index + 0.5) / 1000]).numpy()
    drawn = hf._choose(logits, rows, 0, Sampling(temperature=1.0))
    assert drawn.bincount().tolist() == [500, 300, 200]
    # At temperature .5 the probabilities are squared: .25 .09 .04, that is .658 .237 .105.
    drawn = hf._choose(logits, rows, 0, Sampling(temperature=0.5))
    assert drawn.bincount().tolist() == pytest.approx([658, 237, 105], abs=1)


def test_prompt_as_long_as_the_context_is_truncated_at_once(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    [[full], [other]] = HFEngine.of(model, tokenizer).complete(queries(["9 " * 300, "12"]), Sampling(max_new_tokens=4))
    assert (full.text, full.tokens, full.truncated) == ("", 0, True)
    assert other.tokens == 4


def test_out_of_memory_halves_the_batch(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = HFEngine.of(model, tokenizer)
    expected = texts(engine, Sampling(max_new_tokens=6))
    generate = hf._generate
    sizes = []

    def small_memory(model, tokenizer, batch, *args):  # type: ignore[no-untyped-def]
        sizes.append(len(batch))
        if len(batch) > 2:
            batch[0].tokens.append(1)
            raise torch.OutOfMemoryError("too large")
        return (yield from generate(model, tokenizer, batch, *args))

    monkeypatch.setattr(hf, "_generate", small_memory)
    assert texts(engine, Sampling(max_new_tokens=6)) == expected
    assert sizes == [5, 2, 3, 1, 2]


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
