"""The client: asks an OpenAI-compatible endpoint many things at once, and pays for each once.

Place in the flow: `teacher` (the roles) builds `Request`s and gets `Answer`s back in the same order. Between the two
every request is looked up in the store, claimed (so that no other process asks it too), fitted into the budget, sent
through the endpoint with the most room, repeated with jittered backoff where the fault may pass, and committed to the
store before anyone sees it.

What ends a run early ends it cleanly: no new call starts, calls in flight finish and are saved, then the reason is
raised (`BudgetExceeded`, `KeyboardInterrupt`, or a `UserError` such as a wrong key). The same command continues.

Example::

    client = Client(ApiSettings(model="gpt-4o"), Store(path), run="run-1")
    answers = client.ask_many([Request(messages=(user("2 + 3?"),), prompt="teacher/solve/gsm8k", ...)])
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from sei import prompts
from sei.errors import UserError
from sei.teacher.api.prices import Price, estimate_tokens, most_tokens, price_of
from sei.teacher.api.store import Status, Store, StoredAnswer, Use
from sei.teacher.api.throttle import AttemptResult, Balancer, Lane

if TYPE_CHECKING:
    import openai
    from openai import AsyncOpenAI

T = TypeVar("T")
Message = tuple[Literal["system", "user", "assistant"], str]
StructuredMode = Literal["json_schema", "prompt"]
Mode = Literal["live", "batch"]
MaxTokensField = Literal["max_completion_tokens", "max_tokens"]

JSON_PROMPT = "teacher/json"
_CLAIM_POLL_S = 0.2  # how often to look whether another process has finished asking the same
_GIVE_UP_BAD_REQUESTS = 10  # that many refused requests and not one answer: the configuration is wrong, not the texts
_NEVER_UP_S = 20.0  # no endpoint has ever answered for this long: it is not running
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
_ABOUT_SCHEMAS = ("response_format", "json_schema", "guided", "structured output")
_CONTENT_CODES = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")


class BudgetExceeded(UserError):
    """The next call could exceed the budget; everything answered so far is in the store."""


@dataclass(frozen=True)
class ApiSettings:
    """How to reach a teacher. Keys are read from the environment variable named here, never from a configuration."""

    model: str
    base_urls: tuple[str, ...] = ()  # several are balanced; () is the openai package's default endpoint
    api_key_env: str = "OPENAI_API_KEY"  # "" where the endpoint takes no key
    mode: Mode = "live"
    structured: StructuredMode = "json_schema"  # falls back to "prompt" by itself where the server refuses a schema
    max_concurrency: int = 64  # calls in flight per endpoint at most; 429s narrow it
    timeout_s: float = 180.0  # for one attempt, from sending to the last byte
    patience_s: float = 900.0  # for one request, over all its attempts
    max_attempts: int = 16
    budget_usd: float | None = None  # for one run, over all its processes and restarts
    price: Price | None = None  # overrides the table
    batch_poll_s: float = 30.0
    batch_lines: int = 10_000  # requests in one batch at most
    batch_rounds: int = 3  # times a line that expired or failed is submitted


@dataclass(frozen=True)
class Request:
    """One question to the teacher. What it is filed under: model, messages, parameters, schema and sample."""

    messages: tuple[Message, ...]
    prompt: str  # name of the prompt file, for the store
    prompt_hash: str
    max_tokens: int
    temperature: float | None = 0.0  # None: not sent (reasoning models refuse it)
    schema: str = ""  # JSON schema as text, "" for free text
    schema_name: str = ""
    sample: int = 0  # tells samples of the same question apart
    stage: str = ""
    error_type: str = ""

    def canonical(self, model: str) -> str:
        """What is asked, as JSON with a fixed order. How the schema travels is the endpoint's dialect, not part of it."""
        asked = {
            "model": model,
            "messages": self.messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "schema": self.schema,
            "sample": self.sample,
        }
        return json.dumps(asked, ensure_ascii=False, sort_keys=True)

    def key(self, model: str) -> str:
        """64 hex digits that name this question in the store."""
        return hashlib.sha256(self.canonical(model).encode()).hexdigest()

    @property
    def text(self) -> str:
        """Everything the teacher reads, for counting tokens (a schema is read too)."""
        return "\n".join([*(content for _, content in self.messages), self.schema])


