"""A server that sends anything at all: every request is answered or given up within its time, and the key goes nowhere."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import gzip
import json
import logging
import sqlite3
import time
import zlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import openai
import pytest

from sei.errors import UserError
from sei.llm import wire
from sei.llm.answer import Answer
from sei.llm.client import Client
from sei.llm.request import Request, user
from sei.llm.settings import ApiSettings
from sei.llm.store import Store
from tests.llm.hostile import completion, respond, serving

KEY = "sk-secret/+123"
BOMB = gzip.compress(b" " * 2**27)


@pytest.fixture(params=["aiohttp", "httpx"])
def stack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The openai package with and without its extra `aiohttp`."""
    if request.param == "httpx":

        def missing(**_: Any) -> None:
            raise RuntimeError("not installed")

        monkeypatch.setattr(openai, "DefaultAioHttpClient", missing)
    return str(request.param)


def question(number: int = 1, **more: Any) -> Request:
    return Request((user(f"What is {number}?"),), "teacher/solve", "abc", 64, stage="solve", **more)


def ask(store: Store, *urls: str, count: int = 1, **more: Any) -> list[Answer]:
    settings = {"model": "m", "base_urls": urls, "timeout_s": 3.0, "patience_s": 6.0, "max_attempts": 2} | more
    client = Client(ApiSettings(**settings), store, "run-1")
    try:
        return client.ask_many([question(number) for number in range(count)])
    finally:
        client.close()


def test_half_a_surrogate_pair_is_replaced_and_stored(store: Store) -> None:
    with serving(lambda *_: completion("Adds \ud83d twice", id="\udc00", finish="st\ud83dop")) as server:
        (answer,) = ask(store, server.url)
    assert (answer.status, answer.text) == ("ok", "Adds \ufffd twice")
    assert store.get([answer.key])[answer.key].text == answer.text


def test_half_a_surrogate_pair_in_a_question_is_asked_all_the_same(store: Store) -> None:
    with serving(lambda *_: completion("4")) as server:
        client = Client(ApiSettings(model="m", base_urls=(server.url,)), store, "run-1")
        (answer,) = client.ask_many([Request((user("2 \ud83d 2?"),), "p", "h", 64)])
        client.close()
    assert answer.text == "4"
    assert server.asked[0][2]["messages"][0]["content"] == "2 \ufffd 2?"


def endless(handler: BaseHTTPRequestHandler, _: Any) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")


def bomb(handler: BaseHTTPRequestHandler, _: Any) -> None:
    respond(handler, 200, BOMB, Content_Encoding="gzip")


def test_an_endless_body_and_a_bomb_end_at_the_limit(store: Store, stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_BYTES", 2**20)
    for way in (endless, bomb):
        started = time.monotonic()
        with serving(way) as server:
            (answer,) = ask(store, server.url)
        assert (answer.status, answer.error) == ("failed", "the answer is longer than 1 MB")
        assert time.monotonic() - started < 3.0
        assert len(server.asked) == 1  # another attempt would be paid for, and read, again


def deflated(content: bytes, bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda content: deflated(content, -15)),
        ("identity", lambda content: content),
    ],
)
def test_packed_answers_are_read(store: Store, stack: str, name: str, pack: Any) -> None:
    content = pack(json.dumps(completion("four " * 50_000)).encode())
    with serving(lambda handler, _: respond(handler, 200, content, Content_Encoding=name)) as server:
        (answer,) = ask(store, server.url)
    assert answer.text == "four " * 50_000


@pytest.mark.parametrize(
    ("name", "content"),
    [("br", b"\x0b\x02\x80hello\x03"), ("gzip", gzip.compress(b"{}" * 999, mtime=0)[:-9]), ("gzip", b"plain")],
)
def test_what_cannot_be_unpacked_is_given_up(store: Store, stack: str, name: str, content: bytes) -> None:
    with serving(lambda handler, _: respond(handler, 200, content, Content_Encoding=name)) as server:
        (answer,) = ask(store, server.url)
    assert answer.status == "failed"
    assert "gave up after 2 attempts, the last: connection: " in answer.error


def pause(text: str, status: int = 429) -> Any:
    return lambda handler, _: respond(handler, status, b'{"error": {"message": "slow"}}', Retry_After=text)


