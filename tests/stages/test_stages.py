"""Stages on small hand-made records, with a scripted engine and a scripted teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sei.answers import grade
from sei.records import (
    Attempt,
    Correction,
    Diagnosis,
    ErrorType,
    Mistake,
    Problem,
    Rejected,
    Synthetic,
    Verdict,
    content_id,
)
from sei.stages import assemble
from sei.stages.attempt import attempt
from sei.stages.correct import correct
from sei.stages.mine import mine
from sei.stages.select import development_set, select
from sei.stages.synthesize import split_budget, synthesize
from sei.target.engine import Completion, Query, Sampling
from sei.target.formats import Formats
from sei.teacher.base import Draft, SynthesisRequest

FORMATS = Formats("plain")


def problem(number: int, family: str = "") -> Problem:
    solution = f"{number}+1=<<{number}+1={number + 1}>>{number + 1}\n#### {number + 1}"
    return Problem.make(
        question=f"{number} and 1?", answer=str(number + 1), solution=solution, source="test", family=family
    )


class ScriptedEngine:
    """Answers with `answer(query)`; None means no completion."""

    name = "scripted"

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked, self.stop = answer, 0, ()

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        self.asked += len(queries)
        self.stop = sampling.stop
        texts = [self.answer(query) for query in queries]
        return [[] if text is None else [Completion(text, 3, text.endswith("~"), "m")] for text in texts]

    def close(self) -> None: ...


def test_attempts_are_graded_and_problems_without_one_are_accounted_for(tmp_path: Path) -> None:
    answers = {"0 and 1?": "#### 1", "1 and 1?": "#### 5", "2 and 1?": "well", "3 and 1?": "2 ~", "4 and 1?": None}
    engine = ScriptedEngine(lambda query: answers[query.question])
    problems = [problem(number) for number in range(5)]
    output = attempt(problems, engine, FORMATS, Sampling(), style="gsm8k", scratch=tmp_path)
    verdicts = [item.verdict for item in output.records]
    assert verdicts[:3] == [Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER]
    assert [(item.source_id, item.reason) for item in output.rejected] == [(problems[4].id, "no_attempt")]
    assert engine.stop == FORMATS.stop != ()
    again = attempt(problems, engine, FORMATS, Sampling(), style="gsm8k", scratch=tmp_path)
    assert engine.asked == 5, "chunks in the scratch folder are not asked again"
    assert again.records == output.records


def make_attempt(item: Problem, output: str, verdict: Verdict, sample: int = 0) -> Attempt:
    return Attempt(content_id("attempt", item.id, output, sample), item.id, "m", output, verdict, sample)


def test_only_wrong_answers_are_mistakes_and_repetitions_count_once() -> None:
    problems = [problem(number) for number in range(4)]
    attempts = [
        make_attempt(problems[0], "#### 1", Verdict.CORRECT),
        make_attempt(problems[1], "1+1=5\n#### 5", Verdict.WRONG),
        make_attempt(problems[1], "1+1=5\n#### 5", Verdict.WRONG, sample=1),
        make_attempt(problems[2], "", Verdict.NO_ANSWER),
        make_attempt(problems[3], "1 2", Verdict.TRUNCATED),
    ]
    output = mine(problems, attempts, FORMATS)
    assert [item.problem_id for item in output.records] == [problems[1].id]
    assert sorted(item.reason for item in output.rejected) == ["correct", "duplicate", "no_answer", "truncated"]


def make_mistake(number: int, output: str = "#### 0") -> Mistake:
    p = problem(number)
    identity = content_id("mistake", p.id, output)
    return Mistake(identity, p.id, "attempt", p.question, p.answer, p.solution, output, "m")


class ScriptedTeacher:
    name = "scripted"

    def __init__(self, drafts: Any = None, corrections: Any = None) -> None:
        self.drafts, self.corrections, self.requests = drafts, corrections, []

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def diagnose(self, mistakes: Sequence[Mistake]) -> list[Diagnosis | Rejected]:
        raise NotImplementedError

    def correct(self, mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis]) -> list[Correction | Rejected]:
        return [self.corrections(mistake) for mistake in mistakes]

    def synthesize(self, requests: Sequence[SynthesisRequest]) -> list[list[Draft | Rejected]]:
        self.requests += requests
        return [self.drafts(request) for request in requests]


def test_corrections_that_miss_the_gold_answer_are_rejected() -> None:
    mistakes = [make_mistake(number) for number in range(3)]
    diagnoses = [Diagnosis(f"d{m.id}", m.id, 1, "kind", ("phrase",), "why") for m in mistakes[:2]]

    def correction(mistake: Mistake) -> Correction:
        answer = mistake.gold_answer if mistake is mistakes[0] else "77"
        return Correction(f"c{mistake.id}", mistake.id, 1, "why", ("step",), f"step\n#### {answer}", answer)

    output = correct(mistakes, diagnoses, ScriptedTeacher(corrections=correction), style="gsm8k")
    assert [item.mistake_id for item in output.records] == [mistakes[0].id]
    reasons = {item.source_id: item.reason for item in output.rejected}
    assert reasons == {mistakes[1].id: "answer_wrong", mistakes[2].id: "not_diagnosed"}


def make_type(name: str, mistakes: Sequence[Mistake]) -> ErrorType:
    ids = tuple(mistake.id for mistake in mistakes)
    return ErrorType(f"type-{name}", name, "", len(ids), ("phrase",), ("phrase",), ids, 1.0, (1.0,))


WORDS = (
    "amber birch cedar dune ember fjord grove haven islet jade knoll larch mesa north ocean pearl quartz reef".split()
)


def draft(number: int, *, answer: int | None = None, wording: str | None = None) -> Draft:
    words = [WORDS[(number * 7 + shift * (number + 3)) % len(WORDS)] for shift in range(8)]
    total = number + 1
    solution = f"{number}+1=<<{number}+1={total}>>{total}\n#### {total}"
    return Draft(wording or f"{' '.join(words)} {number}?", solution, str(answer or total), ("mistake-1",))


OPTIONS = {
    "per_call": 4,
    "mistakes_shown": 5,
    "synthesized_shown": 3,
    "rouge_threshold": 0.7,
    "max_calls_factor": 3.0,
    "style": "gsm8k",
    "round": 1,
    "seed": 0,
}


def test_the_budget_is_split_by_largest_remainder() -> None:
    assert split_budget(10, [1, 1, 1]) == [4, 3, 3]
    assert split_budget(7, [0, 5, 2]) == [0, 5, 2]
    assert sum(split_budget(15000, [881, 13, 7, 99])) == 15000


def test_synthesis_shows_mistakes_then_synthesized_and_meets_its_budget() -> None:
    mistakes = [make_mistake(number) for number in range(12)]
    kind = make_type("a", mistakes)
    count = iter(range(100, 1000))
    teacher = ScriptedTeacher(drafts=lambda request: [draft(next(count)) for _ in range(request.count)])
    output = synthesize([kind], mistakes, [], teacher, budget=6, **OPTIONS)
    assert len(output.records) == 6
    assert {len(request.mistakes) + len(request.synthesized) for request in teacher.requests} == {8}
    shown = [(len(request.mistakes), len(request.synthesized)) for request in teacher.requests]
    assert shown[0] == (8, 0), "eight mistakes until three problems exist"
    assert output.received == len(output.records) + len(output.rejected)
    seeds = {seed.id for request in teacher.requests for seed in request.mistakes}
    assert seeds <= set(kind.mistake_ids), "a type's seeds are its own mistakes"


def test_later_calls_show_five_mistakes_and_three_synthesized() -> None:
    mistakes = [make_mistake(number) for number in range(12)]
    count = iter(range(100, 1000))
    teacher = ScriptedTeacher(drafts=lambda request: [draft(next(count)) for _ in range(3)])
    synthesize([make_type("a", mistakes)], mistakes, [], teacher, budget=8, **OPTIONS)
    assert (len(teacher.requests[-1].mistakes), len(teacher.requests[-1].synthesized)) == (5, 3)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (draft(5, answer=9), "answer_not_reached"),
        (Draft("fine words here", "5+1=<<5+1=7>>7\n#### 7", "7", ("m",)), "arithmetic_wrong"),
        (draft(5, wording="a test question that is exactly so long 5?"), "too_similar"),
    ],
)
def test_faulty_drafts_are_rejected_with_their_reason(bad: Draft, reason: str) -> None:
    mistakes = [make_mistake(1)]
    test = Problem.make(
        question="a test question that is exactly so long 6?", answer="1", solution="#### 1", source="t"
    )
    teacher = ScriptedTeacher(drafts=lambda request: [bad])
    output = synthesize([make_type("a", mistakes)], mistakes, [test], teacher, budget=2, **OPTIONS)
    assert output.records == []
    assert {item.reason for item in output.rejected} == {reason}
    assert len(teacher.requests) == 3, "a type that yields nothing is given up after three times the calls it needs"


def test_a_type_without_usable_mistakes_is_named() -> None:
    teacher = ScriptedTeacher(drafts=lambda request: [])
    output = synthesize([make_type("lonely", [make_mistake(1)])], [], [], teacher, budget=2, **OPTIONS)
    assert [(item.reason, item.detail) for item in output.rejected] == [("type_too_small", "lonely")]
    assert teacher.requests == []


def candidate(number: int, parents: tuple[str, ...] = ()) -> Synthetic:
    item = draft(number)
    return Synthetic(f"synthetic-{number}", item.question, item.solution, item.answer, "type-a", parents)


def test_selection_scores_each_candidate_as_a_demonstration_and_keeps_the_top_share(tmp_path: Path) -> None:
    wrong, right = [problem(1), problem(2)], [problem(3), problem(4)]
    candidates = [candidate(number) for number in range(10, 15)]

    def answer(query: Query) -> str:
        """Candidate 12 helps everywhere, 11 only on the wrong problems, the rest nowhere."""
        number = int(query.question.split()[0])
        helped = candidates[2].question in query.prompt or (candidates[1].question in query.prompt and number < 3)
        return f"#### {number + 1 if helped else 0}"

    engine = ScriptedEngine(answer)
    output = select(
        candidates,
        wrong,
        right,
        engine,
        FORMATS,
        Sampling(),
        keep=0.4,
        style="gsm8k",
        scratch=tmp_path,
    )
    assert [(item.id, item.score) for item in output.records] == [("synthetic-12", 1.0), ("synthetic-11", 0.5)]
    assert [item.reason for item in output.rejected] == ["low_score"] * 3
    assert engine.stop == FORMATS.stop


def test_development_problems_are_not_parents_of_candidates_while_others_exist() -> None:
    problems = [problem(number) for number in range(8)]
    mistakes = [make_mistake(number) for number in range(4)]
    attempts = [make_attempt(p, "#### 1", Verdict.CORRECT) for p in problems[4:]]
    candidates = [candidate(20, parents=(mistakes[0].id, mistakes[1].id))]
    wrong, right = development_set(problems, attempts, mistakes, candidates, wrong=2, right=3, seed=0)
    assert {p.id for p in wrong} == {problems[2].id, problems[3].id}
    assert {p.id for p in right} < {p.id for p in problems[4:]}


def test_training_rows_lead_back_to_their_mistakes() -> None:
    mistake = make_mistake(1, "1+1=<<1+1=3>>3\n3-1=<<3-1=2>>2\n#### 7")
    item = Correction("c", mistake.id, 2, "Step 2 is wrong.", ("2+0=<<2+0=2>>2",), "...", "2")
    (row,) = assemble.from_corrections([item], [mistake], FORMATS)
    assert row.parents == ("c", mistake.id)
    assert row.prompt == (
        "Question: 1 and 1?\nOriginal Solution:\n{\nStep 1: 1+1=<<1+1=3>>3\nStep 2: 3-1=<<3-1=2>>2\n}\nIncorrect Step:\n"
    )
    assert row.response == (
        "Step 2.\nExplanation: Step 2 is wrong.\nCorrect Solution:\n{\n...\nStep 2: 2+0=<<2+0=2>>2\n#### 2\n}"
    )


def test_corrections_without_explanation_or_step() -> None:
    mistake = make_mistake(1, "1+1=<<1+1=2>>2\n2-1=<<2-1=2>>2\n#### 7")
    item = Correction(
        "c", mistake.id, 2, "It is 1.", ("2-1=<<2-1=1>>1",), "1+1=<<1+1=2>>2\n2-1=<<2-1=1>>1\n#### 1", "1"
    )
    (row,) = assemble.from_corrections([item], [mistake], FORMATS, explanation=False)
    assert row.response == "Step 2.\nCorrect Solution:\n{\n...\nStep 2: 2-1=<<2-1=1>>1\n#### 1\n}"
    (row,) = assemble.from_corrections([item], [mistake], FORMATS, step=False)
    assert row.response == (
        "Explanation: It is 1.\nCorrect Solution:\n{\nStep 1: 1+1=<<1+1=2>>2\nStep 2: 2-1=<<2-1=1>>1\n#### 1\n}"
    )
    assert row.prompt.endswith("Step 2: 2-1=<<2-1=2>>2\n}\n")
    (row,) = assemble.corrected_paths([item], [mistake], FORMATS)
    assert (row.prompt, row.response) == (FORMATS.solve(mistake.question), item.solution)
    assert (row.kind, row.parents) == ("cot", ("c", mistake.id))


def test_reflections_go_on_from_the_wrong_step_or_begin_again() -> None:
    mistake = dataclasses.replace(
        make_mistake(1, "1+1=<<1+1=2>>2\n2-1=<<2-1=2>>2\n#### 7"), gold_solution="2*1=<<2*1=2>>2\n#### 1"
    )
    item = Correction("c", mistake.id, 2, "2-1 is 1.", ("2-1=<<2-1=1>>1",), "...", "1")
    going_on, again, last = assemble.from_reflections([item, item, item], [mistake], FORMATS)
    wrong = "1+1=<<1+1=2>>2\n2-1=<<2-1=2>>2\nStep 2 is wrong. 2-1 is 1."
    assert going_on.response == f"{wrong} Go on from step 2.\n2-1=<<2-1=1>>1\n#### 1" == last.response
    assert again.response == f"{wrong} Start again.\n2*1=<<2*1=2>>2\n#### 1"
    assert (going_on.prompt, going_on.kind) == (FORMATS.solve(mistake.question), "reflection")
    assert going_on.parents == ("c", mistake.id)
    for row in (going_on, again):  # the grader takes the answer at the end for the answer
        assert grade(row.response, "1", "gsm8k") is Verdict.CORRECT


def test_reflections_of_a_bare_answer_go_on() -> None:
    mistake = dataclasses.replace(make_mistake(1, "1+1=<<1+1=3>>3\n#### 3"), gold_solution="")
    item = Correction("c", mistake.id, 1, "It is 2.", ("1+1=<<1+1=2>>2",), "...", "2")
    *_, row = assemble.from_reflections([item, item], [mistake], FORMATS)
    assert "1+1=<<1+1=2>>2\n#### 2" in row.response


def test_steps_of_free_text_are_numbered_in_corrections() -> None:
    mistake = make_mistake(1, "Let $x=1.$ Then\n\\[x+1=3.\\]So it is 3.")
    item = Correction("c", mistake.id, 2, "why", ("So $x+1=2$.",), "...", "2")
    (row,) = assemble.from_corrections([item], [mistake], Formats("plain", "math"))
    assert "{\nStep 1: Let $x=1.$\nStep 2: Then \\[x+1=3.\\]\nStep 3: So it is 3.\n}" in row.prompt
    assert row.response.endswith("{\n...\nStep 2: So $x+1=2$.\nThe answer is $\\boxed{2}$.\n}")


def test_correct_attempts_become_paths() -> None:
    problems = [problem(1), problem(2)]
    attempts = [
        make_attempt(problems[1], "2+1=3\nA: 3", Verdict.CORRECT, sample=2),
        make_attempt(problems[0], "#### 7", Verdict.WRONG),
    ]
    (row,) = assemble.from_attempts(attempts, problems, FORMATS)
    assert (row.prompt, row.response) == (FORMATS.solve("2 and 1?"), "2+1=3\n#### 3")
    assert (row.kind, row.parents) == ("path", (attempts[0].id, problems[1].id))
