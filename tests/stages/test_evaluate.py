"""Outcomes with their votes, and the figures made of them, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sei.records import Attempt, Outcome, Problem, Verdict
from sei.stages import evaluate
from sei.stages.evaluate import (
    CheckpointScore,
    accuracy,
    averages,
    best_on_test,
    choose,
    disagreements,
    outcomes,
    passes,
    score,
    summarize,
)
from sei.statistics import shares_interval, wilson_interval

C, W, N, T = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.TRUNCATED


def problem(number: int, answer: str = "5", **more: object) -> Problem:
    return Problem.make(question=f"question {number}", answer=answer, solution="", source="test", **more)


def samples(item: Problem, *answers: tuple[str, Verdict]) -> list[Attempt]:
    """Attempts at one problem, sample 0, 1, ..."""
    return [
        Attempt(f"{item.question}-{number}", item.id, "model", text, verdict, sample=number)
        for number, (text, verdict) in enumerate(answers)
    ]


def marked(marks: str, name: str = "set", **more: object) -> list[Outcome]:
    """Outcomes of one sample each, 1 for right."""
    return [
        Outcome(
            f"{name}{i}", name, f"{name}-p{i}", verdict=C if mark == "1" else W, output="", **({"family": ""} | more)
        )  # type: ignore[arg-type]
        for i, mark in enumerate(marks)
    ]


def voted(*votes: tuple[int, ...]) -> list[Outcome]:
    return [Outcome(f"o{i}", "set", f"p{i}", "", W if row[0] else C, "", votes=row) for i, row in enumerate(votes)]


def test_votes_are_grouped_by_equivalence_in_order_of_appearance() -> None:
    item = problem(1, "\\frac12", level=3, family="algebra")
    attempts = samples(
        item,
        ("so \\boxed{\\frac{3}{4}}", W),
        ("so \\boxed{0.5}", C),
        ("so \\boxed{7}", W),
        ("so \\boxed{0.75}", W),
        ("I do not know", N),
        ("so \\boxed{\\frac{6}{8}}", W),
        ("so \\boxed{7}", W),
    )
    (row,) = outcomes("math", [item], attempts, {attempts[0].id: "type-1"}, "math")
    assert row.votes == (1, 0, 2, 1, -1, 1, 2)
    assert (row.verdict, row.output, row.error_type) == (W, "so \\boxed{\\frac{3}{4}}", "type-1")
    assert (row.level, row.family) == (3, "algebra")


def test_numbers_are_equal_in_either_direction() -> None:
    item = problem(1)
    assert not evaluate.equivalent_many([("2000000", "2 million")])[0], "no gold answer reads so"
    attempts = samples(item, ("The answer is 2 million.", W), ("#### 2,000,000", W), ("#### 2000000.0", W))
    assert outcomes("set", [item], attempts, {}, "gsm8k")[0].votes == (1, 1, 1)


def test_all_problems_are_compared_in_few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    real = evaluate.equivalent_many

    def count(pairs: Sequence[tuple[str, str]], style: str) -> list[bool]:
        batches.append(len(pairs))
        return real(pairs, style)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "equivalent_many", count)
    problems = [problem(number) for number in range(50)]
    several = [a for item in problems for a in samples(item, ("#### 1", W), ("#### 2", W), ("#### 1.0", W))]
    assert {row.votes for row in outcomes("set", problems, several, {})} == {(1, 2, 1)}
    # First round: 2 and 1.0 against 1, in both directions where they differ. Second round: nothing is left to compare.
    assert [size for size in batches if size] == [100, 50]
    batches.clear()
    single = [a for item in problems for a in samples(item, ("#### 1", W))]
    assert {row.votes for row in outcomes("set", problems, single, {})} == {(1,)}
    assert sum(batches) == 0


def test_an_answer_that_timed_out_equals_the_same_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def never(pairs: Sequence[tuple[str, str]], style: str) -> list[bool]:
        compared.extend(pairs)
        return [False] * len(pairs)

    monkeypatch.setattr(evaluate, "equivalent_many", never)
    item = problem(1)
    slow = ("\\boxed{9^{9^9}}", Verdict.TIMEOUT)
    attempts = samples(item, slow, ("\\boxed{3}", W), slow, ("\\boxed{4}", W))
    assert outcomes("set", [item], attempts, {}, "math")[0].votes == (1, 2, 1, 3)
    assert set(compared) == {("4", "3"), ("3", "4")}
    assert outcomes("set", [item], samples(item, ("\\boxed{3}", W), slow), {}, "math")[0].votes == (1, 2)
    assert len(set(compared)) == 2, "nor is it compared with an earlier answer"


def test_truncated_and_unreadable_samples_do_not_vote() -> None:
    item = problem(1)
    attempts = samples(item, ("first 3 and", T), ("#### 5", C), ("no number", Verdict.UNGRADABLE))
    assert outcomes("set", [item], attempts, {})[0].votes == (-1, 0, -1)


def test_a_problem_without_attempt_has_no_outcome_and_a_repeated_one_counts_its_samples_once() -> None:
    first, second = problem(1), problem(2)
    attempts = samples(first, ("#### 5", C))
    rows = outcomes("set", [first, second, first], [*attempts, *attempts], {})
    assert [(row.problem_id, row.votes) for row in rows] == [(first.id, (0,))] * 2
    assert rows[0].id == rows[1].id


def test_accuracy_of_single_samples_has_wilson() -> None:
    interval = wilson_interval(3, 4)
    assert accuracy(marked("1101")) == {
        "n": 4,
        "correct": 3,
        "accuracy": 0.75,
        "low": interval.low,
        "high": interval.high,
    }
    assert "samples" not in summarize(marked("1101"), None, {})["before"]


def test_accuracy_of_several_samples_is_their_mean() -> None:
    rows = voted((0, 0, 1, 2), (1, 1, 0, -1), (0, 0, 0, 0))
    assert [score(row) for row in rows] == [0.5, 0.25, 1.0]
    figures = summarize(rows, None, {})["before"]
    assert (figures["n"], figures["correct"], figures["samples"]) == (3, 2, 4)
    assert figures["accuracy"] == pytest.approx(1.75 / 3) == pytest.approx(figures["pass_at"]["1"]["mean"])
    assert (figures["low"], figures["high"]) == shares_interval([[0.5, 0.25, 1.0]])[1:]
    assert 0.0 < figures["low"] < figures["accuracy"] < figures["high"] < 1.0
    assert list(figures["pass_at"]) == ["1", "2", "4"]
    # pass@2: 1 - C(2, 2) / 6 = 5/6; 1 - C(3, 2) / 6 = 1/2; 1.
    assert figures["pass_at"]["2"]["mean"] == pytest.approx((5 / 6 + 1 / 2 + 1) / 3)
    # maj@4: right; wrong (two votes for 1); right.
    assert figures["majority_at"]["4"]["mean"] == pytest.approx(2 / 3)
    assert figures["majority_at"]["4"]["exact"] is True
    # Four runs get 2, 2, 2 and 1 of 3 right: mean 7/12, variance of a sample (3 * (1/12)^2 + (3/12)^2) / 3 = 1/36.
    assert figures["runs"]["n"] == 4
    assert figures["runs"]["mean"] == pytest.approx(7 / 12)
    assert figures["runs"]["variance"] == pytest.approx(1 / 36)


def test_k_goes_up_to_the_fewest_samples_of_a_problem() -> None:
    figures = summarize(voted((0, 0), (1, 0, 1, 0)), None, {})["before"]
    assert figures["samples"] == 2
    assert list(figures["pass_at"]) == ["1", "2"]


def test_figures_by_family_level_and_error_type() -> None:
    problems = [problem(i, family="even" if i % 2 == 0 else "odd", level=1 + i // 3) for i in range(4)]
    verdicts = [C, W, W, T]
    attempts = [a for p, v in zip(problems, verdicts, strict=True) for a in samples(p, ("#### 7", v))]
    before = outcomes("set", problems, attempts, {attempts[1].id: "t1", attempts[2].id: "t2"})
    after = outcomes("set", problems, [a for p in problems for a in samples(p, ("#### 5", C))], {})
    figures = summarize(before, after, {"t1": "one", "t2": "two"})
    assert (figures["before"]["correct"], figures["before"]["n"], figures["after"]["accuracy"]) == (1, 4, 1.0)
    assert figures["families"]["even"] == {"n": 2, "before": accuracy(before[::2]), "after": accuracy(after[::2])}
    assert figures["families"]["even"]["before"]["accuracy"] == 0.5
    assert {name: row["n"] for name, row in figures["levels"].items()} == {"1": 3, "2": 1}
    assert figures["error_types"]["t1"] == {"name": "one", "before": 1, "after": 0}
    assert figures["verdicts"]["before"] == {"correct": 1, "wrong": 2, "truncated": 1}
    change = figures["change"]
    assert (change["n"], change["mean"], change["fixed"], change["broken"]) == (4, 0.75, 3, 0)
    assert change["low"] < 0.75 < change["high"] + 0.2
    assert summarize(before, None, {})["change"] is None


def test_the_family_average_gives_every_family_the_same_weight() -> None:
    rows = [*marked("1111", "a", family="large"), *marked("0", "b", family="small")]
    figures = summarize(rows, None, {})
    assert figures["before"]["accuracy"] == 0.8
    assert figures["family_average"]["before"]["accuracy"] == 0.5
    assert figures["family_average"]["after"] is None
    assert summarize(marked("10"), None, {})["family_average"] is None
    assert summarize(marked("10"), None, {})["families"] == summarize(marked("10"), None, {})["levels"] == {}


def test_micro_and_macro_averages_by_domain_and_over_all() -> None:
    before = {"gsm8k": marked("1000", "g"), "math": marked("11", "m"), "svamp": marked("0", "s")}
    after = {"gsm8k": marked("1111", "g"), "math": marked("11", "m")}
    found = averages(
        before, after, {"in domain": ["gsm8k", "math"], "out of domain": ["svamp", "asdiv"], "none": ["x"]}
    )
    assert list(found) == ["in domain", "out of domain", "all"]
    inside = found["in domain"]
    assert inside["sets"] == ["gsm8k", "math"]
    assert inside["before"]["n"] == 6
    assert inside["before"]["micro"]["accuracy"] == pytest.approx(3 / 6)
    assert inside["before"]["micro"]["low"] == pytest.approx(wilson_interval(3, 6).low)
    assert inside["before"]["macro"]["accuracy"] == pytest.approx((1 / 4 + 1) / 2)
    assert inside["before"]["macro"]["low"] == shares_interval([[1, 0, 0, 0], [1, 1]]).low
    assert inside["after"]["macro"]["accuracy"] == 1.0
    assert found["out of domain"]["sets"] == ["svamp"]
    assert found["all"]["after"] is None, "one of its sets was not answered after training"
    assert found["all"]["before"]["macro"]["accuracy"] == pytest.approx((1 / 4 + 1 + 0) / 3)


def test_a_second_pass_is_counted_in_both_directions() -> None:
    found = passes(marked("1100"), marked("1011")[::-1])
    assert (found["n"], found["right_to_wrong"], found["wrong_to_right"], found["missing"]) == (4, 1, 2, 0)
    assert (found["first"]["accuracy"], found["second"]["accuracy"]) == (0.5, 0.75)
    assert found["p"] == 1.0  # 1 against 2 of 3
    assert passes(marked("1100"), marked("10"))["missing"] == 2


def checkpoint(step: int, validation: float | None, **tests: float) -> CheckpointScore:
    return CheckpointScore(
        step,
        None if validation is None else {"accuracy": validation},
        {name: {"accuracy": value} for name, value in tests.items()},
    )


def test_the_best_on_validation_goes_on_whatever_the_test_says() -> None:
    scores = [
        checkpoint(100, 0.4, a=0.9),
        checkpoint(200, 0.6, a=0.1),
        checkpoint(300, 0.6, a=0.2),
        checkpoint(400, 0.5),
    ]
    assert choose(scores, "validation") == 1, "the earliest of equals"
    assert choose(scores, "last") == 3
    assert choose(scores, "paper") == 1, "the paper's own choice is a figure, not the adapter"
    assert choose([checkpoint(1, None, a=0.9), checkpoint(2, None, a=0.1)], "validation") == 1
    with pytest.raises(ValueError, match="no checkpoint"):
        choose([], "validation")


def test_the_papers_figures_are_chosen_for_each_test_set() -> None:
    scores = [
        checkpoint(100, 0.4, a=0.5, b=0.1),
        checkpoint(200, 0.6, a=0.7, b=0.1),
        checkpoint(300, 0.6, a=0.6, b=0.4),
        checkpoint(400, 0.6, a=0.1),
    ]
    found = best_on_test(scores)
    assert found["a"] == {"best": 0.7, "best_three": pytest.approx(0.6), "steps": [200, 300, 100]}
    assert found["b"] == {"best": 0.4, "best_three": pytest.approx(0.2), "steps": [300, 100, 200]}


def test_math_verify_grades_the_same_outputs() -> None:
    first, second = problem(1, "6"), problem(2, "7")
    # each output is right for one grader only
    attempts = samples(first, ("The answer is (6).\nCheck: $5$", C)) + samples(second, ("so \\boxed{7}", C))
    rows = outcomes("set", [first, second], attempts, {}, style="math")
    assert [(row.gold, row.math_verify) for row in rows] == [("6", "wrong"), ("7", "correct")]
    figures = summarize(rows, None, {})["math_verify"]
    assert (figures["before"]["accuracy"], figures["before"]["disagrees"]) == (0.5, 1)
    assert list(figures) == ["before"]
    [found] = disagreements({"before": {"set": rows}, "after": {}})
    assert (found.eval_set, found.problem_id, found.gold, found.verdict, found.math_verify) == (
        "set", first.id, "6", C, "wrong",
    )  # fmt: skip


def test_math_verify_is_not_asked_about_letters() -> None:
    item = problem(1, "(B) five")
    rows = outcomes("set", [item], samples(item, ("B", C)), {}, style="choice")
    assert rows[0].math_verify == ""
    assert summarize(rows, None, {})["math_verify"] == {"before": None}
    assert disagreements({"before": {"set": rows}}) == []
