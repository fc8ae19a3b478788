"""One budget for all processes of a run: what they spend together stays below it, whoever dies and whoever waits."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from sei.llm.account import Account, BudgetExceeded
from sei.llm.budget import Budget
from sei.llm.client import Client
from sei.llm.prices import Price
from sei.llm.session import Stopping
from sei.llm.settings import ApiSettings
from sei.llm.store import Store
from tests.llm.questions import request
from tests.teacher.fault_server import Running

PRICE = Price(1000.0, 1000.0)  # dear, so that tens of calls matter
SPAWN = multiprocessing.get_context("spawn")


def settings(url: str, budget_usd: float = 1.0) -> ApiSettings:
    return ApiSettings(model="m", base_urls=(url,), budget_usd=budget_usd, price=PRICE)


def spend(url: str, path: Path, first: int) -> None:
    """One process of the run: asks until the budget ends it."""
    store = Store(path)
    client = Client(settings(url), store, "run-1")
    try:
        client.ask_many([request(number) for number in range(first, first + 60)])
    except BudgetExceeded:
        os._exit(7)
    finally:
        client.close()


@pytest.mark.parametrize("processes", [1, 3, 8])
def test_processes_of_a_run_spend_one_budget(tmp_path: Path, processes: int) -> None:
    store = Store(tmp_path / "s.sqlite")
    with Running(latency_s=0.05) as server:
        asking = [
            SPAWN.Process(target=spend, args=(server.url, store.path, 100 * number)) for number in range(processes)
        ]
        for process in asking:
            process.start()
        for process in asking:
            process.join(60)
        asked = server.get("stats")["asks"]
    assert {process.exitcode for process in asking} == {7}  # each says that the budget is used up
    most = Account(settings(server.url), store, "x").most_usd(request(1))
    spent = store.spent("run-1")
    assert 1.0 - processes * most <= spent <= 1.0
    assert spent == pytest.approx(sum(row.cost_usd for _, row in store.used("run-1")))
    assert len(list(store.used("run-1"))) == asked
    store.close()


def hold_and_die(path: Path) -> None:
    store = Store(path)
    account = Account(settings("http://127.0.0.1:9/v1"), store, "run-1")
    budget = Budget(account, store, Stopping())

    async def hold() -> None:
        async with budget.open(), budget.room(request(1)):
            os._exit(0)

    asyncio.run(hold())


def test_what_a_dead_process_held_is_free_again(tmp_path: Path) -> None:
    process = SPAWN.Process(target=hold_and_die, args=(tmp_path / "s.sqlite",))
    process.start()
    process.join(60)
    store = Store(tmp_path / "s.sqlite")
    rows = store.write(lambda connection: connection.execute("SELECT run, usd FROM reservations").fetchall())
    assert rows
    assert rows[0][1] > 0
    account = Account(settings("http://127.0.0.1:9/v1", budget_usd=0.1), store, "run-1")
    most = account.most_usd(request(1))
    assert most < 0.1 < 2 * most  # room for one call

    async def take() -> None:
        budget = Budget(account, store, Stopping())
        async with budget.open():
            async with budget.room(request(1)) as charge:
                charge(0.001)
            async with budget.room(request(1)):
                pass

    asyncio.run(take())
    assert store.write(lambda connection: connection.execute("SELECT * FROM reservations").fetchall()) == []
    store.close()


def test_a_process_waits_for_what_another_may_give_back(tmp_path: Path) -> None:
    """Two clients with a store each, as two processes have, and a budget with room for one call at a time."""
    stores = [Store(tmp_path / "s.sqlite") for _ in range(2)]
    accounts = [Account(settings("http://127.0.0.1:9/v1", budget_usd=0.1), store, "run-1") for store in stores]
    budgets = [Budget(account, store, Stopping()) for account, store in zip(accounts, stores, strict=True)]
    order: list[str] = []

    async def use(budget: Budget, name: str) -> None:
        async with budget.open(), budget.room(request(1)):
            order.append(f"{name} in")
            await asyncio.sleep(0.5)
            order.append(f"{name} out")

    async def both() -> None:
        await asyncio.gather(*(use(budget, name) for budget, name in zip(budgets, "ab", strict=True)))

    started = time.monotonic()
    asyncio.run(both())
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
    assert time.monotonic() - started < 5
    for store in stores:
        store.close()
