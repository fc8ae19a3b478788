"""What runs on the nodes of a cluster: a look at what a node has, and the actor that generates there.

Place in the flow: `ray_actors` has Ray run `look` once on each node, before anything is generated, and an `Actor` for each GPU.
The actor asks an engine of its own, which is the one that the same settings open on one machine: what is completed, and how,
is decided there and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sei.errors import UserError
from sei.target.cluster.choice import Clustered
from sei.target.cluster.dealing import Asked, Made
from sei.target.engine import Completion, Engine, Hosted, Sampling, as_they_end
from sei.target.hub import missing_weights
from sei.target.weights import Weights

HAND_OVER_S = 1.0  # what has been completed for so long has been handed over


@dataclass(frozen=True)
class Found:
    """What a node says of itself: how many GPUs a process needs there, or why it can have none."""

    gpus_each: int = 1
    fault: str = ""


def look(choice: Clustered, weights: Weights) -> Found:
    """Whether this node has what the engine needs."""
    try:
        choice.check()
        check_files(weights)
        return Found(choice.gpus_each(weights))
    except UserError as error:
        return Found(fault=str(error))


def check_files(weights: Weights) -> None:
    """Raise UserError where the weights or the adapter are not on this node, or not the same ones."""
    if said := missing_weights(weights.path, weights.revision, gated=False):
        raise UserError(said)
    adapter = weights.adapter
    if adapter is not None and not adapter.path.is_dir():
        raise UserError(f"{adapter.path}: no such folder.")


class Actor:
    """One process of the cluster."""

    def __init__(self, choice: Clustered) -> None:
        self._choice = choice
        self._engine: Engine | None = None

    def open(self, weights: Weights) -> None:
        """Generate with these weights from now on. Raises UserError where they are not here."""
        check_files(weights)
        engine, earlier = self._choice.open(weights), self._engine
        if earlier is not None and not (isinstance(engine, Hosted) and engine.take_over(earlier)):
            earlier.close()
        self._engine = engine

    def answer(self, block: Asked, sampling: Sampling) -> Iterator[tuple[Made, dict[str, Any]]]:
        """The completions of a block as they end, some at a time, and what the engine's own processes say of themselves."""
        assert self._engine is not None, "opened before it is asked"
        made: list[tuple[int, list[Completion]]] = []
        said = time.monotonic()
        for place, completions in as_they_end(self._engine, [query for _, query in block], sampling):
            made.append((block[place][0], completions))
            if time.monotonic() - said >= HAND_OVER_S:
                yield made, {}
                made, said = [], time.monotonic()
        yield made, self._engine.facts if isinstance(self._engine, Hosted) else {}
