"""The client against the fault server: order, balance, budget, interruption, dialects, fatal errors."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from sei.errors import UserError
from sei.llm import client as client_module
from sei.llm.account import Account, BudgetExceeded
from sei.llm.client import Client
from sei.llm.prices import Price, estimate_tokens, load_prices, price_of
from sei.llm.progress import Progress, Report
from sei.llm.request import Request
from sei.llm.settings import ApiSettings, address_complaints
from sei.llm.store import Store
from sei.llm.throttle import Lane
from tests.llm.questions import SCHEMA, request
from tests.teacher.fault_server import Running


def settings(*urls: str, **more: Any) -> ApiSettings:
    return ApiSettings(**({"model": "m", "base_urls": urls, "timeout_s": 2.0, "patience_s": 20.0} | more))


def ask(store: Store, requests: list[Request], *urls: str, run: str = "run-1", **more: Any) -> list[str]:
    client = Client(settings(*urls, **more), store, run)
    try:
        return [answer.text for answer in client.ask_many(requests)]
    finally:
        client.close()


def test_answers_come_in_order_and_equal_requests_are_asked_once(store: Store) -> None:
    with Running() as server:
        texts = ask(store, [request(n % 20, error_type=f"type-{n % 2}") for n in range(40)], server.url)
        assert texts[:20] == texts[20:]
        assert len(set(texts)) > 15
        assert ask(store, [request(n) for n in range(20)], server.url) == texts[:20]
        assert server.get("stats")["asks"] == 20
    assert len(list(store.used("run-1"))) == 40  # each of the 20 for its error type, and again for none


def test_a_second_call_uses_the_same_connections_and_progress_is_reported(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        seen.append((progress.done, progress.total))

    @contextlib.contextmanager
    def noted(model: str) -> Iterator[Report]:
        yield note

    monkeypatch.setattr(client_module, "bar", noted)
    with Running() as server:
        client = Client(settings(server.url), store, "run-1")
        client.ask_many([request(n) for n in range(3)])
        client.ask_many([request(n) for n in range(5)])
        client.close()
    assert seen == [(1, 3), (2, 3), (3, 3), (4, 5), (5, 5)]


def test_samples_of_a_question_are_asked_apart(store: Store) -> None:
    with Running() as server:
        ask(store, [request(1, sample=0), request(1, sample=1)], server.url)
        assert server.get("stats")["asks"] == 2


def test_load_is_balanced_and_a_dead_endpoint_is_left_and_found_again(store: Store) -> None:
    with Running(latency_s=0.01) as one, Running(latency_s=0.01) as two:
        client = Client(settings(one.url, two.url, max_concurrency=8), store, "run-1")
        client.ask_many([request(n) for n in range(100)])
        shares = [server.get("stats")["asks"] for server in (one, two)]
        assert min(shares) >= 25
        two.set(rate=1.0, faults=["500"])
        client.ask_many([request(n) for n in range(100, 200)])
        assert two.get("stats")["asks"] - shares[1] < 40  # struck out, not asked for each of the hundred
        two.set(rate=0.0)
        time.sleep(1.1)
        before = two.get("stats")["answered"]
        client.ask_many([request(n) for n in range(200, 300)])
        assert two.get("stats")["answered"] > before
        client.close()


def test_concurrency_narrows_at_429_and_stays_below_the_servers_limit(store: Store) -> None:
    with Running(latency_s=0.02, limit=5) as server:
        texts = ask(store, [request(n) for n in range(150)], server.url, max_concurrency=64)
        stats = server.get("stats")
    assert len(texts) == 150
    assert stats["injected"]["429"] < 150  # it learnt; without a window nearly every first ask is refused


def test_window_arithmetic() -> None:
    lane = Lane("u", most=64)
    for _ in range(12):
        lane.judge("ok", 0.0, 0.0, 1.0)
    assert lane.window == 20  # 8 + one per answer until the first 429
    lane.judge("limited", 2.0, 5.0, 3.0)
    assert lane.window == pytest.approx(14)
    assert not lane.free(7.9)  # Retry-After
    assert lane.free(8.1)
    lane.judge("limited", 2.5, 0.0, 3.1)  # sent before the window was narrowed: says nothing new
    assert lane.window == pytest.approx(14)
    lane.judge("ok", 4.0, 0.0, 5.0)
    assert lane.window == pytest.approx(14 + 1 / 14)
    for _ in range(5):
        lane.judge("broken", 9.0, 0.0, 10.0)
    assert lane.out
    assert not lane.free(10.5)
    assert lane.free(11.1)
    lane.judge("broken", 9.5, 0.0, 11.1)  # sent before it was taken out
    assert lane.free(11.1)
    lane.judge("broken", 11.1, 0.0, 11.2)  # the trial failed: it rests twice as long
    assert not lane.free(13.1)
    lane.judge("ok", 13.3, 0.0, 13.4)
    assert not lane.out


def test_the_budget_is_never_exceeded_and_more_of_it_goes_on(store: Store) -> None:
    price = Price(1000.0, 1000.0)  # dear, so that tens of calls matter
    with Running(latency_s=0.005) as server:
        with pytest.raises(BudgetExceeded, match=r"teacher\.budget_usd=1:.*same command with a higher"):
            ask(store, [request(n) for n in range(100)], server.url, budget_usd=1.0, price=price)
        asked = server.get("stats")["asks"]
        spent = store.spent("run-1")
        most = Account(settings(server.url, price=price), store, "x").most_usd(request(50))
        assert 1.0 - most <= spent <= 1.0  # used up as far as the next call's worst case allows
        assert 0 < asked < 100
        texts = ask(store, [request(n) for n in range(100)], server.url, budget_usd=50.0, price=price)
        assert len(texts) == 100
        assert server.get("stats")["asks"] == 100  # nothing was asked twice
        assert store.spent("run-1") == pytest.approx(sum(row.cost_usd for _, row in store.used("run-1")))


def test_a_budget_needs_a_price(store: Store) -> None:
    with pytest.raises(UserError, match=r"no price is known for model 'm'.*teacher\.price\.input"):
        Client(settings("http://127.0.0.1:9/v1", budget_usd=1.0), store, "run-1")


def interrupt_at(server: Running, in_flight: int, times: int = 1) -> None:
    """Send ourselves SIGINT once the server has that many calls in flight."""
    while server.get("stats")["in_flight"] < in_flight:
        time.sleep(0.01)
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)


def test_ctrl_c_saves_what_is_in_flight(store: Store) -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in a shell's background
    with Running(latency_s=0.3) as server:
        client = Client(settings(server.url, max_concurrency=8), store, "run-1")
        threading.Thread(target=interrupt_at, args=(server, 8)).start()
        with pytest.raises(KeyboardInterrupt):
            client.ask_many([request(n) for n in range(200)])
        stats = server.get("stats")
        stored = len(list(store.used("run-1")))
        assert stats["asks"] == stats["answered"] == stored
        assert 8 <= stored <= 24, "on a busy machine the interrupt comes a round or two late"
        assert signal.getsignal(signal.SIGINT) is before
        client.close()


def test_a_second_ctrl_c_waits_for_nothing(store: Store) -> None:
    with Running(latency_s=5.0) as server:
        client = Client(settings(server.url, timeout_s=9.0), store, "run-1")
        threading.Thread(target=interrupt_at, args=(server, 1, 2)).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.ask_many([request(n) for n in range(20)])
        assert time.monotonic() - started < 4.5  # the answers would have come after 5 s
        server.set(latency_s=0.0)
        assert [answer.status for answer in client.ask_many([request(1)])] == ["ok"]  # the client is still good
        client.close()


def test_a_server_without_schemas_is_asked_in_words_and_the_key_does_not_change(store: Store) -> None:
    requests = [request(n, schema=SCHEMA, schema_name="evolve") for n in range(10)]
    with Running() as server:
        texts = ask(store, requests, server.url)
    with Running(schemas=False) as server:
        other = Store(store.path.with_name("other.sqlite"))
        assert [json.loads(t) for t in ask(other, requests, server.url)] == [json.loads(t) for t in texts]
        assert set(store.get(r.key("m") for r in requests)) == set(other.get(r.key("m") for r in requests))
        other.close()


@pytest.mark.parametrize("field", ["max_completion_tokens", "max_tokens"])
def test_both_names_of_the_token_limit_are_spoken(store: Store, field: str) -> None:
    with Running(refused_field=field) as server:
        assert all(ask(store, [request(n) for n in range(20)], server.url))


def test_requests_go_out_as_the_package_sends_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            message = {"role": "assistant", "content": "vier \u2713"}
            reply = json.dumps({"choices": [{"message": message}]}, ensure_ascii=False).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/prefix/v1"
        assert ask(store, [request(1)], url) == ["vier \u2713"]
        body = {"model": "m", "messages": [{"role": "user", "content": request(1).text.strip()}]}
        openai.OpenAI(base_url=url).post("/chat/completions", cast_to=str, body=body)
        server.shutdown()
    (path, ours, sent), (their_path, theirs, _) = seen
    assert path == their_path == "/prefix/v1/chat/completions"
    assert ours["authorization"] == "Bearer sk-of-the-test"
    assert ours["openai-project"] == "project"
    assert sent["messages"] == body["messages"]
    own = {"x-client-request-id"}
    about_itself = {"x-stainless-retry-count", "x-stainless-read-timeout"}
    assert ours.keys() - own == theirs.keys() - about_itself
    differ = {"user-agent", "x-stainless-async", "content-length", "host", "accept-encoding"}
    assert all(ours[name] == theirs[name] for name in ours.keys() - own - differ)


def test_requests_that_are_all_refused_stop_the_run(store: Store) -> None:
    with Running(refused_text="What is") as server, pytest.raises(UserError, match=r"too long.*Check teacher\."):
        ask(store, [request(n) for n in range(100)], server.url)


def test_requests_that_are_always_refused_do_not_stop_the_run_the_second_time_either(store: Store) -> None:
    requests = [request(n) for n in range(40)]  # of which 13 speak of a 2
    with Running(refused_text="2") as server:
        for _ in range(2):
            client = Client(settings(server.url, max_concurrency=1), store, "run-1")
            statuses = [answer.status for answer in client.ask_many(requests)]
            client.close()
            assert statuses.count("failed") == 13


def test_one_refused_request_fails_alone(store: Store) -> None:
    with Running(refused_text="What is 2?") as server:
        client = Client(settings(server.url), store, "run-1")
        answers = client.ask_many([request(1), request(2)])
        client.close()
    assert [answer.status for answer in answers] == ["ok", "failed"]
    assert "the prompt is too long" in answers[1].error


def test_the_key_is_in_no_file_and_no_message(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-123")
    with Running() as server:
        with pytest.raises(UserError, match=r"teacher\.base_url: holds a user name or password"):
            ask(store, [request(1)], server.url.replace("//", "//me:sk-secret-456@"), api_key_env="MY_KEY")
        ask(store, [request(1)], server.url, api_key_env="MY_KEY")
        server.set(reject_with="401 for sk-secret-123")
        with pytest.raises(UserError, match=r"401, .*\*\*\*.*Check the key in MY_KEY") as caught:
            ask(store, [request(2)], server.url, api_key_env="MY_KEY")
        assert "secret" not in str(caught.value)
    store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes()


def test_an_address_with_a_password_and_a_key_for_a_name_are_refused_without_being_repeated() -> None:
    assert address_complaints("teacher", None, "OPENAI_API_KEY") == []
    assert address_complaints("teacher", ["http://a/v1", "http://b/v1"], "") == []
    assert address_complaints("teacher", "https://a/openai/deployments/d?api-version=2024-06-01&monkey=1", "") == []
    for url in (
        "https://a/v1?key=secret",
        "https://a/v1?x=1&api-key=secret",
        "https://a?access_token=secret",
        "me:secret@b/v1",
    ):
        (line,) = address_complaints("teacher", url, "")
        assert "would be written to files" in line
        assert "secret" not in line
    for url in ("localhost:8000/v1", "http://", "http://[::1", "ftp://a", "http://a:99999999"):
        assert "http://127.0.0.1:8000/v1" in address_complaints("teacher", url, "")[0]
    said = address_complaints("teacher", ["http://a/v1", "http://me:secret@b/v1"], "sk-secret")
    assert [line.split(" ")[0] for line in said] == ["teacher.base_url", "teacher.api_key_env:"]
    assert "secret" not in "".join(said)


def test_a_client_that_cannot_be_opened_leaves_no_store_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    closed: list[Path] = []
    monkeypatch.setattr(Store, "close", lambda store: closed.append(store.path))
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        Client.open(ApiSettings(model="gpt-4o"), store=tmp_path / "s.sqlite", run_folder=tmp_path / "run")
    assert closed == [tmp_path / "s.sqlite"]


def test_a_missing_key_names_the_variable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable OPENAI_API_KEY is not set"):
        Client(ApiSettings(model="gpt-4o"), store, "run-1")


@pytest.mark.parametrize("key", ["sk-secret\nX-Other: 1", "sk-sécret"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(
    store: Store, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(UserError, match="MY_KEY holds characters that no key") as caught:
        Client(settings("http://127.0.0.1:9/v1", api_key_env="MY_KEY"), store, "run-1")
    assert "cret" not in str(caught.value)


def test_what_lacks_a_key_is_called_what_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    for group, who in (("teacher", "teacher 'm'"), ("", "source of attempts 'm'")):
        with pytest.raises(UserError, match=f"^{who}: the environment variable MY_KEY is not set"):
            Client(settings("http://a/v1", api_key_env="MY_KEY", group=group), store, "run-1")


def test_white_space_around_a_key_is_no_part_of_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " sk-secret\n")
    assert Client(settings("http://a/v1", api_key_env="MY_KEY"), store, "run-1")._key == "sk-secret"


def test_nobody_there_is_said_soon(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sei.llm.live._NEVER_UP_S", 0.5)
    with pytest.raises(UserError, match=r"no answer from http://127\.0\.0\.1:9/v1.*fault: connection: "):
        ask(store, [request(n) for n in range(30)], "http://127.0.0.1:9/v1")


def test_a_silent_server_and_a_lost_connection_are_told_apart(store: Store) -> None:
    def said(**options: Any) -> str:
        with Running(rate=1.0, hang_s=0.6, **options) as server:
            client = Client(settings(server.url, timeout_s=0.2, max_attempts=1), store, "run-1")
            (answer,) = client.ask_many([request(1)])
            client.close()
            return answer.error

    assert "the last: no answer within 0.2 s" in said(faults=["timeout"])
    assert "the last: connection: " in said(faults=["reset"])


def test_a_second_process_waits_for_the_first_and_does_not_ask(store: Store) -> None:
    """Two clients on two stores of the same file, as two processes have: the lock is what keeps them apart."""
    requests = [request(n) for n in range(10)]
    with Running(latency_s=0.2) as server:
        results: list[list[str]] = []

        def other() -> None:
            own = Store(store.path)
            results.append(ask(own, requests, server.url, run="run-2"))
            own.close()

        thread = threading.Thread(target=other)
        thread.start()
        results.append(ask(store, requests, server.url))
        thread.join()
        assert results[0] == results[1]
        assert server.get("stats")["asks"] == 10


def test_a_full_disk_ends_the_run_with_a_remedy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "_commit", full)
    with Running() as server, pytest.raises(UserError, match=r"disk is full\. Free space there"):
        ask(store, [request(1)], server.url)


def test_prices() -> None:
    price = load_prices()["gpt-4o"]
    assert price.cost(1_000_000, 100_000) == pytest.approx(2.50 + 1.00)
    assert price.cost(1_000_000, 0, tokens_cached=400_000) == pytest.approx(0.6 * 2.50 + 0.4 * 1.25)
    assert price.cost(1_000_000, 100_000, batch=True) == pytest.approx(1.75)
    assert price_of("gpt-4o-2024-08-06") == price
    assert price_of("my-own-model") is None
    assert price_of("gpt-4o", Price(1.0, 1.0)) == Price(1.0, 1.0)


def test_tokens_are_estimated_without_a_vocabulary() -> None:
    """Against the rule of thumb that English has about 4 characters a token, numbers in groups of three digits."""
    assert estimate_tokens("How many apples are left after she sells half of them?") == 12
    assert estimate_tokens("1234567") == 3
    assert estimate_tokens("") == 0
