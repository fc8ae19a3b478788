"""A user's own file: its fields by name, its held-out problems, and a clear message for every fault."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from sei import answers
from sei.config import Evaluation
from sei.data.files import MAX_FAULTS
from sei.data.jsonl import HELD_OUT, Jsonl
from sei.data.sources import difficulty, is_worked
from sei.data.splits import Splits
from sei.errors import UserError
from sei.records import Problem, Verdict
from sei.stages.separate import separate

CONF = Path(__file__).parents[2] / "conf/data/jsonl.yaml"


def write(file: Path, *rows: Any) -> str:
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(file)


def sums(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows as a user's file may have them; every answer can be told from the question."""
    return [{"problem": f"{n} and 1 more?", "result": n + 1} for n in range(start, start + count)]


def one(tmp_path: Path, row: dict[str, Any], **fields: Any) -> Problem:
    """The problem that a file's only row becomes."""
    path = write(tmp_path / "one.jsonl", row)
    return Jsonl(path=path, test_path=path, validation=0, **fields).load().train[0]


def ids(splits: Splits) -> list[set[str]]:
    return [{problem.id for problem in part} for part in (splits.train, splits.validation, splits.tests["jsonl"])]


def test_the_option_takes_a_file_and_the_names_of_its_fields(tmp_path: Path) -> None:
    values = yaml.safe_load(CONF.read_text())
    assert values.pop("_target_") == "sei.data.jsonl.Jsonl"
    values |= {"path": write(tmp_path / "own.jsonl", *sums(400)), "question": "problem", "answer": "result"}
    data = TypeAdapter(Jsonl).validate_python(values)
    assert data.complaints() == []
    splits = data.load()
    assert list(splits.tests) == ["jsonl"]
    assert [len(part) for part in ids(splits)] == [100, 100, HELD_OUT]
    assert set.union(*ids(splits)) == {
        Problem.make(question=f"{n} and 1 more?", answer=str(n + 1), solution="", source="").id for n in range(400)
    }
    for split, problems in (
        ("train", splits.train),
        ("validation", splits.validation),
        ("test", splits.tests["jsonl"]),
    ):
        assert {(problem.split, problem.source) for problem in problems} == {(split, "jsonl")}
    with pytest.raises(ValidationError, match=r"style\n.*'gsm8k', 'math' or 'choice'"):
        TypeAdapter(Jsonl).validate_python(values | {"style": "latex"})


def test_problems_are_held_out_by_seed(tmp_path: Path) -> None:
    own = {"path": write(tmp_path / "own.jsonl", *sums(60)), "question": "problem", "answer": "result"}
    splits = Jsonl(**own, validation=10, test=20, seed=3).load()
    assert splits == Jsonl(**own, validation=10, test=20, seed=3).load()
    assert [len(part) for part in ids(splits)] == [30, 10, 20]
    assert len(set.union(*ids(splits))) == 60  # no problem is in two of them
    other = Jsonl(**own, validation=10, test=20, seed=4).load()
    assert other.validation != splits.validation
    assert other.tests != splits.tests
    fewer = Jsonl(**own, train=5, validation=0, test=20, seed=3).load()
    assert fewer.tests == splits.tests  # the test set does not depend on the other sizes
    assert (len(fewer.train), fewer.validation) == (5, [])


def test_a_file_of_its_own_for_the_tests(tmp_path: Path) -> None:
    own = {"path": write(tmp_path / "own.jsonl", *sums(30)), "test_path": write(tmp_path / "t.jsonl", *sums(9, 100))}
    fields = {"question": "problem", "answer": "result", "validation": 10}
    splits = Jsonl(**own, **fields).load()
    assert [len(part) for part in ids(splits)] == [20, 10, 9]
    assert [problem.answer for problem in splits.tests["jsonl"]] == [str(n) for n in range(101, 110)]
    assert {problem.split for problem in splits.tests["jsonl"]} == {"test"}
    assert Jsonl(**own, **fields, seed=1).load().validation != splits.validation
    assert [problem.answer for problem in Jsonl(**own, **fields, test=2).load().tests["jsonl"]] == ["101", "102"]


