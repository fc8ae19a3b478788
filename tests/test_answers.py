"""Grading of numeric answers: traps, real labels, and the line between wrong, missing and truncated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sei import answers
from sei.records import Problem, Verdict

DATA = Path(__file__).parents[1] / "../shared/data"

TRAPS = [
    # gold, output, expected, why it is a trap
    ("18", "#### 18\n\nQuestion: Tom has 5 apples.\n#### 5", "correct", "the model runs on into a new question"),
    ("20", "#### 18\nWait, one more egg pack.\n#### 20", "correct", "it corrected itself"),
    ("20", "#### 1. Add the eggs\n16 + 4 = 20 eggs\nThe answer is 20.", "correct", "a Markdown heading is no answer"),
    ("6", "A: There are 15 trees. 21 - 15 = 6.\nThe answer is 6.", "correct", "`A:` opens the reasoning"),
    ("18", "**Answer:** $18", "correct", "bold answer line"),
    ("18", "Answer: **18** eggs", "correct", "bold number"),
    ("18", "So it is \\boxed{18}.", "correct", "box"),
    ("1000", "So it is \\boxed{1{,}000}.", "correct", "LaTeX thousands"),
    ("18", "\\boxed{\\$18.00}", "correct", "escaped dollar"),
    ("12", "The answer is 3 * 4 = 12 apples.", "correct", "result of a chain"),
    ("12", "The answer is 3 * 4 = <<3*4=12>>12", "correct", "annotation in the answer"),
    ("15", "The answer is 5 boxes x 3 = 15.", "correct", "units in a chain"),
    ("12", "The answer is that Tom has 12 apples.", "correct", "words before the number"),
    ("12", "The answer to the question is 12.", "correct", "words inside the phrase"),
    ("-3", "The answer is −3", "correct", "Unicode minus"),
    ("-3", "#### -$3", "correct", "sign before currency"),
    ("3", "8-5=3", "correct", "no sign from an equation"),
    ("1.5", "#### 1 1/2", "correct", "mixed number"),
    ("1.5", "#### 3/2", "correct", "improper fraction"),
    ("0.5", "#### .5", "correct", "leading dot"),
    ("2000000", "The answer is 2 million.", "correct", "scale word"),
    ("2", "The answer is 2 million.", "correct", "the question counts in millions"),
    ("50", "#### 50%", "correct", "percent as a unit"),
    ("0.5", "#### 50%", "wrong", "percent is not guessed"),
    ("100000", "#### 1,00,000", "correct", "Indian grouping"),
    ("3", "#### 3:30", "wrong", "a clock time is not its hour"),
    ("18", "#### 18.0", "correct", "trailing zero"),
    ("18", "#### 18.01", "wrong", "close is not equal"),
    ("18", "#### 118", "wrong", "not a suffix"),
    ("144", "#### 1,44", "wrong", "a comma that groups nothing"),
    ("0.3", "#### 3/10", "correct", "exact decimals"),
    ("1", "#### 1/0", "wrong", "division by zero"),
    ("5", "#### " + "5" * 5000, "wrong", "a loop of digits"),
    ("7", "####", "no_answer", "marker without answer"),
    ("7", "The answer is unclear", "no_answer", "phrase without number"),
    ("many", "#### 7", "ungradable", "gold is not a number"),
    ("", "#### 7", "ungradable", "empty gold"),
]


@pytest.mark.parametrize(("gold", "output", "expected", "why"), TRAPS, ids=[trap[3] for trap in TRAPS])
def test_numeric_traps(gold: str, output: str, expected: str, why: str) -> None:
    assert answers.grade(output, gold) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("First we add 3 and", Verdict.TRUNCATED),  # the last number of half a solution is no answer
        ("", Verdict.TRUNCATED),
        ("So she has\n#### 1", Verdict.TRUNCATED),  # may have become 18
        ("So she has\n#### 18\nQuestion: Tom", Verdict.CORRECT),  # cut after its answer
        ("So she has\n#### 17\nQuestion: Tom", Verdict.WRONG),
    ],
)
def test_truncated_only_before_an_answer(output: str, expected: Verdict) -> None:
    assert answers.grade(output, "18", truncated=True) == expected


def test_extract_and_check_gold() -> None:
    assert answers.extract("She pays $1,440.00") == "1,440.00"
    assert answers.extract("no number") is None
    assert answers.check_gold(_problem("1,080")) is None
    assert answers.check_gold(_problem("x")) == "the gold answer 'x' is not a number"


def test_agrees_with_every_label_of_the_real_attempts() -> None:
    path = DATA / "attempts/gsm8k_test_6b.jsonl"
    if not path.exists():
        pytest.skip("shared data not here")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    verdicts = [answers.grade(row["solution"], row["gold_solution"].splitlines()[-1]) for row in rows]
    disagree = [row for row, verdict in zip(rows, verdicts, strict=True) if (verdict == "correct") != row["is_correct"]]
    assert len(rows) == 2638
    assert disagree == []


def _problem(answer: str) -> Problem:
    return Problem.make(question="How many?", answer=answer, solution="", source="test")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("The best answer choice is (B).", "correct"),
        ("The correct answer would be (B).", "correct"),
        ("So the answer must be B.", "correct"),
        ("The answer is probably (B).", "correct"),
        ("The answer is (b).", "correct"),
        ("The answer, after all that, is (B).", "correct"),
        ("The answer is (B), since (A) is too small.", "correct"),
        ("The answer is (B) or (C).", "wrong"),
        ("The answer is B and C.", "wrong"),
        ("The answer is (A), (B) is too small.", "wrong"),
    ],
)
def test_how_a_choice_is_said(output: str, expected: str) -> None:
    assert answers.grade(output, "(B) garage", "choice") == expected


@pytest.mark.parametrize("gold", ["2+3=5\nA: 18", "2+3=5\n#### 18", "Answer: 18", "18"])
def test_a_gold_solution_stands_for_its_answer(gold: str) -> None:
    assert answers.grade("#### 18", gold) == "correct"
    assert answers.grade("#### 5", gold) == "wrong"
