"""How many calls may be in flight, and where: additive increase, multiplicative decrease, per endpoint.

Place in the flow: `live` takes a slot here before every attempt and reports how the attempt went. An endpoint that
answers widens its window (doubling per round trip until its first 429, then by one), a 429 narrows it, `Retry-After`
pauses it, failures in a row take it out for a while; it comes back with a single trial call.

Example::

    balancer = Balancer([Lane("http://a/v1", most=64), Lane("http://b/v1", most=64)])
    lane = await balancer.take()
    balancer.give_back(lane, "ok")
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

AttemptResult = Literal["ok", "limited", "broken", "unjudged"]  # unjudged: says nothing about the endpoint

_FIRST_WINDOW = 8.0  # calls in flight before anything is known about the endpoint
_NARROW = 0.7  # factor on a 429
_STRIKES = 5  # failures in a row that take an endpoint out
_FIRST_REST_S = 1.0
_LONGEST_REST_S = 60.0


@dataclass
class Lane:
    """One endpoint's window and health. Times are `time.monotonic()` seconds."""

    url: str
    most: int  # the window never exceeds this
    window: float = field(init=False)
    in_flight: int = 0
    slow_start: bool = True
    paused_until: float = 0.0
    narrowed_at: float = 0.0
    out_at: float = 0.0
    strikes: int = 0
    rest_s: float = _FIRST_REST_S
    out: bool = False  # rests, then gets one call at a time until one shows that it is back

    def __post_init__(self) -> None:
        self.window = min(_FIRST_WINDOW, self.most)

    def up(self, now: float) -> bool:
        """Whether it takes calls, as far as is known."""
        return not self.out and now >= self.paused_until

    def free(self, now: float) -> bool:
        if now < self.paused_until:
            return False
        return self.in_flight < (1 if self.out else max(1, int(self.window)))

    def judge(self, result: AttemptResult, taken_at: float, retry_after_s: float, now: float) -> None:
        """Update window and health by one attempt that began at `taken_at`."""
        if result == "ok":
            self.strikes, self.rest_s, self.out = 0, _FIRST_REST_S, False
            self.window = min(self.most, self.window + (1.0 if self.slow_start else 1.0 / self.window))
        elif result == "limited":
            self.out = False  # it answers, only not yet
            self.slow_start = False
            self.paused_until = max(self.paused_until, now + retry_after_s)
            if taken_at >= self.narrowed_at:  # one 429 of a round narrows; its fellows say nothing new
                self.window = max(1.0, self.window * _NARROW)
                self.narrowed_at = now
        elif result == "broken" and taken_at >= self.out_at:  # calls sent before it was taken out say nothing new
            self.strikes += 1
            if self.strikes >= _STRIKES or self.out:
                self.paused_until = now + self.rest_s
                self.rest_s = min(_LONGEST_REST_S, self.rest_s * 2)
                self.out, self.out_at, self.strikes = True, now, 0


class Balancer:
    """Hands out slots on the least loaded endpoint that is up; waiters are served in order."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = list(lanes)
        self._waiting: deque[asyncio.Future[None]] = deque()

    def pick(self) -> Lane | None:
        """The free lane with the smallest share of its window in use, with its slot taken; None where all are busy."""
        now = time.monotonic()
        best = min(
            (lane for lane in self.lanes if lane.free(now)),
            key=lambda lane: (lane.in_flight + 1) / lane.window,
            default=None,
        )
        if best is not None:
            best.in_flight += 1
        return best

    def take_now(self) -> Lane | None:
        """A slot, if one is free and nobody waits for it."""
        return None if self._waiting else self.pick()

    async def take(self) -> Lane:
        """Wait for a slot and take it."""
        while True:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                # A pause ends by the clock, not by another call: look again then at the latest.
                await asyncio.wait_for(turn, timeout=self._until_unpaused())
            except TimeoutError:
                pass
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
            if lane := self.pick():
                return lane

    def give_back(self, lane: Lane, result: AttemptResult, taken_at: float, retry_after_s: float = 0.0) -> None:
        """Free the slot and say how the attempt went."""
        lane.in_flight -= 1
        lane.judge(result, taken_at, retry_after_s, time.monotonic())
        free = sum(max(0, int(lane.window) - lane.in_flight) for lane in self.lanes)
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def _until_unpaused(self) -> float:
        now = time.monotonic()
        pauses = [lane.paused_until - now for lane in self.lanes if lane.paused_until > now]
        return min(pauses, default=1.0) + 0.001
