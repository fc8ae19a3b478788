"""An envelope read into a row: whatever its values are, the row is right or the envelope is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sei.llm.account import Account
from sei.llm.answer import Answer, read_completion
from sei.llm.door import Secret, count, loads, shown, whole
from sei.llm.faults import Transient
from sei.llm.prices import Price
from sei.llm.request import Request, user
from sei.llm.settings import ApiSettings
from sei.llm.store import Store, StoredAnswer
from tests.llm.hostile import completion


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    store = Store(tmp_path / "s.sqlite")
    yield Account(ApiSettings(model="m", price=Price(1.0, 1.0), budget_usd=1.0), store, "run")
    store.close()


def read(account: Account, envelope: Any) -> StoredAnswer:
    text = envelope if isinstance(envelope, str) else json.dumps(envelope)
    request = Request((user("one two three"),), "p", "h", 64)
    return read_completion(text, key="k", request=request, account=account, url="u", mode="live", latency_s=0.1)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("four", "four"),
        ([{"type": "text", "text": "fo"}, {"type": "text", "text": "ur"}], "four"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "four"}], "four"),
        ([{"type": "reasoning_text", "text": "hm"}, {"type": "output_text", "text": {"value": "four"}}], "four"),
        (["fo", "ur"], "four"),
        ([{"text": "four"}, None, 5, {"type": "text", "text": ["x"]}], "four"),
        (4, "4"),
        (4.5, "4.5"),
        ({"step": 1}, '{"step": 1}'),
        (True, "true"),
    ],
)
def test_content_of_any_kind_is_text(account: Account, content: Any, text: str) -> None:
    row = read(account, completion(content))
    assert (row.status, row.text) == ("ok", text)


def test_a_part_that_declines_is_a_refusal(account: Account) -> None:
    row = read(account, completion([{"type": "refusal", "refusal": "No."}]))
    assert (row.status, row.text) == ("refused", "No.")


@pytest.mark.parametrize(
    ("message", "note"),
    [
        (
            {"content": "", "reasoning_content": "hm " * 400},
            "no text in content, but 1,200 characters in reasoning_content",
        ),
        ({"content": None, "tool_calls": [{"id": "a"}, {}]}, "no text in content, but 2 tool call(s)"),
        ({"reasoning": "hm", "function_call": {}}, "no text in content, but 2 characters in reasoning"),
        ({"content": " "}, ""),
        ({"content": "four", "reasoning_content": "hm"}, ""),
    ],
)
def test_where_text_is_instead_is_noted_and_kept(account: Account, message: dict[str, Any], note: str) -> None:
    row = read(account, completion("", choices=[{"message": message, "finish_reason": "stop"}]))
    assert row.note == note
    assert row.status == ("ok" if row.text.strip() else "empty")
    account._store.put_all([row], [])
    assert Answer.of(account._store.get(["k"])["k"]).error == note


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_providers_names_for_cut_off(account: Account, finish: str) -> None:
    assert read(account, completion("fou", finish)).status == "truncated"


NO_COUNTS = [-1, 1e300, float("nan"), float("inf"), 10**30, 10_000_001, "12", [3], {}, None, True, -0.5]


@pytest.mark.parametrize("value", [*NO_COUNTS, "9" * 5000])
def test_usage_that_is_no_count_is_estimated(account: Account, value: Any) -> None:
    estimated = read(account, completion("four five", usage={}))
    assert (estimated.tokens_in, estimated.tokens_out) == (4, 2)
    usage = {"prompt_tokens": value, "completion_tokens": value, "prompt_tokens_details": {"cached_tokens": value}}
    for row in (
        read(account, completion("four five", usage=usage)),
        read(account, completion("four five", usage=value)),
    ):
        assert (row.tokens_in, row.tokens_cached, row.tokens_out) == (4, 0, 2)
        assert row.cost_usd == pytest.approx(6e-6)


def test_usage_is_believed_where_it_can_be(account: Account) -> None:
    usage = {"prompt_tokens": 100.0, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 101}}
    row = read(account, completion("four", usage=usage))
    assert (row.tokens_in, row.tokens_cached, row.tokens_out) == (100, 0, 7)  # no more is cached than was read


@pytest.mark.parametrize(
    "envelope",
    [
        "", "null", "[]", "5", '"text"', "{}", '{"choices": []}', '{"choices": {}}', '{"choices": [5]}', "{" * 10_000,
        '{"choices": [{"message": "four"}]}', '{"choices": [{"message": []}]}', "[" * 10_000 + "]" * 10_000, "\x00", "NaN",
        '{"choices": ' + "[" * 10_000 + "]" * 10_000 + "}",
    ],
)  # fmt: skip
def test_what_is_no_completion_may_be_asked_again(account: Account, envelope: str) -> None:
    with pytest.raises(Transient, match="not a chat completion"):
        read(account, envelope)


def test_a_long_integer_beside_the_answer_costs_nothing(account: Account) -> None:
    assert read(account, completion("four", created=0, id="x", extra="HERE") | {"n": 1}).text == "four"
    assert read(account, json.dumps(completion("four", n="HERE")).replace('"HERE"', "9" * 5000)).text == "four"
    assert read(account, json.dumps(completion("HERE")).replace('"HERE"', "9" * 5000)).text == "9" * 5000


def test_a_message_shows_no_terminals_escapes_and_has_an_end(account: Account) -> None:
    with pytest.raises(Transient) as caught:
        read(account, "\x1b[31mred\x07 \ud83d" + "x" * 5000)
    assert "\x1b" not in str(caught.value)
    assert str(caught.value).isascii() or "\ufffd" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_doors_tools() -> None:
    assert whole("a\ud83db\U0001f600") == "a\ufffdb\U0001f600"
    assert shown("\x1b[1m" + "x" * 20, 10) == "\\x1b[1mxxxxxx..."
    assert loads("\ufeff[1, NaN]")[0] == 1
    with pytest.raises(ValueError, match="too deeply"):
        loads("[" * 100_000)
    assert count(3, 5) == 3
    assert [count(value, 10_000_000) for value in NO_COUNTS] == [None] * len(NO_COUNTS)
    assert Secret("EMPTY").redact("the box is EMPTY") == "the box is EMPTY"  # a placeholder, as own servers take it
    assert Secret("").redact("x") == "x"
