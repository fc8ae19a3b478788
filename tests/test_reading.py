"""What of an output is its solution: nothing of it is lost, and nothing else is taken for it."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from sei import answers
from sei.reading import read

SHARED = Path(__file__).parents[1] / "../shared"
SOLUTIONS = ("4*6=24\nThe answer is 24.", "4*6=<<4*6=24>>24\n#### 24", "So it is $\\boxed{24}$.")

NEXT = {  # what models go on with: (text, what the solution is said to end at)
    "next_question": [
        "\n\nQuestion: And 5 boxes?\n#### 30",
        "\nQuestion 2: And 5 boxes?",
        "\n\nQ: And 5 boxes?",
        "\n\nQ2: And 5 boxes?",
        "\nProblem 7. And 5 boxes?",
        "\n\n**Problem 2**\nAnd 5 boxes?",
        "\n\n### Question #3 (hard)\nAnd 5 boxes?",
        "\n## Problem\nAnd 5 boxes?",
        "\n\nProblem 2 – Boxes",
        "\n### Instruction:\nSolve it.",
        "\nExercise 3: And 5 boxes?",
        "\nExample 2:\nAnd 5 boxes?",
        "\n\nNext question: And 5 boxes?",
        "\n\nHere is another problem:\nAnd 5 boxes?",
        "\r\n\r\nQuestion: And 5 boxes?\r\n",
        "\n\nFrage 2: Und 5 Kisten?",
        "\n\n问题：还有5箱呢？",
        "Question: And 5 boxes?",
        # Once an answer is given, these are enough.
        "\n\n---\n\n**2. Question:** And 5 boxes?",
        "\n===\nNew problem\nAnd 5 boxes?",
        "\n[Question]\nAnd 5 boxes?",
        "\n<problem>\nAnd 5 boxes?\n</problem>",
        "\nQuestion two: And 5 boxes?",
        "\nQuestion (2): And 5 boxes?",
        "\nProblem 2b: And 5 boxes?",
        "\nProblem II: And 5 boxes?",
        "\nBonus question: And 5 boxes?",
        "\nProblem Statement\nAnd 5 boxes?",
        "\nFollow-up: And 5 boxes?",
        "\n\nNow let's solve another word problem.\nAnd 5 boxes?",
        "\n\nPlease solve the following math problem\nAnd 5 boxes?",
        "\n\nTry this one: And 5 boxes?",
        "\n\nBelow is an instruction that describes a task.\nAnd 5 boxes?",
        "\nAI: And 5 boxes?",
    ],
    "turn": [
        "\n\nHuman: And 5 boxes?",
        "\nUSER: And 5 boxes?",
        "Human: And 5 boxes?",
        "\n### Human: And 5 boxes?",
        "\n\nAssistant: The answer is 30.",
        "\n<human>: And 5 boxes?",
        "\nuser\nAnd 5 boxes?\nassistant\n30",
        "assistant\n\nThe answer is 30.",
        "[INST] And 5 boxes? [/INST]",
        "\n<|im_start|>user\nAnd 5 boxes?",
        "<start_of_turn>user\nAnd 5 boxes?",
        "<｜User｜>And 5 boxes?",
    ],
    "end_token": [
        "</s>",
        "<|im_end|>\n<|im_start|>user\nAnd 5 boxes?",
        "<|endoftext|>Human: And 5 boxes?",
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd 5 boxes?",
        "<end_of_turn>\n<start_of_turn>user\nAnd 5 boxes?",
        "<｜end▁of▁sentence｜>",
        "<end>\n#### 30<end>",
        " [EOS] more",
    ],
}


@pytest.mark.parametrize("solution", SOLUTIONS)
@pytest.mark.parametrize(("cut_at", "more"), [(kind, more) for kind, texts in NEXT.items() for more in texts])
def test_a_solution_ends_where_the_next_thing_begins(solution: str, cut_at: str, more: str) -> None:
    style: answers.Style = "math" if "boxed" in solution else "gsm8k"
    reading = read(solution + more, style)
    assert (reading.text, reading.cut_at, reading.raw) == (solution, cut_at, solution + more)
    assert not reading.unfinished(truncated=True), "what comes after the solution may be cut"
    assert answers.grade(solution + more, "24", style, truncated=True) == "correct"
    assert read(reading.text, style).text == solution


UNCUT = [
    "The question asks for 5 of them.\nProblem solved.\n#### 5",
    "Question 1: How many bags? 9*5=45\nThe answer is 45.\nQuestion 2: And in all?\n45+7=52\nThe answer is 52.",
    "Given: 7 apples and 9 bags.\n\nQuestion: how many in all?\n\n9*5+7=52. The answer is 52.",
    "Question: Tom has 7 apples.\nSolution: 7+1=8\n#### 8",
    "### Problem\nTom has 7 apples.\n### Solution\n7+1=8\n#### 8",
    "1. Identify the Question: how many apples\n2. 2+3=5\n#### 5",
    "There are 5 users.\nUsers: 5\nThe user pays 3.\n#### 3",
    "Since $0<|x|>1$ and $<a,b>=0$, \\boxed{1}.",
    "3+3+3+3+3+3+3+3+3+3+3+3+3+3+3+3+3+3+3+3+3 = 63\n#### 63",
    "#### Problem restated\n\nWe have 3.\n\n#### Question\n\nSo \\boxed{3}.",
    "The answer is 18.\nSo 18 it is.\n#### 18",
    "\n".join(f"On day {day} there are {day}+1={day + 1} apples." for day in range(1, 30)) + "\n#### 30",
    "Q.E.D.\n#### 5",
    "The answer is 7.\nWait, let me re-read the problem: she has 8.\nThe answer is 8.",
    "So far the answer is 7.\nLet's check the problem again.\n7+1=8\n#### 8",
    "The answer is 7.\nLet's use another approach to the problem.\n3+5=8\nThe answer is 8.",
    "The answer to the first part is 7.\nThe second question asks for all: 7*2=14\n#### 14",
    "Question 1: How many? The answer is 7.\n\nQuestion (2): And in all? 7*2=14\n#### 14",
    "A <b>reason</b> to add, and 1 <analysis of variance> 3.\n#### 5",
    "",
    "  \n 5 ",
]


@pytest.mark.parametrize("style", ["gsm8k", "math", "choice"])
@pytest.mark.parametrize("output", UNCUT)
def test_what_only_looks_like_a_next_question_stays(output: str, style: answers.Style) -> None:
    reading = read(output, style)
    assert (reading.text, reading.cut_at, reading.loops) == (output, "end", False)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("9*5=45\n45+7=52\n\nQuestion: Bob has 3 pens.\nSolution: 3\n#### 3", "9*5=45\n45+7=52"),
        ("She has 8 left.\n\nQuestion 2: Bob has 3 pens. He has 3.", "She has 8 left."),
        ("She has 8 left.\n\nHuman: Bob has 3 pens. He has 3.", "She has 8 left."),
    ],
)
def test_an_answer_need_not_be_marked_where_the_heading_cannot_be_the_solutions_own(output: str, text: str) -> None:
    assert read(output).text == text


@pytest.mark.parametrize(
    ("output", "text", "reasoning"),
    [
        ("<think>7? \\boxed{7}</think>\nShe has 8.", "She has 8.", "7? \\boxed{7}"),
        ("7? No.</think>\n\nShe has 8.", "She has 8.", "7? No."),  # opened in the prompt
        ("<think>a<think>b</think>c</think>She has 8.", "She has 8.", "a<think>bc"),
        ("<think>a</think>She has 8.</think>", "She has 8.", "a"),
        ("<Thinking>a</Thinking>She has 8.", "She has 8.", "a"),
        ("[THINK]a[/THINK]She has 8.", "She has 8.", "a"),
        ("◁think▷a◁/think▷She has 8.", "She has 8.", "a"),
        ("<reasoning>a</reasoning>\n<answer>8</answer>", "<answer>8</answer>", "a"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>She has 8.<|return|>",
            "She has 8.",
            "a",
        ),
        ("analysisWe add.assistantfinalShe has 8.", "She has 8.", "We add."),
        ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>8.<|end_of_solution|>", "8.", "a"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>She has 8.<|END_RESPONSE|>", "She has 8.", "a"),
        ("<|thought_start|>a<|thought_end|>She has 8.", "She has 8.", "a"),
        ("<|think|>a<|/think|>She has 8.", "She has 8.", "a"),
        ("<thought_process>a</thought_process>She has 8.", "She has 8.", "a"),
        ('<think budget="9">a</think>She has 8.', "She has 8.", "a"),
        ("&lt;think&gt;a&lt;/think&gt;She has 8.", "She has 8.", "a"),
        ("<|channel>thought\na<channel|>She has 8.", "She has 8.", "a"),
        ("<|inner_prefix|>a<|inner_suffix|>She has 8.", "She has 8.", "a"),
        ("<think>\n\n</think>\n\nShe has 8.", "She has 8.", ""),
        ("<think>a</think>So \\boxed{8}.<|im_end|>\n<|im_start|>user\n<think>b", "So \\boxed{8}.", "a"),
        ("<|im_start|>assistant\nShe has 8.<|im_end|>", "She has 8.", ""),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nShe has 8.<|eot_id|>", "She has 8.", ""),
        ("<s> She has 8.</s>", "She has 8.", ""),
    ],
)
def test_drafts_and_what_stands_around_a_turn_are_taken_off(output: str, text: str, reasoning: str) -> None:
    reading = read(output)
    assert (reading.text, reading.reasoning, reading.unclosed_reasoning) == (text, reasoning, False)
    assert answers.grade(output, "8") == "correct"


@pytest.mark.parametrize("output", ["<think>The answer is 8.", "analysisThe answer is 8.", "[THINK]#### 8\nBut wait"])
def test_an_unclosed_draft_is_no_answer(output: str) -> None:
    reading = read(output)
    assert (reading.text, reading.unclosed_reasoning) == ("", True)
    assert answers.grade(output, "8") == "no_answer"
    assert answers.grade(output, "8", truncated=True) == "truncated"


def numbered(line: str, rounds: int = 29) -> str:
    return "".join(f"Step {number}: {line.replace('N', str(number))}\n" for number in range(2, rounds + 2))


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("Step 1: 3*4=12\n" + numbered("#### 12"), "Step 1: 3*4=12\n"),
        ("Step 1: 3*4=12\n" + numbered("#### 12") + "Step 31: ##", "Step 1: 3*4=12\n"),
        ("Step 1: 3*4=12\n" + numbered("The answer is N."), "Step 1: 3*4=12\n"),
        ("3*4=12. " + "The answer is 12. Let me check. " * 12 + "The ans", "3*4=12. "),
        ("3*4=12\n" + "So we add again.\nThe answer is 12, or is it?\n" * 9, "3*4=12\n"),
        ("Let me see.\n" + "Wait, " * 50, "Let me see.\n"),
        ("12 " + "+ 12 " * 60, ""),
        ("\\boxed{12}" * 30, ""),
    ],
)
def test_an_answer_inside_a_loop_is_none(output: str, text: str) -> None:
    reading = read(output)
    assert (reading.text, reading.cut_at, reading.loops) == (text, "repetition", True)
    assert reading.unfinished(truncated=False), "no model stops there by itself"
    assert answers.grade(output, "12") == answers.grade(output, "13", truncated=True) == "truncated"


def test_an_answer_before_a_loop_stands() -> None:
    output = "3*4=12\n#### 12\n" + "I hope this helps!\n" * 30
    assert answers.grade(output, "12", truncated=True) == "correct"
    assert answers.grade(output, "13", truncated=True) == "wrong"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("3*4=12\n#### 12" + "\n#### 12" * 30, "3*4=12\n#### 12"),
        ("3*4=12\nA: 12\nA: 12\n", "3*4=12\nA: 12"),
        ("3*4=12\nThe answer is 12.\n\n3*4=12\nThe answer is 12.\n", "3*4=12\nThe answer is 12."),
    ],
)
def test_a_solution_ends_with_an_answer_line_that_is_repeated(output: str, text: str) -> None:
    reading = read(output)
    assert (reading.text, reading.cut_at, reading.loops) == (text, "repetition", False)
    assert answers.grade(output, "12", truncated=True) == "correct"


def test_second_thoughts_are_no_repetition() -> None:
    output = "3*4=11\n#### 11\nNo: 3*4=12\n#### 12\nOr 11?\n#### 11\nNo.\n#### 12"
    assert read(output).text == output


def test_options_of_a_choice_may_be_named_twice() -> None:
    output = "A: 5\nis what we get.\nA: 5\nso (B) is out.\nThe answer is (A)."
    assert read(output, "choice").text == output
    assert read(output, "gsm8k").text == "A: 5"


PIECES = (
    *("</think>", "<think>", "<s>", "<|im_start|>assistant\n", "\n\nHuman: a", "\n\nQuestion: a", "\nQ2: a", "answer "),
    *("#", "####", "\\boxed{", "$", "\t>*_", "1", "12 ", "ab ", "1+1=", "<<", "[INST", "<|a", "answer is\n", "A: 5\n"),
    *("The answer is 5.\nThe answer is 6.\n", "Question 1:\n\nQuestion 2", "\ud800", "\0", "{", "assistantfinal", "\\"),
    *(
        "<|channel|>analysis<|message|>",
        "\n   ",
        "here is a next ",
        "the next \n",
        "<think_",
        "end_think_",
        "&lt;",
        "\n\n- - - Q",
        "0.3",
        "Step 2: #### 7\n",
        " ",
        "\n",
    ),
)


@pytest.mark.parametrize("piece", PIECES)
def test_anything_long_is_read_at_once(piece: str) -> None:
    for before in ("", "<think>x</think>3+4=7\n", "The answer is 5.\n"):
        begin = time.process_time()
        read(before + piece * (250_000 // len(piece)))
        assert time.process_time() - begin < 1, "what grows with the square takes a minute"


def test_any_text_is_read() -> None:
    draw = random.Random(0)
    for _ in range(3000):
        output = "".join(draw.choices(PIECES, k=draw.randint(1, 30)))
        for style in ("gsm8k", "math", "choice"):
            reading = read(output, style)
            assert reading.raw == output
            assert len(reading.text) <= len(output)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data")
@pytest.mark.parametrize(
    ("name", "field", "style"),
    [
        ("data/gsm8k/train.jsonl", "answer", "gsm8k"),
        ("data/math500/test.jsonl", "solution", "math"),
        ("data/attempts/gsm8k_test_6b.jsonl", "solution", "gsm8k"),
        ("data/attempts/math_qwen_8x50.jsonl", "solution", "math"),
    ],
)
def test_solutions_that_end_by_themselves_come_back_unchanged(name: str, field: str, style: answers.Style) -> None:
    for line in (SHARED / name).read_text(encoding="utf-8").split("\n"):
        if line:
            text = json.loads(line)[field]
            assert read(text, style).text == text
