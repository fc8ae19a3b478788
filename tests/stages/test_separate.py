"""Training problems that are in a held-out set do not stay in training."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.data import arithmetic, sources
from sei.records import Problem
from sei.stages.separate import separate

DATA = Path(__file__).parents[2] / "../shared/data"

# Ten words, of which a near copy shares the first eight: ROUGE-L F = 8/10. A far copy shares only the first four, in a row.
ORIGINAL = "ann packs ten red boxes into every blue van today"
NEAR = "ann packs ten red boxes into every blue car tomorrow"
FAR = "ann packs ten red pears and sells them all cheaply"


def problem(question: str, answer: str = "1") -> Problem:
    return Problem.make(question=question, answer=answer, solution=f"#### {answer}", source="test")


def test_each_method_finds_its_own_and_the_strongest_is_the_reason() -> None:
    held_out = problem(ORIGINAL, "7")
    train = [problem(question) for question in (ORIGINAL.upper() + ".", NEAR, FAR, "nothing of the kind")]
    output = separate(train, {"test": [problem("quite another one"), held_out]}, rouge=0.8, ngram=4)
    assert output.records == train[3:]
    assert [(item.source_id, item.reason, item.detail, item.raw) for item in output.rejected] == [
        (train[0].id, "exact", f"test, {held_out.id}, 1.0000", ORIGINAL.upper() + "."),
        (train[1].id, "rouge", f"test, {held_out.id}, 0.8000", NEAR),
        (train[2].id, "ngram", f"test, {held_out.id}, 0.1429", FAR),  # 1 of its 7 four-grams
    ]
    assert output.numbers["overlap"] == {"test": {"exact": 1, "rouge": 1, "ngram": 1}}


def test_what_is_not_asked_for_is_not_compared() -> None:
    train = [problem(ORIGINAL), problem(NEAR), problem(FAR)]
    test = {"test": [problem(ORIGINAL)]}
    assert separate(train, test, rouge=None, ngram=None).records == train[1:]
    assert separate(train, test, rouge=0.8, ngram=None).records == train[2:]
    assert separate(train, test, rouge=0.81, ngram=None).records == train[1:]
    assert separate(train, test, rouge=None, ngram=4).records == []
    output = separate(train, test, rouge=None, ngram=9)
    assert output.records == train[1:]
    assert output.numbers["overlap"] == {"test": {"exact": 1, "ngram": 0}}


def test_every_set_counts_and_the_strongest_match_of_all_sets_is_named() -> None:
    validation, near, same = problem(FAR), problem(NEAR), problem(ORIGINAL)
    sets = {"validation": [validation], "near": [near], "same": [problem("other"), same]}
    train = [problem(ORIGINAL, "3")]
    output = separate(train, sets, rouge=0.8, ngram=4)
    assert output.rejected[0].detail == f"same, {same.id}, 1.0000"
    assert output.numbers["overlap"] == {
        "validation": {"exact": 0, "rouge": 0, "ngram": 1},
        "near": {"exact": 0, "rouge": 1, "ngram": 0},
        "same": {"exact": 1, "rouge": 0, "ngram": 0},
    }
    assert (output.received, len(output.records), len(output.rejected)) == (1, 0, 1)


def test_checksums_are_of_what_was_compared() -> None:
    train, test = [problem("a"), problem("b")], [problem("c")]
    checksums = separate(train, {"test": test}, rouge=None, ngram=None).numbers["checksums"]
    assert checksums == {"train": sources.content_checksum(train), "test": sources.content_checksum(test)}


def test_of_equal_questions_the_first_is_named_and_empty_sets_hold_nothing() -> None:
    first, second = problem(ORIGINAL, "1"), problem(ORIGINAL, "2")
    output = separate([problem(NEAR)], {"none": [], "test": [first, second]}, rouge=0.5, ngram=13)
    assert output.rejected[0].detail == f"test, {first.id}, 0.8000"


def test_the_arithmetic_world_keeps_its_training_problems() -> None:
    splits = arithmetic.load(train=300, validation=50, test=100, seed=0)
    held_out = {"validation": splits.validation, **splits.tests}
    assert len(separate(splits.train, held_out, rouge=0.98, ngram=None).records) == 300


@pytest.mark.skipif(not DATA.exists(), reason="needs shared/data")
def test_gsm8k_train_against_its_test() -> None:
    splits = sources.load("gsm8k", path=str(DATA / "gsm8k"))
    output = separate(splits.train, splits.tests, rouge=0.7, ngram=13)
    assert output.numbers["overlap"] == {"gsm8k": {"exact": 0, "rouge": 5, "ngram": 1}}
    questions = [item.raw for item in output.rejected]
    assert sum(question.startswith("A train travels") for question in questions) == 2  # the test has a plane instead
    assert len(output.records) == 7467
