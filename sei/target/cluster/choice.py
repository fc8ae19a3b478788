"""The keys that `engine=hf` and `engine=vllm` have in common for generating on a cluster: `engine.cluster=ray`.

Place in the flow: `target.hf.HF` and `target.vllm.choice.VLLM` are `Clustered`. Without `cluster` nothing here has an effect. The
cluster is no part of an engine's fingerprint: it says where completions are made, not which.

Example::

    python train.py recipe=sei engine.cluster=ray
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from sei.ray_cluster import connect
from sei.values import Count

if TYPE_CHECKING:
    from sei.target.engine import Engine
    from sei.target.weights import Weights


OPTION = "engine.cluster=ray"


def connected() -> Any:
    """The module `ray`, connected to RAY_ADDRESS, or to the cluster that this machine belongs to. Raises UserError."""
    return connect(
        OPTION,
        instead="join other machines with `ray start --address=HOST:6379`, and where this one is none of them set "
        "RAY_ADDRESS=HOST:6379",
    )


@dataclass(frozen=True)
class Clustered:
    """Where an engine generates."""

    cluster: Literal["ray"] | None = None  # ray: one process for each GPU of the cluster's nodes; null: this machine
    cores: Count | None = None  # of a node without a GPU, for each process there; null: all that it has
    batch_size: Count = 256  # what a process works on at a time

    def alone(self) -> Self:
        """The same on one machine: what each process of the cluster generates with."""
        return dataclasses.replace(self, cluster=None, cores=None)

    def open(self, weights: Weights) -> Engine:
        """An engine for these weights; here as there."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise UserError where this machine lacks what it needs, or has no connection to the cluster."""
        raise NotImplementedError

    @property
    def on_gpus(self) -> bool:
        """Whether it generates on GPUs where there are any."""
        return True

    def gpus_each(self, weights: Weights) -> int:
        """How many GPUs a process needs on the machine that this runs on."""
        return 1

    def over_cluster(self, name: str, weights: Weights) -> Engine:
        """As `open`, over the cluster; `name` is the engine's in each process."""
        from sei.target.cluster.engine import ClusterEngine

        return ClusterEngine(name, weights, self)

    def check_cluster(self) -> None:
        """Raise UserError where there is no connection to the cluster."""
        connected()

    def announce_cluster(self, name: str, weights: Weights) -> list[str]:
        """What would generate these weights' completions. Raises UserError where a node lacks something."""
        from sei.target.cluster.ray_actors import describe, places

        return [f"Generation: {name} over Ray, {describe(places(self, weights, {}))}"]

    def cluster_complaints(self) -> Iterator[str]:
        """What is wrong with these keys."""
        if self.cores is not None and self.cluster is None:
            yield f"engine.cores={self.cores} is for the nodes of a cluster: add engine.cluster=ray, or leave it out"
