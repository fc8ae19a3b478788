"""Evolution as a stage: who is drawn, and which of a scripted teacher's drafts are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from sei.answers import Style
from sei.records import Correction, Mistake, Problem, Rejected
from sei.stages.evolve import evolve, seeds
from sei.teacher.base import Draft

WORDS = (
    "ducks in a pond",
    "coins for a tram",
    "tiles on a wall",
    "miles by train",
    "eggs in a basket",
    "seats in a hall",
)


def problem(number: int, **more: object) -> Problem:
    return Problem.make(
        question=f"{WORDS[number]}: {number} and 9?",
        answer=str(number + 9),
        solution=f"{number}+9=<<{number}+9={number + 9}>>{number + 9}\n#### {number + 9}",
        source="demo",
        **more,
    )


PROBLEMS = [problem(number) for number in range(4)]


def corrected(*numbers: int) -> tuple[list[Correction], list[Mistake]]:
    """One mistake at each problem, and a correction of those at `numbers`."""
    mistakes = [
        Mistake(f"mistake-{n}", item.id, f"attempt-{n}", item.question, item.answer, item.solution, "#### 0", "m")
        for n, item in enumerate(PROBLEMS)
    ]
    corrections = [Correction(f"c-{n}", f"mistake-{n}", 1, "why", ("9",), "#### 9", "9") for n in numbers]
    return corrections, mistakes


def test_correction_centric_seeds_have_a_corrected_mistake() -> None:
    drawn = seeds(PROBLEMS, *corrected(1, 3, 3), strategy="correction_centric", count=400, seed=0)
    counts = Counter(item.id for item in drawn)
    assert sum(counts.values()) == 400  # more than there are: with replacement
    assert set(counts) == {PROBLEMS[1].id, PROBLEMS[3].id}
    assert 150 < counts[PROBLEMS[3].id] < 250  # two corrections make it no more likely: 200 expected, deviation 10


def test_general_seeds_are_any_problems_and_follow_the_seed() -> None:
    def draw(seed: int) -> list[Problem]:
        return seeds(PROBLEMS, [], [], strategy="general", count=40, seed=seed)

    assert {item.id for item in draw(0)} == {item.id for item in PROBLEMS}
    assert draw(0) == draw(0) != draw(1)


def test_without_corrections_nothing_is_drawn() -> None:
    assert seeds(PROBLEMS, *corrected(), strategy="correction_centric", count=5, seed=0) == []
    output = evolve([], Scripted(), PROBLEMS, [], style="gsm8k", rouge_threshold=0.7, seed=7)
    assert (output.received, list(output.records), list(output.rejected)) == (0, [], [])


class Scripted:
    """Gives `results` in order."""

    def __init__(self, *results: Draft | Rejected) -> None:
        self.results = list(results)

    def evolve(
        self, seeds: Sequence[Problem], *, samples: int, style: Style, rouge_threshold: float, seed: int
    ) -> list[Draft | Rejected]:
        assert (samples, style, rouge_threshold, seed) == (3, "gsm8k", 0.7, 7)
        return self.results


def draft(question: str, solution: str = "2*21=<<2*21=42>>42\n#### 42", answer: str = "42") -> Draft:
    return Draft(question, solution, answer, ("not looked at",))


SEED = problem(0, family="sums", level=2)


def run(*results: Draft | Rejected, training: Sequence[Problem] = (), forbidden: Sequence[Problem] = ()):  # type: ignore[no-untyped-def]
    drawn = [SEED] * len(results)
    return evolve(drawn, Scripted(*results), training, forbidden, style="gsm8k", rouge_threshold=0.7, seed=7)


def test_a_new_problem_leads_back_to_its_seed() -> None:
    output = run(draft("How many wheels have 21 bicycles?"))
    (new,) = output.records
    assert (new.question, new.answer, new.source, new.split) == (
        "How many wheels have 21 bicycles?",
        "42",
        "evolved",
        "train",
    )
    assert (new.parents, new.family, new.level) == ((SEED.id,), "sums", 2)
    assert Problem.from_json(new.to_json()) == new


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (draft(f"{WORDS[0]}: 0 and 8?"), "too_similar"),  # to its seed, which is in neither list
        (draft(f"{WORDS[1]}: 1 and 8?"), "too_similar"),  # to a test problem
        (draft(f"{WORDS[2]}: 2 and 8?"), "too_similar"),  # to a training problem
        (draft("Sum?", "1 + 9 = <<1 + 9=10>>10\n#### 10", "10"), "content_of_a_test_problem"),
        (draft("Sum?", "2+9=<<2+9=11>>11\n#### 11", "11"), None),  # what a training problem computes is allowed
        (draft("Product?", answer="43"), "answer_not_reached"),
        (draft("Product?", answer="many"), "answer_not_reached"),  # no answer that outputs could be graded against
        (Rejected.make("problem-1", "no_majority"), "no_majority"),
    ],
)
def test_every_draw_is_accounted_for(result: Draft | Rejected, reason: str | None) -> None:
    output = run(result, training=[problem(2)], forbidden=[problem(1)])
    assert output.received == len(output.records) + len(output.rejected) == 1
    assert [item.reason for item in output.rejected] == ([] if reason is None else [reason])


def test_the_second_of_two_similar_new_problems_is_rejected() -> None:
    twice = [draft("How many wheels have 21 bicycles?"), draft("How many wheels have 22 bicycles?")]
    output = run(*twice, draft("A box holds 6 eggs. What do 7 boxes hold?"))
    assert [item.question for item in output.records] == [
        twice[0].question,
        "A box holds 6 eggs. What do 7 boxes hold?",
    ]
    assert [(item.source_id, item.reason, item.raw) for item in output.rejected] == [
        (SEED.id, "too_similar", twice[1].question)
    ]
