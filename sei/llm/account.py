"""Whom calls are charged to, and what they may cost.

Place in the flow: `client` opens one `Account` for its run; `live` and `batch` ask it before they send. All processes and
restarts of a run share one budget, because the run's name lies in its folder and its spending in the store.

Example::

    account = Account(ApiSettings(model="gpt-4o", budget_usd=20.0), store, run_name(run_folder, store.path))
    account.most_usd(request)          # the most this request can cost
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from sei.errors import UserError
from sei.llm.prices import Price, most_tokens, price_of
from sei.llm.request import Request
from sei.llm.settings import ApiSettings
from sei.llm.store import Store

RUN_FILE = "teacher.json"  # in the run folder: where the store is and under which name this run is charged


class BudgetExceeded(UserError):
    """The next call could exceed the budget; everything answered so far is in the store."""


class Account:
    """One run's spending on one model."""

    def __init__(self, settings: ApiSettings, store: Store, run: str) -> None:
        """`run` names whom to charge; a restart of the same run gives the same name.

        Raises UserError where a budget is set for a model without a price.
        """
        if complaint := unpriced(settings):
            raise UserError(complaint)
        self.model, self.run, self.budget_usd = settings.model, run, settings.budget_usd
        self._batch, self._store = settings.mode == "batch", store
        self._price = price_of(settings.model, settings.price) or Price(0.0, 0.0)

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """US dollars for one call; `tokens_cached` is part of `tokens_in`."""
        return self._price.cost(tokens_in, tokens_out, tokens_cached, batch=self._batch)

    def most_usd(self, request: Request) -> float:
        """The most this request can cost."""
        return self.cost(most_tokens(request.text), request.max_tokens)

    def spent(self) -> float:
        """US dollars that the run paid so far, in all its processes."""
        return self._store.spent(self.run)

    def allows(self, usd: float) -> bool:
        """Whether the run's spending may reach `usd`."""
        return self.budget_usd is None or usd <= self.budget_usd

    def exceeded(self, most: float) -> BudgetExceeded:
        """The error for a next call that may cost `most`."""
        return BudgetExceeded(
            f"teacher.budget_usd={self.budget_usd or 0.0:g}: {self.spent():.4f} US dollars are spent and the next call may "
            f"cost {most:.4f}. Everything answered so far is kept in {self._store.path}; to go on, run the same command with "
            "a higher teacher.budget_usd."
        )


def unpriced(settings: ApiSettings) -> str | None:
    """What to say where a budget is set for a model without a price, which it could not hold; None where it can."""
    if settings.budget_usd is None or price_of(settings.model, settings.price) is not None:
        return None
    remedy = (
        f"Give {settings.key('price.input')} and {settings.key('price.output')} in US dollars per million tokens (0 for your "
        "own server)."
        if settings.group
        else "A source of attempts has the price that our table knows: take another model, or leave the budget out."
    )
    return f"teacher.budget_usd={settings.budget_usd:g}: no price is known for model '{settings.model}'. {remedy}"


def run_name(run_folder: Path, store: Path) -> str:
    """The name under which the run in `run_folder` is charged, kept there so that restarts share one budget."""
    path = run_folder / RUN_FILE
    try:
        if path.exists():
            name = json.loads(path.read_text(encoding="utf-8"))["run"]
            if not (isinstance(name, str) and name):  # or the run would be charged together with every other such run
                raise ValueError(f"'run' is {name!r} and no name")
            return name
        run_folder.mkdir(parents=True, exist_ok=True)
        name = f"{run_folder.resolve().name}-{uuid.uuid4().hex[:8]}"
        path.write_text(json.dumps({"run": name, "store": str(store.resolve())}, indent=2) + "\n", encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: {error}. The run folder must be writable, and {RUN_FILE} in it untouched.") from error
    return name
