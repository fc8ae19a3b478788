"""What both measurements need: the check of `--items`, a price in words, and CSV.

Place in the flow: `mistakes` and `labels` print with these.

Example::

    dollars(None)      # "price unknown"
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import Any

from sei.errors import UserError
from sei.teacher.api.estimate import Estimate
from sei.tracking.display import Display


def positive(count: int) -> int:
    """`count` itself; raises UserError unless it is at least 1."""
    if count < 1:
        raise UserError(f"--items {count}: must be at least 1")
    return count


def print_cost(before: str, what: str, cost: Estimate, display: Display) -> None:
    """Print how many calls a measurement takes, how many of them are paid for already, and the price."""
    usd = "price unknown" if cost.usd is None else f"about {cost.usd:,.4f} US dollars"
    display.note(f"{before}{cost.calls:,} {what}, {cost.stored:,} of them in the store; {usd} ({cost.basis})")


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows with a header; `rows` must not be empty."""
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def dollars(usd: float | None) -> str:
    """A sum in words."""
    return "price unknown" if usd is None else f"{usd:,.2f}"
