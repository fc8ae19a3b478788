from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
import yaml

from sei.errors import UserError
from sei.target.engine import Completion, Query, Sampling
from sei.target.recorded import Recorded, RecordedEngine, check_known, unwrap

ATTEMPTS = Path(__file__).parents[2] / "../shared/data/attempts/gsm8k_test_6b.jsonl"
CONF = Path(__file__).parents[2] / "conf/engine/recorded.yaml"
CASES = Path(__file__).parents[2] / "../shared/cases/data"
GSM8K = Path(__file__).parents[2] / "../shared/data/gsm8k/test.jsonl"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def row(**fields: object) -> str:
    return json.dumps(fields)


def answers(engine: RecordedEngine, question: str) -> list[Completion]:
    [found] = engine.complete([Query("", question)], Sampling())
    return found


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


@pytest.mark.parametrize("field", ["stop_reason", "done_reason"])
def test_other_tools_have_other_names_for_it(tmp_path: Path, field: str) -> None:
    rows = [
        row(question=name, solution="First we", **{field: reason})
        for name, reason in (("1?", "max_tokens"), ("2?", "####"))
    ]
    engine = RecordedEngine(write(tmp_path / "attempts.jsonl", *rows))
    [[cut], [whole]] = engine.complete([Query("", "1?"), Query("", "2?")], Sampling())
    assert (cut.truncated, whole.truncated) == (True, False)


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
        ("{broken", r"a\.jsonl:2: malformed JSON at column 2"),
        ("[1]", r"a\.jsonl:2: expected a JSON object, found list"),
        (
            row(question="Q"),
            r"a\.jsonl:2: field 'solution' is missing \(the row has: question\)\. Known forms: lm-eval",
        ),
        (row(solution="s"), r"a\.jsonl:2: field 'question' is missing"),
        (
            row(prompt="p"),
            r"a\.jsonl:2: field 'question' is missing \(the row has: prompt\)\. Known .*ours: question, sol",
        ),
        (row(question="Q", solution=float("nan")), r"a\.jsonl:2: field 'solution' must be text, found nan"),
        (row(question="Q", solution=["s"]), r"a\.jsonl:2: field 'solution' must be text, found list"),
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
    with pytest.raises(UserError, match=r"absent\.jsonl: cannot be read \(No such file"):
        RecordedEngine(tmp_path / "absent.jsonl")
    with pytest.raises(UserError, match="holds no attempts"):
        RecordedEngine(write(tmp_path / "empty.jsonl", "", ""))
    (tmp_path / "latin").write_bytes(b'{"question": "caf\xe9"}\n')
    with pytest.raises(UserError, match=r"latin: 1 bad rows\. .*\n.*latin:1: not UTF-8 .byte 0xe9 at 18."):
        RecordedEngine(tmp_path / "latin")


def test_complaints(tmp_path: Path) -> None:
    write(tmp_path / "samples_gsm8k.jsonl", row(question="Q", solution="s"))
    assert Recorded(str(tmp_path / "samples_gsm8k.jsonl")).complaints() == []
    assert "set engine.path=FILE" in Recorded().complaints()[0]
    assert Recorded(str(tmp_path), requests="nowhere").complaints() == [
        f"engine.path={tmp_path}: is a folder, not a file. It holds samples_gsm8k.jsonl. Name one file",
        "engine.requests=nowhere: no such file",
    ]
    assert yaml.safe_load(CONF.read_text()) == {
        "_target_": "sei.target.recorded.Recorded",
        "path": None,
        "requests": None,
    }


def test_any_form_of_file(tmp_path: Path) -> None:
    attempts = json.dumps([{"question": "Q1?", "solution": "s"}, {"question": "Q2?", "solution": "\ud83d"}], indent=1)
    for content in (attempts.encode("utf-8-sig"), attempts.encode("utf-16"), gzip.compress(attempts.encode())):
        (tmp_path / "a.jsonl").write_bytes(content)
        assert RecordedEngine(tmp_path / "a.jsonl").questions() == ["Q1?", "Q2?"]


