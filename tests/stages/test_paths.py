"""Sampled solutions as chains of thought: right, well-formed, distinct, and spread over the problems."""

from __future__ import annotations

from collections import Counter

from sei.records import Attempt, Problem, Verdict, content_id
from sei.stages import assemble
from sei.stages.paths import paths
from sei.target.formats import Formats

GOLD = "There are 2+3 = <<2+3=5>>5 apples.\n#### 5"


def problem(number: int = 0, solution: str = GOLD, answer: str = "5") -> Problem:
    return Problem.make(question=f"question {number}", answer=answer, solution=solution, source="test")


def attempt(
    of: Problem, output: str, verdict: Verdict = Verdict.CORRECT, *, cut: bool = False, model: str = "m"
) -> Attempt:
    identity = content_id("attempt", of.id, model, output)
    return Attempt(identity, of.id, model, output, verdict, truncated=cut)


def reasons(of: Problem, *attempts: Attempt, style: str = "gsm8k") -> list[str]:
    """The reason for each attempt, "" where it is kept."""
    output = paths([of], attempts, target=None, style=style, seed=0)  # type: ignore[arg-type]
    assert (output.received, len(output.records) + len(output.rejected)) == (len(attempts), len(attempts))
    found = {item.source_id: item.reason for item in output.rejected}
    return [found.get(item.id, "") for item in attempts]


def test_only_right_answers_in_a_proper_format_are_paths() -> None:
    one = problem()
    good = ("Add 2 and 3.\nThat is 5.\n#### 5", "We add.\nThe answer is 5.", "Sum up: 5.\nA: 5")
    bad = ("#### 5", "The answer is 5.", "Final answer: 5", "2 and 3 are 5", "")
    assert reasons(one, *(attempt(one, text) for text in good)) == ["", "", ""]
    assert reasons(one, *(attempt(one, text) for text in bad)) == ["bad_format"] * 5
    assert reasons(one, attempt(one, "We add.\n#### 5\nAnd then", cut=True)) == ["bad_format"]
    verdicts = [verdict for verdict in Verdict if verdict is not Verdict.CORRECT]
    found = reasons(one, *(attempt(one, f"Step.\n#### {n}", verdict) for n, verdict in enumerate(verdicts)))
    assert found == ["wrong", "no_answer", "truncated", "timeout", "ungradable"]


def test_what_comes_after_a_solution_is_no_part_of_a_path() -> None:
    one = problem()
    more = "\n\nQuestion: Bob has 3 pens.\nSolution:\n#### 3"
    good = "Add 2 and 3.\n2+3=5\n#### 5"
    assert reasons(one, attempt(one, good + more, cut=True), attempt(one, good)) == ["", "duplicate"]
    assert reasons(one, attempt(one, GOLD + more)) == ["same_as_gold"]
    assert reasons(one, attempt(one, "Add 2 and 3.\nThat is 5<end>\n#### 5<end>")) == ["bad_format"]
    [row] = assemble.from_attempts([attempt(one, "<think>4?</think>" + good + more)], [one], Formats("plain"))
    assert row.response == good


def test_steps_decide_what_is_distinct() -> None:
    one = problem()
    as_gold = attempt(one, "there are 2 + 3 = 5  APPLES.\nThe answer is 5.")
    first = attempt(one, "3 + 2 = <<3+2=5>>5\n#### 5")
    again = attempt(one, " 3+2 =5\n\nA: 5")
    two_steps = attempt(one, "3 + 2\n= 5\n#### 5")
    assert reasons(one, as_gold, first, again, two_steps) == ["same_as_gold", "", "duplicate", ""]


def test_the_same_steps_for_another_problem_are_another_path() -> None:
    one, two = problem(1), problem(2)
    text = "3 + 2 = 5\n#### 5"
    output = paths([one, two], [attempt(one, text), attempt(two, text)], target=None, style="gsm8k", seed=0)
    assert len(output.records) == 2
    assert output.numbers == {"problems": 2, "sources": {"m": 2}}


def test_formats_of_the_other_styles() -> None:
    maths = problem(solution="Halve it. So $\\boxed{\\frac12}$.", answer="\\frac12")
    texts = [
        "We halve 1, which gives $\\boxed{0.5}$.",
        "Halve it. So $\\boxed{\\frac12}$.",
        "$$\\boxed{0.5}$$",
        "We halve 1 and get $0.5$.",
    ]
    found = reasons(maths, *(attempt(maths, text) for text in texts), style="math")
    assert found == ["", "same_as_gold", "bad_format", "bad_format"]
    choice = problem(solution="The answer is (B).", answer="(B) garage")
    texts = ["Cars stand in garages. The answer is (B).", "The answer is (B).", "Only (B) fits."]
    assert reasons(choice, *(attempt(choice, text) for text in texts), style="choice") == [
        "",
        "bad_format",
        "bad_format",
    ]


def many() -> tuple[list[Problem], list[Attempt]]:
    """Problems 0, 1, 2 with 1, 3 and 6 distinct paths."""
    problems = [problem(number) for number in range(3)]
    attempts = [
        attempt(problems[number], f"Way {way}.\n#### 5", model=f"m{way % 2}")
        for number, count in enumerate((1, 3, 6))
        for way in range(count)
    ]
    return problems, attempts


def test_a_target_is_spread_over_problems() -> None:
    problems, attempts = many()

    def counts(target: int | None) -> list[int]:
        output = paths(problems, attempts, target=target, style="gsm8k", seed=0)
        found = Counter(item.problem_id for item in output.records)
        rejected = Counter(item.reason for item in output.rejected)
        assert rejected == ({"over_target": 10 - len(output.records)} if len(output.records) < 10 else {})
        return [found[item.id] for item in problems]

    assert counts(3) == [1, 1, 1]
    assert counts(5) == [1, 2, 2]
    assert counts(8) == [1, 3, 4]
    assert counts(10) == counts(99) == counts(None) == [1, 3, 6]
    assert sorted(counts(2)) == [0, 1, 1]
    assert counts(0) == [0, 0, 0]


def test_the_draw_is_seeded_and_the_order_stays() -> None:
    problems, attempts = many()
    draws = [tuple(paths(problems, attempts, target=5, style="gsm8k", seed=seed).records) for seed in (*range(20), 0)]
    assert draws[0] == draws[20]
    assert len(set(draws)) > 5
    assert all(list(draw) == [item for item in attempts if item in draw] for draw in draws)
    assert len({draw[0] for draw in draws}) == 1  # the only path of problem 0
    single = [paths(problems, attempts, target=1, style="gsm8k", seed=seed).records[0].problem_id for seed in range(20)]
    assert len(set(single)) == 3  # any problem may come first