@dataclass(frozen=True)
class Answer:
    """What came of a request. `failed` and `filtered` may carry no text; everything else is in the store."""

    key: str
    text: str
    status: Literal[Status, "failed"]
    error: str = ""  # of a failed or filtered request: what the server said
    cost_usd: float = 0.0
    from_store: bool = False


@dataclass
class Progress:
    """Counters of one `ask_many`, handed to its callback after every answer."""

    total: int
    done: int = 0
    from_store: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def calls_per_s(self) -> float:
        return (self.done - self.from_store) / max(1e-9, time.monotonic() - self.started)


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


class Stopped(Exception):
    """No new call may start."""


@dataclass
class Endpoint:
    """One base URL: its connection, its lane, and the dialect it turned out to speak."""

    url: str
    openai: AsyncOpenAI
    http: Any  # the AsyncClient behind `openai`, of whichever HTTP library the package brings
    lane: Lane
    structured: StructuredMode
    max_tokens_field: MaxTokensField = "max_completion_tokens"
    switched: bool = False  # the server refused one name for the limit; it is not tried again

    @cached_property
    def _template(self) -> Any:
        """A chat completion's request without a body: URL and headers, worked out once for thousands of calls."""
        headers = {**self.openai.default_headers, **self.openai.auth_headers}
        named = {name: value for name, value in headers.items() if isinstance(value, str)}  # the rest are left out
        template = self.http.build_request(
            "POST", f"{str(self.openai.base_url).rstrip('/')}/chat/completions", headers=named
        )
        template.headers.pop("Content-Length", None)
        return template

    async def post(self, key: str, body: dict[str, Any]) -> str:
        """The response's text. Raises the openai package's errors.

        The request goes to the package's connections directly: `openai.post` spends twice the time of everything else in
        a call on working out the same URL, headers and options again.
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

    def body(self, request: Request, model: str) -> dict[str, Any]:
        """The JSON body of a chat completion in this endpoint's dialect."""
        messages = [{"role": role, "content": content} for role, content in request.messages]
        body: dict[str, Any] = {"model": model, "messages": messages, self.max_tokens_field: request.max_tokens}
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


def now_utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def api_key(settings: ApiSettings) -> str:
    """The key from the environment. Raises UserError naming the variable to set; an own server may need none."""
    if key := os.environ.get(settings.api_key_env, "") if settings.api_key_env else "":
        return key
    own = bool(settings.base_urls) and all(_is_loopback(url) for url in settings.base_urls)
    if own or not settings.api_key_env:
        return "none"
    raise UserError(
        f"teacher '{settings.model}': the environment variable {settings.api_key_env} is not set. Set it to your API key "
        "(it is never written to a file), or name another variable with teacher.api_key_env=NAME."
    )


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")


