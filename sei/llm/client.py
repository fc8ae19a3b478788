"""The client: asks a served model many things at once, and pays for each once.

Place in the flow: the teacher's roles and the API engine build `Request`s and get `Answer`s back in the same order. Every
request is looked up in the store; what is not there is asked live or in batches, and is in the store before anyone sees it.

What ends a run early ends it cleanly: no new call starts, calls in flight finish and are saved, then the reason is
raised (`BudgetExceeded`, `KeyboardInterrupt`, or a `UserError` such as a wrong key). The same command continues.

Example::

    client = Client.open(ApiSettings(model="gpt-4o"), store=cache / "teacher.sqlite", run_folder=run)
    answers = client.ask_many([Request(messages=(user("2 + 3?"),), prompt="teacher/solve/gsm8k", ...)])
    client.close()
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from sei.errors import UserError
from sei.llm import batch
from sei.llm.account import Account, run_name
from sei.llm.answer import Answer
from sei.llm.door import Secret
from sei.llm.endpoint import Endpoint
from sei.llm.live import Live
from sei.llm.progress import Progress, bar
from sei.llm.request import Request
from sei.llm.session import Health, Session
from sei.llm.settings import ApiSettings, api_key, holds_password
from sei.llm.shared import open_store
from sei.llm.store import Store, Use


class Client:
    """Asks the endpoints of one model. Not for use from several threads at once: calls queue up."""

    def __init__(self, settings: ApiSettings, store: Store, run: str) -> None:
        """`run` names whom to charge; a restart of the same run gives the same name.

        Raises UserError where the key is missing, or a budget is set for a model without a price.
        """
        self.settings, self.store = settings, store
        self.account = Account(settings, store, run)
        self._key = api_key(settings)
        self._secret = Secret(self._key if self._key != "none" else "")
        if any(holds_password(url) for url in settings.base_urls):
            raise UserError(
                f"{settings.key('base_url')}: holds a user name or password, or a key, which would end up in files. Leave it "
                f"out and put the key into the environment variable that {settings.key('api_key_env')} names."
            )
        self._owns_store = False
        self._runner: asyncio.Runner | None = None
        self._endpoints: list[Endpoint] = []
        self._health = Health()
        self._one_at_a_time = threading.Lock()

    @classmethod
    def open(cls, settings: ApiSettings, *, store: Path, run_folder: Path) -> Self:
        """A client with a store of its own, which `close` closes too; calls are charged to the run in `run_folder`."""
        opened = open_store(store)
        try:
            client = cls(settings, opened, run_name(run_folder, store))
        except BaseException:
            opened.close()
            raise
        client._owns_store = True
        return client

    @property
    def run(self) -> str:
        """The name under which calls are charged."""
        return self.account.run

    def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer per request, in order; equal requests are asked once.

        Raises BudgetExceeded, KeyboardInterrupt (after calls in flight were saved) or UserError; what was answered until
        then is in the store and not asked again.
        """
        keys = [request.key(self.settings.model) for request in requests]
        answers = {key: Answer.of(row) for key, row in self.store.get(dict.fromkeys(keys)).items()}
        progress = Progress(total=len(set(keys)), done=len(answers), from_store=len(answers))
        self._health.answered += len(answers)  # where it answered before, what it refuses now are these few requests
        self._note_uses(zip(keys, requests, strict=True), answers)
        todo = {key: request for key, request in zip(keys, requests, strict=True) if key not in answers}
        if todo:
            answers |= self._ask(todo, progress)
            # A request that occurs under two stages or error types is asked once and used by both.
            self._note_uses(zip(keys, requests, strict=True), answers)
        return [answers[key] for key in keys]

    def _note_uses(self, requests: Iterable[tuple[str, Request]], answers: dict[str, Answer]) -> None:
        uses = [Use(self.run, key, r.stage, r.error_type) for key, r in requests if key in answers]
        if uses:
            self.store.put_all([], list(dict.fromkeys(uses)))

    def _ask(self, todo: dict[str, Request], progress: Progress) -> dict[str, Answer]:
        """The answers that are not in the store yet; raises the reason for which asking was stopped, if any."""
        with self._one_at_a_time, bar(self.settings.model) as report:
            session = Session(
                self.settings, self.store, self.account, self._endpoints, self._health, progress, report, self._secret
            )
            if self._runner is None:
                self._runner = asyncio.Runner()
            try:
                answers = self._runner.run(self._asked(session, todo))
            except asyncio.CancelledError:  # the second Ctrl-C
                answers = {}
            if session.stopping.reason is not None:
                raise session.stopping.reason
            return answers

    async def _asked(self, session: Session, todo: dict[str, Request]) -> dict[str, Answer]:
        if not self._endpoints:  # connections and windows are kept from the last call
            self._endpoints += [self._connect(url) for url in self.settings.base_urls or (None,)]
        if self.settings.mode == "batch":
            return await batch.ask_all(session, todo)
        return await Live(session, todo).ask_all()

    def _connect(self, url: str | None) -> Endpoint:
        return Endpoint.open(url, self.settings, self._key)

    def close(self) -> None:
        """Close the connections, and the store where `open` made it. A second call does nothing."""
        try:
            if self._runner is not None:
                self._runner.run(self._disconnect())
                self._runner.close()
                self._runner = None
                self._endpoints.clear()
        finally:
            if self._owns_store:
                self.store.close()

    async def _disconnect(self) -> None:
        for endpoint in self._endpoints:
            await endpoint.close()
