"""Each role: what is asked, what is accepted, and what the worked examples in the prompts are worth."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

from sei import arithmetic, prompts
from sei.errors import UserError
from sei.records import Diagnosis, Mistake, Problem
from sei.teacher.api.limits import Limits, limits_with
from sei.teacher.api.replies import CorrectionReply
from sei.teacher.api.roles import Roles, read_template
from sei.teacher.api.structured import ParseError, parse
from sei.teacher.base import Seed, Solution, SynthesisRequest
from sei.teacher.review import Revision
from sei.templates import Step, ThoughtTemplate, make_trace

MISTAKE = Mistake(
    "mistake-1", "problem-1", "attempt-1", "Ann has 3 bags of 4 apples and eats 2. How many are left?", "10",
    "3*4=<<3*4=12>>12\n12-2=<<12-2=10>>10\n#### 10", "3+4=<<3+4=7>>7\n7-2=<<7-2=5>>5\n#### 5", "model",
)  # fmt: skip
DIAGNOSIS = Diagnosis("diagnosis-1", "mistake-1", 1, "wrong operation", ("adds",), "It adds instead of multiplying.")
WISH = SynthesisRequest(
    "type-1", "Name", "Description.", ("adds",), (Seed("mistake-1", "q", "s\n#### 1", "1"),), (), 3, 0
)
ROLES = Roles("gsm8k")
PROBLEM = Problem.make(question="2+3?", answer="5", solution="2+3=5\n#### 5", source="demo")
TEMPLATE = ThoughtTemplate((Step("2+3=5", "Care."),), "Add.", "5")
TRACE = make_trace("mistake-1", "teacher", 1, "It adds.", "3*4=12\n12-2=10", "10")


def item(number: int, **other: str) -> dict[str, str]:
    return {"question": f"What is {number} + 1?", "solution": f"{number}+1={number + 1}\n#### {number + 1}",
            "answer": str(number + 1)} | other  # fmt: skip


def value(text: str) -> Fraction:
    return arithmetic.evaluate(arithmetic.parse(text))


def test_every_prompt_is_filled_completely() -> None:
    problem = PROBLEM
    for roles in (Roles("gsm8k"), Roles("math")):
        jobs = [
            roles.solve("2+3?", "p"),
            roles.diagnose(MISTAKE),
            roles.locate(Solution("solution-1", "2+3?", ("2+3 is 5.", "So 5."))),
            roles.correct(MISTAKE, DIAGNOSIS),
            roles.correct(MISTAKE),
            roles.evolve("2+3?", "p"),
            roles.synthesize(WISH),
            roles.name_type("type-1", ["adds"], []),
            roles.group_phrases(["adds"], [], divide=False, sample=0),
            roles.group_phrases(["adds"], [("Adding", "d")], divide=False, sample=0),
            roles.merge_groups([("Adding", "d", ["adds"])]),
            roles.template(problem),
            roles.trace(MISTAKE, gold=True),
            roles.trace(MISTAKE, gold=False),
            roles.inspect_trace(MISTAKE, TRACE),
            roles.inspect_template(problem, TEMPLATE),
        ]
        for job in jobs:
            assert "{{" not in job.request.text
            assert job.request.prompt_hash == prompts.load(job.request.prompt).hash
    assert len({job.request.prompt for job in jobs}) == 15  # thirteen roles, trace and inspect in two forms


def test_what_the_teacher_may_see() -> None:
    """LeMa's corrector works without the gold solution, and so does SuperCorrect's student-side trace."""
    for job in (ROLES.correct(MISTAKE), ROLES.trace(MISTAKE, gold=False)):
        assert "12-2" not in job.request.text
    assert "12-2" in ROLES.diagnose(MISTAKE).request.text
    assert "12-2" in ROLES.trace(MISTAKE, gold=True).request.text
    assert DIAGNOSIS.explanation in ROLES.correct(MISTAKE, DIAGNOSIS).request.text


def test_the_worked_examples_of_choices_are_right() -> None:
    """Four; each names the letter of the choice that its last step argues for, and not the student's."""
    text = prompts.load("teacher/correct/choice").text
    shape = r"Choices: (.*?)\n</question>\n\n<student>\n(.*?)\n</student>\n\n(\{\"step\".*?\})\n"
    examples = re.findall(shape, text, re.DOTALL)
    assert len(examples) == 4
    for listed, student, reply_text in examples:
        reply = parse(reply_text, CorrectionReply)
        choices = dict(re.findall(r"\(([A-E])\) ([^(]+?)(?= \(|$)", listed))
        assert sorted(choices) == list("ABCDE")
        assert choices[reply.answer] in reply.steps[-1]
        assert choices[reply.answer] not in student.splitlines()[reply.step - 1]
        assert 1 <= reply.step <= len(student.splitlines())


