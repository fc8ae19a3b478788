"""What every data set has, and what keeps training problems apart from held-out ones.

Place in the flow: `conf/data/<option>.yaml` binds one class of this protocol: `Arithmetic`, `Published`, `Jsonl`, or your
own; the lab loads its splits, and the separate stage goes by `overlap`.

Example::

    data: Data = Published("gsm8k", path="data/gsm8k", validation=500)
    data.complaints() or data.load().tests["gsm8k"][0].answer     # "18"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from annotated_types import Ge

from sei.answers import Style
from sei.data.splits import Splits
from sei.values import PositiveShare


@dataclass(frozen=True)
class OverlapLimits:
    """Which training problems are too like a held-out one. Equal texts always are."""

    rouge: PositiveShare | None = None  # ROUGE-L F of the questions from which on
    ngram: Annotated[int, Ge(3)] | None = None  # words in a row in common


class Data(Protocol):
    """A source of problems."""

    @property
    def name(self) -> str:
        """What its problems say they come from (`Problem.source`), and what runs are named after."""
        ...

    @property
    def style(self) -> Style:
        """How answers to its problems are graded."""
        ...

    @property
    def overlap(self) -> OverlapLimits:
        """What the separate stage takes out of its training problems."""
        ...

    @property
    def has_train(self) -> bool:
        """Whether it has training problems, or tests alone."""
        ...

    @property
    def test_sets(self) -> tuple[str, ...]:
        """The names of its test sets, as `load` gives them."""
        ...

    @property
    def worked(self) -> bool:
        """Whether its training solutions show how the answer is found, so that they can be trained on."""
        ...

    def load(self) -> Splits:
        """Its problems, in the sizes wanted. Raises UserError naming every fault of the files."""
        ...

    def complaints(self) -> list[str]:
        """What would keep it from being loaded, as far as that can be told without reading the problems."""
        ...