@pytest.mark.parametrize(
    "text", ["86400", "1e400", email.utils.formatdate(time.time() + 86400, usegmt=True)], ids=["seconds", "inf", "date"]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_of_a_day_ends_the_run_and_says_how_to_go_on(store: Store, text: str, status: int) -> None:
    with (
        serving(pause(text, status)) as server,
        pytest.raises(UserError, match=r"asks for a pause of .*same command.*teacher\.max_wait_s higher"),
    ):
        ask(store, server.url, count=20)


@pytest.mark.parametrize("text", ["-5", "nan", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Foo"])
def test_a_pause_without_meaning_is_none(store: Store, text: str) -> None:
    with serving(pause(text)) as server:
        (answer,) = ask(store, server.url)
    assert "429" in answer.error


def test_a_long_pause_is_announced_and_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sei.llm.session._WORTH_SAYING_S", 0.1)
    replies = iter([pause("0.4"), *[lambda *_: completion("4")] * 5])
    started = time.monotonic()
    with serving(lambda handler, body: next(replies)(handler, body)) as server, caplog.at_level(logging.WARNING):
        (answer,) = ask(store, server.url)
    assert answer.text == "4"
    assert time.monotonic() - started > 0.4
    assert [record.message for record in caplog.records] == ["m: the server asks for a pause of 0 s; waiting"]


def test_one_endpoint_of_two_that_asks_for_a_day_does_not_end_the_run(store: Store) -> None:
    with serving(pause("86400")) as tired, serving(lambda *_: completion("4")) as fresh:
        answers = ask(store, tired.url, fresh.url, count=30)
    assert {answer.text for answer in answers} == {"4"}


def forms() -> list[str]:
    encoded = [base64.b64encode(f"{user}{KEY}".encode()).decode() for user in ("", "a", "me:")]
    return [KEY, "sk-secret%2F%2B123", KEY.replace("/", "\\/"), *encoded, KEY.encode().hex()]


def test_a_key_that_is_echoed_reaches_no_file_and_no_message(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY).encode()
    echo = " ".join(forms())
    said: list[str] = []

    def error(status: int, body: bytes) -> Any:
        return lambda handler, _: respond(handler, status, body, Location=f"http://elsewhere/{KEY}")

    bodies = [
        lambda *_: completion(echo, id=KEY, finish=KEY),
        lambda *_: completion([{"type": "text", "text": "sk-secret"}, {"type": "text", "text": "/+123"}]),
        lambda *_: completion(None, choices=[{"message": {"refusal": KEY}, "finish_reason": KEY}]),
        lambda *_: json.dumps(completion("HERE")).encode().replace(b"HERE", escaped),
        lambda *_: {"error": {"message": KEY}},
        lambda *_: KEY.encode(),
        *(
            error(status, body)
            for status in (302, 307, 400, 401, 403, 404, 418, 429, 500)
            for body in (
                KEY.encode(),
                json.dumps({"error": {"message": echo, "code": KEY}}).encode(),
                b'{"a":"' + escaped + b'"}',
            )
        ),
    ]
    for number, body in enumerate(bodies):
        with serving(body) as server:
            client = Client(
                ApiSettings(model="m", base_urls=(server.url,), api_key_env="MY_KEY", max_attempts=1), store, "run-1"
            )
            try:
                answer = client.ask_many([question(number)])[0]
                said += [answer.text, answer.error]
            except UserError as stop:
                said.append(str(stop))
            client.close()
            assert server.asked[0][1]["authorization"] == f"Bearer {KEY}"
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("utf-8", "replace")
    for text in (*said, written, caplog.text):
        for form in ("sk-secret", *(form.strip("=")[4:-4] for form in forms()[1:])):
            assert form not in text
    assert sum("***" in text for text in said) > 20


def test_a_redirect_to_another_host_gets_neither_prompts_nor_key(store: Store, stack: str) -> None:
    with serving(lambda *_: completion("4")) as thief:
        for status in (301, 302, 303, 307, 308):
            location = f"{thief.url}/chat/completions".replace("127.0.0.1", "localhost")
            with (
                serving(lambda handler, _, s=status, to=location: respond(handler, s, b"", Location=to)) as server,
                pytest.raises(
                    UserError, match=rf"{status}, the server redirects to http://localhost.*teacher\.base_url"
                ),
            ):
                ask(store, server.url)
    assert thief.asked == []


def test_a_redirect_on_the_same_host_is_followed_once(store: Store, stack: str) -> None:
    def answer(handler: BaseHTTPRequestHandler, _: Any) -> Any:
        if handler.path.startswith("/v1"):
            return respond(handler, 307, b"", Location="/v2/chat/completions")
        return completion("4")

    with serving(answer) as server:
        assert ask(store, server.url)[0].text == "4"
    assert [path for path, *_ in server.asked] == ["/v1/chat/completions", "/v2/chat/completions"]
    assert server.asked[0][2] == server.asked[1][2]
    with serving(lambda handler, _: respond(handler, 307, b"", Location="/again")) as server, pytest.raises(UserError):
        ask(store, server.url, count=2)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, {"code": "insufficient_quota"}),
        (429, {"type": "insufficient_quota"}),
        (402, {"message": "Insufficient Balance"}),
        (403, {"code": "billing_hard_limit_reached"}),
    ],
)
def test_a_quota_is_no_key(store: Store, status: int, error: dict[str, str]) -> None:
    body = json.dumps({"error": error}).encode()
    with (
        serving(lambda handler, _: respond(handler, status, body)) as server,
        pytest.raises(UserError, match=r"no quota left.*Add credit"),
    ):
        ask(store, server.url)