def test_an_answer_as_gsm8k_writes_it_is_a_solution_too(tmp_path: Path) -> None:
    problem = one(tmp_path, {"question": "q", "answer": "600+634=<<600+634=1234>>1234\r\n#### 1,234"})
    assert (problem.answer, problem.solution) == ("1234", "600+634=<<600+634=1234>>1234\n#### 1,234")
    assert is_worked(problem)
    assert difficulty(problem) == 1
    bare = one(tmp_path, {"question": "q", "answer": "#### 5", "solution": "2+3=5"})
    assert (bare.answer, bare.solution) == ("5", "2+3=5\n#### 5")


@pytest.mark.parametrize(
    ("row", "fields", "answer", "solution"),
    [
        ({"answer": 5, "solution": "2+3=5"}, {}, "5", "2+3=5\n#### 5"),
        ({"answer": 5.0, "solution": "2+3=5\nThe answer is 5."}, {}, "5", "2+3=5\nThe answer is 5."),
        ({"answer": "5", "why": "2+3=5"}, {"solution": "why"}, "5", "2+3=5\n#### 5"),
        ({"answer": "5", "why": None}, {"solution": "why"}, "5", "#### 5"),
        ({"answer": "5", "solution": ""}, {}, "5", "#### 5"),
        ({"answer": "5"}, {}, "5", "#### 5"),
        ({"answer": "\\frac12"}, {"style": "math"}, "\\frac12", "#### \\frac12"),
        ({"solution": "It is $\\boxed{\\frac12}$."}, {"style": "math"}, "\\frac12", "It is $\\boxed{\\frac12}$."),
        ({"answer": "B"}, {"style": "choice"}, "B", "#### B"),
    ],
)
def test_answers_and_solutions(
    tmp_path: Path, row: dict[str, Any], fields: dict[str, Any], answer: str, solution: str
) -> None:
    problem = one(tmp_path, {"question": "q"} | row, **fields)
    assert (problem.answer, problem.solution) == (answer, solution)
    assert answers.grade(problem.solution, problem.answer, fields.get("style", "gsm8k")) is Verdict.CORRECT
    assert is_worked(problem) is not solution.startswith("####")
    path = str(tmp_path / "one.jsonl")
    assert Jsonl(path=path, **fields).worked is not solution.startswith("####")


def test_one_worked_solution_is_enough_to_train_on(tmp_path: Path) -> None:
    rows: list[Any] = [{"question": "q", "answer": "5"}, {"question": "r", "answer": "5", "solution": "2+3=5"}]
    assert Jsonl(path=write(tmp_path / "own.jsonl", *rows)).worked
    assert not Jsonl(path=write(tmp_path / "own.jsonl", rows[0], "not JSON")).worked
    assert Jsonl(path=write(tmp_path / "own.jsonl", "not JSON")).worked  # what is wrong there is said when it is loaded
    assert Jsonl(path=str(tmp_path / "nowhere")).worked


