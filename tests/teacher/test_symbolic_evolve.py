"""The symbolic teacher's evolved problems: one step more, right, different each time; and what must not be changed for them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from sei.data.overlap import SimilarityFilter
from sei.equations import read_equations
from sei.records import Problem, Rejected
from sei.steps import split_steps
from sei.teacher.base import Draft, Evolver
from sei.teacher.symbolic import SymbolicTeacher
from sei.teacher.symbolic.program import Program, read_program
from sei.teacher.symbolic.rewriting import check_solution

PENS = Problem.make(
    question="Ann buys 3 boxes of 12 pens. She gives 6 pens to Tom. Each pen costs $2. How much are the pens that are left "
    "worth?",
    answer="60",
    solution="Ann has 3*12=<<3*12=36>>36 pens.\nAfter giving some to Tom she has 36-6=<<36-6=30>>30 pens.\n"
    "They are worth 30*2=$<<30*2=60>>60.\n#### 60",
    source="demo",
)
WALK = Problem.make(
    question="Mia walks 4 miles every day. How many miles does Mia walk in 5 weeks?",
    answer="140",
    solution="Mia walks 4*7=<<4*7=28>>28 miles a week.\nIn 5 weeks she walks 28*5=<<28*5=140>>140 miles.\n#### 140",
    source="demo",
)


def evolved(*seeds: Problem, threshold: float = 0.7, seed: int = 0) -> list[Draft | Rejected]:
    teacher: Evolver = SymbolicTeacher()
    return teacher.evolve(seeds, samples=3, style="gsm8k", rouge_threshold=threshold, seed=seed)


def test_evolved_problems_are_right_and_one_step_longer() -> None:
    results = evolved(*[PENS, WALK] * 5, threshold=0.95)
    drafts = [result for result in results if isinstance(result, Draft)]
    assert len(results) == 10
    assert len(drafts) >= 8
    for draft in drafts:
        old = PENS if draft.parents == (PENS.id,) else WALK
        steps, answer = split_steps(draft.solution)
        assert answer == draft.answer
        assert check_solution(draft.solution, Fraction(answer)) is None
        operations = sum(len(equation.operands) - 1 for equation in read_equations(steps))
        assert operations > sum(len(equation.operands) - 1 for equation in read_equations(split_steps(old.solution)[0]))


def test_a_seed_drawn_again_gives_another_problem() -> None:
    results = evolved(*[PENS] * 6, threshold=0.8)
    questions = [PENS.question, *(result.question for result in results if isinstance(result, Draft))]
    assert len(questions) > 3
    for index, question in enumerate(questions[1:], start=1):
        assert SimilarityFilter(0.8, questions[:index]).check(question) is None


def test_draws_depend_on_the_seed_alone() -> None:
    names = [PENS, WALK]
    assert evolved(*names) == evolved(*names) != evolved(*names, seed=1)


@pytest.mark.parametrize(
    ("question", "solution", "threshold", "reason"),
    [
        ("He has 3 pens and gets 4. How many?", "He has 7 pens.\n#### 7", 0.7, "no_annotations"),
        ("He has 3 pens and gets 4. How many?", "3+4=<<3+4=7>>7\n#### 7", 0.01, "too_similar"),
    ],
)
def test_what_cannot_be_evolved_is_named(question: str, solution: str, threshold: float, reason: str) -> None:
    seed = Problem.make(question=question, answer="7", solution=solution, source="demo")
    (result,) = evolved(seed, threshold=threshold)
    assert isinstance(result, Rejected)
    assert (result.source_id, result.reason) == (seed.id, reason)


@pytest.mark.parametrize(
    ("question", "solution", "changeable"),
    [
        # One 9 is how many there are, the other how many sides each has.
        (
            "Ivo draws 9 nonagons in 5 rows. Sides in all rows?",
            "9*9=<<9*9=81>>81\n81*5=<<81*5=405>>405",
            {5},
        ),
        (
            "2 rooms with 2 beds each, 3 pillows a bed. Pillows?",
            "2*2=<<2*2=4>>4\n4*3=<<4*3=12>>12",
            {3},
        ),  # stated twice: two numbers, and nothing shows which is which
        ("3 crates of 2 lamps at $6 each. Worth?", "3*2=<<3*2=6>>6\n6*6=<<6*6=36>>36", {3, 2, 6}),  # computed once
        ("Two dogs get 10 pups each, sold at $7.", "10+10=<<10+10=20>>20\n20*7=<<20*7=140>>140", {10, 7}),
        # Apart in two equations, but the words call for the fact.
        ("6 girls draw 9 hexagons each. Sides?", "6*9=<<6*9=54>>54\n54*6=<<54*6=324>>324", {9}),
    ],
)
def test_a_number_in_two_roles_stays(question: str, solution: str, changeable: set[int]) -> None:
    answer = solution.rpartition(">>")[2]
    program = read_program(question, f"{solution}\n#### {answer}", answer)
    assert isinstance(program, Program), program
    assert {variable.value for variable in program.variables} == changeable


def test_a_comma_after_a_result_ends_it() -> None:
    step = "He has 20+12 = 32, gets <<32*2=64>>64, and 1,000+2 = 1,002, or so."
    assert [(item.text, item.claimed, item.written) for item in read_equations([step])] == [
        ("20+12", 32, 32),
        ("32*2", 64, 64),
        ("1,000+2", 1002, 1002),
    ]