@pytest.mark.parametrize("dataset", ["gsm8k", "math"])
def test_the_worked_examples_of_correct_are_right(dataset: str) -> None:
    """Four each; their JSON is a valid reply, continues the student, and its arithmetic holds."""
    text = prompts.load(f"teacher/correct/{dataset}").text
    examples = re.findall(r"<student>\n(.*?)\n</student>\n\n(\{\"step\".*?\})\n", text, re.DOTALL)
    assert len(examples) == 4
    for student, reply_text in examples:
        reply = parse(reply_text, CorrectionReply)
        assert json.loads(reply_text)["steps"] == reply.steps  # valid JSON even without mending
        assert 1 <= reply.step <= len(student.splitlines())
        assert reply.answer in reply.steps[-1]
        for left, right in re.findall(r"<<(.+?)=(.+?)>>", "\n".join(reply.steps)):
            assert value(left) == value(right)
        for left, right in re.findall(r"(\d+ [-+*/] \d+) = \$?(\d+)", "\n".join(reply.steps)):
            assert value(left) == value(right)


def test_a_diagnosis_points_at_one_of_the_students_steps() -> None:
    read = ROLES.diagnose(MISTAKE).read
    reply = {"step": 1, "reason": "adds", "kind": "wrong operation", "keyphrases": ["adds  where", "adds where", ""]}
    diagnosis = read(json.dumps(reply))
    assert (diagnosis.mistake_id, diagnosis.step, diagnosis.keyphrases) == ("mistake-1", 1, ("adds where",))
    with pytest.raises(ParseError, match="steps are 1 to 2"):
        read(json.dumps(reply | {"step": 3}))
    with pytest.raises(ParseError, match="at least one phrase"):
        read(json.dumps(reply | {"keyphrases": []}))


def test_a_correction_is_joined_to_the_students_right_steps() -> None:
    read = ROLES.correct(MISTAKE).read
    reply = {"step": 2, "explanation": "x", "steps": ["Step 2: 7-1=6", "so\n6", "#### 6"], "answer": "$1,006."}
    correction = read(json.dumps(reply))
    assert correction.steps == ("7-1=6", "so 6")
    assert correction.answer == "1006"
    assert correction.solution == "3+4=<<3+4=7>>7\n7-1=6\nso 6\n#### 1006"
    for broken in ({"step": 0}, {"step": 4}, {"steps": []}, {"explanation": " "}, {"answer": ""}):
        with pytest.raises(ParseError):
            read(json.dumps(reply | broken))
    assert read(json.dumps(reply | {"step": 3})).step == 3  # the solution stopped too early


def test_an_evolved_question_is_a_new_one() -> None:
    read = ROLES.evolve("What is 2 + 3?", "p").read
    assert read('{"question": "What is 2 * 3?"}') == "What is 2 * 3?"
    with pytest.raises(ParseError, match="not a new one"):
        read('{"question": "what is 2  + 3?"}')


def test_one_bad_item_does_not_cost_the_others() -> None:
    items = [
        item(1),
        item(1),
        {"question": "no more"},
        item(2, answer="9"),
        item(3, answer="many", solution="x"),
        item(4),
    ]
    harvest = ROLES.synthesize(WISH).read(json.dumps({"problems": items}))
    assert [draft.answer for draft in harvest.drafts] == ["2", "5"]
    assert harvest.drafts[0].parents == ("mistake-1",)
    assert [reason for reason, _, _ in harvest.unusable] == [
        "duplicate",
        "wrong_schema",
        "answer_mismatch",
        "wrong_schema",
    ]


def test_items_beyond_the_count_are_surplus() -> None:
    harvest = ROLES.synthesize(WISH).read(json.dumps({"problems": [item(n) for n in range(5)]}))
    assert (len(harvest.drafts), [reason for reason, _, _ in harvest.unusable]) == (3, ["surplus", "surplus"])


def test_a_top_up_asks_for_the_rest_and_knows_what_is_there() -> None:
    job = ROLES.synthesize(WISH)
    text = json.dumps({"problems": [item(1)]})
    more = ROLES.top_up(job, WISH, text, job.read(text))
    assert "Write exactly 2 more" in more.request.messages[-1][1]
    harvest = more.read(json.dumps({"problems": [item(1), item(2), item(3)]}))
    assert [draft.answer for draft in harvest.drafts] == ["3", "4"]