def test_level_and_family(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "5", "solution": "2+3=5", "level": "Level 12", "topic": "sums"}
    problem = one(tmp_path, row, level="level", family="topic")
    assert (problem.level, problem.family, difficulty(problem)) == (12, "sums", 12)
    problem = one(tmp_path, row | {"level": None}, level="level")
    assert (problem.level, problem.family, difficulty(problem)) == (0, "", 1)
    free = one(tmp_path, {"question": "q", "solution": "One line.\nTwo: $\\boxed{5}$"}, style="math")
    assert difficulty(free) == 0


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        ("{", {}, r"own\.jsonl:2: malformed JSON at column"),
        ({"q": "q", "answer": 1}, {}, r"own\.jsonl:2: field 'question' is missing \(the row has: answer, q\)"),
        ({"question": "q"}, {}, r"own\.jsonl:2: field 'answer' is missing \(the row has: question\)"),
        ({"question": "", "answer": 1}, {}, r":2: field 'question' is empty"),
        ({"question": "q", "answer": [1]}, {}, r":2: field 'answer': expected text or a number, found list"),
        ({"question": "q", "answer": "five"}, {}, r":2: the gold answer 'five' is not a number"),
        ({"question": "q", "answer": "#### "}, {}, r":2: the gold answer '' is not a number"),
        (
            {"question": "q", "answer": "\\frac{1"},
            {"style": "math"},
            r":2: the gold answer .* is not LaTeX with paired",
        ),
        (
            {"question": "q", "solution": "It is 5."},
            {"style": "math"},
            r":2: the solution has no \\boxed\{answer\} and",
        ),
        ({"question": "q", "answer": "garage"}, {"style": "choice"}, r":2: the gold answer 'garage' is not a letter"),
        (
            {"question": "q", "answer": 6, "solution": "2+3=5\n#### 5"},
            {},
            r":2: the solution ends with '5', but the answer is '6'",
        ),
        ({"question": "q", "answer": 6}, {"solution": "why"}, r":\d: field 'why' is missing"),
        ({"question": "q", "answer": 6}, {"family": "topic"}, r":\d: field 'topic' is missing"),
        (
            {"question": "q", "answer": 6, "hard": "very"},
            {"level": "hard"},
            r":2: field 'hard': expected a level such as 3 or 'Level 3', found 'very'",
        ),
        ({"question": "one", "answer": "1"}, {}, r":2: the same problem \(id problem-\w+\) as at .*own\.jsonl:1"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any, fields: dict[str, Any], message: str) -> None:
    good = {"question": "one", "answer": "B" if fields.get("style") == "choice" else "1"}
    path = write(tmp_path / "own.jsonl", good, row)
    with pytest.raises(UserError, match=r"data=jsonl: \d bad rows\. .* name other fields \(data\.question") as caught:
        Jsonl(path=path, **fields).load()
    assert caught.match(message)


def test_too_few_problems(tmp_path: Path) -> None:
    own = {"path": write(tmp_path / "own.jsonl", *sums(60)), "question": "problem", "answer": "result"}
    message = (
        r"own\.jsonl: 60 problems, and data\.validation=10 and data\.test=50 are to be held out of them: none is left to "
        r"train on\. Give more problems or hold out fewer, such as data\.validation=6 data\.test=12\."
    )
    with pytest.raises(UserError, match=message):
        Jsonl(**own, validation=10, test=50).load()
    assert len(Jsonl(**own, validation=10, test=49).load().train) == 1
    with pytest.raises(UserError, match=r"data\.validation=100 and data\.test=200 are to be held out"):
        Jsonl(**own).load()
    with pytest.raises(UserError, match=r"and data\.validation=60 are to be held out .* such as data\.validation=6\."):
        Jsonl(**own, test_path=own["path"], validation=60).load()
    with pytest.raises(UserError, match=r"own\.jsonl holds no problems\. Wanted: JSON objects, one a line"):
        Jsonl(path=write(tmp_path / "own.jsonl")).load()


def test_complaints(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *sums(3))
    assert Jsonl(path=path).complaints() == []
    assert Jsonl().complaints() == [
        "data.path: not given. Name the file with your problems, such as JSONL: one JSON object a line"
    ]
    assert Jsonl(path=f"{path}x", test_path=str(tmp_path)).complaints() == [
        f"data.path={path}x: no such file. Name a file of rows, such as one JSON object a line",
        f"data.test_path={tmp_path}: is a folder, not a file. It holds own.jsonl. Name one file",
    ]
    assert Jsonl(path=path, name="gsm8k").complaints() == [
        "data.name=gsm8k: a published set has this name. Choose another"
    ]


METAMATH = {
    "type": "GSM_Rephrased",
    "query": "Ann has 2 apples and gets 3. How many are there?",
    "original_question": "2 apples and 3 more?",
    "response": "She has 2 + 3 = 5 apples.\nThe answer is: 5",
}
SHAREGPT = {
    "id": "0",
    "conversations": [
        {"from": "human", "value": "2 apples and 3 more?"},
        {"from": "gpt", "value": "2 + 3 = 5, so the answer is 5."},
    ],
}
ALPACA = {"instruction": "Add the numbers.", "input": "2 and 3", "output": "2 + 3 = 5\n#### 5"}


