"""Asking live: every request a call of its own, as many at once as the endpoints bear.

Place in the flow: `client` comes here with what the store does not hold. Every request is claimed (so that no other process asks
it too), fitted into the budget, sent through the endpoint with the most room, repeated with jittered backoff where the fault
may pass, and committed to the store before anyone sees it.

Example::

    answers = await Live(session, todo).ask_all()          # by key; what was stopped on the way is not among them
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping

from sei.errors import UserError
from sei.llm.answer import Answer
from sei.llm.budget import Budget
from sei.llm.endpoint import Endpoint
from sei.llm.faults import Transient, Unanswerable
from sei.llm.request import Request
from sei.llm.session import Session, Stopped
from sei.llm.store import StoredAnswer, Use
from sei.llm.throttle import AttemptResult, Balancer

_GIVE_UP_BAD_REQUESTS = 10  # that many refused requests and not one answer: the configuration is wrong, not the texts
_NEVER_UP_S = 20.0  # no endpoint has ever answered for this long: it is not running


class Live:
    """The workers of one `ask_many`, and what they share."""

    def __init__(self, session: Session, todo: Mapping[str, Request]) -> None:
        self.session, self.settings, self.stopping = session, session.settings, session.stopping
        self._queue = deque(todo.items())
        self._answers: dict[str, Answer] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._parked = 0  # workers that wait without a slot
        self._slots = self.settings.max_concurrency * len(session.endpoints)
        self._balancer = Balancer([endpoint.lane for endpoint in session.endpoints])
        self._budget = Budget(session.account, session.store, session.stopping)
        self._answered_at = 0.0  # monotonic time of the last answer

    async def ask_all(self) -> dict[str, Answer]:
        """Answers by key. Ends early as `Client.ask_many` does."""
        with self.stopping.on_interrupt():
            async with self._budget.open():
                await self._answer_all()
        return self._answers

    async def _answer_all(self) -> None:
        self._staff()
        try:
            while self._workers:
                await asyncio.wait(self._workers, return_when=asyncio.FIRST_COMPLETED)
                self._staff()
        except asyncio.CancelledError:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            raise

    # Workers

    def _staff(self) -> None:
        """One worker per slot, not counting those that only wait: a slot never idles and nobody queues for one."""
        while self._queue and self.stopping.going and len(self._workers) - self._parked < self._slots:
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._leave)

    def _leave(self, worker: asyncio.Task[None]) -> None:
        """Note that `worker` is done. What it died of, a UserError or a bug, stops the run; the others finish their calls."""
        self._workers.discard(worker)
        if worker.cancelled():  # by a second Ctrl-C, which has said so, or by nobody we know
            self.stopping.stop(RuntimeError("a call was cancelled before its answer was saved"))
        elif (error := worker.exception()) is not None:
            self.stopping.stop(error)

    async def _work(self) -> None:
        while self._queue and self.stopping.going and len(self._workers) - self._parked <= self._slots:
            key, request = self._queue.popleft()
            try:
                self._answers[key] = await self._ask(key, request)
            except Stopped:
                return
            self.session.progress.done += 1
            self.session.report(self.session.progress)

    @contextlib.contextmanager
    def _off_the_wire(self) -> Iterator[None]:
        """While a worker waits for a clock, another process or the disk, another worker may use its slot."""
        self._parked += 1
        self._staff()
        try:
            yield
        finally:
            self._parked -= 1

    async def _sleep(self, seconds: float) -> None:
        with self._off_the_wire():
            await self.stopping.sleep(seconds)

    # One request

    async def _ask(self, key: str, request: Request) -> Answer:
        store = self.session.store
        async with self._claimed(key):
            if row := store.get([key]).get(key):  # another process was faster
                self.session.progress.from_store += 1
                return Answer.of(row)
            async with self._budget.room(request) as charge:
                try:
                    row = await self._until_answered(key, request)
                except Unanswerable as error:
                    return Answer(key, "", "filtered" if error.filtered else "failed", error=str(error))
                with self._off_the_wire():
                    await store.put(row, Use(self.session.account.run, key, request.stage, request.error_type))
                charge(row.cost_usd)
        self.session.count(row)
        return Answer.of(row)

    @contextlib.asynccontextmanager
    async def _claimed(self, key: str) -> AsyncIterator[None]:
        while not self.session.store.claim(key):
            await self._sleep(self.session.store.poll_s)
        try:
            yield
        finally:
            self.session.store.release(key)

    async def _until_answered(self, key: str, request: Request) -> StoredAnswer:
        """Attempt until the endpoint answers. Raises Unanswerable where it will not."""
        try:
            return await self.session.persist(lambda: self._attempt(key, request), self._sleep)
        except Transient as fault:
            raise Unanswerable(f"gave up after {self.settings.max_attempts} attempts, the last: {fault}") from fault

    async def _attempt(self, key: str, request: Request) -> StoredAnswer:
        """One attempt on the endpoint with the most room. Raises Transient, Unanswerable, Stopped or UserError."""
        lane = self._balancer.take_now()
        if lane is None:
            lane = await self.stopping.unless_stopped(self._balancer.take())
        if not self.stopping.going:
            self._balancer.give_back(lane, "unjudged", 0.0)
            raise Stopped
        endpoint = next(one for one in self.session.endpoints if one.lane is lane)
        taken_at = time.monotonic()
        self._answered_at = self._answered_at or taken_at  # patience counts from the first attempt
        result: AttemptResult = "unjudged"
        retry_after_s = 0.0
        try:
            try:
                row = await self._answered(endpoint, key, request, taken_at)
            except Unanswerable as error:
                result = "ok"
                self._count_refusal(error)
                raise
            result = "ok"
            return row
        except Transient as fault:
            result, retry_after_s = fault.result, fault.retry_after_s
            if any(other is not lane and other.up(time.monotonic()) for other in self._balancer.lanes):
                fault.retry_after_s = 0.0  # this endpoint pauses; the request goes to another
            self._check_up(fault)
            raise
        finally:
            self._balancer.give_back(lane, result, taken_at, retry_after_s)

    async def _answered(self, endpoint: Endpoint, key: str, request: Request, sent_at: float) -> StoredAnswer:
        """What the endpoint answers. A refusal of its dialect is Transient: the next attempt speaks another."""
        body = endpoint.body(request)
        try:
            text = await endpoint.chat(key, body)
        except Unanswerable as error:
            if endpoint.learn(str(error), body, error.parameter):
                raise Transient(f"dialect: {error}", "unjudged") from error
            raise
        try:
            row = self.session.read(key, request, text, endpoint.url, time.monotonic() - sent_at)
        except Transient as fault:
            alone = len(self.session.endpoints) == 1 and self.session.health.answered > 0
            if endpoint.has_answered or alone:  # it is up: what it cannot answer is this one request
                fault.result = "ok"
                self._answered_at = time.monotonic()
            raise
        endpoint.has_answered = True
        self.session.health.answered += 1
        self._answered_at = time.monotonic()
        return row

    # Giving up

    def _count_refusal(self, error: Unanswerable) -> None:
        health = self.session.health
        health.refused += 1
        if health.refused >= _GIVE_UP_BAD_REQUESTS and not health.answered:
            raise UserError(
                f"{self.settings.who}: the first {health.refused} requests were all refused, the last with "
                f"{error}. Check {self.settings.key('model')}, temperature and max_tokens (of a teacher by role, in "
                "teacher.limits) and the endpoint's limits."
            ) from error

    def _check_up(self, fault: Transient) -> None:
        """Stop the run where every endpoint is out and none has answered for as long as we are willing to wait."""
        silent_s, patience_s = time.monotonic() - self._answered_at, self.settings.patience_s
        willing_s = patience_s if self.session.health.answered else min(_NEVER_UP_S, patience_s)
        if silent_s > willing_s and all(endpoint.lane.out for endpoint in self.session.endpoints):
            urls = ", ".join(endpoint.url for endpoint in self.session.endpoints)
            raise UserError(
                f"{self.settings.who}: no answer from {urls} for {silent_s:.0f} s (last fault: {fault}). "
                f"Start the server or mend {self.settings.key('base_url')}, then run the same command; paid answers are kept."
            ) from fault
