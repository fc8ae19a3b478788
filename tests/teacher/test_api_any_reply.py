"""Replies and envelopes of any shape: what is meant is kept, the rest is rejected, nothing raises, hangs or is paid twice."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sei.llm.account import Account
from sei.llm.answer import Answer, read_completion
from sei.llm.faults import Transient
from sei.llm.prices import Price
from sei.llm.settings import ApiSettings
from sei.llm.store import Store, Use
from sei.records import Diagnosis, Mistake, Problem, Rejected
from sei.teacher.api.roles import Job, Roles
from sei.teacher.api.structured import ParseError
from sei.teacher.api.teacher import ApiTeacher, _outcome
from sei.teacher.base import Draft, Place, Seed, SynthesisRequest
from tests.llm.hostile import Serving, completion, respond, serving

CASES = Path(__file__).parents[2] / "../shared/cases/teacher"
SOLUTION = "2*3=<<2*3=6>>6\n#### 6"
MISTAKE = Mistake("mistake-1", "p", "a", "Two bags hold 3 pens each. How many?", "6", SOLUTION, "2+3=5\n#### 5", "m")
PROBLEM = Problem("problem-1", "How many?", SOLUTION, "6", "gsm8k")
WISH = SynthesisRequest(
    "type-1", "Sums", "Adds.", ("adds",), (Seed("s", "How many?", SOLUTION, "6"),), (), count=3, seed=0
)
DIAGNOSIS = {"step": 1, "reason": "Adds.", "kind": "operation", "keyphrases": ["adds instead of multiplying"]}


def item(number: int, **more: Any) -> dict[str, Any]:
    return {
        "question": f"Ann{number} has {number} bags of 3 pens. How many pens are that in all, please?",
        "solution": f"{number}*3=<<{number}*3={3 * number}>>{3 * number}\n#### {3 * number}",
        "answer": str(3 * number),
    } | more


def teacher(folder: Path, server: Serving, **more: Any) -> ApiTeacher:
    settings = ApiSettings(model="m", base_urls=(server.url,), **({"timeout_s": 5.0, "max_attempts": 2} | more))
    return ApiTeacher(settings, Place("gsm8k", store=folder / "s.sqlite", run_folder=folder / "run"))


# What a reply means


def drafts(items: Any, style: Any = "gsm8k") -> list[Draft]:
    text = json.dumps({"problems": items})
    return list(Roles(style).synthesize(WISH).read(text).drafts)


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("1. ", ""),
        ("(1) ", ""),
        ("[2]: ", ""),
        ("12) ", ""),
        ("3: ", ""),
        ("Problem 1: ", ""),
        ("**Problem 1:** ", ""),
        ("### Question 2 - ", ""),
        ("Q3. ", ""),
        ("Exercise #4) ", ""),
        ("word problem 5.\n", ""),
        ("1.5 kg weigh more than ", "1.5 kg weigh more than "),
        ("5 - x = 3. ", "5 - x = 3. "),
        ("Number 5 is given. ", "Number 5 is given. "),
        ("1) x + y = 3, 2) x - y = 1. ", "1) x + y = 3, 2) x - y = 1. "),
        ("2 bags are full. ", "2 bags are full. "),
    ],
)
def test_the_number_in_a_list_is_taken_off_a_question(label: str, kept: str) -> None:
    (draft,) = drafts([item(4, question=label + item(4)["question"])])
    assert draft.question == kept + item(4)["question"]


@pytest.mark.parametrize(
    "answer",
    [12, 12.0, "12", "12.0", "12 pens", "$12", "12.", "#### 12", "x = 12", "12%", "\\$12.00", ["12"], " 12 ", "24/2"],
)
def test_answers_are_compared_by_value(answer: Any) -> None:
    (draft,) = drafts([item(4, answer=answer)])
    assert draft.answer in ("12", "24/2")
    assert draft.solution.endswith(f"#### {draft.answer}")


@pytest.mark.parametrize(
    "answer", ["13", "12.5", "12 and 3", "twelve", "", "-12", "1.2", ".12", "9" * 5000, None, {}, True]
)
def test_answers_of_another_value_are_rejected(answer: Any) -> None:
    assert drafts([item(4, answer=answer)]) == []


def test_small_numbers_keep_their_value() -> None:
    (draft,) = drafts([item(4, solution="A half.\n#### 0.50", answer=".5 litres")])
    assert draft.answer == "0.5"
    (draft,) = drafts([item(4, solution="Much.\n#### 1,440", answer="1440.0")])
    assert draft.answer == "1440"


def test_formulas_are_compared_by_value_too() -> None:
    (draft,) = drafts([item(4, solution="A half.\n#### \\frac{1}{2}", answer="0.5")], "math")
    assert draft.answer == "0.5"
    assert drafts([item(4, solution="A half.\n#### \\frac{1}{2}", answer="0.6")], "math") == []


def test_lines_given_as_a_list_and_lists_given_as_text() -> None:
    (draft,) = drafts([item(4, solution=["4*3=<<4*3=12>>12", "#### 12"])])
    assert draft.solution == item(4)["solution"]
    read = Roles("gsm8k").diagnose(MISTAKE).read
    assert read(json.dumps(DIAGNOSIS | {"keyphrases": "adds"})).keyphrases == ("adds",)
    assert read(json.dumps(DIAGNOSIS | {"step": "Step 1", "reason": ["Adds.", "Twice."]})).step == 1
    correction = {"step": 1, "explanation": "No.", "steps": "2*3=6\nSo 6.", "answer": 6}
    assert Roles("gsm8k").correct(MISTAKE).read(json.dumps(correction)).steps == ("2*3=6", "So 6.")


def test_reasoning_is_no_part_of_a_solution_or_a_template() -> None:
    roles = Roles("gsm8k")
    assert roles.solve("?", "s").read("<think>#### 5</think>\n2*3=6\n#### 6") == "2*3=6\n#### 6"
    template = "<Step1>Read.<Key>Care.</Key></Step1>\n<Generalized>Plan.</Generalized>\n<Answer>6</Answer>"
    read = roles.template(PROBLEM).read
    assert read(f"<think>{template.replace('Read', 'Draft')}</think>{template}") == read(template)
    with pytest.raises(ParseError, match="nothing after the reasoning"):
        roles.solve("?", "s").read("<think>hm</think>")


# What is paid for is kept


def test_a_list_cut_at_the_limit_keeps_its_items_and_asks_for_the_rest(tmp_path: Path) -> None:
    whole = json.dumps({"problems": [item(1), item(2), item(3)]})
    replies = [completion(whole[: whole.index('"Ann3')], "length"), completion(json.dumps({"problems": [item(3)]}))]
    with serving(lambda *_: replies.pop(0)) as server:
        asking = teacher(tmp_path, server)
        (found,) = asking.synthesize([WISH])
        asking.close()
    assert [draft.question[:4] for draft in found if isinstance(draft, Draft)] == ["Ann1", "Ann2", "Ann3"]
    assert len(found) == 3
    assert "exactly 1 more" in server.asked[1][2]["messages"][-1]["content"]


def test_a_list_cut_before_its_first_item_is_asked_for_with_more_room(tmp_path: Path) -> None:
    replies = [
        completion('{"problems": [{"quest', "length"),
        completion(json.dumps({"problems": [item(n) for n in (1, 2, 3)]})),
    ]
    with serving(lambda *_: replies.pop(0)) as server:
        asking = teacher(tmp_path, server)
        (found,) = asking.synthesize([WISH])
        asking.close()
    assert len(found) == 3
    assert server.asked[1][2]["max_completion_tokens"] == 2 * server.asked[0][2]["max_completion_tokens"]


def test_groups_cut_at_the_limit_keep_those_that_are_whole(tmp_path: Path) -> None:
    groups = json.dumps({"groups": [{"name": n, "description": "d", "phrases": [n]} for n in "abc"]})
    with serving(lambda *_: completion(groups[:-20], "length")) as server:
        asking = teacher(tmp_path, server)
        found = asking.group_phrases(["a", "b", "c"], [])
        asking.close()
    assert [group.name for group in found] == ["a", "b"]  # type: ignore[union-attr]
    assert len(server.asked) == 1


def test_where_text_was_instead_stands_in_the_rejection(tmp_path: Path) -> None:
    message = {"content": "", "reasoning_content": "hm " * 100}
    reply = completion("", choices=[{"message": message, "finish_reason": "stop"}])
    for _ in range(2):  # the second time from the store
        with serving(lambda *_: reply) as server:
            asking = teacher(tmp_path, server)
            (found,) = asking.diagnose([MISTAKE])
            asking.close()
        assert isinstance(found, Rejected)
        assert found.reason == "empty"
        assert found.detail == "no text, twice (no text in content, but 300 characters in reasoning_content)"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000,
        '{"a":' * 10_000,
        '{"step": ' + "9" * 5000,
        json.dumps(DIAGNOSIS | {"step": 10**400}),
        "{" * 300_000,
        "\x00",
        "\ud83d",
    ],
)
def test_a_stored_reply_that_cannot_be_used_is_rejected_every_time(tmp_path: Path, text: str) -> None:
    with serving(lambda *_: completion(text)) as server:
        for _ in range(2):
            asking = teacher(tmp_path, server)
            (found,) = asking.diagnose([MISTAKE])
            asking.close()
            assert isinstance(found, Rejected)
    assert len(server.asked) == 2  # it, and its repair; nothing the second time


def test_a_reader_that_fails_rejects_its_record() -> None:
    def read(text: str) -> None:
        raise RecursionError(text)

    job = Job("mistake-1", Roles("gsm8k").diagnose(MISTAKE).request, read)
    _, found = _outcome(job, Answer("k", "{}", "ok"))
    assert isinstance(found, Rejected)
    assert found.detail == "reading it failed with RecursionError: {}"


# Any envelope, any reply


JOBS: list[Job[Any]] = [
    Roles("gsm8k").diagnose(MISTAKE),
    Roles("gsm8k").correct(MISTAKE),
    Roles("gsm8k").synthesize(WISH),
    Roles("math").synthesize(WISH),
    Roles("gsm8k").solve("How many?", "s"),
    Roles("gsm8k").evolve("How many?", "s"),
    Roles("gsm8k").name_type("t", ["a"], []),
    Roles("gsm8k").group_phrases(["a"], [], divide=False, sample=0),
    Roles("gsm8k").merge_groups([("a", "b", ["c"])]),
    Roles("gsm8k").template(PROBLEM),
    Roles("gsm8k").trace(MISTAKE, gold=True),
]
GOOD = [
    json.dumps(DIAGNOSIS),
    json.dumps({"problems": [item(1), item(2), item(3)]}),
    json.dumps({"step": 1, "explanation": "No.", "steps": ["2*3=6"], "answer": "6"}),
    json.dumps({"step": 1, "cause": "a", "correction": "2*3=6", "answer": "6"}),
    json.dumps({"groups": [{"name": "a", "description": "b", "phrases": ["a"]}]}),
    json.dumps({"merges": [{"names": ["a", "b"], "name": "a", "description": "b"}]}),
    json.dumps({"name": "a", "description": "b", "question": "How many then?"}),
    "2*3=<<2*3=6>>6\n#### 6",
    "<Step1>Read.<Key>Care.</Key></Step1>\n<Generalized>Plan.</Generalized>\n<Answer>6</Answer>",
]
PIECES = [
    "<think>", "</think>", "```json\n", "\n```", "{", "}", "[", "]", '"', "\\", "\\\\", "\\nu ", "$", "\\begin{cases}",
    "\ud83d", "\x00", "\x1b[31m", "9" * 5000, "[" * 3000, '{"a":' * 3000, "NaN", "-Infinity", "1e999", "null", ",", ":", "#### ",
    "Problem 1: ", "\u2028", "\ufeff", "\U0001f600", "I'm sorry, ", "1" * 300, "<|channel|>final<|message|>", "\\u", "\\ud83d",
    " " * 3000, "😀\\frac{1}{2}",
]  # fmt: skip


def any_value(chance: random.Random, depth: int = 0) -> Any:
    simple = [
        None,
        True,
        0,
        -1,
        10**30,
        -(10**400),
        1e308,
        float("nan"),
        float("inf"),
        "",
        "text",
        "\ud83d",
        "9" * 5000,
        [],
        {},
    ]
    if depth > 2 or chance.random() < 0.6:
        return chance.choice(simple)
    if chance.random() < 0.5:
        return [any_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {
        chance.choice(["a", "text", "type", "\udc00"]): any_value(chance, depth + 1) for _ in range(chance.randrange(4))
    }


def any_reply(chance: random.Random) -> str:
    text = chance.choice([*GOOD, ""])
    for _ in range(chance.randrange(4)):
        cut, piece = chance.randrange(len(text) + 1), chance.choice(PIECES)
        text = chance.choice([text[:cut] + piece + text[cut:], text[:cut], text[cut:], text + text, piece + text])
    return text


def any_envelope(chance: random.Random) -> str:
    """An envelope in which, half of the time, some values are of another kind; now and then its text is damaged too."""
    content: Any = any_reply(chance)
    if chance.random() < 0.2:
        content = chance.choice([[{"type": "text", "text": content}], [content], {"text": content}, any_value(chance)])
    envelope = completion(content, chance.choice(["stop", "length", "content_filter", "STOP", ""]))
    for _ in range(chance.choice([0, 0, 1, 3])):
        place = chance.choice([envelope, envelope["usage"], {}])
        if isinstance(place, dict):
            names = "id usage choices created prompt_tokens completion_tokens prompt_tokens_details"
            place[chance.choice(names.split())] = any_value(chance)
            envelope.setdefault("usage", {})
    choices = envelope["choices"]
    if isinstance(choices, list) and choices and isinstance(choices[0], dict) and chance.random() < 0.2:
        choices[0][chance.choice(["message", "finish_reason"])] = any_value(chance)
    text = json.dumps(envelope)
    if chance.random() < 0.1:
        cut = chance.randrange(len(text))
        text = chance.choice([text[:cut], text[:cut] + chance.choice(PIECES) + text[cut:], "[" * 5000 + text])
    return text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_envelopes_are_answered_or_rejected_and_stored(tmp_path: Path, part: int) -> None:
    store = Store(tmp_path / "s.sqlite")
    account = Account(ApiSettings(model="m", price=Price(1.0, 1.0)), store, "run")
    rows, kinds, slowest = {}, {"none": 0, "rejected": 0, "used": 0}, 0.0
    for number in range(1000):
        chance = random.Random(1000 * part + number)
        text, job = any_envelope(chance), chance.choice(JOBS)
        started = time.process_time()
        try:
            row = read_completion(
                text, key=f"k{number}", request=job.request, account=account, url="u", mode="live", latency_s=0.0
            )
        except Transient:
            kinds["none"] += 1
            continue
        _, result = _outcome(job, Answer.of(row))
        slowest = max(slowest, time.process_time() - started)
        kinds["rejected" if isinstance(result, Rejected) else "used"] += 1
        assert row.tokens_in >= 0
        assert 0 <= row.cost_usd <= 20
        rows[row.key] = row
    store.put_all(list(rows.values()), [Use("run", key, "solve") for key in rows])
    assert store.get(rows) == rows
    assert store.spent("run") == pytest.approx(sum(row.cost_usd for row in rows.values()))
    assert min(kinds.values()) > 50  # all three happen
    assert slowest < 2.0
    store.close()


times: dict[str, int] = {}  # how often each body was sent


def any_answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> Any:
    sent = json.dumps(body)
    times[sent] = times.get(sent, 0) + 1
    chance = random.Random(f"{sent}{times[sent]}")  # another fault of transport at every attempt
    if chance.random() < 0.2:
        status = chance.choice([200, 204, 400, 408, 409, 413, 422, 429, 500, 502, 503, 529])
        bodies = [b"", b"\xff\xfe", b"[" * 5000, any_envelope(chance).encode(), b"9" * 5000, b'{"error": [1]}']
        headers = chance.choice(
            ["", "Retry_After: 0.01", "Retry_After: nan", "Content_Type: x\xff", "Content_Encoding: gzip"]
        )
        name, _, value = headers.partition(": ")
        return respond(handler, status, chance.choice(bodies), **({name: value} if name else {}))
    return any_envelope(random.Random(sent)).encode()  # but the same envelope


@pytest.fixture
def hostile() -> Iterator[Serving]:
    with serving(any_answer) as server:
        yield server


def test_hundreds_of_calls_to_such_a_server_end_and_what_was_paid_is_read_back(
    tmp_path: Path, hostile: Serving
) -> None:
    def mistakes() -> list[Mistake]:
        return [
            Mistake(f"mistake-{n}", "p", "a", f"{n} pens?", "6", SOLUTION, "2+3=5\n#### 5", "m") for n in range(300)
        ]

    asking = teacher(tmp_path, hostile, patience_s=20.0, price=Price(1.0, 1.0))
    started = time.monotonic()
    first = asking.diagnose(mistakes())
    assert time.monotonic() - started < 60
    rows = {answer.key: answer for _, answer in asking.client.store.used(asking.client.run)}
    assert asking.client.store.spent(asking.client.run) == pytest.approx(sum(row.cost_usd for row in rows.values()))
    asking.close()
    assert sum(isinstance(result, Diagnosis) for result in first) > 5
    assert sum(isinstance(result, Rejected) for result in first) > 20
    before = len(hostile.asked)
    again = teacher(tmp_path, hostile, patience_s=20.0)
    second = again.diagnose(mistakes())
    again.close()
    for one, other in zip(first, second, strict=True):  # what had an answer has the same one again
        if not (isinstance(one, Rejected) and one.reason in ("failed", "filtered")):
            assert other == one
    assert len(hostile.asked) - before < before / 2


def test_a_server_of_which_nothing_can_be_used_costs_the_records_not_the_run(tmp_path: Path) -> None:
    with serving(lambda *_: b"[" * 10_000) as server:
        asking = teacher(tmp_path, server)
        (found,) = asking.diagnose([MISTAKE])
        asking.close()
    assert isinstance(found, Rejected)
    assert "gave up after 2 attempts, the last: not a chat completion" in found.detail


# The cases that are handed out


def cases() -> list[Any]:
    files = sorted(CASES.glob("*.jsonl")) if CASES.exists() else []
    rows = [(path.stem, json.loads(line)) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return [pytest.param(row, id=f"{stem}: {row['name']}") for stem, row in rows]


def case_answer(case: dict[str, Any]) -> Any:
    def answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> Any:
        if case.get("refuse_field") in body:
            return respond(handler, 400, json.dumps({"error": {"message": case["say"]}}).encode())
        if "need_path" in case and not (
            handler.path.endswith(case["need_path"]) and handler.headers["api-key"] == "none"
        ):
            return respond(handler, 404, b"{}")
        return completion(case["content"], case.get("finish", "stop"))

    return answer


@pytest.mark.parametrize("case", cases())
def test_a_shared_case_gives_what_it_must(tmp_path: Path, case: dict[str, Any]) -> None:
    with serving(case_answer(case)) as server:
        server.url = server.url.removesuffix("/v1") + case.get("suffix", "/v1")
        for _ in range(2):  # the second time from the store
            asking = teacher(tmp_path, server)
            if case["role"] == "diagnose":
                (found,) = asking.diagnose([MISTAKE])
                assert isinstance(found, Diagnosis)
                assert (found.step, found.keyphrases) == (1, ("adds instead of multiplying",))
            else:
                (harvest,) = asking.synthesize([dataclasses.replace(WISH, count=20)])
                kept = [draft for draft in harvest if isinstance(draft, Draft)]
                assert len(kept) == (16 if "finish" in case else 20)
                assert kept[0].question.startswith("Ann0")
                assert kept[0].answer == "5"
            asking.close()
