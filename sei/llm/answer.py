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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sei.llm.account import Account
from sei.llm.door import count, loads, shown, whole
from sei.llm.faults import Transient
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
_CUT = ("length", "max_tokens", "max_output_tokens", "model_length")  # as providers call it
_FILTERED = ("content_filter", "safety")
_MOST_TOKENS = 10_000_000  # of one call; no model reads or writes as many, so more is no count


@dataclass(frozen=True)
class Answer:
    """What came of a request. `failed` and `filtered` may carry no text; everything else is in the store."""

    key: str
    text: str
    status: Literal[Status, "failed"]
    error: str = ""  # of a failed or filtered request: what the server said; of an empty answer: where text was instead

    @classmethod
    def of(cls, row: StoredAnswer) -> Answer:
        return cls(row.key, row.text, row.status, row.note)


def read_completion(
    text: str,
    *,
    key: str,
    request: Request,
    account: Account,
    url: str,
    mode: Mode,
    latency_s: float,
    redact: Callable[[str], str] = str,
) -> StoredAnswer:
    """A chat completion's JSON as a row for the store, charged to `account`. Raises Transient where it is not one.

    Every value may be of any kind. What is kept of them can be written to any file, and is without the key (`redact`).
    """
    try:
        response = loads(text)
        choice = response["choices"][0]
        message = choice["message"]
        content = _text(message.get("content"))
        refusal = _text(message.get("refusal")) or _refusals(message.get("content"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise Transient(f"not a chat completion: {shown(redact(text[:2000]), 200)!r}") from error

    def clean(value: object, most: int) -> str:
        return shown(redact(str(value)), most) if isinstance(value, str | int | float) else ""

    content, refusal = redact(whole(content)), redact(whole(refusal))
    finish = clean(choice.get("finish_reason"), 100)
    read = request.text
    tokens_in, cached, tokens_out = _usage(response.get("usage"), read, content)
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
        response_id=clean(response.get("id"), 200),
        run=account.run,
        created=now_utc(),
        note="" if content.strip() or refusal else _elsewhere(message),
    )


def now_utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _text(content: object) -> str:
    """A message's content as text: text as it is, parts joined (those that hold reasoning left out), other JSON as JSON."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    return json.dumps(content, ensure_ascii=False)


def _part(part: object) -> str:
    """The text of one part of a content list, "" where it holds none that is meant as the answer."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") not in ("text", "output_text"):
        return ""
    text = part.get("text")
    text = text.get("value") if isinstance(text, dict) else text
    return text if isinstance(text, str) else ""


def _refusals(content: object) -> str:
    """What the parts of a content list say that decline."""
    parts = content if isinstance(content, list) else []
    return "".join(str(part["refusal"]) for part in parts if isinstance(part, dict) and part.get("refusal"))


def _elsewhere(message: dict[str, Any]) -> str:
    """Where a message without content holds text all the same, for the reason of its rejection."""
    places = [
        f"{len(text):,} characters in {name}"
        for name in ("reasoning_content", "reasoning")
        if isinstance(text := message.get(name), str) and text.strip()
    ]
    calls = message.get("tool_calls") or message.get("function_call")
    if calls:
        places.append(f"{len(calls) if isinstance(calls, list) else 1} tool call(s)")
    return f"no text in content, but {' and '.join(places)}" if places else ""


def _usage(usage: object, read: str, written: str) -> tuple[int, int, int]:
    """Tokens in, those of them that were cached, and tokens out, as the provider counts; estimated where it does not."""
    counted: dict[str, Any] = usage if isinstance(usage, dict) else {}
    details = counted.get("prompt_tokens_details")
    tokens_in = count(counted.get("prompt_tokens"), _MOST_TOKENS) or estimate_tokens(read)
    cached = count(details.get("cached_tokens"), tokens_in) if isinstance(details, dict) else 0
    return tokens_in, cached or 0, count(counted.get("completion_tokens"), _MOST_TOKENS) or estimate_tokens(written)


def _status(content: str, refusal: str, finish: str) -> Status:
    if finish.lower() in _FILTERED:
        return "filtered"
    if refusal:
        return "refused"
    if finish.lower() in _CUT:
        return "truncated"
    if not content.strip():
        return "empty"
    opening = content.strip()[:_REFUSAL_LENGTH].lower()
    if len(content) < _REFUSAL_LENGTH and opening.startswith(_REFUSALS):
        return "refused"
    return "ok"
