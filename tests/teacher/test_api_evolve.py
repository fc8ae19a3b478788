"""Evolution by the API teacher: questions from the fault server, answers by majority."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.answers import Style, grade
from sei.llm.settings import ApiSettings
from sei.records import Problem, Rejected, Verdict
from sei.stages.evolve import evolve
from sei.teacher.api.evolve import drafts_of, majority
from sei.teacher.api.teacher import ApiTeacher
from sei.teacher.base import Draft, Evolver, Place
from sei.teacher.scripted import lamps
from tests.teacher.fault_server import Running

SEEDS = [
    Problem.make(question=f"{n} and {n}?", answer=str(2 * n), solution=f"#### {2 * n}", source="demo")
    for n in (1, 2, 3)
]


@pytest.mark.parametrize(
    ("texts", "style", "samples", "found"),
    [
        (("#### 12", "#### 7", "So it is $7.\n#### 7.0"), "gsm8k", 3, (1, "7")),  # 7 and 7.0: numbers, not strings
        (("#### 7", "#### 12", "#### 9"), "gsm8k", 3, "no_majority"),
        (("#### 7", "#### 7"), "gsm8k", 3, (0, "7")),  # the third call failed
        (("#### 7",), "gsm8k", 3, "no_majority"),  # one of three
        (("#### 7", "#### 7", "#### 9", "#### 9"), "gsm8k", 4, "no_majority"),  # half
        (("No idea.", ""), "gsm8k", 3, "not_solved"),
        ((), "gsm8k", 3, "not_solved"),
        ((r"\boxed{2}", r"\boxed{\frac12}", r"\boxed{0.5}"), "math", 3, (1, r"\frac12")),
    ],
)
def test_majority(texts: tuple[str, ...], style: Style, samples: int, found: tuple[int, str] | str) -> None:
    assert majority(texts, style, samples) == found


def test_a_draft_has_the_first_solution_of_the_majority() -> None:
    failed = Rejected.make(SEEDS[0].id, "refused")
    solutions = [[failed, "#### 4", "a\n#### 5", "b\n#### 5", "c\n#### 5"], ["#### 1", "#### 2", failed]]
    first, second = drafts_of(SEEDS[:2], ["A?", "B?"], solutions, "gsm8k")
    assert first == Draft("A?", "a\n#### 5", "5", (SEEDS[0].id,))
    assert isinstance(second, Rejected)
    assert (second.source_id, second.reason, second.detail, second.raw) == (
        SEEDS[1].id,
        "no_majority",
        "2 of 3 solutions: 1, 2",
        "B?",
    )


def opened(server: Running, folder: Path) -> ApiTeacher:
    settings = ApiSettings(model="m", base_urls=(server.url,))
    return ApiTeacher(settings, Place("gsm8k", folder / "store.sqlite", folder / "run"))


def test_evolved_problems_from_a_server(tmp_path: Path) -> None:
    with Running() as server:
        teacher = opened(server, tmp_path)
        evolver: Evolver = teacher
        output = evolve([*SEEDS, SEEDS[0]], evolver, SEEDS, [], style="gsm8k", rouge_threshold=1.0, seed=0)
        asked = [answer.request for _, answer in teacher.client.store.used(teacher.client.run)]
        teacher.close()
    assert [item.parents for item in output.records] == [(seed.id,) for seed in SEEDS]
    assert all(item.answer == lamps(item.question) for item in output.records)
    assert all(grade(item.solution, item.answer) is Verdict.CORRECT for item in output.records)
    # The server says the same to the second draw of a seed, which was a call of its own.
    assert [(item.source_id, item.reason) for item in output.rejected] == [(SEEDS[0].id, "too_similar")]
    assert sum("found hard" in request for request in asked) == 4
    assert len(asked) == 4 + 3 * 3  # equal questions share their three solutions


def test_a_question_that_never_came_has_no_solutions(tmp_path: Path) -> None:
    with Running(rate=1.0, faults=["refusal"]) as server:
        teacher = opened(server, tmp_path)
        results = teacher.evolve(SEEDS, samples=3, style="gsm8k", rouge_threshold=0.7, seed=0)
        teacher.close()
    rejected = [item for item in results if isinstance(item, Rejected)]
    assert [(item.source_id, item.reason) for item in rejected] == [(seed.id, "refused") for seed in SEEDS]
