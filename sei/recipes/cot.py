"""Chain-of-thought fine-tuning: train on the gold solutions of the training problems, and on sampled right paths.

Place in the flow: `train.py` runs this for `recipe=cot`. It looks at no mistake: the baseline the others must beat::

    adapter = train(gold solutions + other right paths)            (recipe.path_sources)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from sei.data.sources import is_worked
from sei.recipes import costs, sources
from sei.recipes.common import checkpoint_complaints, evaluate, finetune, phase_complaints
from sei.recipes.recipe import Recipe
from sei.recipes.sources import FromModel, Source
from sei.recipes.work import Generated, Trained, Work
from sei.records import Example, Mistake, Problem
from sei.results import Results
from sei.stages import assemble
from sei.stages.paths import paths
from sei.target.weights import Adapter
from sei.values import Count, Whole

if TYPE_CHECKING:
    from sei.config import Config
    from sei.lab import Lab


@dataclass(frozen=True, kw_only=True)
class ChainOfThought(Recipe):
    """Gold solutions and, where `path_sources` names who writes them, more right paths to the same answers."""

    uses: ClassVar[frozenset[str]] = frozenset()

    path_sources: list[Source] = field(default_factory=list)  # more chains of thought beside the gold solutions
    paths: Whole | None = None  # how many of those paths at most
    max_examples: Count | None = None  # training rows at most, sampled by seed: ablations at equal examples

    def run(self, lab: Lab) -> Results:
        """One training phase."""
        rows = self.chain_rows(lab, lab.problems)
        return evaluate(lab, Results(), finetune(lab, rows, self.training, max_examples=self.max_examples))

    def chain_rows(
        self, lab: Lab, problems: Sequence[Problem], adapter: Adapter | None = None, *, round: int = 1
    ) -> list[Example]:
        """Chain-of-thought rows: the gold solutions, and other right paths to the same answers.

        A data set of bare answers has only those paths (and what was made of it by evolution).
        """
        gold = assemble.from_problems([problem for problem in problems if is_worked(problem)], lab.formats)
        if not self.path_sources or self.paths == 0:
            return gold
        attempts = sources.sample(lab, problems, self.path_sources, adapter, name="paths.attempts", round=round)
        right = lab.do(paths, problems, attempts, target=self.paths, style=lab.style, seed=lab.config.seed, round=round)
        return [*gold, *assemble.from_attempts(right, problems, lab.formats)]

    def complaints(self, config: Config) -> Iterator[str]:
        if not config.trainer.enabled and type(self) is ChainOfThought:
            yield f"recipe={self.name} does nothing but train, so trainer=none leaves nothing to do; choose another"
        yield from phase_complaints(self.training, "recipe.training")
        yield from checkpoint_complaints(config.eval.select, {"recipe.training": self.training})
        yield from sources.complaints(self.path_sources, "recipe.path_sources")
        if not self.path_sources and not config.data.worked:
            yield (
                f"data={config.data.name} has answers but no worked solutions: name who writes them, such as "
                "recipe.path_sources=[{kind: target, samples: 4, temperature: 0.7}]"
            )

    def check(self, config: Config) -> None:
        super().check(config)
        for source in self.path_sources:
            source.check()

    def other_models(self) -> Iterator[tuple[str, FromModel]]:
        yield from sources.loaded(self.path_sources, "recipe.path_sources")

    def work(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Generated | Trained]:
        yield from sources.work(lab, self.path_sources, "attempts, path_sources")
        if lab.trains:
            sampled = sum(source.samples for source in self.path_sources) * len(lab.splits.train)
            paths = sampled if self.paths is None else min(sampled, self.paths)
            rows = min(
                len(lab.splits.train) + paths + self.correction_count(lab, mistakes), self.max_examples or 10**12
            )
            yield Work(lab).training("recipe.training", self.training, rows)
        yield from super().work(lab, mistakes)

    def correction_count(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> int:
        """Rows beside the chains of thought, at most. None here: no mistake is looked at."""
        return 0

    def calls(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[costs.Asked]:
        yield from costs.of_sources(lab, self.path_sources, "recipe.path_sources")
