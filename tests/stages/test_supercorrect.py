"""SuperCorrect's stages on hand-made records, with scripted engines, authors and inspectors."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sei.records import Attempt, Diagnosis, Mistake, Problem, Rejected, Trace, Verdict, content_id
from sei.stages.inspect import inspect
from sei.stages.pair import Kind, pairs
from sei.stages.second import BETWEEN, second_pass
from sei.stages.template import template
from sei.stages.trace import as_solutions, locate, student_thoughts, student_traces, trace
from sei.target.engine import Completion, Query, Sampling
from sei.target.thoughts import ALL_RIGHT, Check, Thoughts
from sei.teacher.review import Inspection, Revision
from sei.teacher.symbolic import SymbolicTeacher
from sei.templates import Step, ThoughtTemplate, make_trace, write
from sei.workspace import Output

THOUGHTS = Thoughts("plain")
GREEDY = Sampling(max_new_tokens=64)
QUESTION = "Ann has 3 bags of 4 apples and eats 2. How many are left?"
GOLD = "There are <<3*4=12>>12 apples.\nAnn has <<12-2=10>>10 left.\n#### 10"
PROBLEM = Problem.make(question=QUESTION, answer="10", solution=GOLD, source="demo")
RIGHT_STEP, WRONG_STEP, FIXED_STEP = (
    "There are <<3*4=12>>12 apples.", "Ann has <<12+2=14>>14 left.", "Ann has <<12-2=10>>10 left.",
)  # fmt: skip


def output(*steps: str, answer: str) -> str:
    return write(ThoughtTemplate(tuple(map(Step, steps)), "First multiply.", answer))


WRONG_OUTPUT = output(RIGHT_STEP, WRONG_STEP, answer="14")


def mistake(name: str = "mistake-1", text: str = WRONG_OUTPUT) -> Mistake:
    return Mistake(name, PROBLEM.id, "attempt-1", QUESTION, "10", GOLD, text, "m")


def teacher_trace(name: str = "mistake-1", step: int = 2, correction: str = FIXED_STEP) -> Trace:
    return make_trace(name, "teacher", step, "It adds.", correction, "10")


def student_trace(name: str = "mistake-1", **changes: Any) -> Trace:
    fields = {"step": 2, "cause": "It is odd.", "correction": "Ann has <<12*2=24>>24 left.", "answer": "24"} | changes
    return make_trace(name, "student", **fields)


class ScriptedEngine:
    """Answers each query with `answer(query)`; a text that ends in ~ is truncated, None is no completion."""

    name = "scripted"

    def __init__(self, answer: Any) -> None:
        self.answer, self.batches, self.stop = answer, 0, ()

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        self.batches += 1
        self.stop = sampling.stop
        texts = [self.answer(query) for query in queries]
        return [[] if text is None else [Completion(text, 3, text.endswith("~"), "m")] for text in texts]

    def close(self) -> None: ...


class ScriptedTeacher:
    """Writes versions 0, 1, 2, ... of everything; its inspector calls a version right from `right_from` on."""

    def __init__(self, right_from: dict[str, int] | None = None, fails_at: int = 99) -> None:
        self.right_from, self.fails_at = right_from or {}, fails_at
        self.revised: list[tuple[str, tuple[str, ...]]] = []

    def _version(self, source: str, revision: Revision[Any] | None, old: int) -> int | Rejected:
        if revision is not None:
            self.revised.append((source, revision.faults))
        number = 0 if revision is None else old + 1
        return Rejected.make(source, "refused") if number == self.fails_at else number

    def template(
        self, problems: Sequence[Problem], revisions: Sequence[Revision[ThoughtTemplate] | None] = ()
    ) -> list[ThoughtTemplate | Rejected]:
        results: list[ThoughtTemplate | Rejected] = []
        for problem, revision in zip(problems, revisions or [None] * len(problems), strict=True):
            version = self._version(problem.id, revision, 0 if revision is None else int(revision.version.generalized))
            if isinstance(version, Rejected):
                results.append(version)
            else:
                results.append(ThoughtTemplate((Step("Work.", "Care."), Step("Done.")), str(version), problem.answer))
        return results

    def trace(
        self, mistakes: Sequence[Mistake], revisions: Sequence[Revision[Trace] | None] = ()
    ) -> list[Trace | Rejected]:
        results: list[Trace | Rejected] = []
        for one, revision in zip(mistakes, revisions or [None] * len(mistakes), strict=True):
            assert one.output == f"{RIGHT_STEP}\n{WRONG_STEP}\n#### 14"  # teachers read solutions, not templates
            version = self._version(one.id, revision, 0 if revision is None else int(revision.version.cause))
            if isinstance(version, Rejected):
                results.append(version)
            else:
                results.append(make_trace(one.id, "teacher", 2, str(version), FIXED_STEP, "10"))
        return results

    def _say(self, source: str, version: str) -> Inspection | Rejected:
        if source not in self.right_from:
            return Rejected.make(source, "filtered")
        right = int(version) >= self.right_from[source]
        return Inspection(right, () if right else (f"Version {version} is bad.", "Mend it."))

    def inspect_templates(
        self, problems: Sequence[Problem], templates: Sequence[ThoughtTemplate]
    ) -> list[Inspection | Rejected]:
        return [self._say(one.id, version.generalized) for one, version in zip(problems, templates, strict=True)]

    def inspect_traces(self, mistakes: Sequence[Mistake], traces: Sequence[Trace]) -> list[Inspection | Rejected]:
        return [self._say(one.id, version.cause) for one, version in zip(mistakes, traces, strict=True)]


def reasons(result: Output[Any]) -> dict[str, str]:
    assert result.received == len(result.records) + len(result.rejected)
    return {one.source_id: one.reason for one in result.rejected}


# The inspector's loop


def test_faulty_traces_go_back_and_verdicts_are_recorded() -> None:
    names = {"at-once": 0, "in-round-2": 2, "in-round-3": 3, "never": 4}
    mistakes = [mistake(name) for name in (*names, "filtered")]
    author = ScriptedTeacher(names)
    written = trace(mistakes, author, THOUGHTS)
    result = inspect(written.records, mistakes, author, author, THOUGHTS)
    assert reasons(result) == {"never": "still_faulty", "filtered": "filtered"}
    bad = [f"Version {number} is bad. Mend it." for number in range(4)]
    assert {one.mistake_id: one.inspections for one in result.records} == {
        "at-once": ("right",),
        "in-round-2": (*bad[:2], "right"),
        "in-round-3": (*bad[:3], "right"),
    }
    assert [one.cause for one in result.records] == ["0", "2", "3"]  # the last version is what stays
    assert {one.detail for one in result.rejected} == {"", " | ".join(bad)}
    assert result.numbers == {"right_first": 1, "right_after_2": 1, "right_after_3": 1}
    assert Counter(source for source, _ in author.revised) == {"in-round-2": 2, "in-round-3": 3, "never": 3}
    assert author.revised[0] == ("in-round-2", ("Version 0 is bad.", "Mend it."))


def test_an_author_who_fails_to_revise_loses_the_trace() -> None:
    author = ScriptedTeacher({"mistake-1": 2}, fails_at=1)
    result = inspect(trace([mistake()], author, THOUGHTS).records, [mistake()], author, author, THOUGHTS)
    assert reasons(result) == {"mistake-1": "refused"}


def test_no_rounds_only_sort_out() -> None:
    author = ScriptedTeacher({"mistake-1": 1, "mistake-2": 0})
    both = [mistake("mistake-1"), mistake("mistake-2")]
    result = inspect(trace(both, author, THOUGHTS).records, both, author, author, THOUGHTS, rounds=0)
    assert reasons(result) == {"mistake-1": "still_faulty"}
    assert author.revised == []


# Templates


def problem(number: int) -> Problem:
    return Problem.make(
        question=f"{number} and 1?", answer=str(number + 1), solution=f"#### {number + 1}", source="test"
    )


def test_templates_are_written_in_their_style_with_their_hard_steps() -> None:
    result = template([problem(1)], ScriptedTeacher(), template_style="xml", style="gsm8k")
    (one,) = result.records
    assert one.text == (
        "<Step1>Work.<Key>Care.</Key></Step1>\n<Step2>Done.</Step2>\n<Generalized>0</Generalized>\n<Answer>2</Answer>"
    )
    assert (one.problem_id, one.answer, one.hard) == (problem(1).id, "2", (1,))
    (plain,) = template([problem(1)], ScriptedTeacher(), template_style="cot", style="gsm8k").records
    assert (plain.text, plain.hard) == ("Work.\nDone.\n#### 2", ())


def test_templates_with_another_answer_are_rejected() -> None:
    class Wrong(ScriptedTeacher):
        def template(
            self, problems: Sequence[Problem], revisions: Sequence[Revision[ThoughtTemplate] | None] = ()
        ) -> list[ThoughtTemplate | Rejected]:
            answers = ["3", "2.0", "no number"]
            written = [
                dataclasses.replace(one, answer=a) for one, a in zip(super().template(problems), answers, strict=True)
            ]  # type: ignore[type-var]
            return [*written[:2], Rejected.make(problems[2].id, "refused")]  # type: ignore[list-item]

    problems = [problem(1), dataclasses.replace(problem(1), id="same"), problem(3)]
    result = template(problems, Wrong(), template_style="xml", style="gsm8k")
    assert reasons(result) == {problem(1).id: "answer_wrong", problem(3).id: "refused"}
    assert [one.problem_id for one in result.records] == ["same"]


def test_templates_go_through_the_inspector() -> None:
    one, two = problem(1), problem(2)
    author = ScriptedTeacher({one.id: 1, two.id: 5})
    result = template([one, two], author, template_style="xml", style="gsm8k", inspector=author, rounds=2)
    assert reasons(result) == {two.id: "still_faulty"}
    assert "<Generalized>1</Generalized>" in result.records[0].text
    assert result.numbers == {"right_after_1": 1}


def test_the_symbolic_teacher_goes_through_all_stages() -> None:
    teacher = SymbolicTeacher(["subtract"])
    (one,) = template([PROBLEM], teacher, template_style="xml", style="gsm8k", inspector=teacher).records
    assert one.hard == (2,)
    written = trace([mistake()], teacher, THOUGHTS)
    (checked,) = inspect(written.records, [mistake()], teacher, teacher, THOUGHTS).records
    assert (checked.step, checked.correction, checked.inspections) == (2, FIXED_STEP, ("right",))


# Student traces


def test_student_traces_come_in_one_batch_and_are_read_strictly() -> None:
    texts = {
        "mistake-1": THOUGHTS.check_response(student_trace()),
        "right": ALL_RIGHT,
        "malformed": "Step 2.\n<Cause>x</Cause>",
        "truncated": "Step 2.\n<Cause>x~",
        "beyond": THOUGHTS.check_response(student_trace(step=3)),
        "silent": None,
    }
    mistakes = [dataclasses.replace(mistake(name), question=name) for name in texts]
    engine = ScriptedEngine(lambda query: texts[query.question])
    result = student_traces([*mistakes, mistake("stepless", "no template")], engine, THOUGHTS, GREEDY)
    assert engine.batches == 1
    assert engine.stop == THOUGHTS.stop != ()
    assert [(one.mistake_id, one.author, one.step) for one in result.records] == [
        ("mistake-1", "student", 2),
        ("right", "student", 0),
    ]
    assert result.records[0] == student_trace()
    assert reasons(result) == {
        "stepless": "no_steps", "malformed": "malformed", "truncated": "truncated", "beyond": "no_such_step",
        "silent": "no_attempt",
    }  # fmt: skip


def test_the_student_is_shown_the_steps_and_not_the_gold_solution() -> None:
    seen: list[str] = []
    student_traces([mistake()], ScriptedEngine(lambda query: seen.append(query.prompt) or ALL_RIGHT), THOUGHTS, GREEDY)
    assert f"Step 1: {RIGHT_STEP}\nStep 2: {WRONG_STEP}\n" in seen[0]
    assert "10" not in seen[0]


def test_a_student_told_the_step_writes_its_thought_after_the_prompt_of_the_pair() -> None:
    names = ("mistake-1", "malformed", "untold", "beyond")
    mistakes = [dataclasses.replace(mistake(name), question=name) for name in names]
    truths = [teacher_trace(names[0]), teacher_trace(names[1]), teacher_trace(names[3], step=3)]
    texts = {"mistake-1": THOUGHTS.thought(student_trace()), "malformed": "Hm."}
    asked: list[tuple[str, str]] = []
    engine = ScriptedEngine(lambda query: asked.append((query.prompt, query.prefix)) or texts[query.question])
    result = student_thoughts(mistakes, truths, engine, THOUGHTS, GREEDY)
    assert engine.batches == 1
    assert engine.stop == THOUGHTS.stop != ()
    assert list(result.records) == [student_trace()]
    assert reasons(result) == {
        "malformed": "malformed", "untold": "no_step_to_point_at", "beyond": "no_step_to_point_at",
    }  # fmt: skip
    (pair,) = pairs(mistakes[:1], truths[:1], result.records, THOUGHTS, "thought", style="gsm8k").records
    assert (pair.prompt, pair.prefix) == asked[0]
    assert texts["mistake-1"] == pair.rejected


def test_locate_correctness_and_correction_accuracy_have_their_denominators() -> None:
    """Four mistakes, three with a known step: two of them found; one of four reaches 10."""
    names = ("mistake-1", "mistake-2", "mistake-3", "mistake-4")
    truths = [
        *(teacher_trace(name) for name in names[:2]),
        Diagnosis("d", "mistake-3", 1, "", (), ""),
        teacher_trace(names[3], 0),
    ]
    traces = [student_trace(names[0], answer="10.0"), student_trace(names[1]), student_trace(names[2])]
    rates = locate([mistake(name) for name in names], truths, traces, style="gsm8k")
    assert (rates["located"]["count"], rates["located"]["n"]) == (2, 3)
    assert (rates["corrected"]["count"], rates["corrected"]["n"]) == (1, 4)
    assert rates["located"]["low"] < rates["located"]["mean"] < rates["located"]["high"]


def test_solutions_keep_the_ids_of_their_mistakes() -> None:
    (one,) = as_solutions([mistake()], THOUGHTS)
    assert one == dataclasses.replace(mistake(), output=f"{RIGHT_STEP}\n{WRONG_STEP}\n#### 14")


# Pairs


def test_a_thought_pair_follows_the_right_steps() -> None:
    (pair,) = pairs([mistake()], [teacher_trace()], [student_trace()], THOUGHTS, "thought", style="gsm8k").records
    assert (pair.prompt, pair.prefix) == (THOUGHTS.check(QUESTION, [RIGHT_STEP]), "Step 2.\n")
    chosen, rejected = THOUGHTS.read_check(pair.prefix + pair.chosen), THOUGHTS.read_check(pair.prefix + pair.rejected)
    assert chosen == Check(2, "It adds.", FIXED_STEP, "10")
    assert rejected == Check(2, "It is odd.", "Ann has <<12*2=24>>24 left.", "24")
    assert pair.parents == ("mistake-1", teacher_trace().id, student_trace().id)
    assert WRONG_STEP not in pair.prompt


def test_a_check_pair_shows_the_whole_solution_and_trains_the_step_s_name_too() -> None:
    missed = make_trace("mistake-1", "student", 0, "", "", "")
    for student, rejected in (
        (student_trace(step=1), THOUGHTS.check_response(student_trace(step=1))),
        (missed, ALL_RIGHT),
    ):
        (pair,) = pairs([mistake()], [teacher_trace()], [student], THOUGHTS, "check", style="gsm8k").records
        assert (pair.prompt, pair.prefix) == (THOUGHTS.check(QUESTION, [RIGHT_STEP, WRONG_STEP]), "")
        assert (pair.chosen, pair.rejected) == (THOUGHTS.check_response(teacher_trace()), rejected)
        assert pair.chosen.startswith("Step 2.\n")
        assert pair.parents == ("mistake-1", teacher_trace().id, student.id)


def test_a_step_pair_puts_the_corrected_step_in_place_of_the_wrong_one() -> None:
    (pair,) = pairs([mistake()], [teacher_trace()], [], THOUGHTS, "step", style="gsm8k").records
    assert (pair.prompt, pair.prefix) == (THOUGHTS.solve(QUESTION), f"<Step1>{RIGHT_STEP}</Step1>\n")
    assert (pair.chosen, pair.rejected) == (f"<Step2>{FIXED_STEP}</Step2>", f"<Step2>{WRONG_STEP}</Step2>")


def test_an_instance_pair_holds_whole_solutions() -> None:
    (pair,) = pairs([mistake()], [teacher_trace()], [], THOUGHTS, "instance", style="gsm8k").records
    assert pair.prompt == THOUGHTS.solve(QUESTION)
    assert (pair.chosen, pair.rejected) == (output(RIGHT_STEP, FIXED_STEP, answer="10"), WRONG_OUTPUT)


@pytest.mark.parametrize(
    ("kind", "teacher", "student", "reason"),
    [
        ("thought", None, student_trace(), "no_teacher_trace"),
        ("thought", teacher_trace(step=0), student_trace(), "no_step_to_point_at"),
        ("step", teacher_trace(step=3), None, "no_step_to_point_at"),
        ("thought", teacher_trace(), None, "no_student_trace"),
        ("thought", teacher_trace(), make_trace("mistake-1", "student", 0, "", "", ""), "student_finds_none"),
        ("thought", teacher_trace(), student_trace(answer="10"), "student_right"),
        ("thought", teacher_trace(), student_trace(step=1, answer="10"), "student_right"),
        ("thought", teacher_trace(), student_trace(step=1), "another_step"),
        ("thought", teacher_trace(), student_trace(correction=FIXED_STEP), "agree"),
        ("thought", teacher_trace(), student_trace(), ""),
        ("check", teacher_trace(), None, "no_student_trace"),
        ("check", teacher_trace(), student_trace(answer="10"), "student_right"),
        ("step", teacher_trace(correction=WRONG_STEP), None, "agree"),
        ("step", teacher_trace(), None, ""),
    ],
)
def test_what_makes_no_pair_is_counted(kind: Kind, teacher: Trace | None, student: Trace | None, reason: str) -> None:
    teachers, students = [one for one in [teacher] if one], [one for one in [student] if one]
    result = pairs([mistake()], teachers, students, THOUGHTS, kind, style="gsm8k")
    assert reasons(result) == ({"mistake-1": reason} if reason else {})


def test_an_instance_needs_a_template_to_put_the_steps_into() -> None:
    broken = mistake(text=WRONG_OUTPUT.replace("<Generalized>", ""))
    result = pairs([broken], [teacher_trace()], [], THOUGHTS, "instance", style="gsm8k")
    assert reasons(result) == {"mistake-1": "malformed_solution"}
    assert len(pairs([broken], [teacher_trace()], [], THOUGHTS, "step", style="gsm8k").records) == 1


# The second pass

FIRST = {"wrong": "14", "right": "10", "spoiled": "10", "cut": "10", "odd": "14", "silent": "10"}
CHECKS = {
    "wrong": THOUGHTS.check_response(teacher_trace()),
    "right": ALL_RIGHT,
    "spoiled": THOUGHTS.check_response(student_trace()),
    "cut": "Step 2.\n<Cause>x~",
    "odd": "Hm.",
    "silent": None,
}


def first_pass(name: str, answer: str) -> tuple[Problem, Attempt]:
    one = dataclasses.replace(PROBLEM, id=name, question=name)
    verdict = Verdict.CORRECT if answer == "10" else Verdict.WRONG
    text = output(RIGHT_STEP, WRONG_STEP, answer=answer)
    return one, Attempt(content_id("attempt", name), name, "m", text, verdict, sample=2, output_tokens=5)


def run_second(folder: Path, engine: ScriptedEngine, **more: Any) -> tuple[list[Attempt], Output[Attempt]]:
    problems, attempts = map(list, zip(*(first_pass(*item) for item in FIRST.items()), strict=True))
    stepless = Attempt("attempt-x", "wrong", "m", "no steps", Verdict.NO_ANSWER)
    first = [*attempts, stepless]
    return first, second_pass(problems, first, engine, THOUGHTS, GREEDY, style="gsm8k", scratch=folder, **more)


def test_a_check_changes_the_answer_only_where_it_names_a_wrong_step(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda query: CHECKS[query.question])
    first, result = run_second(tmp_path, engine)
    assert engine.batches == 1
    assert engine.stop == THOUGHTS.stop != ()
    assert [one.verdict for one in result.records] == [
        Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG, Verdict.CORRECT, Verdict.WRONG, Verdict.CORRECT, Verdict.NO_ANSWER,
    ]  # fmt: skip
    assert result.numbers == {
        "new_answer": 2, "all_right": 1, "unreadable": 2, "not_asked": 2, "right_to_wrong": 1, "wrong_to_right": 1,
        "output_tokens": 6 * 5 + 5 * 3,
    }  # fmt: skip
    assert result.records[0].output == first[0].output + BETWEEN + CHECKS["wrong"]
    assert (result.records[0].sample, result.records[0].output_tokens) == (2, 8)
    assert result.records[-2:] == first[-2:]  # not asked, so unchanged
    again = run_second(tmp_path, ScriptedEngine(lambda query: pytest.fail("asked twice")))[1]
    assert again.records == result.records
    assert again.numbers == result.numbers


def test_reflexion_takes_the_answer_of_the_second_solution(tmp_path: Path) -> None:
    nine = output("x", answer="9")
    texts = dict.fromkeys(FIRST, "I do not know.") | {
        "wrong": output(FIXED_STEP, answer="10"),
        "right": nine,
        "spoiled": nine,
    }
    _, result = run_second(tmp_path, ScriptedEngine(lambda query: texts[query.question]), way="reflect")
    assert [one.verdict for one in result.records[:4]] == [
        Verdict.CORRECT, Verdict.WRONG, Verdict.WRONG, Verdict.CORRECT,
    ]  # fmt: skip
    assert (result.numbers["new_answer"], result.numbers["unreadable"]) == (3, 3)
    assert (result.numbers["wrong_to_right"], result.numbers["right_to_wrong"]) == (1, 2)


def test_a_second_answer_that_was_cut_does_not_stand(tmp_path: Path) -> None:
    """`#### 1` at the token limit may be half of any number, so the first answer stays."""

    class Cut(ScriptedEngine):
        def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
            return [[Completion("Work.\n#### 1", 3, True, "m")] for _ in queries]

    one = Attempt("attempt-1", PROBLEM.id, "m", GOLD, Verdict.CORRECT)
    thoughts = Thoughts("plain", "cot")
    result = second_pass([PROBLEM], [one], Cut(None), thoughts, GREEDY, style="gsm8k", scratch=tmp_path, way="reflect")
    assert result.records[0].verdict is Verdict.CORRECT
    assert result.records[0].truncated
