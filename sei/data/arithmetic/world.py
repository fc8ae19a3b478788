"""The arithmetic world as a data set: what `conf/data/arithmetic.yaml` binds.

Place in the flow: the lab asks it for its splits; `generate.load` makes them.

Example::

    Arithmetic(train=500).load().tests["out_of_domain"][0].question
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sei.answers import Style
from sei.data.arithmetic.generate import load
from sei.data.base import OverlapLimits
from sei.data.splits import Splits
from sei.values import Count, Whole


@dataclass(frozen=True)
class Arithmetic:
    """Word problems made by a program, with an in-domain and an out-of-domain test set."""

    style: ClassVar[Style] = "gsm8k"
    has_train: ClassVar[bool] = True
    worked: ClassVar[bool] = True
    test_sets: ClassVar[tuple[str, ...]] = ("in_domain", "out_of_domain")

    name: Literal["arithmetic"] = "arithmetic"
    train: Count = 2000
    validation: Whole = 200
    test: Count = 600  # of each test set
    seed: int = 0
    overlap: OverlapLimits = field(default_factory=lambda: OverlapLimits(rouge=0.98))

    def complaints(self) -> list[str]:
        """Nothing can be missing: every problem is made on the spot."""
        return []

    def load(self) -> Splits:
        """The splits of this seed."""
        return load(train=self.train, validation=self.validation, test=self.test, seed=self.seed)
