"""Rejection-sampling fine-tuning (RFT, arXiv 2308.01825): train on one's own right solutions, those that differ from each other.

Place in the flow: `train.py` runs this for `recipe=rft`. It needs no teacher, and looks at mistakes only to throw them away::

    sampler = train(gold solutions)
    paths = right solutions of the sampler, no two with the same steps    (recipe.path_sources: how many samples)
    adapter = train(gold solutions + paths)                               (the target anew, not the sampler)

A budget of tokens or steps is for both trainings, half of it for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sei.recipes.common import evaluate, finetune, phase_complaints
from sei.recipes.cot import ChainOfThought
from sei.recipes.work import Generated, Trained, Work
from sei.records import Mistake
from sei.results import Results
from sei.stages import assemble

if TYPE_CHECKING:
    from sei.config import Config
    from sei.lab import Lab


@dataclass(frozen=True, kw_only=True)
class RejectionSampling(ChainOfThought):
    """Gold solutions, and the right ones among those that a model trained on them samples."""

    def run(self, lab: Lab) -> Results:
        gold = assemble.from_problems(lab.problems, lab.formats)
        sampler = finetune(lab, gold, self.training, rounds=2, max_examples=self.max_examples, name="sampler")
        rows = self.chain_rows(lab, lab.problems, sampler)
        adapter = finetune(lab, rows, self.training, rounds=2, max_examples=self.max_examples)
        return evaluate(lab, Results(), adapter)

    def complaints(self, config: Config) -> Iterator[str]:
        yield from super().complaints(config)
        yield from phase_complaints(self.training, "recipe.training", 2)
        if not config.trainer.enabled:
            yield f"recipe={self.name} samples from what it trains, so trainer=none leaves nothing to do; choose another"
        if not self.path_sources:
            yield (
                "recipe.path_sources=[] leaves the gold solutions alone, which is recipe=cot; name who samples, such as "
                "recipe.path_sources=[{kind: target, samples: 8, temperature: 0.7}]"
            )
        elif not config.data.worked:
            yield f"data={config.data.name} has answers but no worked solutions to train the sampler on"

    def work(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Generated | Trained]:
        yield Work(lab).training("recipe.training, of the sampler", self.training, len(lab.splits.train))
        yield from super().work(lab, mistakes)