class Client:
    """Asks the endpoints of one model. Not for use from several threads at once: calls queue up."""

    def __init__(self, settings: ApiSettings, store: Store, run: str) -> None:
        """`run` names whom to charge; a restart of the same run gives the same name.

        Raises UserError where the key is missing, or a budget is set for a model without a price.
        """
        self.settings, self.store, self.run = settings, store, run
        self.price = price_of(settings.model, settings.price)
        if self.price is None and settings.budget_usd is not None:
            raise UserError(
                f"teacher.budget_usd={settings.budget_usd:g}: no price is known for model '{settings.model}'. Give "
                "teacher.price.input and teacher.price.output in US dollars per million tokens (0 for your own server)."
            )
        self._key = api_key(settings)
        if any("@" in urlsplit(url).netloc for url in settings.base_urls):
            raise UserError(
                "teacher.base_url: holds a user name or password, which would end up in files. Leave it out and put "
                f"the key into the environment variable {settings.api_key_env or 'named by teacher.api_key_env'}."
            )
        self._runner: asyncio.Runner | None = None
        self.endpoints: list[Endpoint] = []
        self._balancer: Balancer
        self._one_at_a_time = threading.Lock()
        # State of the call of ask_many that is under way
        self._stop: BaseException | None = None
        self._stop_event: asyncio.Event
        self._parked = 0  # workers that wait without a slot
        self._staff: Callable[[], None] = lambda: None
        self._reserved_usd = 0.0
        self._budget_moved: asyncio.Event
        self._answered = self._bad_requests = 0
        self._answered_at = 0.0  # monotonic time of the last answer

    # Asking

    def ask_many(
        self, requests: Sequence[Request], on_progress: Callable[[Progress], None] | None = None
    ) -> list[Answer]:
        """One answer per request, in order; equal requests are asked once.

        Raises BudgetExceeded, KeyboardInterrupt (after calls in flight were saved) or UserError; what was answered until
        then is in the store and not asked again.
        """
        keys = [request.key(self.settings.model) for request in requests]
        answers = {key: answer_from(row, from_store=True) for key, row in self.store.get(dict.fromkeys(keys)).items()}
        progress = Progress(total=len(set(keys)), done=len(answers), from_store=len(answers))
        self._note_uses(zip(keys, requests, strict=True), answers)
        todo = {key: request for key, request in zip(keys, requests, strict=True) if key not in answers}
        if todo:
            with self._one_at_a_time, _bar(on_progress, self.settings.model) as report:
                if self.settings.mode == "batch":
                    from sei.teacher.api import batch

                    answers |= self._run(batch.ask_all(self, todo, progress, report))
                else:
                    answers |= self._run(self._ask_all(todo, progress, report))
            # A request that occurs under two stages or error types is asked once and used by both.
            self._note_uses(zip(keys, requests, strict=True), answers)
        return [answers[key] for key in keys]

    def _note_uses(self, requests: Iterable[tuple[str, Request]], answers: dict[str, Answer]) -> None:
        uses = [Use(self.run, key, r.stage, r.error_type) for key, r in requests if key in answers]
        if uses:
            self.store.put_all([], list(dict.fromkeys(uses)))

    def _run(self, work: Coroutine[Any, Any, dict[str, Answer]]) -> dict[str, Answer]:
        """The answers of `work`; raises the reason for which it was stopped, if any."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._stop = None
        try:
            answers = self._runner.run(work)
        except asyncio.CancelledError:  # the second Ctrl-C
            answers = {}
        if self._stop is not None:
            raise self._stop
        return answers

    async def _ask_all(
        self, todo: dict[str, Request], progress: Progress, report: Callable[[Progress], None]
    ) -> dict[str, Answer]:
        await self.open()
        queue = deque(todo.items())
        answers: dict[str, Answer] = {}

        slots = self.settings.max_concurrency * len(self.endpoints)
        workers: set[asyncio.Task[None]] = set()

        def staff() -> None:
            """One worker per slot, not counting those that only wait: a slot never idles and nobody queues for one."""
            while queue and self._stop is None and len(workers) - self._parked < slots:
                worker = asyncio.ensure_future(work())
                workers.add(worker)
                worker.add_done_callback(workers.discard)

        async def work() -> None:
            while queue and self._stop is None and len(workers) - self._parked <= slots:
                key, request = queue.popleft()
                try:
                    answers[key] = await self._ask(key, request, progress)
                except Stopped:
                    return
                except Exception as error:  # a UserError, or a bug: either way the others finish what they have begun
                    self.stop(error)
                    return
                progress.done += 1
                report(progress)

        self._staff = staff
        with self.on_interrupt():
            staff()
            try:
                while workers:
                    await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
                    staff()
            except asyncio.CancelledError:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                raise
        return answers

    async def _ask(self, key: str, request: Request, progress: Progress) -> Answer:
        async with self._claimed(key):
            if row := self.store.get([key]).get(key):  # another process was faster
                progress.from_store += 1
                return answer_from(row, from_store=True)
            async with self._within_budget(request):
                try:
                    row = await self._until_answered(key, request)
                except Unanswerable as error:
                    return Answer(key, "", "filtered" if error.filtered else "failed", error=str(error))
                with self._off_the_wire():
                    await self.store.put(row, Use(self.run, key, request.stage, request.error_type))
        progress.tokens_in += row.tokens_in
        progress.tokens_out += row.tokens_out
        progress.usd += row.cost_usd
        return answer_from(row, from_store=False)

    async def _until_answered(self, key: str, request: Request) -> StoredAnswer:
        """Attempt until the endpoint answers. Raises Unanswerable where it will not."""
        try:
            return await self.persist(lambda: self._attempt(key, request))
        except Transient as fault:
            raise Unanswerable(f"gave up after {self.settings.max_attempts} attempts, the last: {fault}") from fault

    async def persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat `attempt` while it raises Transient, with jittered backoff on top of what the server asks for."""
        try:
            return await attempt()
        except Transient as fault:
            faults = [fault]  # the machinery below costs a tenth of a call, so only a call that failed pays for it

        import tenacity

        backoff = tenacity.wait_random_exponential(multiplier=0.25, max=30)

        def wait(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            return backoff(state) + (fault.retry_after_s if isinstance(fault, Transient) else 0.0)

        async def call() -> T:
            if faults:
                raise faults.pop()
            return await attempt()

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=tenacity.stop_after_attempt(self.settings.max_attempts)
            | tenacity.stop_after_delay(self.settings.patience_s),
            wait=wait,
            sleep=self.sleep,
            reraise=True,
        )
        return await retrying(call)

    async def _attempt(self, key: str, request: Request) -> StoredAnswer:
        """One attempt on the endpoint with the most room. Raises Transient, Unanswerable, Stopped or UserError."""
        lane = self._balancer.take_now() or await self._unless_stopped(self._balancer.take())
        if self._stop is not None:
            self._balancer.give_back(lane, "unjudged", 0.0)
            raise Stopped
        endpoint = next(e for e in self.endpoints if e.lane is lane)
        taken_at = time.monotonic()
        self._answered_at = self._answered_at or taken_at  # patience counts from the first attempt
        result: AttemptResult = "unjudged"
        retry_after_s = 0.0
        try:
            body = endpoint.body(request, self.settings.model)
            try:
                text = await self._post(endpoint, key, body)
                row = self.read(key, request, text, endpoint.url, "live", time.monotonic() - taken_at)
            except Unanswerable as error:
                result = "ok"
                if endpoint.learn(str(error), body):
                    raise Transient(f"dialect: {error}", "unjudged") from error
                self._count_bad_request(error)
                raise
            result = "ok"
            self._answered += 1
            self._answered_at = time.monotonic()
            return row
        except Transient as fault:
            result, retry_after_s = fault.result, fault.retry_after_s
            self._check_up(fault)
            raise
        finally:
            self._balancer.give_back(lane, result, taken_at, retry_after_s)

    async def _post(self, endpoint: Endpoint, key: str, body: dict[str, Any]) -> str:
        return await self.once(endpoint.post(key, body))

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

    def read(self, key: str, request: Request, text: str, url: str, mode: Mode, latency_s: float) -> StoredAnswer:
        """A chat completion's JSON as a row for the store. Raises Transient where it is not one."""
        try:
            response = json.loads(text)
            choice = response["choices"][0]
            message = choice["message"]
            content = message.get("content") or ""
            refusal = message.get("refusal") or ""
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise Transient(f"not a chat completion: {text[:200]!r}") from error
        finish = str(choice.get("finish_reason") or "")
        usage = response.get("usage") or {}
        read = request.text
        tokens_in = int(usage.get("prompt_tokens") or estimate_tokens(read))
        tokens_out = int(usage.get("completion_tokens") or estimate_tokens(content))
        cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        price = self.price or Price(0.0, 0.0)
        return StoredAnswer(
            key=key,
            model=self.settings.model,
            endpoint=url,
            prompt=request.prompt,
            prompt_hash=request.prompt_hash,
            sample=request.sample,
            request=request.canonical(self.settings.model),
            text=content or refusal,
            status=_status(content, refusal, finish),
            finish_reason=finish,
            tokens_in=tokens_in,
            tokens_cached=cached,
            tokens_out=tokens_out,
            characters=len(read),
            cost_usd=price.cost(tokens_in, tokens_out, cached, batch=mode == "batch"),
            latency_s=latency_s,
            mode=mode,
            response_id=str(response.get("id") or ""),
            run=self.run,
            created=now_utc(),
        )

    def _count_bad_request(self, error: Unanswerable) -> None:
        self._bad_requests += 1
        if self._bad_requests >= _GIVE_UP_BAD_REQUESTS and not self._answered:
            raise UserError(
                f"teacher '{self.settings.model}': the first {self._bad_requests} requests were all refused, the last with "
                f"{error}. Check teacher.model, teacher.limits (by role: temperature, max_tokens) and the endpoint's limits."
            ) from error

    def _check_up(self, fault: Transient) -> None:
        """Stop the run where every endpoint is out and none has answered for as long as we are willing to wait."""
        silent_s = time.monotonic() - self._answered_at
        willing_s = self.settings.patience_s if self._answered else min(_NEVER_UP_S, self.settings.patience_s)
        if silent_s > willing_s and all(endpoint.lane.out for endpoint in self.endpoints):
            urls = ", ".join(endpoint.url for endpoint in self.endpoints)
            raise UserError(
                f"teacher '{self.settings.model}': no answer from {urls} for {silent_s:.0f} s (last fault: {fault}). "
                "Start the server or mend teacher.base_url, then run the same command; paid answers are kept."
            ) from fault

    # Claims, budget, stopping

    @contextlib.asynccontextmanager
    async def _claimed(self, key: str) -> AsyncIterator[None]:
        while not self.store.claim(key):
            await self.sleep(_CLAIM_POLL_S)
        try:
            yield
        finally:
            self.store.release(key)

    def most_usd(self, request: Request) -> float:
        """The most this request can cost."""
        price = self.price or Price(0.0, 0.0)
        return price.cost(most_tokens(request.text), request.max_tokens, batch=self.settings.mode == "batch")

    @contextlib.asynccontextmanager
    async def _within_budget(self, request: Request) -> AsyncIterator[None]:
        """Reserve the most that the request can cost while it is in flight; wait or stop where that does not fit."""
        if self.settings.budget_usd is None:
            yield
            return
        most = self.most_usd(request)
        while self.store.spent(self.run) + self._reserved_usd + most > self.settings.budget_usd:
            if self._reserved_usd <= 1e-12:  # nothing in flight that could turn out cheaper than reserved
                raise self.over_budget(most)
            self._budget_moved.clear()
            await self._unless_stopped(self._budget_moved.wait())
        self._reserved_usd += most
        try:
            yield
        finally:
            self._reserved_usd -= most
            self._budget_moved.set()

    def over_budget(self, most: float) -> BudgetExceeded:
        spent, budget = self.store.spent(self.run), self.settings.budget_usd or 0.0
        return BudgetExceeded(
            f"teacher.budget_usd={budget:g}: {spent:.4f} US dollars are spent and the next call may cost {most:.4f}. "
            f"Everything answered so far is kept in {self.store.path}; to go on, run the same command with a higher "
            "teacher.budget_usd."
        )

    @property
    def going(self) -> bool:
        """Whether new calls may start."""
        return self._stop is None

    def stop(self, reason: BaseException) -> None:
        """Start no new call, let calls in flight finish, then raise `reason` from `ask_many`."""
        self._stop = self._stop or reason
        self._stop_event.set()

    @contextlib.contextmanager
    def _off_the_wire(self) -> Iterator[None]:
        """While a worker waits for a clock, another process or the disk, another worker may use its slot."""
        self._parked += 1
        self._staff()
        try:
            yield
        finally:
            self._parked -= 1

    async def sleep(self, seconds: float) -> None:
        """Sleep; raises Stopped at once when the run is being stopped."""
        with self._off_the_wire(), contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop_event.wait(), seconds)
        if self._stop is not None:
            raise Stopped

    async def _unless_stopped(self, waiting: Any) -> Any:
        """The result of `waiting`, or Stopped when the run is stopped first."""
        if self._stop is not None:
            waiting.close()
            raise Stopped
        task = asyncio.ensure_future(waiting)
        stop = asyncio.ensure_future(self._stop_event.wait())
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
        """Ctrl-C stops cleanly; a second one no longer waits for the calls in flight."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt() -> None:
            if isinstance(self._stop, KeyboardInterrupt) and main is not None:
                main.cancel()
            self.stop(KeyboardInterrupt("stopped; calls in flight were saved, the same command goes on"))

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)
        loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)

    # Connections

    async def open(self) -> None:
        """Fresh state for one call of `ask_many`; connections and windows are kept from the last."""
        self._stop_event, self._budget_moved = asyncio.Event(), asyncio.Event()
        self._reserved_usd, self._answered_at = 0.0, 0.0
        if not self.endpoints:
            urls: Sequence[str | None] = self.settings.base_urls or (None,)
            self.endpoints = [self._endpoint(url) for url in urls]
        self._balancer = Balancer([endpoint.lane for endpoint in self.endpoints])

    def _endpoint(self, url: str | None) -> Endpoint:
        import openai

        most = self.settings.max_concurrency
        # The class of the package's own default, so that it fits whichever HTTP library the package brings.
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=2 * most, max_keepalive_connections=2 * most, keepalive_expiry=30.0
        )
        try:
            http = openai.DefaultAioHttpClient(limits=limits)  # half the time per call of the default transport
        except RuntimeError:  # aiohttp is not installed
            http = openai.DefaultAsyncHttpxClient(limits=limits)
        client = openai.AsyncOpenAI(
            api_key=self._key, base_url=url, max_retries=0, timeout=self.settings.timeout_s, http_client=http
        )
        parts = urlsplit(str(client.base_url))
        shown = (
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # a password in the URL is a secret too
        )
        return Endpoint(shown, client, http, Lane(shown, most), self.settings.structured)

    def scrub(self, text: str) -> str:
        """`text` without our key, should a server repeat it."""
        return text.replace(self._key, "***") if self._key != "none" else text

    def close(self) -> None:
        """Close the connections. The store stays open: it belongs to whoever made it."""
        if self._runner is not None:

            async def close_all() -> None:
                for endpoint in self.endpoints:
                    await endpoint.openai.close()

            self._runner.run(close_all())
            self._runner.close()
            self._runner, self.endpoints = None, []


@cache
def _parsed(schema: str) -> Any:
    """A schema's text as JSON values, parsed once for thousands of calls."""
    return json.loads(schema)


