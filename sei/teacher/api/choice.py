"""`teacher=gpt-4o` and its like: which model at which address, with what limits and price.

Place in the flow: the options of `conf/teacher/` that name a served model bind this class; a run asks it for complaints and
for what a dry run would cost, and opens the teacher. Light: the openai package is imported by the first question.

Example::

    Api(name="local", model="tiny", base_url="http://127.0.0.1:8000/v1").complaints()          # []
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sei.answers import Style
from sei.errors import UserError
from sei.llm.account import unpriced
from sei.llm.prices import Price
from sei.llm.retired import check_served
from sei.llm.settings import ApiSettings, Mode, StructuredMode, address_complaints, addresses, api_key
from sei.llm.store import Store
from sei.teacher.api.estimate import Estimate, estimate
from sei.teacher.api.limits import limits_with
from sei.teacher.api.roles import Job, Roles
from sei.teacher.api.teacher import ApiTeacher
from sei.teacher.base import Place
from sei.values import Count, NonNegativeFloat, PositiveFloat


@dataclass(frozen=True)
class OwnPrice:
    """US dollars per million tokens, instead of the price table's; `input` and `output` together."""

    input: NonNegativeFloat | None = None
    output: NonNegativeFloat | None = None
    cached: NonNegativeFloat | None = None  # null: no discount
    batch: NonNegativeFloat = 1.0  # multiplies all three in mode batch


@dataclass(frozen=True)
class Api:
    """A teacher behind an OpenAI-compatible endpoint."""

    name: str
    model: str | None = None  # what the endpoint calls it
    base_url: str | tuple[str, ...] | None = None  # one URL or a list, which is balanced; null: OpenAI's
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key
    mode: Mode = "live"  # batch: the provider's batch endpoint, half the price, within a day
    structured: StructuredMode = "json_schema"  # prompt: the schema in words
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)  # by role: max_tokens, temperature, mean_tokens_out
    max_concurrency: Count = 64  # calls in flight per endpoint
    timeout_s: PositiveFloat = 180.0
    max_wait_s: PositiveFloat = 600.0  # a server that asks for a longer pause (Retry-After) ends the run
    budget_usd: NonNegativeFloat | None = None  # stop before the call that would exceed it
    price: OwnPrice = OwnPrice()

    opens: ClassVar[type[ApiTeacher]] = ApiTeacher

    def open(self, place: Place) -> ApiTeacher:
        return ApiTeacher(self.settings, place, self.limits)

    def complaints(self) -> list[str]:
        complaints = address_complaints("teacher", self.base_url, self.api_key_env)
        if not self.model:
            complaints.append("teacher.model: name the model that the endpoint serves")
        if (self.price.input is None) != (self.price.output is None):
            complaints.append("teacher.price: give both input and output, in US dollars per million tokens")
        elif self.model and (complaint := unpriced(self.settings)):
            complaints.append(complaint)
        try:
            limits_with(self.limits)
        except UserError as error:
            complaints.append(str(error))
        return complaints

    def check(self) -> None:
        """Raises UserError where the provider no longer serves the model, or the key is not in the environment."""
        check_served(self.settings)
        api_key(self.settings)

    def check_inspector(self, model: str | None) -> None:
        """As `check`, for another model of the endpoint that inspects."""
        check_served(self._settings_of(model))

    def inspector_complaints(self, model: str | None) -> list[str]:
        complaint = unpriced(self._settings_of(model)) if model else None
        return [complaint] if complaint else []

    @property
    def settings(self) -> ApiSettings:
        """The endpoint as the client takes it."""
        price = None
        if self.price.input is not None and self.price.output is not None:
            price = Price(self.price.input, self.price.output, self.price.cached, self.price.batch)
        return ApiSettings(
            model=self.model or "",
            base_urls=addresses(self.base_url),
            api_key_env=self.api_key_env,
            mode=self.mode,
            structured=self.structured,
            max_concurrency=self.max_concurrency,
            timeout_s=self.timeout_s,
            max_wait_s=self.max_wait_s,
            budget_usd=self.budget_usd,
            price=price,
        )

    def _settings_of(self, model: str | None) -> ApiSettings:
        """The settings, for another model at the same endpoint where one is named."""
        return self.settings if model is None else dataclasses.replace(self.settings, model=model, price=None)

    # What a run would cost

    def roles(self, style: Style) -> Roles:
        """What fills the teacher's prompts."""
        return Roles(style, limits_with(self.limits))

    def estimate(
        self,
        jobs: Sequence[Job[Any]],
        style: Style,
        *,
        calls: int | None = None,
        store: Store | None = None,
        model: str | None = None,
    ) -> Estimate:
        """Calls, tokens and dollars of `jobs`, asking nobody; `model` is asked in place of the teacher's where given."""
        return estimate(jobs, self._settings_of(model), self.roles(style), calls=calls, store=store)
