"""Mistakes of several models: repetitions count once, no source is more than its share."""

from __future__ import annotations

from collections import Counter

import pytest

from sei.records import Attempt, Mistake, Problem, Verdict, content_id
from sei.stages.mine import cap, mine
from sei.target.formats import Formats
from sei.target.thoughts import Thoughts


def mistake(model: str, number: int, output: str = "") -> Mistake:
    output = output or f"{model} says {number}"
    identity = content_id("mistake", number, model, output)
    return Mistake(identity, f"problem-{number}", f"attempt-{identity}", "q", "1", "#### 1", output, model)


def mistakes(**counts: int) -> list[Mistake]:
    return [mistake(model, number) for model, count in counts.items() for number in range(count)]


def kept(max_share: float, **counts: int) -> dict[str, int]:
    output = cap(mistakes(**counts), max_share, seed=0)
    assert Counter(item.model for item in output.records) == Counter(output.numbers["sources"])
    assert {item.reason for item in output.rejected} <= {"over_share"}
    return output.numbers["sources"]


def test_attempts_of_several_models_give_mistakes_that_name_their_model() -> None:
    problem = Problem.make(question="1 and 1?", answer="2", solution="#### 2", source="test")

    def attempt(model: str, output: str, sample: int = 0) -> Attempt:
        return Attempt(f"{model}-{sample}", problem.id, model, output, Verdict.WRONG, sample)

    three, four = "1+1=3\n#### 3", "1+1=4\n#### 4"
    attempts = [attempt("a", three), attempt("b", three), attempt("b", three, 1), attempt("b", four, 2)]
    output = mine([problem], attempts, Formats("plain"))
    assert [(item.model, item.output) for item in output.records] == [("a", three), ("b", three), ("b", four)]
    assert [(item.source_id, item.reason) for item in output.rejected] == [("b-1", "duplicate")]
    assert [item.model for item in cap(output.records, 1.0, seed=0).records] == ["a", "b"]  # the three of b is a's


LOOP = "1+1=3\n" + "".join(f"Step {number}: #### 3\n" for number in range(2, 31))
PROBLEM = Problem.make(question="1 and 1?", answer="2", solution="1+1=<<1+1=2>>2\n#### 2", source="test")


@pytest.mark.parametrize(
    ("output", "truncated", "reason"),
    [
        ("1+1=3\n#### 3", False, None),
        ("1+1=3\n#### 3\n\nQuestion: And then?\n5+5=", True, None),  # the solution ended before the limit
        ("1+1=3\n#### 3\nNo, let me see: 1 and", True, "truncated"),
        (LOOP, True, "truncated"),
        (LOOP, False, "truncated"),  # a recorded file that does not say why it ended
        ("#### 3", False, "no_steps"),
        ("The answer is 3.", False, "no_steps"),
        ("3", False, "no_steps"),
        ("$\\boxed{3}$", False, "no_steps"),
        ("<answer>3</answer>", False, "no_steps"),
        ("### Final Answer\n\n3", False, "no_steps"),
        ("The answer is 3 because 1+1=3.\n#### 3", False, None),
        ("<think>1 and 1 is 3.</think>\n\n**Answer:** 3", False, "no_steps"),
    ],
)
def test_what_is_cut_or_has_no_steps_cannot_be_explained(output: str, truncated: bool, reason: str | None) -> None:
    attempt = Attempt("attempt-1", PROBLEM.id, "m", output, Verdict.WRONG, truncated=truncated)
    made = mine([PROBLEM], [attempt], Formats("plain"))
    assert [item.reason for item in made.rejected] == ([] if reason is None else [reason])
    assert [item.output for item in made.records] == ([output.partition("\n\n")[0]] if reason is None else [])


def test_a_template_without_readable_steps_is_no_mistake() -> None:
    outputs = ["<Step1>1+1=3</Step1>\n<Answer>3</Answer>", "1+1=3\n<Answer>3</Answer>"]
    attempts = [Attempt(f"attempt-{index}", PROBLEM.id, "m", text, Verdict.WRONG) for index, text in enumerate(outputs)]
    made = mine([PROBLEM], attempts, Thoughts("plain"))
    assert [item.output for item in made.records] == outputs[:1]
    assert [item.reason for item in made.rejected] == ["no_steps"]


def test_equal_outputs_count_once_whoever_wrote_them() -> None:
    first, other_problem = mistake("a", 1, "2 + 2\n= 5"), mistake("b", 2, "2 + 2 = 5")
    again, other_text = mistake("b", 1, " 2 + 2  = 5"), mistake("b", 1, "2+2 = 5")
    output = cap([first, again, other_text, other_problem], 1.0, seed=0)
    assert output.records == [first, other_text, other_problem]
    assert [(item.source_id, item.reason, item.detail) for item in output.rejected] == [
        (again.id, "duplicate", f"as {first.id} of a")
    ]


def test_shares_are_of_what_is_kept() -> None:
    # half: with b and c whole, a may have as many as both together, 6
    assert kept(0.5, a=100, b=4, c=2) == {"a": 6, "b": 4, "c": 2}
    # a <= 0.6 (a + 4) means a <= 6
    assert kept(0.6, a=100, b=4) == {"a": 6, "b": 4}
    # a <= 0.75 (a + 5) means a <= 15; 15 is three quarters of 20
    assert kept(0.75, a=15, b=5) == {"a": 15, "b": 5}
    # two sources are too large: with 2 m + 10 in all, m <= 0.4 (2 m + 10) means m <= 20
    assert kept(0.4, a=100, b=70, c=10) == {"a": 20, "b": 20, "c": 10}
    # whole mistakes only: 0.29 of 100 are 29, and 24 + 24 + 23 are left for the others
    assert kept(0.29, a=29, b=24, c=24, d=23) == {"a": 29, "b": 24, "c": 24, "d": 23}
    # a + b + 1 with both at m: m <= 0.45 (2 m + 1) means m <= 4.5
    assert kept(0.45, a=9, b=9, c=1) == {"a": 4, "b": 4, "c": 1}


def test_a_share_that_cannot_be_kept_means_all_alike() -> None:
    assert kept(0.2, a=50) == {"a": 50}
    assert kept(0.2, a=50, b=7) == {"a": 7, "b": 7}
    assert kept(0.33, a=5, b=3, c=4) == {"a": 3, "b": 3, "c": 3}
    assert cap(mistakes(a=5, b=3, c=4), 0.33, seed=0).numbers["max_share"] == 1 / 3
    assert kept(0.5) == {}


def test_who_goes_is_drawn_by_seed_and_order_stays() -> None:
    given = mistakes(a=30, b=10)
    once, again, other = (cap(given, 0.5, seed=seed).records for seed in (0, 0, 1))
    assert once == again != other
    assert [item for item in given if item in once] == once
    assert [item for item in once if item.model == "a"] != given[:10]  # not simply the first ones
    output = cap(given, 0.5, seed=0)
    assert Counter(item.reason for item in output.rejected) == {"over_share": 20}
    assert {item.detail for item in output.rejected} == {"a"}


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01])
def test_impossible_share(share: float) -> None:
    with pytest.raises(ValueError, match=r"a share lies in \(0, 1\]"):
        cap([], share, seed=0)
