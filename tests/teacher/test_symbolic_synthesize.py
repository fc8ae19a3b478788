"""Synthesized problems execute to their answers, are grounded, differ from their seeds, and come out the same twice."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest

from sei.arithmetic import parse_number
from sei.data.overlap import SimilarityFilter
from sei.equations import read_equations
from sei.records import Rejected
from sei.steps import split_steps
from sei.teacher.base import Draft, Seed, SynthesisRequest
from sei.teacher.symbolic import SymbolicTeacher
from sei.teacher.symbolic.program import Program, read_program
from sei.teacher.symbolic.quantities import read_quantities
from sei.teacher.symbolic.retell import new_things, replace_words, retell
from sei.teacher.symbolic.rewriting import FixedNumber, check_solution, substitute
from sei.teacher.symbolic.story.check import agrees
from sei.teacher.symbolic.story.names import find_names

TRAIN = Path(__file__).parents[2] / "../shared/data/gsm8k/train.jsonl"

SEEDS = (
    Seed(
        "seed-1",
        "Ann buys 3 boxes of 12 pens. She gives 6 pens to Tom. Each pen costs $2. How much are the pens that are left worth?",
        "Ann has 3*12=<<3*12=36>>36 pens.\nAfter giving some to Tom she has 36-6=<<36-6=30>>30 pens.\n"
        "They are worth 30*2=$<<30*2=60>>60.\n#### 60",
        "60",
    ),
    Seed(
        "seed-2",
        "A coat costs $80. It is sold 25% cheaper. How much does Ben pay for four coats?",
        "The discount is 80*25/100=$<<80*25/100=20>>20.\nA coat costs 80-20=$<<80-20=60>>60.\n"
        "Ben pays 60*4=$<<60*4=240>>240.\n#### 240",
        "240",
    ),
    Seed(
        "seed-3",
        "Mia walks 4 miles every day. How many miles does Mia walk in 5 weeks?",
        "Mia walks 4*7=<<4*7=28>>28 miles a week.\nIn 5 weeks she walks 28*5=<<28*5=140>>140 miles.\n#### 140",
        "140",
    ),
)


def request(seeds: Sequence[Seed], count: int, seed: int = 0) -> SynthesisRequest:
    return SynthesisRequest("type-1", "name", "description", ("phrase",), tuple(seeds), (), count, seed)


def read(seed: Seed) -> Program | str:
    return read_program(seed.question, seed.solution, seed.answer)


def program(seed: Seed) -> Program:
    found = read(seed)
    assert isinstance(found, Program), found
    return found


def check(draft: Draft, seeds: Sequence[Seed]) -> None:
    """Executes a draft, and follows every operand to its question, an earlier result, or a constant of its seeds."""
    steps, answer = split_steps(draft.solution)
    assert answer == draft.answer
    equations = read_equations(steps)
    assert all(equation.holds and equation.value == equation.claimed for equation in equations)
    assert equations[-1].claimed == parse_number(draft.answer) > 0
    known = {reading for quantity in read_quantities(draft.question) for reading in quantity.readings}
    known |= {part for value in known for part in (Fraction(value.numerator), Fraction(value.denominator))}
    known |= {constant for seed in seeds if isinstance(found := read(seed), Program) for constant in found.constants}
    known |= {
        Fraction(100),
        Fraction(60),
        Fraction(7),
        Fraction(12),
    }  # what a percentage, an hour, a week and a dozen are
    for equation in equations:
        assert set(equation.operands) <= known, (draft, equation)
        known.add(equation.claimed)
    assert draft.parents[0] in {seed.id for seed in seeds}


def test_drafts_execute_and_are_grounded() -> None:
    (results,) = SymbolicTeacher().synthesize([request(SEEDS, 30)])
    drafts = [result for result in results if isinstance(result, Draft)]
    assert len(results) == 30
    assert len(drafts) >= 24
    for draft in drafts:
        check(draft, SEEDS)


def test_drafts_are_unlike_their_seeds_and_each_other() -> None:
    (results,) = SymbolicTeacher().synthesize([request(SEEDS, 15)])
    drafts = [result.question for result in results if isinstance(result, Draft)]
    assert len(drafts) >= 12
    questions = drafts + [seed.question for seed in SEEDS]
    for one, other in combinations(questions, 2):
        assert SimilarityFilter(0.7, [one]).check(other) is None


def test_the_same_request_gives_the_same_drafts_and_another_seed_others() -> None:
    teacher = SymbolicTeacher()
    first, again, other = teacher.synthesize([request(SEEDS, 8), request(SEEDS, 8), request(SEEDS, 8, seed=1)])
    assert first == again
    assert first != other


def test_numbers_stay_sensible() -> None:
    sale = program(SEEDS[1])
    rng = random.Random(0)
    for _ in range(50):
        values = sale.draw(rng)
        assert values is not None
        assert values[Fraction(100)] == 100  # the constant of a percentage
        assert 0 < values.get(Fraction(25), Fraction(25)) < 100
        assert min(values.values()) > 0
        assert all(value.denominator == 1 for value in values.values() if value > 1)
        instance = sale.instantiate(values)
        assert instance is not None
        assert instance.answer == values[Fraction(240)]


def test_the_rest_of_a_percentage_changes_with_it() -> None:
    question = "There are 40 fish. 25% of them are red. How many are not red?"
    found = read_program(question, "40*.75=<<40*.75=30>>30 are not red.\n#### 30", "30")
    assert isinstance(found, Program)
    rng = random.Random(0)
    for _ in range(20):
        values = found.draw(rng)
        assert values is not None
        fish, red = values[Fraction(40)], values.get(Fraction(25), Fraction(25))
        instance = found.instantiate(values)
        assert instance is not None
        assert instance.answer == fish * (100 - red) / 100


def test_constants_and_names_that_count_are_left_alone() -> None:
    week = program(SEEDS[2])
    assert Fraction(7) in week.constants
    assert {variable.value for variable in week.variables} == {4, 5}
    friends = read_program(
        "Ann and her 2 friends Tom and Ben have 12 pens each. How many pens do they have?",
        "There are 1+2=<<1+2=3>>3 children.\nThey have 3*12=<<3*12=36>>36 pens.\n#### 36",
        "36",
    )
    assert isinstance(friends, Program)
    assert {variable.value for variable in friends.variables} == {12}  # two friends have two names


@pytest.mark.parametrize(
    ("question", "solution", "reason"),
    [
        ("He has 3 pens and gets 4.", "He has 7 pens.\n#### 7", "no_annotations"),
        ("He has 3 pens and gets 4.", "3+4=<<3+4=8>>8\n#### 8", "gold_equation_does_not_hold"),
        ("He has 3 pens and gets 4.", "3+4=<<3+4=7>>7\n#### 9", "gold_answer_is_not_the_last_result"),
        ("Four is squared.", "4^2=<<4^2=16>>16\n#### 16", "unknown_operation"),
    ],
)
def test_what_cannot_be_treated_is_named(question: str, solution: str, reason: str) -> None:
    seed = Seed("seed-1", question, solution, split_steps(solution)[1] or "")
    (results,) = SymbolicTeacher().synthesize([request([seed], 3)])
    assert [result.reason for result in results if isinstance(result, Rejected)] == [reason]


@pytest.mark.parametrize(
    ("question", "solution", "reason"),
    [
        ("He has 3 pens and shares them with 3 friends.", "8/4=<<8/4=2>>2\n#### 2", "numbers_not_grounded"),
        ("He has 9 pens: 4 are red, 5 blue. How many?", "4+5=<<4+5=9>>9\n#### 9", "hidden_relation"),
        (
            "All 12 bats: 3 old, 4 new, 5 lost. 2 minutes per old, 6 per new, 9 per lost?",
            "3*2=<<3*2=6>>6\n4*6=<<4*6=24>>24\n5*9=<<5*9=45>>45\n6+24+45=<<6+24+45=75>>75\n#### 75",
            "hidden_relation",
        ),
        ("He has half of a pie.", "1/2*2=<<1/2*2=1>>1\n#### 1", "no_sensible_numbers"),
        ("Ann has 3 pens and gets 4.", "Eva has 3+4=<<3+4=7>>7 pens\n#### 7", "names_differ"),
    ],
)
def test_what_cannot_be_told_again_with_other_numbers_is_named(question: str, solution: str, reason: str) -> None:
    assert read(Seed("seed-1", question, solution, split_steps(solution)[1] or "")) == reason


def test_two_equal_numbers_are_two_quantities() -> None:
    """Neither changes, for nothing shows which of the two a step means."""
    seed = Seed(
        "seed-1",
        "Ann has 4 boxes with 4 pens each. She gives 3 pens to Tom.",
        "Ann has <<4*4=16>>16 pens.\nAnn has <<16-3=13>>13 pens left.\n#### 13",
        "13",
    )
    assert {variable.value for variable in program(seed).variables} == {3}


def test_seeds_in_plain_words_are_told_again() -> None:
    seeds = [
        Seed(
            f"seed-{pens}",
            f"Ann has {pens} pens and gives 1/4 of them to Tom. How many pens does Ann have now?",
            f"Ann gives away <<{pens}/4={pens // 4}>>{pens // 4} pens.\n"
            f"Ann has <<{pens}-{pens // 4}={pens - pens // 4}>>{pens - pens // 4} pens left.\n#### {pens - pens // 4}",
            str(pens - pens // 4),
        )
        for pens in (24, 28)
    ]
    instance = retell(program(seeds[0]), random.Random(0), ["Ann", "Tom", "Mia", "Ben"], f"{seeds[0].question} shells")
    assert instance is not None
    assert instance.question.endswith(("How many shells does Mia have now?", "How many pens does Mia have now?"))
    assert check_solution("\n".join([*instance.steps, f"#### {instance.answer}"]), instance.answer) is None
    phrases = ("addition of two-digit numbers miscalculated",)
    (results,) = SymbolicTeacher().synthesize(
        [SynthesisRequest("type-1", "", "", phrases, tuple(seeds), (), 6, 0, 0.98)]
    )
    told = [result.question for result in results if isinstance(result, Draft)]
    assert any(
        re.fullmatch(r"\w+ has \d+ pens and gives 1/4 of them to \w+. How many pens does \w+ have now\?", text)
        for text in told
    )


def test_a_division_is_no_fraction_when_numbers_change() -> None:
    values = {Fraction(48): Fraction(66), Fraction(24): Fraction(33)}
    assert substitute("48/2 = 24 pens", values) == "66/2 = 33 pens"
    assert (
        substitute("A box of 8 pens and an 8-inch pan", {Fraction(8): Fraction(5)})
        == "A box of 5 pens and a 5-inch pan"
    )
    with pytest.raises(FixedNumber, match="half"):
        substitute("half of it", {Fraction(1, 2): Fraction(1, 3)})


def test_words_change_alike_in_question_and_solution() -> None:
    rng = random.Random(3)
    text = "Ann has an apple pie and 3 pencils. She gives Tom a pencil."
    words = {"Ann": "Mia", "Tom": "Ben"} | new_things(text, rng)
    assert find_names(text) == ["Ann", "Tom"]
    assert {"Ann", "Tom", "pencil", "pencils"} <= set(words)
    assert "apple" not in words  # a part of "apple pie"
    question, step = replace_words([text, "Ann has 3-1 pencils."], words)
    assert words["Ann"] in question
    assert words["Ann"] in step
    assert words["pencils"] in step
    assert replace_words(["I see an apple and a pear"], {"apple": "pear", "pear": "orange"}) == [
        "I see a pear and an orange"
    ]


@pytest.mark.skipif(not TRAIN.exists(), reason="GSM8K is not on this machine")
def test_real_problems() -> None:
    rows = [json.loads(line) for line in TRAIN.read_text().splitlines()[:160]]
    seeds = [
        Seed(f"seed-{index}", row["question"], row["answer"], split_steps(row["answer"])[1] or "")
        for index, row in enumerate(rows)
    ]
    requests = [request(seeds[start : start + 8], 10, start) for start in range(0, 160, 8)]
    results = SymbolicTeacher().synthesize(requests)
    drafts = [draft for batch in results for draft in batch if isinstance(draft, Draft)]
    for draft in drafts:
        check(draft, seeds)
    similar = SimilarityFilter(0.7, [seed.question for seed in seeds])
    kept = sum(overlap is None for overlap in similar.filter_batch([draft.question for draft in drafts]))
    assert kept >= 0.9 * 200  # 20 calls for 10
    assert sum(agrees(draft.question, draft.answer) is True for draft in drafts) > 0.5 * len(drafts)
    assert not any(agrees(draft.question, draft.answer) is False for draft in drafts)