def test_what_ended_at_the_limit_is_truncated(tmp_path: Path) -> None:
    reasons = ["length", "max_tokens", "stop", None]
    rows = [row(question="Q?", solution="s", finish_reason=reason) for reason in reasons]
    assert [one.truncated for one in answers(RecordedEngine(write(tmp_path / "a.jsonl", *rows)), "Q?")] == [
        True,
        True,
        False,
        False,
    ]


def test_unknown_questions_are_counted_and_the_first_is_shown() -> None:
    check_known(["a  b", "c"], ["c", "a b", "d"], path="file")
    with pytest.raises(UserError, match=r"file: 2 of 3 recorded questions belong to no problem .*first: 'x'"):
        check_known(["a", "x", "y"], ["a"], path="file")


# ------------------------------------------------------------------------------------- files of the tools of the field


def harness(number: int, answer: str, *others: str, name: str = "strict-match", **doc: str) -> str:
    """A row of lm-evaluation-harness's samples_gsm8k_*.jsonl; the texts are ours."""
    doc = doc or {"question": f"Q{number}?", "answer": "#### 5"}
    return row(
        doc_id=number,
        doc=doc,
        target="#### 5",
        arguments={"gen_args_0": {"arg_0": f"Question: {doc}\nAnswer:", "arg_1": {"until": ["Question:"]}}},
        resps=[[answer, *others]],
        filtered_resps=["5"],
        filter=name,
        metrics=["exact_match"],
        doc_hash="d",
        prompt_hash="p",
        target_hash="t",
        exact_match=1.0,
    )


def test_samples_of_lm_evaluation_harness(tmp_path: Path) -> None:
    rows = [harness(n, f"answer {n}", name=name) for name in ("strict-match", "flexible-extract") for n in range(3)]
    rows += [
        harness(0, "answer 0"),
        harness(1, "answer 1", name="flexible-extract"),
    ]  # a second run with the same answers
    engine = RecordedEngine(write(tmp_path / "samples_gsm8k_2024-05-06T07-08-09.jsonl", *rows))
    assert engine.questions() == ["Q0?", "Q1?", "Q2?"]
    # one attempt for each answer, not one for each filter that looked at it
    assert [[one.text for one in answers(engine, f"Q{n}?")] for n in range(3)] == [
        ["answer 0"] * 2,
        ["answer 1"] * 2,
        ["answer 2"],
    ]
    repeated = RecordedEngine(write(tmp_path / "b.jsonl", harness(0, "same", "same", "other")))
    assert [one.text for one in answers(repeated, "Q0?")] == ["same", "same", "other"]


def test_the_harness_s_items_have_their_set_s_fields(tmp_path: Path) -> None:
    rows = [
        harness(0, "a", problem="Half of 1?", solution="$\\boxed{0.5}$"),
        harness(1, "a", Body="Ann has 2 pens", Question="How many?"),
        harness(2, "a", body="Ann has 2 pens.", question="How many?"),
    ]
    engine = RecordedEngine(write(tmp_path / "a.jsonl", *rows))
    assert engine.questions() == ["Half of 1?", "Ann has 2 pens, How many?", "Ann has 2 pens. How many?"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"doc": {"goal": "g"}}, r":1: field 'question' is missing \(the row has: goal\)"),
        ({"doc": "text"}, ":1: field 'doc': expected the item of the data set, found str"),
        ({"resps": [[["-3.5", "False"]], [["-1.5", "True"]]]}, ":1: field 'resps': .* likelihood has no attempts"),
        ({"resps": [[["-3.5", "False"]]]}, ":1: field 'resps': .* likelihood has no attempts"),
        ({"resps": None}, ":1: field 'resps'"),
    ],
)
def test_samples_without_attempts(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps(json.loads(harness(0, "a")) | fields))
    with pytest.raises(UserError, match=message):
        RecordedEngine(path)


def test_output_of_nemo_skills(tmp_path: Path) -> None:
    rows = [
        row(problem="Q1?", expected_answer="5", solution="the gold one", generation="It is 5.", num_generated_tokens=7),
        row(
            question="Q2?", generation="So we", finish_reason="length", num_generated_tokens=512, predicted_answer=None
        ),
        row(problem="Q3?", generation="It is.", num_generated_tokens=7.0),
        row(problem="Q4?", generation="It is.", num_generated_tokens=True),
    ]
    engine = RecordedEngine(write(tmp_path / "output-rs0.jsonl", *rows))
    assert answers(engine, "Q1?") == [Completion("It is 5.", 7, False, "recorded")]
    assert answers(engine, "Q2?") == [Completion("So we", 512, True, "recorded")]
    assert [answers(engine, question)[0].tokens for question in ("Q3?", "Q4?")] == [7, 2]
    with pytest.raises(UserError, match=":1: field 'generation' must be text, found null"):
        RecordedEngine(write(tmp_path / "b.jsonl", row(problem="Q1?", generation=None)))