def refusing(field: str, message: str, **more: Any) -> Any:
    def answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> Any:
        if field in body:
            error = json.dumps({"error": {"message": message, **more}} if message else more).encode()
            return respond(handler, 400, error)
        return completion("4")

    return answer


@pytest.mark.parametrize(
    ("message", "more"),
    [
        (
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
            {},
        ),
        ("Unsupported parameter: 'temperature' is not supported with this model.", {}),
        ("This value cannot be had here", {"param": "temperature"}),
        ("temperature must be 1 for this model", {}),
        (
            "",
            {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "temperature"], "msg": "Extra inputs are not permitted"}
                ]
            },
        ),
    ],
)
def test_a_parameter_that_the_model_refuses_is_left_out(
    store: Store, message: str, more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(refusing("temperature", message, **more)) as server, caplog.at_level(logging.WARNING):
        answers = ask(store, server.url, count=40, max_concurrency=2)
    assert {answer.text for answer in answers} == {"4"}
    assert sum("temperature" in body for *_, body in server.asked) <= 8  # those that were on their way
    assert [r.message for r in caplog.records] == [
        f"{server.url}/ refuses the parameter temperature: it is left out from now on"
    ]


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens, but max_completion_tokens asks for 64 more.",
        "the prompt speaks of temperature and of max_completion_tokens",
    ],
)
def test_a_complaint_about_one_request_changes_nothing(store: Store, message: str) -> None:
    with serving(refusing("messages", message)) as server:
        (answer,) = ask(store, server.url)
    assert message[:40] in answer.error
    assert len(server.asked) == 1
    assert "temperature" in server.asked[0][2]


@pytest.mark.parametrize(
    "path", ["/openai/deployments/d", "/openai/deployments/d/", "/openai/deployments/d/chat/completions"]
)
def test_the_query_of_a_base_url_is_kept_and_azure_takes_its_own_header(
    store: Store, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serving(lambda *_: completion("4")) as server:
        base = server.url.removesuffix("/v1")
        assert ask(store, f"{base}{path}?api-version=2024-06-01", api_key_env="MY_KEY")[0].text == "4"
    asked, headers, _ = server.asked[0]
    assert asked == "/openai/deployments/d/chat/completions?api-version=2024-06-01"
    assert headers["api-key"] == KEY
    assert "authorization" not in headers


def test_another_query_keeps_the_usual_header(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serving(lambda *_: completion("4")) as server:
        ask(store, f"{server.url}?tenant=a%20b&x", api_key_env="MY_KEY")
    asked, headers, _ = server.asked[0]
    assert asked == "/v1/chat/completions?tenant=a%20b&x"
    assert headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "death",
    [
        sqlite3.OperationalError("disk I/O error"),
        UnicodeEncodeError("utf-8", "x", 0, 1, "no"),
        OverflowError(),
        KeyError(),
    ],
)
def test_a_store_that_dies_ends_the_run_with_its_reason(
    store: Store, death: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise death

    monkeypatch.setattr(store, "_commit", die)
    with serving(lambda *_: completion("4")) as server, pytest.raises(UserError, match="teacher store"):
        ask(store, server.url, count=20)


def test_one_answer_that_cannot_be_written_costs_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = store._commit

    def picky(rows: Any, uses: Any) -> None:
        if any("7" in row.text for row in rows):
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "no")
        commit(rows, uses)

    monkeypatch.setattr(store, "_commit", picky)
    numbers = iter(range(100))
    with serving(lambda *_: completion(str(next(numbers)))) as server, pytest.raises(UserError, match="worth a report"):
        ask(store, server.url, count=8)
    assert 1 <= len(list(store.used("run-1"))) <= 7


def test_a_worker_that_dies_ends_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("of a test")

    monkeypatch.setattr("sei.llm.session.Session.count", broken)
    with serving(lambda *_: completion("4")) as server, pytest.raises(ZeroDivisionError):
        ask(store, server.url, count=5)


def test_a_drip_of_bytes_is_given_up_in_time(store: Store, stack: str) -> None:
    def drip(handler: BaseHTTPRequestHandler, _: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _number in range(100):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)

    started = time.monotonic()
    with serving(drip) as server:
        (answer,) = ask(store, server.url, timeout_s=0.5, max_attempts=1)
    assert "no answer within 0.5 s" in answer.error
    assert time.monotonic() - started < 2.0
