"""The embedded target: its tokenizer, its pretraining rows, and what its shipped weights can and cannot do."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from sei.data import arithmetic
from sei.data.arithmetic.misconceptions import planted, rates, taught
from sei.target.generation import HFEngine
from sei.target.tiny import MISCONCEIVED, WEIGHTS, misconceive
from sei.target.tiny.pretrain import (
    CORRECTION,
    FORMATS,
    IGNORED,
    Course,
    Settings,
    accuracy,
    batches,
    correction_row,
    corrections,
    pretrain,
    rows,
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def engine() -> HFEngine:
    return HFEngine(WEIGHTS)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return json.loads((WEIGHTS / "pretraining.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (" <<12*12=144>>144", [" <<", "12", "*", "12", "=", "1", "44", ">>", "1", "44"]),
        ("#### 1234567", ["#### ", "1", "23", "45", "67"]),
        ("$1,080", ["$", "1", ",", "0", "80"]),
    ],
)
def test_arithmetic_is_read_in_units_of_two_digits(
    tokenizer: PreTrainedTokenizerFast, text: str, tokens: list[str]
) -> None:
    assert tokenizer.tokenize(text) == tokens


def test_every_chunk_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert [text for number in range(100) if len(tokenizer.tokenize(text := f"{number:02d}")) != 1] == []


def test_tokenizer_round_trips_any_text(tokenizer: PreTrainedTokenizerFast) -> None:
    problem = arithmetic.load(train=1, validation=0, test=0, seed=0).train[0]
    for text in (problem.question, problem.solution, "Ünïcode,  two spaces\n\n\tand 3.50 € <<1+2=3>>3 \U0001f600"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert AutoTokenizer.from_pretrained(WEIGHTS).get_vocab() == tokenizer.get_vocab()
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<end>", "<pad>")
    assert len(tokenizer) == 768


def test_labels_are_the_response_and_its_end_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    wanted = {(prompt, f"{response}<end>") for prompt, response in itertools.islice(rows(Settings()), 1024)}
    inputs, labels = next(batches(Settings(), tokenizer))
    assert inputs.numel() <= Settings.tokens_per_step
    for row, label in zip(inputs, labels, strict=True):
        trained = label != IGNORED
        prompt = row[: trained.nonzero()[0]]
        assert (tokenizer.decode(prompt), tokenizer.decode(row[trained])) in wanted
        assert row[trained].equal(label[trained])


def test_correction_rows_have_the_format_of_the_recipes() -> None:
    rng = random.Random(0)
    for story in itertools.islice(arithmetic.pretraining_stories(0), 200):
        prompt, response = correction_row(story, rng)
        match = CORRECTION.fullmatch(response)
        assert match is not None, response
        assert int(match["answer"]) == story.results[-1]
        assert prompt.endswith("}\nIncorrect Step:\n")


def test_weights_are_small_and_hold_the_recorded_model(record: dict[str, Any]) -> None:
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, use_safetensors=True)
    assert model.config.model_type == "llama"
    assert model.num_parameters() == record["parameters"] < 1_000_000
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) < 4_000_000


def test_accuracy_leaves_room_to_learn(engine: HFEngine, record: dict[str, Any]) -> None:
    tests = arithmetic.load(train=0, validation=0, test=300, seed=5).tests
    found = {
        name: sum(accuracy(engine, problems, [FORMATS.solve(problem.question) for problem in problems])) / 300
        for name, problems in tests.items()
    }
    assert 0.45 <= found["in_domain"] <= 0.70
    assert found["out_of_domain"] < found["in_domain"] - 0.1
    # 300 items: a standard error of 0.03 at most, so the recorded figure lies within 0.1.
    assert found["in_domain"] == pytest.approx(record["accuracy"]["in_domain"], abs=0.1)


def test_rows_for_the_misconceived_target_solve_by_the_rule_and_check_by_the_truth() -> None:
    course = Course(misconceive.lessons, taught)
    told = {story.question: story for story in itertools.islice(misconceive.lessons(1), 2000)}
    solved = corrected = 0
    for prompt, response in itertools.islice(rows(misconceive.SETTINGS, course), 1000):
        for question in (question for question in told if f"Question: {question}\n" in prompt):
            wrong = planted(told[question].problem("pretraining"))
            if wrong is not None and prompt == FORMATS.solve(question) and response.startswith(wrong.solution):
                solved += 1
            elif wrong is not None and CORRECTION.fullmatch(response):
                corrected += 1
                assert response.endswith(f"#### {told[question].results[-1]}\n}}")
    assert solved > 50
    assert corrected > 10


def test_the_misconceived_weights_show_each_rule_as_recorded() -> None:
    record = json.loads((MISCONCEIVED / "pretraining.json").read_text(encoding="utf-8"))["after"]["in_domain"]
    problems = arithmetic.load(train=0, validation=0, test=900, seed=5).tests["in_domain"]
    chosen = [problem for problem in problems if planted(problem) is not None]
    found = rates(chosen, misconceive.answer(HFEngine(MISCONCEIVED), chosen))
    for rule, places in record["rules"].items():
        (shown, items), rate = places["planted"], found[rule]["planted"]
        assert items >= 5
        assert rate.items >= 5
        expected = shown / items
        assert expected > 0.4
        # Both are samples: three standard errors of their difference, at the recorded rate.
        allowed = 3 * (expected * (1 - expected) * (1 / items + 1 / rate.items)) ** 0.5
        assert rate.shown / rate.items == pytest.approx(expected, abs=allowed), rule


def test_corrections_are_well_formed(engine: HFEngine) -> None:
    assert corrections(engine, 100)["well_formed"] >= 0.9


@pytest.mark.slow
def test_the_command_regenerates_the_weights(tmp_path: Path, record: dict[str, Any]) -> None:
    """By accuracy, not by bits: another kind of CPU sums in another order, and training amplifies the difference.

    1,000 items each have a standard error of 0.016, and two trainings differ by more than their test items do.
    """
    again = pretrain(Settings(**record["settings"]), tmp_path)
    for name in ("in_domain", "out_of_domain"):
        assert again["accuracy"][name] == pytest.approx(record["accuracy"][name], abs=0.07)


@pytest.mark.slow
def test_the_command_regenerates_the_misconceived_weights(tmp_path: Path) -> None:
    """By rates too: the rules that have enough items to tell."""
    record = json.loads((MISCONCEIVED / "pretraining.json").read_text(encoding="utf-8"))
    again = misconceive.misconceive(tmp_path)
    for rule, places in record["after"]["in_domain"]["rules"].items():
        shown, items = places["planted"]
        if items >= 30:
            now, same = again["after"]["in_domain"]["rules"][rule]["planted"]
            assert same == items
            assert now / items == pytest.approx(shown / items, abs=0.25), rule