def reply(name: str, *texts: object, reason: str = "stop", **fields: object) -> str:
    """A row of a batch's output."""
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        for index, text in enumerate(texts)
    ]
    body = {"id": "chatcmpl-1", "model": "m", "choices": choices, "usage": {"completion_tokens": 9}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return row(**{"id": "batch_req_1", "custom_id": name, "response": response, "error": None} | fields)


def request(name: str, prompt: object, *before: dict[str, str]) -> str:
    """A row of a batch's input."""
    messages = [*before, {"role": "user", "content": prompt}]
    return row(custom_id=name, method="POST", url="/v1/chat/completions", body={"model": "m", "messages": messages})


def test_output_of_a_batch_with_its_input(tmp_path: Path) -> None:
    replies = [
        reply("r-1", "It is 6.", "It is 7."),
        reply("r-0", "So we", reason="length"),
        reply("r-2", None, response=None, error={"code": "server_error", "message": "no"}),
        reply("r-2", None, response={"status_code": 429, "request_id": "", "body": {"error": {"message": "slow down"}}}),
        # as vLLM wrote it first; and content in parts
        row(custom_id="r-2", response={"model": "v", "choices": [{"message": {"content": [{"type": "text", "text": "8"}]}}]}),
        row(custom_id="r-3", response={"body": {"choices": [{"text": "bare", "finish_reason": "length"}]}}),
    ]  # fmt: skip
    questions = [f"Tom has {n} pens.\nHow many pens are there?" for n in range(3)]
    requests = [request(f"r-{n}", question) for n, question in enumerate(questions)]
    requests += [row(custom_id="r-3", body={"prompt": "Tom has 3 pens. How many?"})]
    path, asked = write(tmp_path / "out.jsonl", *replies), write(tmp_path / "in.jsonl", *requests)
    engine = Recorded(str(path), str(asked)).open(None)  # type: ignore[arg-type]  # it has no use for weights
    assert engine.questions() == [questions[1], questions[0], questions[2], "Tom has 3 pens. How many?"]
    assert [(one.text, one.tokens, one.truncated, one.model) for one in answers(engine, questions[1])] == [
        ("It is 6.", 3, False, "m"),
        ("It is 7.", 3, False, "m"),
    ]
    assert answers(engine, questions[0]) == [Completion("So we", 9, True, "m")]
    assert answers(engine, questions[2]) == [Completion("8", 1, False, "v")]
    assert answers(engine, "Tom has 3 pens. How many?") == [Completion("bare", 1, True, "recorded")]
    assert set(engine.fingerprint()) == {"engine", "file", "requests"}


def test_failed_requests_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(
        tmp_path / "a.jsonl", reply("What is 2+3?", "5"), reply("What is 2+4?", response=None, error={"code": 1})
    )
    assert RecordedEngine(path).questions() == ["What is 2+3?"]  # a custom_id may be the question
    assert "a.jsonl: 1 requests failed, so there are no attempts of them" in caplog.text


EXAMPLE = "Problem: Eve has 4 pens and 5 more. How many? Solution: 9\n\n"
QUESTIONS = [f"Tom has {n} pens and {n + 1} more. How many pens in all?" for n in range(9)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("", "\nPlease reason step by step, and put your final answer within \\boxed{}."),
        ("", " Let's think step by step."),
        ("Solve. ", ""),
        (f"{EXAMPLE}Problem: ", " Solution:"),
        ("### Instruction:\n", "\n\n### Response:"),
    ],
)
def test_questions_are_found_in_the_prompts_of_a_batch(tmp_path: Path, before: str, after: str) -> None:
    shot = {"role": "user", "content": QUESTIONS[3]}, {"role": "assistant", "content": "7"}
    requests = [request(f"r{n}", f"{before}{QUESTIONS[n]}{after}", *shot) for n in range(4)]
    path = write(tmp_path / "out.jsonl", *(reply(f"r{n}", f"answer {n}") for n in range(4)))
    engine = RecordedEngine(path, write(tmp_path / "in.jsonl", *requests))
    known = ["Eve has 4 pens and 5 more. How many?", "How many pens in all?", *reversed(QUESTIONS)]
    assert engine.questions(known) == QUESTIONS[:4]
    queries = [Query("", question) for question in known]
    assert [[one.text for one in found] for found in engine.complete(queries, Sampling())] == [
        *([] for _ in range(len(known) - 4)),
        *([f"answer {n}"] for n in reversed(range(4))),
    ]
    # what is asked in parts is found in each of them
    assert [one.text for one in answers(engine, QUESTIONS[2])] == ["answer 2"]


