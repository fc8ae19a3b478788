"""Results: what a recipe found.

Place in the flow: a recipe fills one; `sei.run` writes the outcomes, `tracking.report` the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sei.records import ErrorType, Outcome
from sei.stages.evaluate import CheckpointScore
from sei.target.weights import Adapter


@dataclass
class Results:
    """What a recipe found, before it is written to `results.json`."""

    before: dict[str, list[Outcome]] = field(default_factory=dict)
    after: dict[str, list[Outcome]] = field(default_factory=dict)
    rounds: list[list[ErrorType]] = field(default_factory=list)  # the error types of each round's probe
    validation: list[Outcome] = field(default_factory=list)
    domains: dict[str, list[str]] = field(default_factory=dict)  # domain -> its test sets, where there are several
    checkpoints: list[CheckpointScore] = field(default_factory=list)  # the sweep over kept adapters
    second: dict[str, list[Outcome]] = field(default_factory=dict)  # after a second pass (verify and correct)
    located: dict[str, dict[str, Any]] = field(default_factory=dict)  # whose traces -> located and corrected, with n
    chosen: Adapter | None = None  # what `after` was measured with: the adapter, or one kept on the way to it

    def remember(self, types: Sequence[ErrorType]) -> None:
        """Remember a round's error types, to tell fixed, persistent and new ones apart."""
        self.rounds.append(list(types))

    @property
    def error_types(self) -> list[ErrorType]:
        """Every error type of any round, as it was when first seen."""
        return list({kind.id: kind for types in reversed(self.rounds) for kind in reversed(types)}.values())[::-1]
