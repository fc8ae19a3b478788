from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sei.errors import UserError
from sei.target.engine import Query, Sampling
from sei.target.recorded import RecordedEngine, check_known

ATTEMPTS = Path(__file__).parents[2] / "../shared/data/attempts/gsm8k_test_6b.jsonl"
GSM8K = Path(__file__).parents[2] / "../shared/data/gsm8k/test.jsonl"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def row(**fields: object) -> str:
    return json.dumps(fields)


def test_gives_all_recorded_completions_in_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "attempts.jsonl",
        row(question="Q1?", solution="first try", model="6b", is_correct=False),
        "",
        row(question="Q2?", solution="other"),
        row(question="Q1?", solution="second"),
    )
    engine = RecordedEngine(path)
    one, two, none = engine.complete([Query("ignored", "Q1?"), Query("", "Q2?"), Query("", "Q3?")], Sampling())
    assert [(item.text, item.model, item.truncated) for item in one] == [
        ("first try", "6b", False),
        ("second", "recorded", False),
    ]
    assert [item.text for item in two] == ["other"]
    assert none == []
    assert engine.questions() == ["Q1?", "Q2?"]
    assert engine.fingerprint()["file"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("finish_reason", "truncated"),
    [
        *((reason, True) for reason in ("length", "LENGTH", "max_tokens", "MAX_TOKENS", "model_length")),
        *((reason, False) for reason in ("stop", "eos", None, "", 7, {"type": "length"})),
    ],
)
def test_the_reason_why_a_solution_ended_counts(tmp_path: Path, finish_reason: object, truncated: bool) -> None:
    line = row(question="Q?", solution="First we", finish_reason=finish_reason)
    [[one]] = RecordedEngine(write(tmp_path / "attempts.jsonl", line)).complete([Query("", "Q?")], Sampling())
    assert one.truncated is truncated


def test_questions_match_across_quotes_and_spaces(tmp_path: Path) -> None:
    engine = RecordedEngine(write(tmp_path / "a.jsonl", row(question="Tom’s  “apples”\n?", solution="s")))
    [found] = engine.complete([Query("", 'Tom\'s "apples" ?')], Sampling())
    assert len(found) == 1
    assert engine.questions() == ["Tom’s  “apples”\n?"]


def test_line_separator_inside_text_does_not_end_the_line(tmp_path: Path) -> None:
    line = json.dumps({"question": "a\u2028b", "solution": "s"}, ensure_ascii=False)
    assert len(RecordedEngine(write(tmp_path / "a.jsonl", line)).questions()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"a\.jsonl:2: not JSON"),
        ("[1]", r"a\.jsonl:2: expected a JSON object with question and solution, found list"),
        (row(question="Q"), r"a\.jsonl:2: field 'solution' is missing \(found: question\)"),
        (row(solution="s"), r"a\.jsonl:2: field 'question' is missing"),
        (row(question="Q", solution=3), r"a\.jsonl:2: field 'solution' must be text, found 3"),
        (row(question="Q", solution="s", model=None), r"a\.jsonl:2: field 'model' must be text, found null"),
        (row(question=" ", solution="s"), r"a\.jsonl:2: field 'question' is empty"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", row(question="Q", solution="s"), line)
    with pytest.raises(UserError, match=message):
        RecordedEngine(path)


def test_missing_empty_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl: No such file"):
        RecordedEngine(tmp_path / "absent.jsonl")
    with pytest.raises(UserError, match="holds no attempts"):
        RecordedEngine(write(tmp_path / "empty.jsonl", "", ""))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        RecordedEngine(tmp_path / "binary")


def test_unknown_questions_are_counted_and_the_first_is_shown() -> None:
    check_known(["a  b", "c"], ["c", "a b", "d"], path="file")
    with pytest.raises(UserError, match=r"file: 2 of 3 recorded questions belong to no problem .*first: 'x'"):
        check_known(["a", "x", "y"], ["a"], path="file")


@pytest.mark.skipif(not ATTEMPTS.is_file(), reason="the shared data is not beside the project")
def test_every_real_attempt_belongs_to_a_gsm8k_problem() -> None:
    engine = RecordedEngine(ATTEMPTS)
    questions = [json.loads(line)["question"] for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    check_known(engine.questions(), questions, path=ATTEMPTS)
    found = engine.complete([Query("", question) for question in questions], Sampling())
    assert sum(map(len, found)) == 2638