def test_prompts_without_a_known_question_stay_as_they_are() -> None:
    prompts = [f"Solve: {question}" for question in QUESTIONS]
    assert unwrap(prompts, ["another"]) == {prompt: prompt for prompt in prompts}
    # an example that all prompts show is not what they ask
    assert unwrap([f"{EXAMPLE}{prompt}" for prompt in prompts], ["Eve has 4 pens and 5 more. How many?"]) == {
        f"{EXAMPLE}{prompt}": f"{EXAMPLE}{prompt}" for prompt in prompts
    }
    assert unwrap([], QUESTIONS) == unwrap([], []) == {}
    assert unwrap(prompts[:1], QUESTIONS) == {prompts[0]: QUESTIONS[0]}
    with pytest.raises(UserError, match="9 of 9 recorded questions belong to no problem of the data"):
        check_known(unwrap(prompts, ["another"]).values(), ["another"], path="file")


@pytest.mark.parametrize(
    ("replies", "requests", "message"),
    [
        ([reply("request-1", "5")], None, r"out\.jsonl:1: custom_id 'request-1' is no question, .* Set engine\.requests=FILE"),
        ([reply("a", "5")], [request("b", "Q?")], r"out\.jsonl:1: custom_id 'a' is not in engine\.requests="),
        ([reply("a", "5")], [request("a", "Q?"), request("a", "R?")], r"in\.jsonl:2: custom_id 'a' stands for two different"),
        ([reply("a", "5")], [row(custom_id="a", body={})], r"in\.jsonl:1: expected body\.messages with .* wants the input of"),
        ([reply("a", "5")], [reply("a", "5")], r"in\.jsonl:1: expected body\.messages"),
        ([reply("a", "5")], ["{"], r"in\.jsonl:1: malformed JSON"),
        ([row(custom_id="a", response={"body": {"data": []}})], [request("a", "Q?")], "expected a list of completions"),
        ([reply("a", response=None, error={"code": 1})], [request("a", "Q?")], "holds no attempts"),
    ],
)  # fmt: skip
def test_batches_that_cannot_be_read(
    tmp_path: Path, replies: list[str], requests: list[str] | None, message: str
) -> None:
    path = write(tmp_path / "out.jsonl", *replies)
    with pytest.raises(UserError, match=message):
        RecordedEngine(path, None if requests is None else write(tmp_path / "in.jsonl", *requests))


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside the project")
def test_handed_cases() -> None:
    assert RecordedEngine(CASES / "recorded-bom/attempts.jsonl").questions() == ["What is 2+3?"]
    cut = RecordedEngine(CASES / "recorded-finish-reason/attempts.jsonl")
    assert all(one.truncated for question in cut.questions() for one in answers(cut, question))
    half = RecordedEngine(CASES / "surrogate/attempts.jsonl")
    assert [one.text for question in half.questions() for one in answers(half, question)] == [
        "1+1=2 \ufffd\n#### 1"
    ] * 10


@pytest.mark.skipif(not ATTEMPTS.is_file(), reason="the shared data is not beside the project")
def test_every_real_attempt_belongs_to_a_gsm8k_problem() -> None:
    engine = RecordedEngine(ATTEMPTS)
    questions = [json.loads(line)["question"] for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    check_known(engine.questions(), questions, path=ATTEMPTS)
    found = engine.complete([Query("", question) for question in questions], Sampling())
    assert sum(map(len, found)) == 2638