@pytest.mark.parametrize(
    ("row", "fields", "question", "answer", "solution"),
    [
        (
            METAMATH,
            {"question": "query", "answer": "response"},
            METAMATH["query"],
            "5",
            METAMATH["response"] + "\n#### 5",
        ),
        (
            METAMATH,
            {"question": "query", "solution": "response"},
            METAMATH["query"],
            "5",
            METAMATH["response"] + "\n#### 5",
        ),
        (
            METAMATH | {"response": "2+3=5\n#### 5\nThe answer is: 5"},
            {"question": "query", "answer": "response"},
            METAMATH["query"],
            "5",
            "2+3=5\n#### 5\nThe answer is: 5",
        ),
        (
            METAMATH | {"response": "Half is $\\boxed{\\frac12}$. The answer is: \\frac12"},
            {"question": "query", "answer": "response", "style": "math"},
            METAMATH["query"],
            "\\frac12",
            "Half is $\\boxed{\\frac12}$. The answer is: \\frac12",
        ),
        (
            METAMATH | {"response": "It is half.\nThe answer is: \\frac{1}{2}"},
            {"question": "query", "answer": "response", "style": "math"},
            METAMATH["query"],
            "\\frac{1}{2}",
            "It is half.\nThe answer is: \\frac{1}{2}",
        ),
        (
            SHAREGPT,
            {"question": "conversations.0.value", "answer": "conversations.1.value"},
            "2 apples and 3 more?",
            "5",
            "2 + 3 = 5, so the answer is 5.\n#### 5",
        ),
        (
            SHAREGPT,
            {"question": "conversations[0].value", "solution": "conversations[-1].value"},
            "2 apples and 3 more?",
            "5",
            "2 + 3 = 5, so the answer is 5.\n#### 5",
        ),
        (
            ALPACA,
            {"question": ("instruction", "input"), "answer": "output"},
            "Add the numbers.\n2 and 3",
            "5",
            "2 + 3 = 5\n#### 5",
        ),
        (
            ALPACA | {"input": ""},
            {"question": ["instruction", "input"], "answer": "output"},
            "Add the numbers.",
            "5",
            "2 + 3 = 5\n#### 5",
        ),
        ({"a.b": "q", "meta": {"gold": 5}}, {"question": "a.b", "answer": "meta.gold"}, "q", "5", "#### 5"),
        (
            {"question": "q", "why": "So the answer is (B).", "A": 1},
            {"answer": "why", "style": "choice"},
            "q",
            "B",
            None,
        ),
    ],
)
def test_the_fields_of_others_by_name(
    tmp_path: Path, row: dict[str, Any], fields: dict[str, Any], question: str, answer: str, solution: str | None
) -> None:
    path = write(tmp_path / "one.jsonl", row)
    data = TypeAdapter(Jsonl).validate_python({"path": path, "test_path": path, "validation": 0} | fields)
    (problem,) = data.load().train
    assert (problem.question, problem.answer) == (question, answer)
    assert problem.solution == (row["why"] if solution is None else solution)


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        (SHAREGPT, {"question": "conversations.7.value"}, r":1: field 'conversations\.7\.value' is missing \(the row has: conv"),
        (SHAREGPT, {"question": "conversations"}, ":1: field 'conversations': expected text or a number, found list"),
        (ALPACA | {"instruction": None}, {"question": ("instruction", "input")}, "field 'instruction': .* found null"),
        # a last number is no answer: it would be a guess, and every attempt would be graded against it
        (METAMATH | {"response": "She has 2 + 3 = 5 apples, of which Tom had 3, as he said to her only a few of 30 days ago."},
         {"question": "query", "answer": "response"}, "field 'response' is no answer and names none, as '#### 18'"),
        (METAMATH | {"response": "It has 5 of 6."}, {"question": "query", "solution": "response"},
         "the solution has no '#### answer' or 'The answer is ...' and there is no field 'answer'"),
        ({"question": float("nan"), "answer": "1"}, {}, ":1: field 'question': expected text or a number, found nan"),
        ({"question": "q", "answer": float("nan")}, {}, ":1: field 'answer': expected text or a number, found nan"),
        ({"question": "q", "answer": float("-inf")}, {}, ":1: field 'answer': expected text or a number, found -inf"),
        ('{"question": "q", "answer": 1e999}', {}, ":1: field 'answer': expected text or a number, found inf"),
        ({"question": "q", "answer": "1", "solution": float("nan")}, {}, ":1: field 'solution': .*, found nan"),
        ({"question": "q", "answer": None}, {}, ":1: field 'answer': expected text or a number, found null"),
        ('{"question": "q", "answer": ' + "9" * 5000 + "}", {}, ":1: malformed JSON .a number of more than 4,300 digits"),
        ({"question": "q", "answer": "9" * 5000}, {}, r":1: .{1,500}\.\.\.$"),
    ],
)  # fmt: skip
def test_fields_that_cannot_be_read(tmp_path: Path, row: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        one(tmp_path, row, **fields)


def test_any_form_of_file(tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_bytes(json.dumps(sums(60), indent=1).encode("utf-16"))
    data = Jsonl(path=str(file), question="problem", answer="result", validation=10, test=20)
    assert len(data.load().train) == 30
    assert not data.worked
    file.write_text("question,answer\n")
    assert data.worked  # what is wrong there is said when it is loaded
    with pytest.raises(UserError, match="is text but not JSON"):
        data.load()


def test_a_file_of_bad_rows_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *[{"wrong": "field"}] * (MAX_FAULTS + 5))
    with pytest.raises(UserError, match=rf"data=jsonl: {MAX_FAULTS} bad rows or more\."):
        Jsonl(path=path).load()


PUBLISHED = [  # the forms of a training set that its authors made with a model and never graded
    {"cluster": "units", "question": "A diameter is 30 cm. The radius?", "solution": "30 / 2 = 15 cm. #### 15"},
    {
        "cluster": "units",
        "question": "90 parts an hour, in 3 hours?",
        "solution": "90 * 3 = <<90*3=270>>270.\n#### 270",
    },
    {"cluster": "units", "question": "Is a triangle of 7, 10 and 5 right?", "solution": "74 is not 100.\n#### False"},
    {"cluster": "logic", "question": "A ladder of 13 feet?", "solution": "x^2 = 144, so x = 12 feet."},
    {"cluster": "logic", "question": "The rest of 180 kg?", "solution": "180 - 60 = #### num\n120"},
    {"cluster": "logic", "question": "", "solution": "Nothing.\n#### 0"},
    "{broken",
]


def test_rows_that_are_no_problems_may_be_left_out_and_are_listed(tmp_path: Path) -> None:
    data = Jsonl(path=write(tmp_path / "set.json", *PUBLISHED), family="cluster", validation=0, test=0)
    with pytest.raises(UserError, match=r"5 bad rows\. .* or set data\.bad_rows=reject to leave them out"):
        data.load()
    splits = dataclasses.replace(data, bad_rows="reject").load()
    assert [(one.answer, one.family) for one in splits.train] == [("15", "units"), ("270", "units")]
    assert splits.tests == {}
    assert [one.source_id.rpartition(":")[2] for one in splits.unread] == ["3", "4", "5", "6", "7"]
    assert "the solution has no '#### answer'" in splits.unread[1].detail
    assert json.loads(splits.unread[1].raw) == PUBLISHED[3]

    done = separate.function(splits.train, {}, rouge=None, ngram=None, unread=splits.unread)
    assert (done.received, done.accepted, len(done.rejected)) == (7, 2, 5)


def test_a_file_in_which_no_row_is_a_problem_is_refused_whatever_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "none.jsonl", *PUBLISHED[3:5])
    with pytest.raises(
        UserError, match=r"holds no problems\. All 2 rows are bad, the first: .*:1: the solution has no"
    ):
        Jsonl(path=path, bad_rows="reject").load()


def test_data_without_test_problems_needs_other_sets(tmp_path: Path) -> None:
    data = Jsonl(path=write(tmp_path / "set.json", *PUBLISHED), test=0)
    (none,) = Evaluation().set_complaints(data)
    assert "eval.sets names none: give some" in none
    (own,) = Evaluation(sets={"in_domain": ["jsonl", "gsm8k"]}).set_complaints(data)
    assert "jsonl, which has no test problems (data.test=0)" in own
    assert list(Evaluation(sets={"in_domain": ["gsm8k"]}).set_complaints(data)) == []
