"""The engine that generates on the nodes of a cluster.

Place in the flow: what `engine=hf` and `engine=vllm` open where `engine.cluster=ray` is set. `stages.attempt`, `stages.select`
and `stages.evaluate` ask it as any other engine, and keep on disk what it hands over as it comes. Its processes start at the
first question and end with `close`. They go on with other weights where the next engine takes over: a phase starts them once.

A completion is the one that the same settings give on one machine: every process has the same engine, and a sampled completion
draws its random numbers by seed, prompt and sample number, wherever it is made. (What is in a batch beside it can decide a tie
between two tokens, there as here.)

Example::

    engine = HF(cluster="ray").open(weights)
    engine.complete([Query(prompt, question)], Sampling(max_new_tokens=200))[0][0].text
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sei.target.cluster.choice import Clustered
from sei.target.cluster.dealing import Deal
from sei.target.cluster.ray_actors import RayActors
from sei.target.engine import Completion, Query, Sampling
from sei.target.weights import Weights


class ClusterEngine:
    """Engine over a folder that every node sees, or a hub name, with an adapter or without."""

    def __init__(self, name: str, weights: Weights, choice: Clustered) -> None:
        """`name`: of the engine in each process. Starts nothing."""
        self.name, self._weights, self._choice = name, weights, choice
        self._actors: RayActors | None = None
        self.facts: dict[str, Any] = {}

    def fingerprint(self) -> dict[str, Any]:
        return {"engine": self.name, "settings": self._choice, "weights": self._weights}

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """For each query its `sampling.samples` completions."""
        made = dict(self.stream(queries, sampling))
        return [made[place] for place in range(len(queries))]

    def stream(self, queries: Sequence[Query], sampling: Sampling) -> Iterator[tuple[int, list[Completion]]]:
        """The place of each query and its completions, as they come. Who takes no more of them ends the processes."""
        try:
            if self._actors is None:
                self._actors = RayActors(self._choice, absolute(self._weights))
            batch = self._choice.batch_size // (sampling.samples if sampling.temperature else 1)
            yield from Deal(self._actors, queries, sampling, batch=batch).run()
            self.facts = {
                "engine": self.name,
                **self._actors.facts,
                "cluster": "ray",
                "actors": len(self._actors.at_work),
                "nodes": len({place.node for place in self._actors.at_work}),
            }
        except BaseException:
            self.close()
            raise

    def take_over(self, earlier: object) -> bool:
        """Go on with the processes of `earlier`."""
        if not isinstance(earlier, ClusterEngine) or earlier._actors is None or self._actors is not None:
            return False
        if (self.name, self._choice) != (earlier.name, earlier._choice):
            return False
        self._actors, earlier._actors = earlier._actors, None
        self._actors.use(absolute(self._weights))
        return True

    def close(self) -> None:
        """End the processes. Idempotent; the next question starts them again."""
        if self._actors is not None:
            self._actors.close()
            self._actors = None


def absolute(weights: Weights) -> Weights:
    """The same, named so that a process in another folder finds them."""
    path = str(Path(weights.path).resolve()) if Path(weights.path).is_dir() else weights.path
    adapter = weights.adapter
    return dataclasses.replace(
        weights, path=path, adapter=adapter and dataclasses.replace(adapter, path=adapter.path.resolve())
    )
