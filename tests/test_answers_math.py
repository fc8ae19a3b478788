"""Grading of style `math`: structures, units, symbols, limits."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from sei import answers
from sei.records import Verdict

DATA = Path(__file__).parents[1] / "../shared/data"

# gold, content of the box, expected, why it is a trap
TRAPS = [
    # lists, sets, tuples
    ("1,-2", r"-2, 1", "correct", "lists have no order"),
    ("1,-2", r"(1,-2)", "wrong", "a list is not a tuple"),
    ("(3,4)", r"3, 4", "wrong", "a tuple is not a list"),
    ("(3,4)", r"(4,3)", "wrong", "tuples have an order"),
    (r"\{1,2\}", r"2,1", "correct", "set and list"),
    (r"\{1,2\}", r"\{1,2,2\}", "correct", "sets forget repetition"),
    ("1,2", "1,2,3", "wrong", "one value too many"),
    ("3,5,7", "3,5", "wrong", "one value too few"),
    ("3, 5, 7", r"3, 5, \text{ and } 7", "correct", "and in a list"),
    (r"1,\sqrt{12}", r"2\sqrt{3},\; 1", "correct", "symbols in a list"),
    (r"\{\sqrt{2}, \frac{2}{\sqrt 2}\}", r"\sqrt{2}", "correct", "two spellings of one member"),
    ("x=2, x=5", "2, 5", "correct", "named values"),
    ("x=2, y=5", "x=5, y=2", "wrong", "names matter in systems"),
    ("(1,2),(3,4)", "(3,4), (1,2)", "correct", "list of points"),
    (r"\emptyset", r"\text{no solution}", "correct", "empty set in words"),
    # intervals and inequalities
    ("(0,1)", "[0,1]", "wrong", "open against closed"),
    ("(0,1]", "(0,1)", "wrong", "one end closed"),
    (r"[3,\infty)", r"x \ge 3", "correct", "inequality as interval"),
    (r"[3,\infty)", r"x > 3", "wrong", "strict inequality"),
    (r"x \in [-2,7]", r"-2 \leq x \leq 7", "correct", "membership"),
    (r"-2 \le x < 7", r"7 > x \ge -2", "correct", "turned round"),
    (r"(-\infty, 2) \cup (3, \infty)", r"(3,\infty)\cup(-\infty,2)", "correct", "unions have no order"),
    (r"(-\infty, 2) \cup (3, \infty)", r"x<2 \text{ or } x>3", "correct", "two inequalities"),
    (r"(-\infty, 2) \cup (3, \infty)", r"(-\infty,2]\cup[3,\infty)", "wrong", "closed ends in a union"),
    (r"\{x \mid x > 2\}", r"(2,\infty)", "correct", "set builder"),
    ("x>y", "y<x", "correct", "inequality in two unknowns"),
    ("x>y", "x<y", "wrong", "inequality the other way"),
    ("x>y", "2y<2x", "correct", "inequality times two"),
    ("x+y<3", "3<x+y", "wrong", "sum on the wrong side"),
    # units
    (r"10\text{ cm}", r"10\text{ m}", "wrong", "other unit"),
    (r"10\text{ m}", r"10\text{ s}", "wrong", "metres are not seconds"),
    (r"10\text{ cm}", r"0.1\text{ m}", "correct", "converted unit"),
    (r"15\mbox{ cm}^2", r"15 \text{ square centimeters}", "correct", "unit in words"),
    (r"15\mbox{ cm}^2", r"15 \text{ cm}", "wrong", "length for an area"),
    (r"5.4 \text{ cents}", "5.4", "correct", "unit dropped"),
    (r"\$18.90", r"18.90 \text{ dollars}", "correct", "currency sign and word"),
    (r"\$18.90", r"1890\text{ cents}", "correct", "cents"),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}^\circ", "correct", "degree sign and word"),
    ("5", "5 apples", "correct", "noun as a unit"),
    ("5", "5m", "wrong", "a letter without \\text is a variable"),
    ("2k", "2", "wrong", "variables are not dropped"),
    # percent
    (r"50\%", "50", "correct", "percent sign dropped"),
    (r"50\%", "0.5", "correct", "percent sign applied"),
    ("0.5", r"50\%", "correct", "percent sign in the answer"),
    (r"50\%", r"0.5\%", "wrong", "both have a percent sign"),
    (r"33\frac{1}{3}\%", r"33.3\%", "wrong", "rounded percent"),
    # boxes
    ("5", r"5} or rather \boxed{5", "correct", "the same box twice"),
    ("3", r"2}. Wait. \boxed{3", "correct", "corrected box"),
    ("3", r"3}. Wait. \boxed{2", "wrong", "corrected away"),
    ("3", r"\boxed{3}", "correct", "nested boxes"),
    # matrices and vectors
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}", "correct", "kind of bracket"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", "wrong", "rows swapped"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", "wrong", "row for column"),
    (r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", r"\begin{pmatrix}0.2\\-3.6\end{pmatrix}", "correct", "decimals"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1,2)", "correct", "column vector as a point"),
    # equations
    ("x=5", "5", "correct", "value of an equation"),
    ("5", "x=5", "correct", "equation for a value"),
    ("y=2x+1", "2x+1", "correct", "right side only"),
    ("y=2x+1", "y-2x=1", "correct", "rearranged"),
    ("y=2x+1", "y=2x-1", "wrong", "sign in an equation"),
    ("5x - 7y + 11z + 4 = 0", "-5x+7y-11z-4=0", "correct", "times minus one"),
    ("x^2+y^2=4", "4", "wrong", "an equation is not its side"),
    ("f(x)=x^2", "x^2", "correct", "function named"),
    (r"x \neq 3", "x = 3", "wrong", "not equal"),
    # ratios, times, choices, words
    ("3:4", "6:8", "correct", "proportional"),
    ("3:4", "4:3", "wrong", "ratio turned round"),
    ("3:4", r"\frac{3}{4}", "correct", "ratio as a fraction"),
    ("4:30", "2:15", "wrong", "times are not ratios"),
    (r"\text{(C)}", "C", "correct", "choice without brackets"),
    (r"\text{(C)}", r"\textbf{(C)}", "correct", "bold choice"),
    (r"\text{(C)}", "D", "wrong", "other choice"),
    (r"\text{Evelyn}", "evelyn", "correct", "case of a name"),
    (r"\text{even}", r"\text{odd}", "wrong", "other word"),
    # plus-minus
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}", "correct", "both signs written out"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}", "wrong", "one of two signs"),
    (r"\{1\pm\sqrt{5},-2\}", r"-2,1+\sqrt5,1-\sqrt5", "correct", "plus-minus inside a set"),
    # numbers
    ("1234", "1,234", "correct", "thousands comma"),
    ("58,500", "58500", "correct", "thousands comma in the gold answer"),
    (r"11,\! 111,\! 111,\! 100", "11111111100", "correct", "thin spaces"),
    ("1,2,3", "123", "wrong", "a list is not a number"),
    (r"137 \frac{1}{2}", "137.5", "correct", "mixed number"),
    (r"1\frac{4}{5}", r"\frac{4}{5}", "wrong", "mixed number is not a product"),
    (".0000672", r"6.72 \times 10^{-5}", "correct", "scientific notation"),
    ("3.14", r"\pi", "wrong", "rounded pi"),
    (r"\frac{1}{3}", "0.3333333", "correct", "long rounding of a fraction"),
    (r"\frac{1}{3}", "0.33", "wrong", "short rounding"),
    ("52_8", "52", "correct", "base dropped"),
    ("52_8", "52_9", "wrong", "other base"),
    ("52_8", "42", "wrong", "converted base"),
    # expressions
    ("x", "y", "wrong", "letters are variables"),
    ("p - q", "q - p", "wrong", "difference turned round"),
    ("(a+5)(b+2)", "ab+2a+5b+10", "correct", "expanded"),
    (r"\sqrt{x^2}", "x", "wrong", "sign of a root"),
    (r"\frac{11+9a}{20}", r"\frac{9a}{20}+\frac{11}{20}", "correct", "sum of fractions"),
    (r"\cot x", r"\frac{1}{\tan x}", "correct", "trigonometric"),
    ("6+9i", "9i+6", "correct", "complex"),
    ("6+9i", "6-9i", "wrong", "conjugate"),
    ("\\log_2 8", "3", "correct", "logarithm"),
    (r"\frac{1}{10^{30}}", r"\frac{1}{10^{31}}", "wrong", "tiny numbers differ"),
    ("10^{30}", "10^{30}+1", "wrong", "huge integers differ"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", "correct", "rationalized"),
    ("2^{10}", "1024", "correct", "power"),
    (r"\binom{5}{2}", "10", "correct", "binomial"),
    ("5!", "120", "correct", "factorial"),
    # letters behind a number
    ("3", "3ab", "wrong", "variables are not a unit"),
    ("3ab", "3xy", "wrong", "other variables"),
    ("y=3", "y=3 x", "wrong", "a variable behind a space"),
    ("(2,3)", "(2 x, 3)", "wrong", "a variable in a point"),
    ("4", "4 r^2", "wrong", "a power is not a unit"),
    ("2", "2 sin x", "wrong", "a function is not a unit"),
    ("3", "3 pi", "wrong", "bare pi is no unit"),
    ("3x", "3 x", "correct", "product with a space"),
    ("12x y", "12xy", "correct", "two variables with a space"),
    (r"2\pi", "2pi", "correct", "pi without a backslash"),
    ("3", "3 cookies", "correct", "what was counted, bare"),
    ("5", "5 miles per hour", "correct", "several words of unit"),
    ("3", "3 red balls", "correct", "a short word among longer ones"),
    (r"7:00\text{ AM}", r"7:00\text{ PM}", "wrong", "half of the day"),
    (r"2\text{ am}", "2 p.m.", "wrong", "half of the day, bare"),
    (r"60\text{ km/h}", r"60\text{ mph}", "wrong", "other speed"),
    (r"5\text{ July}", r"5\text{ June}", "wrong", "other month"),
    ("5", r"\$5\text{ million}", "wrong", "millions are not dropped"),
    ("5000000", r"5\text{ million}", "correct", "millions in words"),
    ("2500000", "2.5 million dollars", "correct", "millions of a unit"),
    # irrational and imaginary
    (r"\sqrt{2}", "1.41421356", "correct", "long decimal of a root"),
    (r"\pi", "3.14159265", "correct", "long decimal of pi"),
    (r"\sqrt{2}", "1.41421355", "wrong", "long decimal, last place"),
    ("2i", "(1+i)^2", "correct", "i squared"),
    ("-1", r"e^{i\pi}", "correct", "Euler"),
    ("i", r"\sqrt{-1}", "correct", "root of -1"),
    (r"\frac13", r"0.\overline{3}", "correct", "repeating decimal"),
    (r"\frac16", r"0.1\overline{6}", "correct", "decimal that begins to repeat"),
    (r"\frac{3}{10}", r"0.\overline{3}", "wrong", "the bar is not dropped"),
]

WHOLE_OUTPUTS = [
    ("5", "The answer is $5$.", "correct", "phrase with dollars"),
    ("5", "We get $x^2 = 25$, hence \\[x = 5.\\]", "correct", "last formula"),
    ("5", "Therefore, there are 5 ways", "correct", "last number of the last sentence"),
    ("5", "#### 5", "correct", "hashes"),
    (r"\{2,5\}", r"$x=\boxed{5}$ or $x=\boxed{2}$", "correct", "two boxes in either order"),
    ("7", r"We find \boxed{", "no_answer", "box that never closes"),
    ("7", "", "no_answer", "nothing"),
    ("", r"\boxed{5}", "ungradable", "no gold answer"),
    (r"\frac{1}{2", r"\boxed{5}", "ungradable", "gold with open brace"),
]


@pytest.mark.parametrize(("gold", "content", "expected", "why"), TRAPS, ids=[trap[3] for trap in TRAPS])
def test_traps_in_a_box(gold: str, content: str, expected: str, why: str) -> None:
    assert answers.grade(f"Therefore $\\boxed{{{content}}}$.", gold, "math") == expected


@pytest.mark.parametrize(("gold", "output", "expected", "why"), WHOLE_OUTPUTS, ids=[row[3] for row in WHOLE_OUTPUTS])
def test_extraction(gold: str, output: str, expected: str, why: str) -> None:
    assert answers.grade(output, gold, "math") == expected


def test_shared_traps_and_real_labels() -> None:
    if not DATA.exists():
        pytest.skip("shared data not here")
    traps = [json.loads(line) for line in (DATA / "grading/traps.jsonl").read_text().splitlines()]
    wrong = [trap for trap in traps if answers.grade(trap["output"], trap["gold"], trap["style"]) != trap["expected"]]
    assert len(traps) == 40
    assert wrong == []
    rows = [json.loads(line) for line in (DATA / "attempts/math_qwen_8x50.jsonl").read_text().splitlines()]
    verdicts = answers.grade_many([(row["solution"], row["gold_answer"]) for row in rows], "math")
    disagree = [row for row, verdict in zip(rows, verdicts, strict=True) if (verdict == "correct") != row["is_correct"]]
    assert len(rows) == 400
    assert disagree == []


def test_gold_solutions_of_math500_grade_correct() -> None:
    path = DATA / "math500/test.jsonl"
    if not path.exists():
        pytest.skip("shared data not here")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    verdicts = answers.grade_many([(row["solution"], row["answer"]) for row in rows], "math")
    assert [row["answer"] for row, verdict in zip(rows, verdicts, strict=True) if verdict != "correct"] == []


def test_a_pair_that_never_ends_costs_one_verdict() -> None:
    bomb = r"\boxed{9^{9^{9^{9}}}}"
    pairs = [(r"\boxed{2\sqrt3}", r"\sqrt{12}"), (bomb, "5"), (r"\boxed{2\sqrt3}", r"\sqrt{13}")]
    verdicts = answers.grade_many(pairs, "math", timeout_s=0.5)
    assert verdicts == [Verdict.CORRECT, Verdict.TIMEOUT, Verdict.WRONG]


def test_grading_works_in_threads() -> None:
    """math-verify's own timeouts use signals, which only the main thread may set."""
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(answers.grade(r"\boxed{x+x}", "2x", "math")))
    thread.start()
    thread.join()
    assert verdicts == [Verdict.CORRECT]


