"""One base URL: its connection, and the dialect it turned out to speak.

Place in the flow: `client` opens one endpoint per URL and keeps them; `live` and `batch` call them. Whatever a server or the
network does wrong leaves here as one of the three of `faults`: `Transient` (ask again), `Unanswerable` (this request will never
be answered), `UserError` (nothing will be answered until the user mends something). What it says leaves without the key.

Example::

    endpoint = Endpoint.open("http://127.0.0.1:8000/v1", settings, key="none")
    text = await endpoint.chat(request.key("m"), endpoint.body(request))          # a chat completion as JSON text
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from sei import prompts
from sei.llm.door import Secret, shown
from sei.llm.faults import Said, Transient, Unanswerable, sorted_status
from sei.llm.request import Request
from sei.llm.settings import ApiSettings, StructuredMode
from sei.llm.throttle import Lane
from sei.llm.wire import TooLarge, connections

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
MaxTokensField = Literal["max_completion_tokens", "max_tokens"]

JSON_PROMPT = "teacher/json"
_ABOUT_SCHEMAS = ("response_format", "json_schema", "guided", "structured output")
# How a 400 says that a parameter is refused: by its name, or by every value but the default
_UNKNOWN = re.compile(
    r"unsupported|not supported|n[o']t support|unknown|unrecogni[sz]ed|unexpected|extra|forbidden|deprecated|no longer|instead"
    r"|not (?:be )?(?:permitted|allowed|set|used|available|accepted)",
    re.IGNORECASE,
)
_FIXED = re.compile(r"only .{0,40}(?:default|supported|allowed)|must be|invalid", re.IGNORECASE)
log = logging.getLogger(__name__)


@dataclass
class Endpoint:
    """One URL of a served model."""

    url: str
    settings: ApiSettings
    key: str = field(repr=False)
    api: AsyncOpenAI
    http: Any  # the AsyncClient behind `api`, of whichever HTTP library the package brings
    query: str  # of the base URL, sent with every call (Azure's api-version)
    lane: Lane
    structured: StructuredMode
    max_tokens_field: MaxTokensField = "max_completion_tokens"
    switched: bool = False  # the server refused one name for the limit; it is not tried again
    has_answered: bool = False
    left_out: set[str] = field(default_factory=set)  # parameters that the model refused

    @classmethod
    def open(cls, url: str | None, settings: ApiSettings, key: str) -> Self:
        """A connection to `url`, or to the openai package's default. Nothing is sent yet."""
        import openai

        base, query = _address(url or os.environ.get("OPENAI_BASE_URL", ""))
        headers: dict[str, Any] = {}
        if "api-version" in dict(
            parse_qsl(query)
        ):  # Azure's deployments take the key by this name, and a token by the other
            headers = {"api-key": key, "Authorization": openai.Omit()}
        http = connections(settings.max_concurrency)
        client = openai.AsyncOpenAI(
            api_key=key,
            base_url=base or None,
            max_retries=0,
            timeout=settings.timeout_s,
            http_client=http,
            default_headers=headers,
            default_query=dict(parse_qsl(query)),
        )
        parts = urlsplit(str(client.base_url))
        shown_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # a password is a secret too
        lane = Lane(shown_url, settings.max_concurrency)
        return cls(shown_url, settings, key, client, http, query, lane, settings.structured)

    async def close(self) -> None:
        await self.api.close()

    async def chat(self, key: str, body: dict[str, Any]) -> str:
        """The text of one chat completion. Raises Transient, Unanswerable or UserError."""
        return await self.once(self._post(key, body))

    async def once(self, call: Awaitable[T]) -> T:
        """The result of one call of the openai package, or of `_post`; its faults sorted into ours."""
        import openai

        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await call
        except TimeoutError as error:
            raise Transient(f"no answer within {self.settings.timeout_s:g} s") from error
        except openai.APIStatusError as error:
            said = Said.of(str(error.response.content, "utf-8", "replace"), self.secret)
            raise self._status_fault(error.status_code, said, error.response.headers) from error
        except openai.APIConnectionError as error:  # the aiohttp transport calls a refused connection a timeout too
            if isinstance(error.__cause__, TooLarge):
                raise Unanswerable(str(error.__cause__)) from error
            what = self.scrub(str(error.__cause__ or "") or str(error))
            raise Transient(f"connection: {shown(what)}") from error
        except (ValueError, TypeError, AttributeError, RecursionError, openai.APIError) as error:
            raise Transient(f"unreadable answer: {shown(self.scrub(str(error)))}") from error  # of a batch's endpoint

    @cached_property
    def secret(self) -> Secret:
        """What must not be repeated."""
        return Secret(self.key if self.key != "none" else "")

    def scrub(self, text: str) -> str:
        """`text` without our key, should a server repeat it."""
        return self.secret.redact(text)

    # The dialect

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a chat completion in this endpoint's dialect."""
        messages = [{"role": role, "content": content} for role, content in request.messages]
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": messages,
            self.max_tokens_field: request.max_tokens,
        }
        if request.temperature is not None and "temperature" not in self.left_out:
            body["temperature"] = request.temperature
        if request.schema and self.structured == "json_schema":
            schema = {"name": request.schema_name, "strict": True, "schema": _parsed(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema:
            messages[0]["content"] += "\n\n" + prompts.load(JSON_PROMPT).fill(schema=request.schema)
        return body

    def learn(self, complaint: str, body: dict[str, Any], parameter: str = "") -> bool:
        """Whether a 400 that says `complaint` of `body` is about the dialect; if so the next body avoids it.

        `parameter` is the one that the server itself says it objects to, "" where it says none.
        """
        if "response_format" in body and any(word in complaint.lower() for word in _ABOUT_SCHEMAS):
            if self.structured == "json_schema":
                log.warning("%s refuses JSON schemas: they are put into words from now on", self.url)
            self.structured = "prompt"
            return True
        unknown = _UNKNOWN.search(complaint) is not None
        named = {name for name in body.keys() - {"model", "messages"} if name == parameter or _names(complaint, name)}
        sent: MaxTokensField = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
        if sent in named and unknown and not (self.switched and self.max_tokens_field == sent):
            self.max_tokens_field = "max_completion_tokens" if sent == "max_tokens" else "max_tokens"
            self.switched = True
            return True
        refused = named - {sent, "response_format"}
        if not refused or not (unknown or parameter in refused or _FIXED.search(complaint)):
            return False
        for name in sorted(refused - self.left_out):
            log.warning("%s refuses the parameter %s: it is left out from now on", self.url, name)
        self.left_out |= refused
        return True

    # The wire

    @cached_property
    def _template(self) -> Any:
        """A chat completion's request without a body: URL and headers, worked out once for thousands of calls."""
        headers = {**self.api.auth_headers, **self.api.default_headers}
        named = {name: value for name, value in headers.items() if isinstance(value, str)}  # the rest are left out
        url = f"{str(self.api.base_url).rstrip('/')}/chat/completions" + (f"?{self.query}" if self.query else "")
        template = self.http.build_request("POST", url, headers=named)
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
            if response.status_code in (307, 308) and (same := self._same_host(request, response)) is not None:
                response = await self.http.send(same)
        except Exception as error:  # as the package has it: whatever the transport raises
            raise openai.APIConnectionError(request=request) from error
        text = self.scrub(str(response.content, "utf-8", "replace"))
        if response.is_success:
            return text
        raise self._status_fault(response.status_code, Said.of(text, self.secret), response.headers)

    def _same_host(self, request: Any, response: Any) -> Any:
        """`request` once more where the server only names another path on itself, else None."""
        url = request.url.join(response.headers.get("location", ""))
        if (url.scheme, url.host, url.port) != (request.url.scheme, request.url.host, request.url.port):
            return None
        return type(request)(
            request.method, url, headers=request.headers, content=request.content, extensions=request.extensions
        )

    def _status_fault(self, status: int, said: Said, headers: Any) -> Exception:
        return sorted_status(
            status, said, self.settings, {name.lower(): self.scrub(value) for name, value in headers.items()}
        )


def _address(url: str) -> tuple[str, str]:
    """A configured base URL as the package takes it, and its query. What calls add by themselves is taken off."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), parts.query


def _names(complaint: str, name: str) -> bool:
    return re.search(rf"(?<!\w){name}(?!\w)", complaint) is not None


@cache
def _parsed(schema: str) -> Any:
    """A schema's text as JSON values, parsed once for thousands of calls."""
    return json.loads(schema)
