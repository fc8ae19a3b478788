"""What the two ways of asking share during one `ask_many`: endpoints, account, retries, and how to stop.

Place in the flow: `client` makes a `Session` per call of `ask_many` and hands it to `live` or `batch`. Whoever finds a reason
to end the run tells `Stopping`: no new call starts, calls in flight finish and are saved, then `client` raises the reason.

Example::

    found = await session.persist(lambda: endpoint.once(endpoint.api.batches.retrieve(id)))
    session.stopping.stop(UserError("..."))
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sei.errors import Ended, UserError
from sei.llm.account import Account
from sei.llm.answer import read_completion
from sei.llm.door import Secret
from sei.llm.endpoint import Endpoint
from sei.llm.faults import Transient
from sei.llm.progress import Progress, Report
from sei.llm.request import Request
from sei.llm.settings import ApiSettings
from sei.llm.store import Store, StoredAnswer

T = TypeVar("T")
_WORTH_SAYING_S = 10.0  # a shorter pause is not announced
log = logging.getLogger(__name__)


class Stopped(Exception):
    """No new call may start."""


class Stopping:
    """Whether new calls may start, and if not, why."""

    def __init__(self) -> None:
        self.reason: BaseException | None = None
        self._event = asyncio.Event()

    @property
    def going(self) -> bool:
        """Whether new calls may start."""
        return self.reason is None

    def stop(self, reason: BaseException) -> None:
        """Start no new call, let calls in flight finish, then raise `reason` from `ask_many`."""
        self.reason = self.reason or reason
        self._event.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep; raises Stopped at once when the run is being stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        if not self.going:
            raise Stopped

    async def unless_stopped(self, waiting: Coroutine[Any, Any, T]) -> T:
        """The result of `waiting`, or Stopped when the run is stopped first."""
        if not self.going:
            waiting.close()
            raise Stopped
        task = asyncio.ensure_future(waiting)
        stop = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
        if task.done() and not task.cancelled():
            return task.result()
        raise Stopped

    @contextlib.contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM stop cleanly; a second one no longer waits for the calls in flight."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt(reason: KeyboardInterrupt) -> None:
            if isinstance(self.reason, KeyboardInterrupt) and main is not None:
                main.cancel()
            self.stop(reason)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reasons = {
            signal.SIGINT: KeyboardInterrupt("stopped; calls in flight were saved, the same command goes on"),
            signal.SIGTERM: Ended(signal.SIGTERM),
        }
        before = {one: signal.getsignal(one) for one in reasons}
        for one, reason in reasons.items():
            loop.add_signal_handler(one, interrupt, reason)
        try:
            yield
        finally:
            for one, handler in before.items():
                loop.remove_signal_handler(one)
                signal.signal(one, handler)


@dataclass
class Health:
    """What a client has learnt of its model over all its calls: whether it answers at all."""

    answered: int = 0
    refused: int = 0


@dataclass
class Session:
    """One call of `ask_many`."""

    settings: ApiSettings
    store: Store
    account: Account
    endpoints: Sequence[Endpoint]
    health: Health
    progress: Progress
    report: Report
    secret: Secret
    stopping: Stopping = field(default_factory=Stopping)
    announced_until: float = 0.0  # monotonic time of the end of the pause that was last announced

    async def persist(
        self, attempt: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> T:
        """Repeat `attempt` while it raises Transient, with jittered backoff on top of what the server asks for."""
        try:
            return await attempt()
        except Transient as fault:
            faults = [fault]  # the machinery below costs a tenth of a call, so only a call that failed pays for it

        import tenacity

        backoff = tenacity.wait_random_exponential(multiplier=0.25, max=30)

        def wait(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            return backoff(state) + (self.heed(fault.retry_after_s) if isinstance(fault, Transient) else 0.0)

        async def call() -> T:
            if faults:
                raise faults.pop()
            return await attempt()

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=tenacity.stop_after_attempt(self.settings.max_attempts)
            | tenacity.stop_after_delay(self.settings.patience_s),
            wait=wait,
            sleep=sleep or self.stopping.sleep,
            reraise=True,
        )
        return await retrying(call)

    def heed(self, pause_s: float) -> float:
        """The pause that a server asks for, announced where it is long. Raises UserError where nobody should sit it out."""
        if pause_s > self.settings.max_wait_s:
            wait = f", or set {self.settings.key('max_wait_s')} higher to wait" if self.settings.group else ""
            raise UserError(
                f"{self.settings.who}: the server asks for a pause of {pause_s:,.0f} s before the next call, which "
                f"is longer than {self.settings.max_wait_s:g} s. Run the same command after that time (what was answered is "
                f"kept){wait}."
            )
        now = time.monotonic()
        if pause_s > _WORTH_SAYING_S and now > self.announced_until:
            self.announced_until = now + pause_s
            log.warning("%s: the server asks for a pause of %.0f s; waiting", self.settings.model, pause_s)
        return pause_s

    def read(self, key: str, request: Request, text: str, url: str, latency_s: float = 0.0) -> StoredAnswer:
        """A chat completion's JSON as a row for the store. Raises Transient where it is not one."""
        return read_completion(
            text,
            key=key,
            request=request,
            account=self.account,
            url=url,
            mode=self.settings.mode,
            latency_s=latency_s,
            redact=self.secret.redact,
        )

    def count(self, row: StoredAnswer) -> None:
        """Add a new answer to what this call has cost so far."""
        self.progress.tokens_in += row.tokens_in
        self.progress.tokens_out += row.tokens_out
        self.progress.usd += row.cost_usd
