"""Splitting solutions into steps, and joining them again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sei.steps import join_steps, split_steps


def test_gsm8k_answer_line() -> None:
    assert split_steps("2+3=<<2+3=5>>5\n#### 5") == (["2+3=<<2+3=5>>5"], "5")


def test_answer_line_of_the_real_attempts() -> None:
    assert split_steps("First 1+1=2\n\n  Then 2+2=4 \nA: 4\n") == (["First 1+1=2", "Then 2+2=4"], "4")


def test_no_answer_line() -> None:
    assert split_steps("only words\nand more") == (["only words", "and more"], None)
    assert split_steps("") == ([], None)


def test_text_after_the_answer_line_is_no_step() -> None:
    assert split_steps("1+1=2\n#### 2\nQuestion: more?") == (["1+1=2"], "2")


def test_join_and_split_are_inverse() -> None:
    steps = ["2+3=<<2+3=5>>5", "5*2=<<5*2=10>>10"]
    assert split_steps(join_steps(steps, "10")) == (steps, "10")


def test_the_sentence_with_the_answer_is_no_step() -> None:
    assert split_steps("2+3=5\nThe answer is 5.") == (["2+3=5"], "5")
    assert split_steps("2+3=5\nThe answer is 5 apples.") == (["2+3=5", "The answer is 5 apples."], None)
    assert split_steps("The answer is 5.\nOr not") == (["The answer is 5.", "Or not"], None), "only as the last line"
    assert split_steps("So $x=1.$ Done.\nThe answer is $\\boxed{\\frac{1}{2}}$.", "math") == (
        ["So $x=1.$", "Done."],
        "\\frac{1}{2}",
    )
    assert split_steps("Then.\nThe answer is $\\$ 5$.", "math") == (["Then."], "\\$ 5")
    assert split_steps("A car.\nThe answer is (C).", "choice") == (["A car."], "C")
    assert split_steps("Let $x=1$.\n#### 1", "math") == (["Let $x=1$."], "1")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("It is 2.5 m. Then 3! Why? Yes.", ["It is 2.5 m.", "Then 3!", "Why?", "Yes."]),
        ("See Fig. 1 and Eq. 2, i.e. the sum. By no. 3 it holds.", ["See Fig. 1 and Eq. 2, i.e. the sum.", "By no. 3 it holds."]),
        ("Let $a = b. C$ be $1. D$ it. So \\(x. Y\\) is.", ["Let $a = b. C$ be $1. D$ it.", "So \\(x. Y\\) is."]),
        ("We get $x = 5.$ Also $y$.", ["We get $x = 5.$", "Also $y$."]),
        ("It is $5\\text{ if $A. B$ holds}.$ So.", ["It is $5\\text{ if $A. B$ holds}.$", "So."]),
        ("It costs \\$5. Then \\$6 more.", ["It costs \\$5.", "Then \\$6 more."]),
        ("We add:\n\n\\[1+1. \\\\[2pt] B\\]\n\nThen:\n\\begin{align*}\na. B\n\\end{align*}End.", [
            "We add: \\[1+1. \\\\[2pt] B\\]", "Then: \\begin{align*} a. B \\end{align*}", "End."]),
        ("Here\n\\[x\\]\nwhere $x>0$. Also\n$$y. Z$$", ["Here \\[x\\] where $x>0$.", "Also $$y. Z$$"]),
        ("Do this:\n\n1. **Add both:**\n   We add. It is 5.\n2. Take 3.", [
            "Do this:", "1. **Add both:** We add.", "It is 5.", "2. Take 3."]),
        ("### Step 1: Find it\n\nIt is 5. So.\n\n## Step 2: Go\n\nGo on.", [
            "### Step 1: Find it It is 5.", "So.", "## Step 2: Go Go on."]),
        ("Step 1: $2+3=5$\nStep 2: $5*2=10$", ["Step 1: $2+3=5$", "Step 2: $5*2=10$"]),
        ("Round them:\n- $a$ to 1\n- $b$ to 2\n\nNow add.", ["Round them: - $a$ to 1 - $b$ to 2", "Now add."]),
        ("We know it.\n\n[asy]\ndraw. A; // B\n[/asy]\n\nSo.", ["We know it. [asy] draw. A; // B [/asy]", "So."]),
        ("[asy] a. B [/asy]\n\nSo it is.", ["[asy] a. B [/asy] So it is."]),
        ("A cut text \\[ x = 5. So", ["A cut text \\[ x = 5. So"]),
        ("It costs $5 today. It is cheap.\n\nYes.", ["It costs $5 today.", "It is cheap.", "Yes."]),
        ("By the theorem of the great Greek mathematician who was called\nPythagoras it holds. So.", [
            "By the theorem of the great Greek mathematician who was called Pythagoras it holds.", "So."]),
        ("We have $x$\n\nand it grows. Yes.", ["We have $x$ and it grows.", "Yes."]),
        ("First 1+1=2\nThen 2+2=4", ["First 1+1=2", "Then 2+2=4"]),
        ("", []),
        (" \n ", []),
    ],
)  # fmt: skip
def test_free_text(text: str, steps: list[str]) -> None:
    assert split_steps(text, "math") == (steps, None)


def solutions() -> list[str]:
    texts = []
    for name in ("attempts/math_qwen_8x50.jsonl", "math500/test.jsonl"):
        path = Path(__file__).parents[1] / "../shared/data" / name
        if not path.is_file():
            pytest.skip("shared data not here")
        texts += [json.loads(line)["solution"] for line in path.read_text(encoding="utf-8").splitlines()]
    return texts


def dollars(text: str) -> int:
    return len(re.findall(r"\$", re.sub(r"\\\\|\\\$", "", text)))


def test_steps_of_real_free_text_hold_all_of_it() -> None:
    texts = solutions()
    assert len(texts) == 900
    paired = 0
    for text in texts:
        steps, answer = split_steps(text, "math")
        assert answer is None
        assert "".join("".join(steps).split()) == "".join(text.split())
        assert all(step.split() and "\n" not in step for step in steps)
        # Three attempts derail into random tokens; a dollar sign among them opens nothing.
        if all(dollars(paragraph) % 2 == 0 for paragraph in text.split("\n\n")):
            paired += 1
            assert all(dollars(step) % 2 == 0 for step in steps), text
            assert all(step.count("\\begin{") == step.count("\\end{") for step in steps), text
    assert paired == 897


def test_real_free_text_has_a_sane_number_of_steps() -> None:
    counts = [len(split_steps(text, "math")[0]) for text in solutions()]
    attempts, gold = sorted(counts[:400]), sorted(counts[400:])
    assert (attempts[0], attempts[200], attempts[-1]) == (5, 10, 40)
    assert (gold[0], gold[250], gold[-1]) == (1, 4, 28)


def test_steps_split_again_are_the_same_steps() -> None:
    same = total = 0
    for text in solutions():
        steps, _ = split_steps(text, "math")
        same += split_steps("\n".join(steps), "math")[0] == steps
        total += 1
    assert same / total > 0.9


@pytest.mark.parametrize(
    "unit", ["$", "\\(", "\\[", "\\begin{a}", "$\\text{", "1. ", "**", "- a\n", "A. ", "\n", "$$$", "!"]
)
def test_hostile_text_takes_no_time(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    steps, _ = split_steps(text, "math")
    assert "".join("".join(steps).split()) == "".join(text.split())
