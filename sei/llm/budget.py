"""Room in the budget for calls in flight, shared by all processes of a run and its open batches.

Place in the flow: `live` takes room for the most that a call can cost before it sends it, and says afterwards what it did cost.
A process takes room from the store in lots, noted there in the same transaction that sees what the run has spent and what its
other processes and open batches hold; so all of them together never spend more than the budget. What a dead process held is
free again; what a batch holds is free once it is merged.

Example::

    async with budget.room(request) as charge:
        charge((await ask(request)).cost_usd)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable

from sei.errors import UserError
from sei.llm.account import Account
from sei.llm.request import Request
from sei.llm.session import Stopping
from sei.llm.store import Store

_LOT = 32  # calls' worth of room taken at once: a transaction a call would cost more than the call
_LARGEST_SHARE = 0.25  # of what is free, so that one process does not take it all
_POLL_S = 0.2  # how often to look whether another process has given room back
_ROUNDING = 1e-9  # US dollars


class Budget:
    """What one process of a run may still spend."""

    def __init__(self, account: Account, store: Store, stopping: Stopping) -> None:
        self._account, self._store, self._stopping = account, store, stopping
        self._holder = uuid.uuid4().hex * 2
        self._held = 0.0  # US dollars noted for this process in the store and not spent
        self._in_flight = 0.0  # of these, what calls in flight may cost
        self._moved = asyncio.Event()
        self._asking = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While the process asks. Afterwards nothing is held."""
        if self._account.budget_usd is None:
            yield
            return
        self._store.claim(self._holder)  # tells the others that this process lives
        try:
            yield
        finally:
            with contextlib.suppress(UserError):  # a store that cannot be written has said so
                self._store.write(lambda connection: self._note(connection, 0.0))
            self._held = 0.0
            self._store.release(self._holder)

    @contextlib.asynccontextmanager
    async def room(self, request: Request) -> AsyncIterator[Callable[[float], None]]:
        """Room for `request` while it is in flight; waits or raises BudgetExceeded where there is none.

        Gives a function that is to be told the cost once it is in the store.
        """
        if self._account.budget_usd is None:
            yield lambda usd: None
            return
        most = self._account.most_usd(request)
        if (
            self._asking.locked() or self._lacks(most) > 0.0
        ):  # while a transaction runs, what it saw must stay as it was
            async with self._asking:
                await self._more(most)
                self._in_flight += most
        else:
            self._in_flight += most

        def charge(usd: float) -> None:
            self._held -= usd

        try:
            yield charge
        finally:
            self._in_flight -= most
            self._moved.set()

    def _lacks(self, most: float) -> float:
        """What is missing for a call that may cost `most` beside those in flight; 0 where there is room."""
        return max(0.0, most - (self._held - self._in_flight) - _ROUNDING)

    async def _more(self, most: float) -> None:
        """Hold room for a call that may cost `most`."""
        while self._lacks(most) > 0.0:
            self._moved.clear()
            held, in_flight = self._held, self._in_flight
            take = functools.partial(self._take, most=most, held=held, in_flight=in_flight)
            more, alone = await self._store.write_soon(take)
            self._held += more
            if self._lacks(most) == 0.0:
                return
            if in_flight > _ROUNDING:  # a call in flight may turn out cheaper than reserved
                await self._stopping.unless_stopped(self._moved.wait())
            elif alone:
                raise self._account.exceeded(most)
            else:
                await self._stopping.sleep(_POLL_S)

    def _take(self, connection: sqlite3.Connection, most: float, held: float, in_flight: float) -> tuple[float, bool]:
        """How much more is held after this transaction (less, where it is of no use), and whether nobody else holds any."""
        budget, run = self._account.budget_usd or 0.0, self._account.run
        others, batches = committed(connection, self._store, run, besides=self._holder)
        free = budget - self._store.spent(run) - others - batches - held
        needed, more = most - (held - in_flight), 0.0
        if needed <= free + _ROUNDING:
            more = max(needed, min(_LOT * most, _LARGEST_SHARE * free))
        elif in_flight <= _ROUNDING:
            more = -held
        self._note(connection, held + more)
        return more, others <= _ROUNDING

    def _note(self, connection: sqlite3.Connection, usd: float) -> None:
        connection.execute("DELETE FROM reservations WHERE holder = ?", (self._holder,))
        if usd > 0.0:
            row = (self._holder, self._account.run, usd)
            connection.execute("INSERT INTO reservations (holder, run, usd) VALUES (?, ?, ?)", row)


def committed(connection: sqlite3.Connection, store: Store, run: str, *, besides: str = "") -> tuple[float, float]:
    """US dollars that the run's living processes but `besides` hold, and those that its open batches do.

    What dead processes held is taken out of the store.
    """
    open_batches = {tag for (tag,) in connection.execute("SELECT tag FROM batches WHERE state = 'open'")}
    processes = batches = 0.0
    for holder, usd in connection.execute("SELECT holder, usd FROM reservations WHERE run = ?", (run,)).fetchall():
        if holder in open_batches:
            batches += usd
        elif holder != besides and store.claim(holder):  # its process is gone
            store.release(holder)
            connection.execute("DELETE FROM reservations WHERE holder = ?", (holder,))
        elif holder != besides:
            processes += usd
    return processes, batches
