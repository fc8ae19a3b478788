"""Self-instruct from mistakes: SEI without error types, its ablation "without clustering".

Place in the flow: `train.py` runs this for `recipe=self_instruct`. The problems are synthesized from any mistakes, drawn
without regard to what went wrong; everything else is as in `self_error_instruct`::

    attempts = target(train problems)        mistakes = wrong attempts
    synthetic = teacher(new problems)        selected = top share as one-shot demonstration
    adapter = train(selected, of this and earlier rounds)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sei.recipes import costs
from sei.recipes.self_error_instruct import SelfErrorInstruct
from sei.records import ErrorType, Mistake, content_id
from sei.results import Results

if TYPE_CHECKING:
    from sei.lab import Lab

ANY_MISTAKE = "any mistake"


@dataclass(frozen=True, kw_only=True)
class SelfInstruct(SelfErrorInstruct):
    """New problems from any mistakes."""

    uses: ClassVar[frozenset[str]] = frozenset({"teacher"})

    def types(self, lab: Lab, mistakes: Sequence[Mistake], results: Results, round: int) -> list[ErrorType]:
        """All mistakes as one nameless type, which is not reported."""
        return [
            ErrorType(
                content_id("type", ANY_MISTAKE),
                name=ANY_MISTAKE,
                description="",
                size=len(mistakes),
                keyphrases=(),
                medoids=(),
                mistake_ids=tuple(mistake.id for mistake in mistakes),
                cohesion=0.0,
                centroid=(),
                round=round,
            )
        ]

    def calls(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[costs.Asked]:
        yield from costs.Teacher.of(lab, mistakes).synthesis(self.synthesis)