def user(content: str) -> Message:
    return ("user", content)


def answer_from(row: StoredAnswer, *, from_store: bool) -> Answer:
    return Answer(row.key, row.text, row.status, cost_usd=row.cost_usd, from_store=from_store)


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


def _retry_after(headers: Any) -> float:
    """Seconds from `Retry-After` (or its millisecond cousin), 0 where absent or a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers.get(name)) / unit)
        except (TypeError, ValueError):
            continue
    return 0.0


@contextlib.contextmanager
def _bar(on_progress: Callable[[Progress], None] | None, model: str) -> Iterator[Callable[[Progress], None]]:
    """A function to report progress to: the caller's, and a bar with calls/s, tokens, dollars and ETA on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)

    def report(progress: Progress) -> None:
        if on_progress is not None:
            on_progress(progress)

    if not console.is_terminal:
        yield report
        return
    figures = TextColumn("{task.fields[figures]}")
    columns = (TextColumn(f"teacher {model}"), BarColumn(), MofNCompleteColumn(), figures, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, figures="")

        def show(progress: Progress) -> None:
            report(progress)
            tokens = f"{(progress.tokens_in + progress.tokens_out) / 1000:.1f}k tokens"
            figures = f"{progress.calls_per_s:.1f} calls/s  {tokens}  ${progress.usd:.4f}"
            bar.update(task, total=progress.total, completed=progress.done, figures=figures)

        yield show
