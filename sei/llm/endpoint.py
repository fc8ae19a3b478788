"""One base URL: its connection, the dialect it turned out to speak, and what its errors mean.

Place in the flow: `client` opens one endpoint per URL and keeps them; `live` and `batch` call them. Whatever a server or the
network does wrong leaves here as one of three: `Transient` (ask again), `Unanswerable` (this request will never be answered),
`UserError` (nothing will be answered until the user mends something).

Example::

    endpoint = Endpoint.open("http://127.0.0.1:8000/v1", settings, key="none")
    text = await endpoint.chat(request.key("m"), endpoint.body(request))          # a chat completion as JSON text
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from sei import prompts
from sei.errors import UserError
from sei.llm.request import Request
from sei.llm.settings import ApiSettings, StructuredMode
from sei.llm.throttle import AttemptResult, Lane

if TYPE_CHECKING:
    import openai
    from openai import AsyncOpenAI

T = TypeVar("T")
MaxTokensField = Literal["max_completion_tokens", "max_tokens"]

JSON_PROMPT = "teacher/json"
_ABOUT_SCHEMAS = ("response_format", "json_schema", "guided", "structured output")
_CONTENT_CODES = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")


class Transient(Exception):
    """A fault that may pass. `result` is what it says about the endpoint."""

    def __init__(self, what: str, result: AttemptResult = "broken", retry_after_s: float = 0.0) -> None:
        super().__init__(what)
        self.result: AttemptResult = result
        self.retry_after_s = retry_after_s


class Unanswerable(Exception):
    """The server will never answer this request."""

    def __init__(self, what: str, filtered: bool = False) -> None:
        super().__init__(what)
        self.filtered = filtered


@dataclass
class Endpoint:
    """One URL of a served model."""

    url: str
    settings: ApiSettings
    key: str = field(repr=False)
    api: AsyncOpenAI
    http: Any  # the AsyncClient behind `api`, of whichever HTTP library the package brings
    lane: Lane
    structured: StructuredMode
    max_tokens_field: MaxTokensField = "max_completion_tokens"
    switched: bool = False  # the server refused one name for the limit; it is not tried again

    @classmethod
    def open(cls, url: str | None, settings: ApiSettings, key: str) -> Self:
        """A connection to `url`, or to the openai package's default. Nothing is sent yet."""
        import openai

        most = settings.max_concurrency
        # The class of the package's own default, so that it fits whichever HTTP library the package brings.
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=2 * most, max_keepalive_connections=2 * most, keepalive_expiry=30.0
        )
        try:
            http = openai.DefaultAioHttpClient(limits=limits)  # half the time per call of the default transport
        except RuntimeError:  # openai 2 without its extra `aiohttp`
            http = openai.DefaultAsyncHttpxClient(limits=limits)
        client = openai.AsyncOpenAI(
            api_key=key, base_url=url, max_retries=0, timeout=settings.timeout_s, http_client=http
        )
        parts = urlsplit(str(client.base_url))
        shown = (
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # a password in the URL is a secret too
        )
        return cls(shown, settings, key, client, http, Lane(shown, most), settings.structured)

    async def close(self) -> None:
        await self.api.close()

    async def chat(self, key: str, body: dict[str, Any]) -> str:
        """The text of one chat completion. Raises Transient, Unanswerable or UserError."""
        return await self.once(self._post(key, body))

    async def once(self, call: Awaitable[T]) -> T:
        """The result of one call of the openai package; its faults sorted into ours."""
        import openai

        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await call
        except TimeoutError as error:
            raise Transient(f"no answer within {self.settings.timeout_s:g} s") from error
        except openai.APIStatusError as error:
            raise self._sorted(error) from error
        except openai.APIConnectionError as error:  # the aiohttp transport calls a refused connection a timeout too
            raise Transient(f"connection: {str(error.__cause__ or '') or error}") from error

    def scrub(self, text: str) -> str:
        """`text` without our key, should a server repeat it."""
        return text.replace(self.key, "***") if self.key != "none" else text

    # The dialect

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a chat completion in this endpoint's dialect."""
        messages = [{"role": role, "content": content} for role, content in request.messages]
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": messages,
            self.max_tokens_field: request.max_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.schema and self.structured == "json_schema":
            schema = {"name": request.schema_name, "strict": True, "schema": _parsed(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema:
            messages[0]["content"] += "\n\n" + prompts.load(JSON_PROMPT).fill(schema=request.schema)
        return body

    def learn(self, complaint: str, body: dict[str, Any]) -> bool:
        """Whether a 400 that says `complaint` of `body` is about the dialect; if so the next body avoids it."""
        complaint = complaint.lower()
        if "response_format" in body and any(word in complaint for word in _ABOUT_SCHEMAS):
            self.structured = "prompt"
            return True
        sent: MaxTokensField = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
        if sent not in complaint or (self.switched and self.max_tokens_field == sent):
            return False
        self.max_tokens_field = "max_completion_tokens" if sent == "max_tokens" else "max_tokens"
        self.switched = True
        return True

    # The wire

    @cached_property
    def _template(self) -> Any:
        """A chat completion's request without a body: URL and headers, worked out once for thousands of calls."""
        headers = {**self.api.default_headers, **self.api.auth_headers}
        named = {name: value for name, value in headers.items() if isinstance(value, str)}  # the rest are left out
        template = self.http.build_request(
            "POST", f"{str(self.api.base_url).rstrip('/')}/chat/completions", headers=named
        )
        template.headers.pop("Content-Length", None)
        return template

    async def _post(self, key: str, body: dict[str, Any]) -> str:
        """The response's text. Raises the openai package's errors.

        The request goes to the package's connections directly: the package's own `post` spends twice the time of
        everything else in a call on working out the same URL, headers and options again.
        """
        import openai

        template = self._template
        request = type(template)(
            "POST",
            template.url,
            headers=[*template.headers.raw, (b"X-Client-Request-Id", key.encode())],
            content=json.dumps(body).encode(),
            extensions=template.extensions,
        )
        try:
            response = await self.http.send(request)
        except Exception as error:  # as the package has it: whatever the transport raises
            raise openai.APIConnectionError(request=request) from error
        if response.is_success:
            return str(response.content, "utf-8", "replace")
        try:
            said = json.loads(response.content)
        except ValueError:
            said = response.text[:500]
        inner = said.get("error", said) if isinstance(said, dict) else None
        message = f"Error code: {response.status_code} - {said}"
        raise openai.APIStatusError(message, response=response, body=inner)

    def _sorted(self, error: openai.APIStatusError) -> Exception:
        """What an HTTP error status means for us: wait, give this request up, or stop the run."""
        status, code, said = error.status_code, str(error.code or ""), self.scrub(str(error.message))
        where = f"teacher '{self.settings.model}'"
        if status == 429 and code == "insufficient_quota":
            return UserError(f"{where}: the account has no quota left ({said}). Add credit, then run the same command.")
        if status == 429:
            return Transient("429: rate limit", "limited", _retry_after(error.response.headers))
        if status in (408, 409) or status >= 500:
            return Transient(f"{status}: {said}", "broken", _retry_after(error.response.headers))
        if status in (401, 403):
            return UserError(
                f"{where}: {status}, {said}. Check the key in {self.settings.api_key_env or 'the endpoint'}."
            )
        if status == 404:
            return UserError(f"{where}: 404, {said}. Check teacher.model and teacher.base_url.")
        if status in (400, 413, 422):
            filtered = code in _CONTENT_CODES or any(name in said for name in _CONTENT_CODES)
            return Unanswerable(f"{status}: {said}", filtered)
        return UserError(f"{where}: unexpected answer {status}, {said}.")


@cache
def _parsed(schema: str) -> Any:
    """A schema's text as JSON values, parsed once for thousands of calls."""
    return json.loads(schema)


def _retry_after(headers: Any) -> float:
    """Seconds from `Retry-After` (or its millisecond cousin), 0 where absent or a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers.get(name)) / unit)
        except (TypeError, ValueError):
            continue
    return 0.0