def test_truncated_and_flags() -> None:
    assert answers.grade(r"so $x = 3$ and then", "3", "math", truncated=True) == Verdict.TRUNCATED
    assert answers.grade(r"so \boxed{3}. Let us check", "3", "math", truncated=True) == Verdict.CORRECT
    with pytest.raises(ValueError, match="1 truncated flags for 2 pairs"):
        answers.grade_many([("a", "1"), ("b", "2")], truncated=[True])


def test_equivalent_answers_for_majorities() -> None:
    assert answers.equivalent_many([("0.5", r"\frac{1}{2}"), (r"\sqrt{12}", r"2\sqrt{3}"), ("3", "4")], "math") == [
        True,
        True,
        False,
    ]


CHOICES = [
    ("C", "The answer is (C).", "correct"),
    ("C", "**C**", "correct"),
    ("C", r"so \boxed{\text{C}}", "correct"),
    ("C", r"so \boxed{C) garage}", "correct"),
    ("C", "Answer: C", "correct"),
    ("C", "The correct answer is option C", "correct"),
    ("C", "(A) is too cold, so it must be (C)", "correct"),
    ("C", "The answer is (B).", "wrong"),
    ("A", "The answer is a garage.", "wrong"),
    ("(C) garage", "The answer is a garage.", "correct"),
    ("(C) garage", "The answer is a garden.", "wrong"),
    ("C", "Because it rains.", "no_answer"),
    ("C", "", "no_answer"),
    ("garage", "The answer is (C).", "ungradable"),
]


@pytest.mark.parametrize(("gold", "output", "expected"), CHOICES)
def test_choices(gold: str, output: str, expected: str) -> None:
    assert answers.grade(output, gold, "choice") == expected
