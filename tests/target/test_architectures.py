"""A shrunken random model of each architecture, its kind of tokenizer, its template: asked, trained, merged, asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.data import arithmetic
from sei.records import Example, Pair, Rejected
from sei.target.ending import end_tokens
from sei.target.engine import Query, Sampling
from sei.target.formats import Formats
from sei.target.generation import HFEngine
from sei.target.load import (
    encode_answer,
    encode_prompt,
    encode_text,
    end_of_turn,
    load_model,
    load_target,
    load_tokenizer,
)
from sei.target.shrunken import FAMILIES, KINDS, Family, save_shrunken
from sei.training.packing import encode
from sei.training.pairs import EncodedPair, encode_pair
from sei.training.run import Loop, train_dpo, train_sft
from sei.training.settings import Hyperparameters, PreferenceHyperparameters

PROBLEMS = arithmetic.load(train=40, validation=0, test=1, seed=0).train
FORMATS = Formats("alpaca")
ROWS = [Example(f"e{n}", FORMATS.solve(p.question), p.solution, "cot", ()) for n, p in enumerate(PROBLEMS)]
WITHOUT_TEMPLATE = [family for family in FAMILIES if not KINDS[family].template]
ON_CPU = Loop(dtype="float32", accelerator="cpu", devices=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    texts = [row.prompt + row.response for row in ROWS]
    return {family: save_shrunken(tmp_path_factory.mktemp(family) / "m", family, texts) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_that_is_trained_is_the_prompt_that_is_asked(family: Family, folders: dict[Family, Path]) -> None:
    tokenizer = load_tokenizer(folders[family])
    for row in ROWS[:5]:
        asked, trained = encode_prompt(tokenizer, row.prompt), encode(row, tokenizer, 2000)
        assert not isinstance(trained, Rejected)
        assert list(trained.input_ids[: len(asked)]) == asked
        assert all(label == -100 for label in trained.labels[: len(asked)])
        begins = trained.input_ids.count(tokenizer.bos_token_id) if tokenizer.bos_token_id is not None else 0
        assert begins == bool(KINDS[family].begin), "one begin token, or none where there is none"
        assert not begins or trained.input_ids[0] == tokenizer.bos_token_id
        assert trained.labels[-1] == tokenizer.eos_token_id, "the end is trained"
        assert trained.labels.count(tokenizer.eos_token_id) == 1
        answer = list(trained.labels[len(asked) : -1])
        assert tokenizer.decode(answer).strip() == row.response


@pytest.mark.parametrize("family", FAMILIES)
def test_the_end_of_a_turn_is_known(family: Family, folders: dict[Family, Path]) -> None:
    tokenizer = load_tokenizer(folders[family])
    ends = [tokenizer.convert_ids_to_tokens(token) for token in end_tokens(tokenizer, None)]
    expected = {KINDS[family].end} | ({"<|im_end|>"} if family == "qwen2_base" else set())
    assert set(ends) == expected
    assert (end_of_turn(tokenizer) is None) == (family in WITHOUT_TEMPLATE)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_steps_of_each_training_merge_and_answer(
    family: Family, folders: dict[Family, Path], tmp_path: Path
) -> None:
    model, settings = folders[family], {"rank": 4, "batch_examples": 4, "max_tokens": 1000, "steps": 2}
    before = {name: value.clone() for name, value in load_model(model, dtype="float32").state_dict().items()}
    first = train_sft(model, tmp_path / "sft", ROWS[:8], Hyperparameters(learning_rate=1e-2, **settings), ON_CPU)  # type: ignore[arg-type]
    assert (first["steps"], first["rejected"]) == (2, [])
    wanted = [
        Pair(f"p{n}", row.prompt, row.response, "I do not know.", "instance", ()) for n, row in enumerate(ROWS[:8])
    ]
    loop = Loop(adapter=tmp_path / "sft", dtype="float32", accelerator="cpu", devices=1)
    second = train_dpo(model, tmp_path / "dpo", wanted, PreferenceHyperparameters(learning_rate=1e-2, **settings), loop)  # type: ignore[arg-type]
    assert second["first_loss"] == pytest.approx(0.6931, abs=1e-3), "ln 2: the reference is the student"
    assert abs(second["reward_margin_curve"][1]) > 1e-3, "the first step has moved the policy"
    merged = load_target(model, tmp_path / "dpo", dtype="float32")
    merged.save_pretrained(tmp_path / "merged")
    load_tokenizer(model).save_pretrained(tmp_path / "merged")
    again = load_model(tmp_path / "merged", dtype="float32").state_dict()
    assert any((again[name] - value).abs().max() > 1e-4 for name, value in before.items())
    sampling, queries = Sampling(12), [Query(row.prompt, "") for row in ROWS[:4]]
    beside = HFEngine(model, tmp_path / "dpo", device="cpu", dtype="float32").complete(queries, sampling)
    alone = HFEngine(tmp_path / "merged", device="cpu", dtype="float32").complete(queries, sampling)
    assert [one.text for (one,) in alone] == [one.text for (one,) in beside]
    assert any(one.text for (one,) in alone)


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_stops_where_training_has_taught_it_to(
    family: Family, folders: dict[Family, Path], tmp_path: Path
) -> None:
    """Taught one short answer by heart, the model says it and ends: were the end not trained, it would go on to the limit."""
    rows = [Example(f"s{n}", row.prompt, "It is 42.", "cot", ()) for n, row in enumerate(ROWS[:4])]
    settings = Hyperparameters(learning_rate=1e-2, steps=40, batch_examples=4, max_tokens=1000, method="full")
    train_sft(folders[family], tmp_path / "taught", rows, settings, ON_CPU)
    engine = HFEngine(folders[family], tmp_path / "taught", device="cpu", dtype="float32")
    [[one]] = engine.complete([Query(ROWS[0].prompt, "")], Sampling(60))
    assert (one.text.strip(), one.truncated) == ("It is 42.", False)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pair_is_split_where_its_text_is(family: Family, folders: dict[Family, Path]) -> None:
    """Both answers follow the prompt's own tokens, and together they are the tokens of the whole text."""
    tokenizer = load_tokenizer(folders[family], chat=False)
    for prefix in ("", "Step 2.\n"):
        pair = Pair("p", ROWS[0].prompt, "Ann has 3 plums.", "Bo has 4 cups.", "thought", (), prefix)
        made = encode_pair(pair, tokenizer, 2000)
        assert isinstance(made, EncodedPair)
        assert list(made.prompt) == encode_prompt(tokenizer, pair.prompt, prefix)
        for ids, text in ((made.chosen, pair.chosen), (made.rejected, pair.rejected)):
            assert [*made.prompt, *ids[:-1]] == list(tokenizer(pair.prompt + prefix + text)["input_ids"])
            assert ids[-1] == tokenizer.eos_token_id


def test_sentencepiece_writes_no_space_at_the_start_of_a_line(folders: dict[Family, Path]) -> None:
    tokenizer = load_tokenizer(folders["llama"])
    assert tokenizer.convert_ids_to_tokens(encode_text(tokenizer, "Ann"))[0].startswith("▁")
    assert not tokenizer.convert_ids_to_tokens(encode_answer(tokenizer, "Ann", "Answer:\n"))[0].startswith("▁")
    chat = load_tokenizer(folders["mistral"])
    assert chat.convert_ids_to_tokens(encode_answer(chat, "Ann", "Answer:\n"))[0].startswith("▁"), (
        "behind [/INST] there is one"
    )
