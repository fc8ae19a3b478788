"""What questions to a served model would cost, asking nobody: the dry run's figures.

Place in the flow: a dry run and `sei.calibrate` fill the prompts of a sample of records and hand the jobs in here.

Example::

    estimate([roles.diagnose(mistake) for mistake in mistakes], settings, roles).usd
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sei.llm.prices import estimate_tokens, price_of
from sei.llm.request import Request
from sei.llm.settings import ApiSettings
from sei.llm.store import Store
from sei.teacher.api.limits import LIMITS, RoleName
from sei.teacher.api.roles import Job, Roles


@dataclass(frozen=True)
class Estimate:
    """What a stage would cost. `usd` is None where no price is known."""

    calls: int
    stored: int  # of the calls, those whose answers are in the store already: they cost nothing
    tokens_in: int
    tokens_out: int
    usd: float | None
    basis: str  # where the mean output length comes from


def estimate(
    jobs: Sequence[Job[Any]],
    settings: ApiSettings,
    roles: Roles,
    *,
    calls: int | None = None,
    store: Store | None = None,
) -> Estimate:
    """Calls, tokens and dollars of `jobs`, asking nothing; all jobs must be of one role.

    `calls` is how many calls the stage will make where `jobs` are only a sample of them (records not made yet).
    Tokens are counted on the filled prompts; output lengths come from stored answers of the same prompt, else from the
    role's configured mean. Repair calls are not foreseen.
    """
    if not jobs:
        return Estimate(0, 0, 0, 0, 0.0, "no calls")
    calls = len(jobs) if calls is None else calls
    first = jobs[0].request
    if any(job.request.prompt != first.prompt for job in jobs):
        raise ValueError("estimate one role at a time")
    known = store.history(settings.model, first.prompt, first.prompt_hash) if store else None
    stored = len(store.get({job.request.key(settings.model) for job in jobs})) if store else 0
    texts = [job.request.text for job in jobs]
    sizes = [len(text) * known.tokens_per_character if known else estimate_tokens(text) for text in texts]
    mean_in = sum(sizes) / len(sizes)
    mean_out = known.mean_tokens_out if known else float(roles.limits[_role(first)].mean_tokens_out)
    due = max(0, calls - stored)
    tokens_in, tokens_out = round(due * mean_in), round(due * mean_out)
    price = price_of(settings.model, settings.price)
    usd = price.cost(tokens_in, tokens_out, batch=settings.mode == "batch") if price else None
    basis = f"mean of {known.calls} stored answers" if known else "configured mean"
    return Estimate(calls, stored, tokens_in, tokens_out, usd, basis)


def _role(request: Request) -> RoleName:
    return next(role for role in LIMITS if role == request.stage)
