"""A user's own file: its fields by name, its held-out problems, and a clear message for every fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from sei import answers
from sei.data.jsonl import HELD_OUT, Jsonl
from sei.data.sources import difficulty, is_worked
from sei.data.splits import Splits
from sei.errors import UserError
from sei.records import Problem, Verdict

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
    with pytest.raises(
        UserError, match=r"data=jsonl: \d bad rows\. .* or name other fields \(data\.question"
    ) as caught:
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
    with pytest.raises(UserError, match=r"own\.jsonl holds no problems\. Expected one JSON object a line"):
        Jsonl(path=write(tmp_path / "own.jsonl")).load()


def test_complaints(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", *sums(3))
    assert Jsonl(path=path).complaints() == []
    assert Jsonl().complaints() == ["data.path: not given. Name the file with your problems, one JSON object a line"]
    assert Jsonl(path=f"{path}x", test_path=str(tmp_path)).complaints() == [
        f"data.path={path}x: no such file. Name a file with one JSON object a line",
        f"data.test_path={tmp_path}: is a folder, not a file. Name a file with one JSON object a line",
    ]
    assert Jsonl(path=path, name="gsm8k").complaints() == [
        "data.name=gsm8k: a published set has this name. Choose another"
    ]
