"""Asking through the provider's batch endpoint: half the price, within a day instead of within a minute.

Place in the flow: `client` comes here where `mode="batch"`; the roles and the store do not notice. What is
not in the store is written to JSONL, uploaded and submitted. The batch's tag is in the store *before* it is submitted
and travels along as metadata, so a run that is killed at any moment finds its batches again, even one whose id it
never learnt. Results are merged into the store; lines that expired or failed are submitted again, alone.

Example::

    client = Client(ApiSettings(model="gpt-4o", mode="batch"), store, run="run-1")
    client.ask_many(requests)          # may take a day; stop it and run it again at any time
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import uuid
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sei.errors import UserError
from sei.llm.account import BudgetExceeded
from sei.llm.answer import Answer, now_utc
from sei.llm.budget import committed
from sei.llm.door import loads, shown
from sei.llm.endpoint import Endpoint
from sei.llm.faults import Said, Transient, Unanswerable
from sei.llm.request import Request
from sei.llm.session import Session, Stopped
from sei.llm.store import StoredAnswer

_TAG = "sei_tag"  # the metadata field that holds our tag
_OVER = ("completed", "expired", "cancelled", "failed")
_LARGEST_FILE = 150_000_000  # bytes of one input file; OpenAI takes 200 MB


@dataclass(frozen=True)
class _Batch:
    """A batch that is not merged yet. `id` is "" where its submission was not confirmed."""

    tag: str
    id: str
    run: str


async def ask_all(session: Session, todo: dict[str, Request]) -> dict[str, Answer]:
    """Answers for `todo` (by key), through as many batches as it takes. Ends early as `Client.ask_many` does."""
    endpoint, stopping = session.endpoints[0], session.stopping
    answers: dict[str, Answer] = {}
    failures: dict[str, list[str]] = {}  # what was said in each batch in which a key failed while we watched
    waiting_for = dict(todo)
    with stopping.on_interrupt(), contextlib.suppress(Stopped), _patience(session):
        while waiting_for and stopping.going:
            over_budget = await _submit_new(session, endpoint, waiting_for)
            batches = _open_batches(session, endpoint, waiting_for)
            merged = 0
            for batch in batches:
                merged += await _merge_if_over(session, endpoint, batch, failures)
            answers |= {key: Answer.of(row) for key, row in session.store.get(waiting_for).items()}
            for key, said in failures.items():
                if key in waiting_for and len(said) >= session.settings.batch_rounds:
                    error = f"failed in {len(said)} batches, the last: {said[-1]}"
                    answers.setdefault(key, Answer(key, "", "failed", error=error))
            waiting_for = {key: request for key, request in waiting_for.items() if key not in answers}
            session.progress.done = session.progress.from_store + len(answers)
            session.report(session.progress)
            if over_budget is not None and not batches:  # what fitted into the budget has been merged
                stopping.stop(over_budget)
            elif waiting_for and not merged:
                await stopping.sleep(session.settings.batch_poll_s)
    return answers


@contextlib.contextmanager
def _patience(session: Session) -> Iterator[None]:
    try:
        yield
    except (Transient, Unanswerable) as fault:
        raise UserError(
            f"{session.settings.who}: the batch endpoint does not answer ({fault}). Submitted batches go on "
            "there; run the same command later to fetch them."
        ) from fault


async def _submit_new(session: Session, endpoint: Endpoint, keys: dict[str, Request]) -> BudgetExceeded | None:
    """Submit the keys that are in no open batch. Returns the reason where the budget does not allow all of them."""
    while True:
        tag = uuid.uuid4().hex
        session.store.claim(tag)  # while we submit it, nobody may take it for a batch that was never submitted
        try:
            lines, over_budget = _reserve(session, endpoint, tag, keys)
            if not lines:
                return over_budget
            await _submit(session, endpoint, tag, lines)
        finally:
            session.store.release(tag)


def _reserve(
    session: Session, endpoint: Endpoint, tag: str, keys: dict[str, Request]
) -> tuple[list[str], BudgetExceeded | None]:
    """The lines of one new batch, noted in the store in the same transaction that found them in no other batch."""
    settings, account = session.settings, session.account

    def reserve(connection: sqlite3.Connection) -> tuple[list[str], BudgetExceeded | None]:
        taken = {
            key
            for (key,) in connection.execute(
                "SELECT l.key FROM batch_lines l JOIN batches b ON b.tag = l.tag "
                "WHERE l.outcome = 'open' AND b.endpoint = ?",
                (endpoint.url,),
            )
        }
        before = total = account.spent() + sum(committed(connection, session.store, account.run))
        lines: list[str] = []
        size, over_budget = 0, None
        for key, request in keys.items():
            if key in taken:
                continue
            most = account.most_usd(request)
            if not account.allows(total + most):
                over_budget = account.exceeded(most)
                break
            body = endpoint.body(request)
            line = json.dumps({"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body})
            if len(lines) == settings.batch_lines or size + len(line) > _LARGEST_FILE:
                break
            total += most
            size += len(line) + 1
            lines.append(line)
            connection.execute(
                "INSERT INTO batch_lines (key, tag, outcome, request) VALUES (?, ?, 'open', ?)",
                (key, tag, json.dumps(dataclasses.asdict(request))),
            )
        if lines:
            connection.execute(
                "INSERT INTO batches (tag, batch_id, endpoint, run, state, created) VALUES (?, '', ?, ?, 'open', ?)",
                (tag, endpoint.url, account.run, now_utc()),
            )
            connection.execute(
                "INSERT INTO reservations (holder, run, usd) VALUES (?, ?, ?)", (tag, account.run, total - before)
            )
        return lines, over_budget

    return session.store.write(reserve)


async def _submit(session: Session, endpoint: Endpoint, tag: str, lines: list[str]) -> None:
    content = "".join(f"{line}\n" for line in lines).encode()
    file = await session.persist(
        lambda: _named(endpoint, endpoint.api.files.create(file=(f"{tag}.jsonl", content), purpose="batch"), "id")
    )
    unsure = False

    async def create() -> str:
        # A create whose response was lost may have worked: look before submitting, and paying for, a second one.
        nonlocal unsure
        if unsure and (found := await _find(session, endpoint, tag)):
            return found
        unsure = True
        batch = await _named(
            endpoint,
            endpoint.api.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={_TAG: tag}
            ),
            "id",
        )
        return str(batch.id)

    _note_id(session, tag, await session.persist(create))


def _note_id(session: Session, tag: str, batch_id: str) -> None:
    def note(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE batches SET batch_id = ? WHERE tag = ?", (batch_id, tag))

    session.store.write(note)


def _open_batches(session: Session, endpoint: Endpoint, keys: Iterable[str]) -> list[_Batch]:
    """The open batches that hold any of `keys`, whichever run submitted them."""
    wanted = set(keys)

    def read(connection: sqlite3.Connection) -> list[_Batch]:
        rows = connection.execute(
            "SELECT b.tag, b.batch_id, b.run, l.key FROM batches b JOIN batch_lines l ON l.tag = b.tag "
            "WHERE b.state = 'open' AND b.endpoint = ? ORDER BY b.created, b.tag",
            (endpoint.url,),
        )
        return list(dict.fromkeys(_Batch(tag, batch_id, run) for tag, batch_id, run, key in rows if key in wanted))

    return session.store.write(read)


async def _merge_if_over(
    session: Session,
    endpoint: Endpoint,
    batch: _Batch,
    failures: dict[str, list[str]],
) -> bool:
    """Merge a batch if the provider is done with it. Returns whether it is closed now."""
    if not session.store.claim(batch.tag):  # another process is submitting or merging it
        return False
    try:
        batch_id = batch.id or await session.persist(lambda: _find(session, endpoint, batch.tag))
        if not batch_id:  # killed before it was submitted: its lines are free again
            _close(session, batch.tag, {}, submitted=False)
            return True
        state = await session.persist(
            lambda: _named(
                endpoint, endpoint.api.batches.retrieve(batch_id), "status", maybe=("output_file_id", "error_file_id")
            )
        )
        if state.status not in _OVER:
            return False
        await _merge(session, endpoint, batch, state, failures)
        return True
    finally:
        session.store.release(batch.tag)


async def _find(session: Session, endpoint: Endpoint, tag: str) -> str:
    """The id of the batch that carries `tag`, "" where the provider has none: it was never submitted."""
    page = await endpoint.once(endpoint.api.batches.list(limit=100))
    while True:
        for batch in page.data or []:
            metadata = getattr(batch, "metadata", None)
            if isinstance(metadata, dict) and metadata.get(_TAG) == tag:
                _note_id(session, tag, batch.id)
                return batch.id
        if not page.has_next_page():
            return ""
        page = await endpoint.once(page.get_next_page())


async def _named(endpoint: Endpoint, call: Awaitable[Any], *names: str, maybe: Sequence[str] = ()) -> Any:
    """What `call` gives, with text in the fields `names` and text or nothing in `maybe`. Raises Transient where it has not."""
    found = await endpoint.once(call)
    for name in (*names, *maybe):
        value = getattr(found, name, None)
        if not (isinstance(value, str) or (value is None and name in maybe)):
            raise Transient(f"the batch endpoint's answer has no {name}")
    return found


async def _merge(
    session: Session,
    endpoint: Endpoint,
    batch: _Batch,
    state: Any,
    failures: dict[str, list[str]],
) -> None:
    """Store what a finished batch answered; sort what it did not into lines to submit again and lines to give up."""
    if state.status == "failed" and not state.output_file_id:
        problems = getattr(state.errors, "data", None)
        said = "; ".join(str(getattr(problem, "message", problem)) for problem in problems or [])
        _close(session, batch.tag, {}, submitted=False)
        raise UserError(
            f"{session.settings.who}: the provider refused batch {state.id}: "
            f"{shown(endpoint.scrub(said)) or 'no reason given'}. Mend that and run the same command; nothing of it was charged."
        )
    requests = _requests(session, batch.tag)
    rows: dict[str, StoredAnswer] = {}
    complaints: dict[str, Said] = {}
    for file_id in filter(None, (state.output_file_id, state.error_file_id)):
        for line in (await _download(session, endpoint, file_id)).split("\n"):
            result = _result(line)
            if result is None or result.key not in requests:  # no result, or merged before
                continue
            key = result.key
            if result.status == 200:
                with contextlib.suppress(Transient):  # a body that is no completion: the line counts as failed
                    row = session.read(key, requests[key], json.dumps(result.body), endpoint.url)
                    rows.setdefault(key, dataclasses.replace(row, run=batch.run))
                    continue
            complaints[key] = Said.of(json.dumps(result.error or result.body), endpoint.secret)
    for key, complaint in complaints.items():  # all were sent in one dialect; a refused line is not charged
        endpoint.learn(complaint.text, endpoint.body(requests[key]), complaint.parameter)
    session.store.put_all(list(rows.values()), [])
    outcomes = dict.fromkeys(rows, "answered")
    missing = f"no result, the batch ended as {shown(str(state.status), 50)}"
    for key in requests.keys() - outcomes.keys():
        failures.setdefault(key, []).append(complaints[key].text if key in complaints else missing)
    _close(session, batch.tag, outcomes)
    for row in rows.values():
        session.count(row)


@dataclass(frozen=True)
class _Result:
    """One line of a finished batch's files."""

    key: str
    status: int | None  # an HTTP status; None where the line was not answered
    body: Any
    error: Any


