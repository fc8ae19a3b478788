"""Prompts and responses of each style, and that every response is read back as its own answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from sei import answers
from sei.answers import grade_many
from sei.data import arithmetic
from sei.records import Verdict
from sei.steps import split_steps
from sei.target.engine import Sampling
from sei.target.formats import Formats, PromptStyle

DATA = Path(__file__).parents[2] / "../shared/data"
STYLES = get_args(PromptStyle)
GOLD = "2+3=<<2+3=5>>5\n5*2=<<5*2=10>>10\n#### 10"


def rows(name: str) -> list[dict[str, str]]:
    path = DATA / name
    if not path.is_file():
        pytest.skip("shared data not here")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def all_correct(pairs: list[tuple[str, str]], dataset: answers.Style) -> None:
    verdicts = grade_many(pairs, dataset)
    wrong = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is not Verdict.CORRECT]
    assert wrong == []


def test_plain_is_what_the_embedded_target_was_trained_on() -> None:
    formats = Formats("plain")
    assert formats.solve("2 and 3?") == "Question: 2 and 3?\nSolution:\n"
    assert formats.one_shot("a?", GOLD, "b?") == f"Question: a?\nSolution:\n{GOLD}\n\nQuestion: b?\nSolution:\n"
    assert formats.correct("a?", ["x", "y"]) == (
        "Question: a?\nOriginal Solution:\n{\nStep 1: x\nStep 2: y\n}\nIncorrect Step:\n"
    )
    assert formats.solve_response(f" {GOLD}\n", "10") == GOLD
    assert formats.correct_response(2, "why", ["z"], "7") == (
        "Step 2.\nExplanation: why\nCorrect Solution:\n{\n...\nStep 2: z\n#### 7\n}"
    )
    assert formats.correct_response(1, "why", ["z"], "7") == (
        "Step 1.\nExplanation: why\nCorrect Solution:\n{\nStep 1: z\n#### 7\n}"
    )


def test_lema_writes_steps_and_the_answer_as_a_sentence() -> None:
    formats = Formats("lema")
    assert formats.solve("2 and 3?").endswith("Question:\n2 and 3?\n\nAnswer:\nLet's think step by step.\n")
    assert formats.solve_response(GOLD, "10") == "2+3=<<2+3=5>>5\n5*2=<<5*2=10>>10\nThe answer is 10."
    assert formats.correct("a?", ["x"]).endswith("Original Solution:\n{\nStep 1: x\n}\n\nIncorrect Step:\n")
    assert formats.correct_response(2, "why", ["z", "q"], "7") == (
        "Step 2.\nExplanation: why\nCorrect Solution:\n{\n...\nStep 2: z\nStep 3: q\nThe answer is 7.\n}"
    )


def test_the_demonstration_is_written_as_a_response() -> None:
    shown = Formats("lema").one_shot("a?", GOLD, "b?")
    assert "5*2=<<5*2=10>>10\nThe answer is 10.\n" in shown
    assert "####" not in shown
    assert Formats("alpaca", "math").one_shot("a?", "It is $x$.", "b?").count("It is $x$.\n") == 1, (
        "no answer to be read"
    )


def test_answers_by_data_set() -> None:
    assert Formats("lema", "math").answer_line("\\frac{1}{2}") == "The answer is $\\boxed{\\frac{1}{2}}$."
    assert Formats("lema", "choice").answer_line("(C) garage") == "The answer is (C)."
    assert Formats("plain", "choice").answer_line("C") == "The answer is (C)."
    assert Formats("alpaca").answer_line("5") == "#### 5"
    with pytest.raises(ValueError, match="'garage' does not begin with a letter"):
        Formats("lema", "choice").answer_line("garage")


def test_alpaca_asks_for_the_answer_as_the_data_set_is_graded() -> None:
    asked = {dataset: Formats("alpaca", dataset).solve("a?") for dataset in get_args(answers.Style)}
    assert "a last line `#### ` followed by the final answer alone." in asked["gsm8k"]
    assert "\\boxed{}" in asked["math"]
    assert "####" not in asked["math"]
    assert "the letter" in asked["choice"]
    assert all("a?" in text and "### Response:" in text for text in asked.values())


@pytest.mark.parametrize("style", STYLES)
def test_stop_strings_are_how_a_prompt_begins_and_stand_in_no_response(style: PromptStyle) -> None:
    formats = Formats(style)
    shown = formats.one_shot("a?", GOLD, "b?")
    assert sum(shown.count(stop) for stop in formats.stop) >= (1 if style == "plain" else 2)
    assert not any(stop in formats.solve_response(GOLD, "5") for stop in formats.stop)
    assert all(stop.endswith(":") for stop in formats.stop), "see STOP"
    assert Sampling(stop=("x",)).until(formats.stop).until(formats.stop).stop == ("x", *formats.stop)


def test_the_steps_of_an_output_are_those_of_its_solution() -> None:
    output = "<think>6?</think>2+3=5\n#### 5\n\nQuestion: more?\n3+3=6\n#### 6"
    assert Formats("plain").steps(output) == ["2+3=5"]
    assert Formats("plain").read(output).text == "2+3=5\n#### 5"


def test_an_answer_that_the_solution_lacks_is_added() -> None:
    assert Formats("plain").solve_response("2+3=5\nA: 5", "5") == "2+3=5\n#### 5"
    assert Formats("plain").solve_response("2+3=5\n#### 5\nQuestion: more?", "5") == "2+3=5\n#### 5", "a model ran on"
    assert (
        Formats("alpaca", "math").solve_response("So $x=5$.\n#### 5", "5") == "So $x=5$.\nThe answer is $\\boxed{5}$."
    )
    ended = "So $x=\\boxed{5}$.\nThe answer is $\\boxed{5}$."
    assert Formats("alpaca", "math").solve_response("So $x=\\boxed{5}$.\n#### 5", "5") == ended, "no mark of GSM8K's"
    assert Formats("alpaca", "math").solve_response("So $x=\\boxed{5}$.", "5") == "So $x=\\boxed{5}$."
    assert Formats("alpaca", "choice").solve_response("", "(B) two") == "The answer is (B)."


def test_ablations_leave_their_part_out() -> None:
    formats = Formats("lema")
    without = formats.correct_response(2, None, ["z"], "7")
    assert without == "Step 2.\nCorrect Solution:\n{\n...\nStep 2: z\nThe answer is 7.\n}"
    whole = formats.correct_response(None, "why", ["x", "z"], "7")
    assert whole == "Explanation: why\nCorrect Solution:\n{\nStep 1: x\nStep 2: z\nThe answer is 7.\n}"
    for style in STYLES:
        assert "Incorrect Step:" in Formats(style).correct("a?", ["x"])
        assert "ncorrect" not in Formats(style).correct("a?", ["x"], step=False)
        assert "Step 1: x" in Formats(style).correct("a?", ["x"], step=False)


def test_hashes_tell_data_sets_and_styles_apart() -> None:
    every = [
        Formats(style, dataset).fingerprint()["prompts"] for style in STYLES for dataset in get_args(answers.Style)
    ]
    assert len({json.dumps(each, sort_keys=True) for each in every}) == 7, "plain asks the same for every data set"


@pytest.mark.parametrize("style", STYLES)
def test_gsm8k_responses_are_graded_correct(style: PromptStyle) -> None:
    formats = Formats(style)
    pairs = []
    for row in rows("gsm8k/train.jsonl")[::5]:
        steps, answer = split_steps(row["answer"])
        assert answer is not None
        pairs.append((formats.solve_response(row["answer"], answer), answer))
        for step in (None, 1, 2):
            pairs.append((formats.correct_response(step, "It is 3 too much.", steps, answer), answer))
    all_correct(pairs, "gsm8k")


@pytest.mark.parametrize("style", STYLES)
def test_arithmetic_responses_are_graded_correct_and_plain_keeps_their_bytes(style: PromptStyle) -> None:
    problems = arithmetic.load(train=300, validation=10, test=10, seed=0).train
    written = [(Formats(style).solve_response(p.solution, p.answer), p.answer) for p in problems]
    all_correct(written, "gsm8k")
    if style == "plain":
        assert [text for text, _ in written] == [problem.solution for problem in problems]
    if style == "lema":
        for problem, (text, answer) in zip(problems, written, strict=True):
            assert split_steps(text) == (split_steps(problem.solution)[0], answer)


@pytest.mark.parametrize("style", STYLES)
def test_math_responses_are_graded_correct(style: PromptStyle) -> None:
    formats = Formats(style, "math")
    pairs = []
    for row in rows("math500/test.jsonl"):
        steps, _ = split_steps(row["solution"], "math")
        pairs.append((formats.solve_response(row["solution"], row["answer"]), row["answer"]))
        pairs.append((formats.correct_response(2, "The sign is wrong.", steps[1:], row["answer"]), row["answer"]))
        pairs.append((formats.solve_response(f"Then it is done.\n#### {row['answer']}", row["answer"]), row["answer"]))
    all_correct(pairs, "math")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("answer", ["C", "(C) garage", "(A) a $5$ note"])
def test_choice_responses_are_graded_correct(style: PromptStyle, answer: str) -> None:
    formats = Formats(style, "choice")
    solution = "A car is kept in a garage. (B) is for food.\nThe answer is (" + answer.strip("(")[0] + ")."
    pairs = [(formats.solve_response(text, answer), answer) for text in (solution, "No letter here.", "")]
    pairs.append((formats.correct_response(2, "(B) is wrong.", ["A car needs room."], answer), answer))
    all_correct(pairs, "choice")
