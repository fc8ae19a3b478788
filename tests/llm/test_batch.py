"""Batch mode against the fault server's /v1/files and /v1/batches: merge, resume after a kill, resubmission, budget."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sei.errors import UserError
from sei.llm import batch
from sei.llm.account import BudgetExceeded
from sei.llm.client import Client
from sei.llm.prices import Price
from sei.llm.settings import ApiSettings
from sei.llm.store import Store
from tests.llm.hostile import respond, serving
from tests.llm.questions import SCHEMA, request
from tests.teacher.fault_server import Running


class Killed(Exception):
    """Stands for a SIGKILL at a certain line: nothing after it runs."""


def ask(store: Store, url: str, count: int, run: str = "run-1", *, first: int = 0, **more: Any) -> list[Any]:
    values = {"model": "m", "base_urls": (url,), "mode": "batch", "batch_poll_s": 0.05} | more
    client = Client(ApiSettings(**values), store, run)
    try:
        return client.ask_many([request(first + n) for n in range(count)])
    finally:
        client.close()


def test_a_batch_gives_the_answers_of_live_calls_at_its_own_price(store: Store, tmp_path: Path) -> None:
    with Running() as server:
        answers = ask(store, server.url, 10, batch_lines=4, price=Price(100.0, 100.0, batch=0.5))
        assert server.get("stats")["batches"] == 3
        live_store = Store(tmp_path / "live.sqlite")
        live = ask(live_store, server.url, 10, mode="live", price=Price(100.0, 100.0, batch=0.5))
        assert [answer.text for answer in answers] == [answer.text for answer in live]
        assert store.spent("run-1") == pytest.approx(live_store.spent("run-1") / 2)
        assert {row.mode for _, row in store.used("run-1")} == {"batch"}
        live_store.close()


def test_lines_that_expired_or_failed_are_submitted_again_alone(store: Store) -> None:
    with Running(rate=0.4, faults=["timeout", "500"]) as server:
        answers = ask(store, server.url, 40, batch_rounds=9)
        assert {answer.status for answer in answers} == {"ok"}
        stats = server.get("stats")
        assert stats["answered"] == stats["distinct"] == 40
        assert stats["batches"] > 1
        assert stats["asks"] == 40 + stats["injected"].get("timeout", 0) + stats["injected"].get("500", 0)


def test_a_line_that_always_fails_is_given_up(store: Store) -> None:
    with Running(rate=1.0, faults=["500"]) as server:
        answers = ask(store, server.url, 2, batch_rounds=3)
        assert [answer.status for answer in answers] == ["failed", "failed"]
        assert answers[0].error.startswith("failed in 3 batches, the last: ")
        assert "broke" in answers[0].error
        assert server.get("stats")["batches"] == 3


@pytest.mark.parametrize(
    ("where", "batches"),
    [
        ("_submit", 1),  # noted in the store, never submitted: its lines are free again
        ("_note_id", 1),  # submitted, its id unknown to us: found by its tag
        ("_merge", 1),  # finished, not merged
    ],
)
def test_a_kill_at_any_point_costs_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, where: str, batches: int
) -> None:
    def die(*_: Any) -> None:
        raise Killed

    with Running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(batch, where, die)
            with pytest.raises(Killed):
                ask(store, server.url, 5)
        answers = ask(store, server.url, 5)
        assert [answer.status for answer in answers] == ["ok"] * 5
        stats = server.get("stats")
        assert (stats["batches"], stats["asks"]) == (batches, 5)


def test_a_batch_is_merged_by_another_run_and_charged_to_the_one_that_submitted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise Killed

    price = Price(100.0, 100.0)
    with Running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(batch, "_merge", die)
            with pytest.raises(Killed):
                ask(store, server.url, 5, run="run-1", price=price)
        ask(store, server.url, 3, run="run-2", price=price)
        assert server.get("stats")["asks"] == 5
    assert store.spent("run-1") > 0
    assert store.spent("run-2") == 0
    assert len(store.get(request(n).key("m") for n in range(5))) == 5  # all five, though run-2 wanted three


def test_two_processes_submit_each_line_once(store: Store) -> None:
    with Running(batch_delay_s=0.5) as server:

        def other() -> None:
            own = Store(store.path)
            ask(own, server.url, 30, run="run-2")
            own.close()

        thread = threading.Thread(target=other)
        thread.start()
        ask(store, server.url, 30)
        thread.join()
        assert server.get("stats")["asks"] == 30


def test_the_budget_holds_back_what_does_not_fit(store: Store) -> None:
    price = Price(1000.0, 1000.0)
    with Running() as server:
        with pytest.raises(BudgetExceeded):
            ask(store, server.url, 100, budget_usd=1.0, price=price)
        asks = server.get("stats")["asks"]
        assert 0 < asks < 100
        assert 0 < store.spent("run-1") <= 1.0
        assert len(ask(store, server.url, 100, budget_usd=100.0, price=price)) == 100
        assert server.get("stats")["asks"] == 100


def test_an_open_batch_holds_its_share_of_the_budget_when_the_run_goes_on_live(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise Killed

    price = Price(1000.0, 1000.0)
    with Running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(batch, "_merge_if_over", die)
            with pytest.raises(Killed):
                ask(store, server.url, 1, budget_usd=100.0, price=price)
        [(held,)] = store.write(lambda connection: connection.execute("SELECT usd FROM reservations").fetchall())
        with pytest.raises(BudgetExceeded):
            ask(store, server.url, 1, first=7, mode="live", budget_usd=1.5 * held, price=price)
        assert ask(store, server.url, 1, budget_usd=1.5 * held, price=price)[0].status == "ok"
        assert ask(store, server.url, 1, first=7, mode="live", budget_usd=3 * held, price=price)[0].status == "ok"
    assert store.write(lambda connection: connection.execute("SELECT * FROM reservations").fetchall()) == []


def test_a_server_without_schemas_gets_the_lines_again_in_words(store: Store) -> None:
    with Running(schemas=False) as server:
        client = Client(
            ApiSettings(model="m", base_urls=(server.url,), mode="batch", batch_poll_s=0.05), store, "run-1"
        )
        more = {"schema": SCHEMA, "schema_name": "evolve"}
        answers = client.ask_many([request(n, **more) for n in range(3)])
        client.close()
        assert [answer.status for answer in answers] == ["ok"] * 3
        assert server.get("stats")["batches"] == 2


def test_a_refused_batch_says_what_the_provider_says(store: Store) -> None:
    with Running(refuse_batches="the input file has a bad line") as server:
        with pytest.raises(UserError, match="refused batch batch-0: the input file has a bad line"):
            ask(store, server.url, 3)
        server.set(refuse_batches="")
        assert len(ask(store, server.url, 3)) == 3


def test_lines_that_cannot_be_read_cost_nothing_and_answers_given_twice_are_paid_once(store: Store) -> None:
    noise = [
        "not json",
        "[" * 5000,
        "9" * 5000,
        "null",
        "[]",
        '{"custom_id": 5}',
        '{"custom_id": null, "response": [1]}',
        "\u2028",
    ]
    price = Price(100.0, 100.0)
    with Running(batch_noise="\n".join(noise)) as server:
        answers = ask(store, server.url, 6, price=price)
        assert server.get("stats")["batches"] == 1
    assert [answer.status for answer in answers] == ["ok"] * 6
    assert store.spent("run-1") == pytest.approx(sum(row.cost_usd for _, row in store.used("run-1")))


@pytest.mark.parametrize("reply", [b"[" * 5000, b"5", b"[]", b'{"id": 5}', b"9" * 5000, b"", b"\xff", b'"\\ud83d"'])
def test_a_batch_endpoint_that_sends_anything_at_all_ends_the_run_with_its_reason(store: Store, reply: bytes) -> None:
    def answer(handler: BaseHTTPRequestHandler, _: Any) -> None:
        respond(handler, 200, reply, Content_Type="application/json")

    with serving(answer) as server, pytest.raises(UserError, match="the batch endpoint does not answer"):
        ask(store, server.url, 2, max_attempts=1)
