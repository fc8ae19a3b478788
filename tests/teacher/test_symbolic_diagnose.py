"""Diagnosis by alignment: one hand-made case per kind, valid other routes, and all real mistakes."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from sei.arithmetic import evaluate, parse, parse_number
from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import IN_DOMAIN, stories
from sei.records import Diagnosis, Mistake, Rejected
from sei.steps import join_steps, split_steps
from sei.teacher.symbolic import SymbolicTeacher
from sei.teacher.symbolic.diagnose import KINDS

ATTEMPTS = Path(__file__).parents[2] / "../shared/data/attempts/gsm8k_test_6b.jsonl"

PENS = "Ann buys 3 boxes of 12 pens. She gives 6 pens away. Each pen costs $2. What are the pens that are left worth?"
PENS_GOLD = (
    "There are 3*12=<<3*12=36>>36 pens.\nAnn has 36-6=<<36-6=30>>30 pens left.\n"
    "They are worth 30*2=$<<30*2=60>>60.\n#### 60"
)
WEEK = "Ben walks 4 miles every day. How many miles does he walk in 5 weeks?"
WEEK_GOLD = "He walks 4*7=<<4*7=28>>28 miles a week.\nIn all he walks 28*5=<<28*5=140>>140 miles.\n#### 140"
SALE = "A coat costs $80. It is sold 25% cheaper. What does it cost now?"
SALE_GOLD = "The discount is 80*25/100=$<<80*25/100=20>>20.\nIt costs 80-20=$<<80-20=60>>60.\n#### 60"


def mistake(question: str, gold: str, output: str) -> Mistake:
    answer = split_steps(gold)[1] or ""
    return Mistake("mistake-1", "problem-1", "attempt-1", question, answer, gold, output, "model")


def diagnose(question: str, gold: str, output: str) -> Diagnosis:
    (diagnosis,) = SymbolicTeacher().diagnose([mistake(question, gold, output)])
    assert isinstance(diagnosis, Diagnosis)
    return diagnosis


@pytest.mark.parametrize(
    ("problem", "output", "step", "kind", "words"),
    [
        (
            "pens",
            "3*12=<<3*12=38>>38\n38-6=<<38-6=32>>32\n32*2=<<32*2=64>>64\n#### 64",
            1,
            "arithmetic_slip",
            "multiplication",
        ),
        (
            "pens",
            "3*12=<<3*12=36>>36\n36-6=<<36-6=30>>30\nso 30*2=<<30*2=60>>66\n#### 66",
            3,
            "arithmetic_slip",
            "copies",
        ),
        (
            "pens",
            "3*12=<<3*12=36>>36\n36-3=<<36-3=33>>33\n33*2=<<33*2=66>>66\n#### 66",
            2,
            "wrong_operand",
            "wrong one",
        ),
        (
            "pens",
            "3*21=<<3*21=63>>63\n63-6=<<63-6=57>>57\n57*2=<<57*2=114>>114\n#### 114",
            1,
            "wrong_operand",
            "miscopies",
        ),
        ("week", "4*6=<<4*6=24>>24\n24*5=<<24*5=120>>120\n#### 120", 1, "wrong_operand", "days in a week"),
        (
            "pens",
            "3*12=<<3*12=36>>36\n36+6=<<36+6=42>>42\n42*2=<<42*2=84>>84\n#### 84",
            2,
            "wrong_operation",
            "instead of",
        ),
        ("sale", "80-25=<<80-25=55>>55\n#### 55", 1, "wrong_operation", "percentage as if"),
        ("pens", "3*12=<<3*12=36>>36\n36-6=<<36-6=30>>30\n#### 30", 2, "missing_step", "stops early"),
        ("pens", "3*12=<<3*12=36>>36\n36*2=<<36*2=72>>72\n#### 72", 2, "missing_step", "stops"),
        ("pens", PENS_GOLD.replace("#### 60", "60+12=<<60+12=72>>72\n#### 72"), 4, "extra_step", "goes on after"),
        (
            "pens",
            "3*12=<<3*12=36>>36\n6-36=<<6-36=-30>>-30\n-30*2=<<-30*2=-60>>-60\n#### -60",
            2,
            "wrong_order",
            "way round",
        ),
        ("sale", "80*25=<<80*25=2000>>2000\n2000-80=<<2000-80=1920>>1920\n#### 1920", 2, "unit_or_rounding", "100"),
        ("pens", PENS_GOLD.replace("#### 60", "#### 36"), 3, "answer_not_last_result", "intermediate"),
        ("pens", "She has many pens.\nThey are worth 50 dollars.\n#### 50", 1, "no_usable_work", "without arithmetic"),
        ("pens", "#### 50", 0, "no_usable_work", "without any step"),
    ],
)
def test_hand_made_mistakes(problem: str, output: str, step: int, kind: str, words: str) -> None:
    question, gold = {"pens": (PENS, PENS_GOLD), "week": (WEEK, WEEK_GOLD), "sale": (SALE, SALE_GOLD)}[problem]
    diagnosis = diagnose(question, gold, output)
    assert (diagnosis.step, diagnosis.kind) == (step, kind), diagnosis
    assert words in diagnosis.keyphrases[0]
    assert diagnosis.kind in KINDS


@pytest.mark.parametrize(
    "route",
    [
        "75% of 80 is 80*75/100=<<80*75/100=60>>60",  # 80 - 25 % of 80 is 75 % of 80
        "80*.25=<<80*.25=20.0>>20.0\n80-20.0=<<80-20.0=60.0>>60.0",
        "100-25=<<100-25=75>>75\n75*80/100=<<75*80/100=60>>60",
    ],
)
def test_other_valid_routes_are_right(route: str) -> None:
    diagnosis = diagnose(SALE, SALE_GOLD, f"{route}\n60+5=<<60+5=65>>65\n#### 65")
    assert diagnosis.kind == "extra_step"
    assert diagnosis.step == len(route.splitlines()) + 1


def test_a_common_factor_may_be_taken_out() -> None:
    question = "Ann has 3 red and 5 blue boxes of 4 pens. How many pens does she have?"
    gold = "3*4=<<3*4=12>>12\n5*4=<<5*4=20>>20\n12+20=<<12+20=32>>32\n#### 32"
    diagnosis = diagnose(question, gold, "3+5=<<3+5=8>>8\n8*5=<<8*5=40>>40\n#### 40")
    assert (diagnosis.step, diagnosis.kind) == (2, "wrong_operand")


def test_equal_values_from_other_numbers_are_not_right() -> None:
    question = "Two girls each got 1/6 of the 24 liters of water. A boy got 6 liters. How many liters were left?"
    gold = "24*1/6=<<24*1/6=4>>4\n4*2=<<4*2=8>>8\n8+6=<<8+6=14>>14\n24-14=<<24-14=10>>10\n#### 10"
    diagnosis = diagnose(question, gold, "24*1/6=<<24*1/6=4>>4\n4+6=<<4+6=10>>10\n24-10=<<24-10=14>>14\n#### 14")
    assert diagnosis.step == 2  # 10 is the gold answer, but not by 4 + 6


def test_plain_equations_are_read() -> None:
    diagnosis = diagnose(
        PENS, PENS_GOLD, "3 boxes * 12 pens = 36 pens\n36 pens + 6 pens = 42 pens\n42 x $2 = $84\nA: 84"
    )
    assert (diagnosis.step, diagnosis.kind) == (2, "wrong_operation")


def test_a_wrong_operation_computed_wrongly_has_two_keyphrases() -> None:
    diagnosis = diagnose(PENS, PENS_GOLD, "3*12=<<3*12=36>>36\n36+6=<<36+6=44>>44\n44*2=<<44*2=88>>88\n#### 88")
    assert len(diagnosis.keyphrases) == 2
    assert "miscalculated" in diagnosis.keyphrases[1]


def test_an_explanation_names_the_wrong_calculation_and_the_right_one() -> None:
    diagnosis = diagnose(PENS, PENS_GOLD, "3*12=<<3*12=36>>36\n36+6=<<36+6=42>>42\n42*2=<<42*2=84>>84\n#### 84")
    assert diagnosis.explanation == "36+6 is the wrong calculation: for what is left it takes 36-6, that is 30."


def test_no_explanation_says_anything_false_or_the_number_of_its_step() -> None:
    random = Random(0)
    kinds = Counter()
    for story in islice(stories(IN_DOMAIN, "train", "explained"), 300):
        wrong = corrupt(story, random)
        diagnosis = diagnose(story.question, story.solution, join_steps(wrong.lines, str(wrong.answer)))
        kinds[diagnosis.kind] += 1
        assert not re.search(r"step \d", diagnosis.explanation, re.IGNORECASE)
        said = re.findall(r"([\d(][\d.+*/()-]*[\d)])(?: =|, that is| is) (\d[\d.,]*\d|\d)", diagnosis.explanation)
        assert said or diagnosis.kind in ("extra_step", "answer_not_last_result"), diagnosis.explanation
        for expression, value in said:
            assert evaluate(parse(expression)) == parse_number(value), diagnosis.explanation
    assert len(kinds) > 2


def test_what_cannot_be_treated_is_named() -> None:
    teacher = SymbolicTeacher()
    (no_gold,) = teacher.diagnose([mistake(PENS, "It is clear.\n#### 60", "3+3=6\n#### 6")])
    assert isinstance(no_gold, Rejected)
    assert no_gold.reason == "gold_has_no_equations"
    (no_number,) = teacher.diagnose([mistake(PENS, "3*2=<<3*2=6>>6\n#### six", "3+3=6\n#### 6")])
    assert isinstance(no_number, Rejected)
    assert no_number.reason == "gold_answer_not_a_number"


@pytest.mark.skipif(not ATTEMPTS.exists(), reason="the real attempts are not on this machine")
def test_all_real_mistakes() -> None:
    rows = [json.loads(line) for line in ATTEMPTS.read_text().splitlines()]
    mistakes = [
        mistake(row["question"], row["gold_solution"], row["solution"]) for row in rows if not row["is_correct"]
    ]
    teacher = SymbolicTeacher()
    results = teacher.diagnose(mistakes)
    diagnoses = [result for result in results if isinstance(result, Diagnosis)]
    assert len(mistakes) == 1837
    assert len(diagnoses) >= 0.98 * len(mistakes)
    kinds = Counter(diagnosis.kind for diagnosis in diagnoses)
    assert kinds.most_common(1)[0][1] < 0.4 * len(diagnoses)
    assert len(kinds) == len(KINDS)
    phrases = Counter(phrase for diagnosis in diagnoses for phrase in diagnosis.keyphrases)
    assert phrases.most_common(1)[0][1] < 0.02 * len(diagnoses)
    for diagnosed, result in zip(mistakes, results, strict=True):
        if isinstance(result, Diagnosis):
            assert 0 <= result.step <= max(1, len(split_steps(diagnosed.output)[0]))
