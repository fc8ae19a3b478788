"""What a server or the network does wrong, sorted into what we do about it.

Place in the flow: `endpoint` raises one of three: `Transient` (ask again), `Unanswerable` (this request will never be
answered), `UserError` (nothing will be answered until the user mends something); `live` and `batch` act by them.

Example::

    sorted_status(429, said, settings, headers)      # Transient("429: rate limit", "limited", 0.5)
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sei.errors import UserError
from sei.llm.door import Secret, loads, shown
from sei.llm.settings import ApiSettings
from sei.llm.throttle import AttemptResult

_CONTENT_CODES = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
_QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance")


class Transient(Exception):
    """A fault that may pass. `result` is what it says about the endpoint."""

    def __init__(self, what: str, result: AttemptResult = "broken", retry_after_s: float = 0.0) -> None:
        super().__init__(what)
        self.result: AttemptResult = result
        self.retry_after_s = retry_after_s


class Unanswerable(Exception):
    """The server will never answer this request. `parameter` is the one it objects to, "" where it names none."""

    def __init__(self, what: str, filtered: bool = False, parameter: str = "") -> None:
        super().__init__(what)
        self.filtered = filtered
        self.parameter = parameter


@dataclass(frozen=True)
class Said:
    """What an error's body says: a text fit for a message, and where the server gives them the error's code and parameter."""

    text: str
    codes: tuple[str, ...] = ()
    parameter: str = ""

    @classmethod
    def of(cls, body: str, secret: Secret) -> Said:
        """What `body` says, without the key."""
        try:
            content = loads(body)
            inner = content.get("error", content) if isinstance(content, dict) else content
            text = str(inner)
        except (ValueError, RecursionError):  # what can be parsed may still be too deep to be printed
            return cls(shown(secret.redact(body)))
        text = shown(secret.redact(text))
        if not isinstance(inner, dict):
            return cls(text)
        codes = tuple(inner[name] for name in ("code", "type") if isinstance(inner.get(name), str))
        parameter = inner.get("param")
        return cls(text, codes, parameter if isinstance(parameter, str) else "")


def sorted_status(status: int, said: Said, settings: ApiSettings, headers: Mapping[str, str]) -> Exception:
    """What an HTTP error status means for us: wait, give this request up, or stop the run."""
    where = settings.who
    if status == 402 or (status in (403, 429) and any(code in _QUOTA_CODES for code in said.codes)):
        return UserError(
            f"{where}: the account has no quota left ({said.text}). Add credit, then run the same command."
        )
    if status == 429:
        return Transient("429: rate limit", "limited", retry_after(headers))
    if status in (408, 409, 425):  # said of this call, by a server that is up
        return Transient(f"{status}: {said.text}", "unjudged", retry_after(headers))
    if status >= 500:
        return Transient(f"{status}: {said.text}", "broken", retry_after(headers))
    if status in (401, 403):
        key = settings.api_key_env or "the endpoint"
        return UserError(f"{where}: {status}, {said.text}. Check the key in {key}.")
    if status == 404:
        return UserError(f"{where}: 404, {said.text}. Check {settings.key('model')} and {settings.key('base_url')}.")
    if status in (400, 413, 422):
        filtered = any(code in _CONTENT_CODES for code in said.codes) or any(
            name in said.text for name in _CONTENT_CODES
        )
        return Unanswerable(f"{status}: {said.text}", filtered, said.parameter)
    if 300 <= status < 400:
        location = shown(headers.get("location", "another address"), 200)
        return UserError(
            f"{where}: {status}, the server redirects to {location}, which is not followed: prompts would go there. If you "
            f"trust that address, give it as {settings.key('base_url')}."
        )
    return UserError(f"{where}: unexpected answer {status}, {said.text}.")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds from `Retry-After` (a number or a date) or its millisecond cousin, 0 where absent or meaningless."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with contextlib.suppress(TypeError, ValueError):
            seconds = float(headers.get(name, "")) / unit
            return max(0.0, seconds) if not math.isnan(seconds) else 0.0
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        due: Any = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        due = due if due.tzinfo else due.replace(tzinfo=datetime.UTC)
        return max(0.0, (due - datetime.datetime.now(datetime.UTC)).total_seconds())
    return 0.0