def _result(line: str) -> _Result | None:
    """What a line says, None where it says nothing that can be read."""
    try:
        values = loads(line)
        response = values.get("response") or {}
        return _Result(str(values["custom_id"]), response.get("status_code"), response.get("body"), values.get("error"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


async def _download(session: Session, endpoint: Endpoint, file_id: str) -> str:
    return (await session.persist(lambda: endpoint.once(endpoint.api.files.content(file_id)))).text


def _requests(session: Session, tag: str) -> dict[str, Request]:
    def read(connection: sqlite3.Connection) -> dict[str, Request]:
        rows = connection.execute("SELECT key, request FROM batch_lines WHERE tag = ? AND outcome = 'open'", (tag,))
        return {key: _request(json.loads(text)) for key, text in rows}

    return session.store.write(read)


def _request(values: dict[str, Any]) -> Request:
    return Request(**{**values, "messages": tuple((role, content) for role, content in values["messages"])})


def _close(session: Session, tag: str, outcomes: dict[str, str], *, submitted: bool = True) -> None:
    """Close a batch. Its lines without an outcome have failed, or were never submitted and are forgotten."""

    def close(connection: sqlite3.Connection) -> None:
        for key, outcome in outcomes.items():
            connection.execute("UPDATE batch_lines SET outcome = ? WHERE key = ? AND tag = ?", (outcome, key, tag))
        if submitted:
            connection.execute("UPDATE batch_lines SET outcome = 'failed' WHERE tag = ? AND outcome = 'open'", (tag,))
        else:
            connection.execute("DELETE FROM batch_lines WHERE tag = ?", (tag,))
        connection.execute("UPDATE batches SET state = 'merged' WHERE tag = ?", (tag,))
        connection.execute("DELETE FROM reservations WHERE holder = ?", (tag,))

    session.store.write(close)
