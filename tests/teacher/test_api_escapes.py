r"""Backslashes in a reply's JSON: LaTeX comes back as it was meant, from a program's hand and from a careless one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sei.teacher.api.json_text import values

MATH = Path(__file__).parents[2] / "../shared/data/math500/test.jsonl"


def decoded(written: str, others: str = "") -> str:
    (found,) = values(f'{{"a": "{written}"{others}}}')
    assert found.whole
    text: str = found.value["a"]
    return text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        # A careless hand: LaTeX's backslashes as they are
        (r"$\frac{1}{2}$", r"$\frac{1}{2}$"),
        (r"$\sqrt{2} \times \beta$", r"$\sqrt{2} \times \beta$"),
        (r"\underline{x}", r"\underline{x}"),
        (r"$\nu = 3$", r"$\nu = 3$"),
        (r"$x \ne 3$, $x \to 0$ and $\tan x$", r"$x \ne 3$, $x \to 0$ and $\tan x$"),
        (r"\nu", r"\nu"),
        (r"\theta", r"\theta"),
        (r"5\text{ cm}", r"5\text{ cm}"),
        (r"\$5 and 50\% off\nnice", "\\$5 and 50\\% off\nnice"),
        (r"$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$", r"$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$"),
        (r"\begin{cases} x\\y \end{cases}", r"\begin{cases} x\\y \end{cases}"),
        (r"\begin{array}{c} a \\ \hline b \\[2pt] c \end{array}", r"\begin{array}{c} a \\ \hline b \\[2pt] c \end{array}"),
        (r"\begin{align*}\nu &= 3 \\\nv &= 4\n\end{align*}", "\\begin{align*}\nu &= 3 \\\\\nv &= 4\n\\end{align*}"),
        (r"\[\n\tan x\n\]", "\\[\n\\tan x\n\\]"),
        (r"Let $x \ne 3$.\nu = 2 follows", "Let $x \\ne 3$.\nu = 2 follows"),
        (r"$\boxed{5}$\n\nTherefore \"x\"", '$\\boxed{5}$\n\nTherefore "x"'),
        # A program's
        (r"$\\frac{1}{2}$", r"$\frac{1}{2}$"),
        (r"row \\\\ next", r"row \\ next"),
        (r"$\\nu$\nnext \\(x\\)", "$\\nu$\nnext \\(x\\)"),
        (r"$a \\neq b$\nu = 1", "$a \\neq b$\nu = 1"),
        (r"say \"x\" \u00e9 \/", 'say "x" é /'),
        (r"\\begin{array}{c} a \\\\ b\\ c \\end{array}", r"\begin{array}{c} a \\ b\ c \end{array}"),
        # A hand that writes commands twice and row breaks once, and one that changes between the two
        (r"$\\begin{pmatrix} 1 & 2 \\ 3 & 4 \\end{pmatrix}$", r"$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$"),
        (r"$\\begin{cases} 1\\2\\3 \\end{cases}$", r"$\begin{cases} 1\\2\\3 \end{cases}$"),
        (r"$\\begin{array}{c} a \\\n b \\end{array}$", "$\\begin{array}{c} a \\\\\n b \\end{array}$"),
        (r"$\\frac{1}{2}$ and \sqrt{2} \(x\)", r"$\frac{1}{2}$ and \sqrt{2} \(x\)"),
        # No sign of either
        (r"one\nThen two\tthree", "one\nThen two\tthree"),
        (r"so\nu = 3", "so\nu = 3"),
        (r"x \to 3", r"x \to 3"),
    ],
)  # fmt: skip
def test_a_backslash_is_read_as_it_was_meant(written: str, meant: str) -> None:
    assert decoded(written) == meant


def test_a_text_that_betrays_no_hand_is_read_by_the_others() -> None:
    assert decoded(r"$a \\ b$", r', "b": "\\frac{1}{2}"') == r"$a \ b$"
    assert decoded(r"$a \\ b$", r', "b": "\sqrt{2}"') == r"$a \\ b$"


def careless(text: str) -> str:
    """JSON as one writes it who escapes quotes and line breaks and forgets backslashes."""
    for plain, escaped in (('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


@pytest.mark.skipif(not MATH.exists(), reason="needs ../shared/data")
def test_solutions_of_math_come_back_from_both_hands() -> None:
    solutions = [json.loads(line)["solution"] for line in MATH.read_text(encoding="utf-8").splitlines()]
    several = [text for text in solutions if "\\" in text]
    assert len(several) > 400
    assert sum("\\\\" in text for text in several) > 60  # row breaks
    for text in several:
        for written in (
            json.dumps(text),
            json.dumps(text, ensure_ascii=False),
            careless(text),
            careless(text) + ', "b": "x"',
        ):
            (found,) = values(f'Sure:\n{{"step": 1, "a": {written}}}')
            assert found.value["a"] == text


def test_the_prompts_ask_for_what_is_mended() -> None:
    for name in ("latex", "json"):
        text = (Path(__file__).parents[2] / f"sei/prompts/teacher/{name}.txt").read_text(encoding="utf-8")
        assert re.search(r"every backslash twice.*\\\\\\\\", text)
