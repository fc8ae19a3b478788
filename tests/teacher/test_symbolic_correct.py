"""Corrections keep the student's right steps, go on rightly, and execute to the gold answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sei.arithmetic import parse_number
from sei.equations import read_equations
from sei.records import Correction, Diagnosis, Mistake, Rejected
from sei.steps import split_steps
from sei.teacher.symbolic import SymbolicTeacher

ATTEMPTS = Path(__file__).parents[2] / "../shared/data/attempts/gsm8k_test_6b.jsonl"
QUESTION = (
    "Ann buys 3 boxes of 12 pens. She gives 6 pens away. Each pen costs $2. What are the pens that are left worth?"
)
GOLD = (
    "There are 3*12=<<3*12=36>>36 pens.\nAnn has 36-6=<<36-6=30>>30 left.\nThey are worth 30*2=$<<30*2=60>>60.\n#### 60"
)


def corrected(output: str, gold: str = GOLD) -> Correction | Rejected:
    mistake = Mistake("mistake-1", "problem-1", "attempt-1", QUESTION, "60", gold, output, "model")
    teacher = SymbolicTeacher()
    (diagnosis,) = teacher.diagnose([mistake])
    assert isinstance(diagnosis, Diagnosis)
    (result,) = teacher.correct([mistake], [diagnosis])
    return result


def test_a_slip_is_recomputed_in_the_students_words() -> None:
    result = corrected(
        "She has 3 x 12 = <<3*12=38>>38 pens!\nThen 38 - 6 = <<38-6=32>>32.\nSo $<<32*2=64>>64.\n#### 64"
    )
    assert isinstance(result, Correction)
    assert result.step == 1
    assert result.steps == (
        "She has 3 x 12 = <<3*12=36>>36 pens!",
        "Then 36 - 6 = <<36-6=30>>30.",
        "So $<<30*2=60>>60.",
    )


def test_a_wrong_number_is_replaced_in_the_students_words() -> None:
    result = corrected("Pens: 3*12=<<3*12=36>>36\nLeft: 36-3=<<36-3=33>>33\nWorth 33*2=<<33*2=66>>66\n#### 66")
    assert isinstance(result, Correction)
    assert result.solution == ("Pens: 3*12=<<3*12=36>>36\nLeft: 36-6=<<36-6=30>>30\nWorth 30*2=<<30*2=60>>60\n#### 60")


def test_gold_steps_follow_in_the_students_signs() -> None:
    result = corrected("Pens: 3 x 12 = <<3*12=36>>36\nLeft: 36 + 6 = <<36+6=42>>42\n#### 42")
    assert isinstance(result, Correction)
    assert result.steps == ("Ann has 36-6=<<36-6=30>>30 left.", "They are worth 30 x 2=$<<30*2=60>>60.")
    assert result.solution.splitlines()[0] == "Pens: 3 x 12 = <<3*12=36>>36"


def test_a_solution_that_stopped_early_is_continued_and_its_last_step_said_otherwise() -> None:
    """The last step computes rightly, but its words call the result the answer."""
    result = corrected("Pens: 3*12=<<3*12=36>>36\nSo they are worth 36-6=<<36-6=30>>30\n#### 30")
    assert isinstance(result, Correction)
    assert result.step == 2
    assert result.steps == ("Ann has 36-6=<<36-6=30>>30 left.", "They are worth 30*2=$<<30*2=60>>60.")


def test_a_gold_solution_that_does_not_execute_is_refused() -> None:
    result = corrected("3*12=<<3*12=36>>36\n36+6=<<36+6=42>>42\n#### 42", GOLD.replace("30*2=60", "30*2=61"))
    assert isinstance(result, Rejected)
    assert result.reason == "gold_equation_does_not_hold"


@pytest.mark.skipif(not ATTEMPTS.exists(), reason="the real attempts are not on this machine")
def test_all_real_corrections_execute() -> None:
    mistakes = []
    for index, line in enumerate(ATTEMPTS.read_text().splitlines()):
        row = json.loads(line)
        answer = split_steps(row["gold_solution"])[1] or ""
        if not row["is_correct"]:
            name = f"mistake-{index}"
            mistakes.append(
                Mistake(name, name, name, row["question"], answer, row["gold_solution"], row["solution"], row["model"])
            )
    teacher = SymbolicTeacher()
    diagnoses = {one.mistake_id: one for one in teacher.diagnose(mistakes) if isinstance(one, Diagnosis)}
    treated = [mistake for mistake in mistakes if mistake.id in diagnoses]
    results = teacher.correct(treated, [diagnoses[mistake.id] for mistake in treated])
    right = [result for result in results if isinstance(result, Correction)]
    located = sum(diagnosis.step > 0 for diagnosis in diagnoses.values())
    assert located >= 0.2 * len(mistakes)
    assert len(right) >= 0.9 * located
    assert "first_wrong_step_in_doubt" in {result.reason for result in results if isinstance(result, Rejected)}
    by_id = {mistake.id: mistake for mistake in mistakes}
    for result in right:
        mistake = by_id[result.mistake_id]
        steps, answer = split_steps(result.solution)
        assert answer == mistake.gold_answer
        own = split_steps(mistake.output)[0]
        assert steps == [*own[: result.step - 1], *result.steps]
        if diagnoses[mistake.id].kind != "answer_not_last_result":
            assert result.steps[:1] != tuple(own[result.step - 1 : result.step]), "the step named wrong is not repeated"
        equations = read_equations(steps)
        assert all(equation.holds for equation in equations)
        assert equations[-1].claimed == parse_number(mistake.gold_answer)