def test_templates_are_taken_apart() -> None:
    text = "Here:\n<Step1>Read.<Key>Care</Key></Step1>\n<Step2>Add.</Step2><Generalized>Plan</Generalized><Answer>5</Answer>"
    template = read_template(text + "\nDone.")
    assert template.steps == (Step("Read.", "Care"), Step("Add."))
    assert (template.generalized, template.answer) == ("Plan", "5")
    for broken, fault in (
        (text.replace("Step2", "Step3"), "step_number"),
        (text.replace("</Key>", ""), "unclosed_tag"),
        (text.replace("<Generalized>Plan</Generalized>", ""), "no_generalized"),
        (text.replace("<Step2>", "and <Step2>"), "text_outside_tags"),
        ("none", "no <Step1>"),
    ):
        with pytest.raises(ParseError, match=fault):
            read_template(broken)


def test_a_trace_names_step_cause_correction_and_answer() -> None:
    reply = {"step": 1, "cause": "It adds.", "correction": "Step 1: 3*4=12\n12-2=10\n#### 10", "answer": "$10."}
    for gold, author in ((True, "teacher"), (False, "student")):
        trace = ROLES.trace(MISTAKE, gold=gold).read(json.dumps(reply))
        assert (trace.mistake_id, trace.author, trace.step, trace.cause) == ("mistake-1", author, 1, "It adds.")
        assert (trace.correction, trace.answer) == ("3*4=12\n12-2=10", "10")
    read = ROLES.trace(MISTAKE, gold=True).read
    assert read(json.dumps(reply | {"step": 0, "cause": "", "correction": "", "answer": ""})).step == 0
    for broken in ({"step": 3}, {"cause": " "}, {"correction": "#### 10"}, {"answer": ""}):
        with pytest.raises(ParseError):
            read(json.dumps(reply | broken))


def test_a_revision_shows_the_version_and_its_faults() -> None:
    job = ROLES.trace(MISTAKE, gold=True, revision=Revision(TRACE, ("Step 1 is right.", "Step 2 is wrong.")))
    first = ROLES.trace(MISTAKE, gold=True).request
    (asked, version, faults) = job.request.messages
    assert asked == first.messages[0]
    assert json.loads(version[1]) == {"step": 1, "cause": "It adds.", "correction": "3*4=12\n12-2=10", "answer": "10"}
    assert "- Step 1 is right.\n- Step 2 is wrong.\n" in faults[1]
    revised = ROLES.template(PROBLEM, Revision(TEMPLATE, ("The key is wrong.",))).request.messages
    assert read_template(revised[1][1]) == TEMPLATE
    assert "The key is wrong." in revised[2][1]


def test_an_inspection_agrees_with_itself() -> None:
    for job in (ROLES.inspect_trace(MISTAKE, TRACE), ROLES.inspect_template(PROBLEM, TEMPLATE)):
        assert job.read('{"correct": false, "faults": ["step 2"]}').faults == ("step 2",)
        with pytest.raises(ParseError):
            job.read('{"correct": true, "faults": ["step 2"]}')
    assert "It adds." in ROLES.inspect_trace(MISTAKE, TRACE).request.text
    assert "<Key>Care.</Key>" in ROLES.inspect_template(PROBLEM, TEMPLATE).request.text


def test_limits_are_overridden_by_name_only() -> None:
    assert limits_with({"solve": {"temperature": None}})["solve"] == Limits(1024, None, 250)
    with pytest.raises(UserError, match=r"teacher\.limits\.slove"):
        limits_with({"slove": {"temperature": 1.0}})
    with pytest.raises(UserError, match="temprature"):
        limits_with({"solve": {"temprature": 1.0}})


@pytest.mark.parametrize(
    ("field", "value", "needs"),
    [
        ("max_tokens", 0, "a whole number from 1"),
        ("max_tokens", "800", "a whole number from 1"),
        ("max_tokens", None, "a whole number from 1"),
        ("mean_tokens_out", 1.5, "a whole number from 1"),
        ("temperature", -0.1, "a number from 0, or null"),
        ("temperature", True, "a number from 0, or null"),
    ],
)
def test_limits_are_numbers(field: str, value: object, needs: str) -> None:
    with pytest.raises(UserError, match=rf"teacher\.limits\.solve\.{field}={value}: needs {needs}"):
        limits_with({"solve": {field: value}})


def test_no_prompt_quotes_a_problem_of_the_data() -> None:
    """The worked examples are ours; none of the questions in GSM8K may occur in them."""
    data = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"
    if not data.exists():
        pytest.skip("the shared data is not here")
    ours = re.findall(r"<question>\n(.+?)\n</question>", prompts.load("teacher/correct/gsm8k").text)
    for split in ("train", "test"):
        theirs = {json.loads(line)["question"] for line in (data / f"{split}.jsonl").read_text().splitlines()}
        assert not theirs & set(ours)
