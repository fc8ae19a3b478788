"""Symbolic templates and traces: keys on hard steps, general parts without numbers, an inspector that computes."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest

from sei.data.arithmetic.generate import load
from sei.data.sources import load as load_source
from sei.records import Diagnosis, Mistake, Problem, Rejected, Trace
from sei.steps import split_steps
from sei.teacher.review import Author, Inspection, Inspector
from sei.teacher.symbolic import SymbolicTeacher
from sei.teacher.symbolic.template import KEYS, KINDS, StepKind, hard_kinds, step_kinds, step_rates
from sei.templates import Step, ThoughtTemplate

GSM8K = Path(__file__).parents[2] / "../shared/data/gsm8k"
QUESTION = (
    "Ann buys 3 boxes of 12 pens. She gives 6 pens away. Each pen costs $2. What are the pens that are left worth?"
)
GOLD = (
    "There are 3*12=<<3*12=36>>36 pens.\nAnn has 36-6=<<36-6=30>>30 left.\nThey are worth 30*2=$<<30*2=60>>60.\n#### 60"
)
PROBLEM = Problem.make(question=QUESTION, answer="60", solution=GOLD, source="demo")
WRONG = "There are 3*12=<<3*12=36>>36 pens.\nAnn has 36+6=<<36+6=42>>42 left.\nWorth 42*2=<<42*2=84>>84.\n#### 84"
MISTAKE = Mistake("mistake-1", PROBLEM.id, "attempt-1", QUESTION, "60", GOLD, WRONG, "model")


def template(problem: Problem, *hard: StepKind) -> ThoughtTemplate:
    as_author: Author = SymbolicTeacher(hard)
    (result,) = as_author.template([problem])
    assert isinstance(result, ThoughtTemplate)
    return result


def kinds(question: str, solution: str) -> list[StepKind]:
    return [kind for _, kind in step_kinds(question, solution)]


def test_hard_steps_carry_the_key_of_their_kind() -> None:
    found = template(PROBLEM, "subtract")
    lines = split_steps(GOLD)[0]
    assert found.steps == (Step(lines[0]), Step(lines[1], KEYS["subtract"]), Step(lines[2]))
    assert found.hard == (2,)
    assert (
        found.generalized
        == "First multiply the given numbers, then subtract from the result, then multiply the result."
    )
    assert found.answer == "60"
    assert template(PROBLEM).hard == ()


@pytest.mark.parametrize(
    ("question", "solution", "expected"),
    [
        ("2 and 3?", "<<2+3=5>>5", ["add"]),
        ("5 and 3?", "<<5-3=2>>2", ["subtract"]),
        ("6 for 3?", "<<6/3=2>>2", ["divide"]),
        ("12 a half?", "12*1/2=<<12*1/2=6>>6", ["divide"]),  # times a half is to divide
        ("Tom makes 3 pens a day. How many in 2 weeks?", "<<2*7=14>>14 days\n<<14*3=42>>42", ["unit", "multiply"]),
        ("A coat of $40 falls by 25 percent.", "<<40*25/100=10>>10\n<<40-10=30>>30", ["percentage", "subtract"]),
        ("A fifth of it is 20. What is 2 more?", "So X = 100.\nThat is <<100+2=102>>102.", ["add"]),  # 100 is told
        ("2, 3 and 4?", "<<2*3+4=10>>10", ["several"]),
        ("2, 3 and 6?", "<<2*6/3=4>>4", ["several"]),
    ],
)
def test_steps_are_classed_by_what_they_ask(question: str, solution: str, expected: list[str]) -> None:
    assert kinds(question, solution) == expected


def test_rates_count_the_gold_step_at_which_the_target_failed() -> None:
    """Three steps in each of two problems; one mistake fails at the subtraction, one at the last multiplication."""
    late = dataclasses.replace(MISTAKE, id="mistake-2", output=GOLD.replace("30*2=60>>60", "30*2=50>>50"))
    diagnoses = [Diagnosis("d", "mistake-1", 2, "", (), ""), Diagnosis("e", "mistake-2", 3, "", (), "")]
    rates = step_rates([PROBLEM, PROBLEM], [MISTAKE, late], diagnoses)
    assert rates == {"subtract": (1, 2), "multiply": (1, 4)}  # of 6 steps 2 fail: a third on the whole
    assert hard_kinds(rates) == frozenset()  # too few steps of any kind to judge
    assert hard_kinds({"subtract": (5, 10), "multiply": (5, 20)}) == {"subtract"}
    assert hard_kinds({"subtract": (5, 9), "multiply": (5, 21)}) == frozenset()
    assert hard_kinds({}) == frozenset()


def test_a_gold_solution_that_does_not_execute_has_no_template() -> None:
    for solution, answer, reason in (
        (GOLD.replace("30*2=60", "30*2=61"), "60", "gold_equation_does_not_hold"),
        (GOLD, "61", "gold_answer_is_not_the_last_result"),
        ("It is sixty.\n#### 60", "60", "gold_no_equations"),
        (GOLD, "sixty", "gold_answer_not_a_number"),
    ):
        problem = Problem.make(question=QUESTION, answer=answer, solution=solution, source="demo")
        (result,) = SymbolicTeacher().template([problem])
        assert isinstance(result, Rejected)
        assert result.reason == reason


def test_all_problems_of_the_world_have_a_template_that_its_inspector_passes() -> None:
    problems = load(train=300, validation=0, test=0, seed=3).train
    teacher = SymbolicTeacher(KINDS)
    templates = teacher.template(problems)
    for problem, one in zip(problems, templates, strict=True):
        assert isinstance(one, ThoughtTemplate)
        assert one.solution == problem.solution
        assert one.hard == tuple(range(1, len(one.steps) + 1))
        assert not re.search(r"\d", one.generalized)
    inspector: Inspector = teacher
    said = inspector.inspect_templates(problems, [one for one in templates if isinstance(one, ThoughtTemplate)])
    assert said == [Inspection(True, ())] * 300


def test_the_inspector_finds_faults_of_templates() -> None:
    good = template(PROBLEM)
    versions = [
        dataclasses.replace(good, answer="61"),
        dataclasses.replace(good, generalized="Multiply 3 and 12."),
        dataclasses.replace(good, steps=(*good.steps[:2], Step("30*2=<<30*2=50>>50"))),
        dataclasses.replace(good, answer="sixty"),
    ]
    faults = [SymbolicTeacher().inspect_templates([PROBLEM], [version])[0] for version in versions]
    texts = [" ".join(one.faults) for one in faults if isinstance(one, Inspection) and not one.correct]
    assert len(texts) == 4
    for text, words in zip(
        texts, ("should be 60", "holds a number", "equation does not hold", "is sixty"), strict=True
    ):
        assert words in text


def teacher_trace(mistake: Mistake = MISTAKE) -> Trace:
    (result,) = SymbolicTeacher().trace([mistake])
    assert isinstance(result, Trace)
    return result


def test_a_trace_is_diagnosis_and_correction() -> None:
    trace = teacher_trace()
    assert (trace.mistake_id, trace.author, trace.step, trace.answer) == ("mistake-1", "teacher", 2, "60")
    assert trace.correction.split("\n")[0] == "Ann has 36-6=<<36-6=30>>30 left."
    assert "36-6" in trace.cause
    assert SymbolicTeacher().inspect_traces([MISTAKE], [trace]) == [Inspection(True, ())]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"step": 1}, "first wrong step is 2"),
        ({"step": 0}, "no step is named; step 2"),
        ({"cause": ""}, "cause is missing"),
        ({"correction": "Ann has 36-6=<<36-6=31>>31 left."}, "equation does not hold"),
        ({"correction": "Ann has 36-6=<<36-6=30>>30 left."}, "answer is not the last result"),
        ({"answer": "30"}, "answer is 30, it should be 60"),
        ({"answer": ""}, "answer is missing"),
    ],
)
def test_the_inspector_finds_faults_of_traces(changes: dict[str, str | int], fault: str) -> None:
    (said,) = SymbolicTeacher().inspect_traces([MISTAKE], [dataclasses.replace(teacher_trace(), **changes)])
    assert isinstance(said, Inspection)
    assert not said.correct
    assert fault in " ".join(said.faults)


def test_the_wrong_step_is_no_part_of_the_corrected_solution() -> None:
    slip = dataclasses.replace(MISTAKE, output=WRONG.replace("36+6=<<36+6=42>>42", "36-6=<<36-6=42>>42"))
    assert SymbolicTeacher().inspect_traces([slip], [teacher_trace(slip)]) == [Inspection(True, ())]


def test_what_cannot_be_judged_is_rejected() -> None:
    bare = dataclasses.replace(MISTAKE, gold_solution="It is sixty.\n#### 60")
    for result in (SymbolicTeacher().trace([bare])[0], SymbolicTeacher().inspect_traces([bare], [teacher_trace()])[0]):
        assert isinstance(result, Rejected)
        assert result.reason == "gold_has_no_equations"


def test_the_hard_kinds_are_in_the_teachers_fingerprint() -> None:
    assert SymbolicTeacher(["add"]).fingerprint() != SymbolicTeacher().fingerprint()


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K is not on this machine")
def test_most_of_gsm8k_has_a_template() -> None:
    problems = load_source("gsm8k", path=str(GSM8K), validation=0, seed=0).train[:1500]
    results = SymbolicTeacher(KINDS).template(problems)
    reasons = Counter(one.reason for one in results if isinstance(one, Rejected))
    assert len(problems) - reasons.total() >= 0.9 * len(problems), reasons
    for one in results:
        if isinstance(one, ThoughtTemplate):
            assert not re.search(r"\d", one.generalized)
