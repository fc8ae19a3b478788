"""What a call costs: the dated price table, and tokens counted without a tokenizer.

Place in the flow: `account` prices every answer by the tokens the provider counted; the dry run and the budget's
reserve need tokens before the provider has seen the text.

Token counts before a call are an approximation, chosen so that it works offline (tiktoken downloads its vocabulary on
first use): the text is cut as GPT-4's tokenizers pre-split it (words, numbers in groups of three digits, runs of
marks, runs of space), with long words and long runs cut again. Where answers of the same prompt are already in the
store, the dry run takes the tokens per character that the provider really counted for them.

Example::

    price = load_prices()["gpt-4o"]
    price.cost(tokens_in=1000, tokens_out=500)      # US dollars
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sei.errors import UserError

TABLE = Path(__file__).parent / "price_tables" / "2026-06-21.yaml"

# One match a token: up to nine letters of a word, three digits, three marks, or a run of new lines or indentation.
_TOKEN = re.compile(r"[A-Za-z]{1,9}|\d{1,3}|[^\sA-Za-z\d]{1,3}|\n+|[ \t]{2,}")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens. `cached` is for input the provider had cached; `batch` multiplies in batch mode."""

    input: float
    output: float
    cached: float | None = None  # None: no discount
    batch: float = 1.0
    dated: str = ""  # the day the figures were read, "" where the user gave them

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0, *, batch: bool = False) -> float:
        """US dollars for one call; `tokens_cached` is part of `tokens_in`."""
        cached = self.input if self.cached is None else self.cached
        dollars = ((tokens_in - tokens_cached) * self.input + tokens_cached * cached + tokens_out * self.output) / 1e6
        return dollars * (self.batch if batch else 1.0)


@cache
def load_prices(path: Path = TABLE) -> dict[str, Price]:
    """The price table. Raises UserError naming the entry that is malformed."""
    import yaml

    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"price table {path}: {error}") from error
    prices = {}
    for model, entry in table["models"].items():
        try:
            prices[model] = Price(dated=str(table["dated"]), **entry)
        except TypeError as error:
            raise UserError(
                f"price table {path}, model '{model}': {error}; an entry has input, output, cached, batch"
            ) from error
    return prices


def price_of(model: str, override: Price | None = None) -> Price | None:
    """The price of `model`: the override where given, else the table's, None where neither knows it.

    A dated snapshot (`gpt-4o-2024-08-06`) has its family's price unless the table lists it by itself.
    """
    if override is not None:
        return override
    prices = load_prices()
    return prices.get(model) or prices.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` has; see the module's docstring."""
    return len(_TOKEN.findall(text))


def most_tokens(text: str) -> int:
    """An upper bound for the budget's reserve: byte-level tokenizers average well above two bytes a token."""
    return len(text.encode()) // 2 + 16
