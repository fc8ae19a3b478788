"""What came of a request: a chat completion read into a row for the store, and the row as callers see it.

Place in the flow: `live` and `batch` get an endpoint's text and read it with `read_completion`; `client` hands out `Answer`s.
Whether an answer is usable (cut off, refused, empty, filtered) is decided here, once.

Example::

    row = read_completion(text, key=key, request=request, account=account, url=url, mode="live", latency_s=0.8)
    Answer.of(row).status          # "ok"
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any, Literal

from sei.llm.account import Account
from sei.llm.endpoint import Transient
from sei.llm.prices import estimate_tokens
from sei.llm.request import Request
from sei.llm.settings import Mode
from sei.llm.store import Status, StoredAnswer

_REFUSALS = (
    "i'm sorry",
    "i’m sorry",
    "i am sorry",
    "sorry, ",
    "i can't",
    "i can’t",
    "i cannot",
    "i am unable",
    "i'm unable",
)
_REFUSAL_LENGTH = 400  # a longer text that starts politely is an answer


@dataclass(frozen=True)
class Answer:
    """What came of a request. `failed` and `filtered` may carry no text; everything else is in the store."""

    key: str
    text: str
    status: Literal[Status, "failed"]
    error: str = ""  # of a failed or filtered request: what the server said

    @classmethod
    def of(cls, row: StoredAnswer) -> Answer:
        return cls(row.key, row.text, row.status)


def read_completion(
    text: str, *, key: str, request: Request, account: Account, url: str, mode: Mode, latency_s: float
) -> StoredAnswer:
    """A chat completion's JSON as a row for the store, charged to `account`. Raises Transient where it is not one."""
    try:
        response = json.loads(text)
        choice = response["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
        refusal = message.get("refusal") or ""
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Transient(f"not a chat completion: {text[:200]!r}") from error
    finish = str(choice.get("finish_reason") or "")
    read = request.text
    tokens_in, cached, tokens_out = _usage(response.get("usage") or {}, read, content)
    return StoredAnswer(
        key=key,
        model=account.model,
        endpoint=url,
        prompt=request.prompt,
        prompt_hash=request.prompt_hash,
        sample=request.sample,
        request=request.canonical(account.model),
        text=content or refusal,
        status=_status(content, refusal, finish),
        finish_reason=finish,
        tokens_in=tokens_in,
        tokens_cached=cached,
        tokens_out=tokens_out,
        characters=len(read),
        cost_usd=account.cost(tokens_in, tokens_out, cached),
        latency_s=latency_s,
        mode=mode,
        response_id=str(response.get("id") or ""),
        run=account.run,
        created=now_utc(),
    )


def now_utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _usage(usage: dict[str, Any], read: str, written: str) -> tuple[int, int, int]:
    """Tokens in, those of them that were cached, and tokens out, as the provider counts; estimated where it does not."""
    tokens_in = int(usage.get("prompt_tokens") or estimate_tokens(read))
    cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    return tokens_in, cached, int(usage.get("completion_tokens") or estimate_tokens(written))


def _status(content: str, refusal: str, finish: str) -> Status:
    if finish == "content_filter":
        return "filtered"
    if refusal:
        return "refused"
    if finish == "length":
        return "truncated"
    if not content.strip():
        return "empty"
    opening = content.strip()[:_REFUSAL_LENGTH].lower()
    if len(content) < _REFUSAL_LENGTH and opening.startswith(_REFUSALS):
        return "refused"
    return "ok"
