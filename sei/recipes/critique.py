"""Critique fine-tuning (CFT, after arXiv 2501.17703): learn to judge solutions, and be asked to solve.

Place in the flow: `train.py` runs this for `recipe=critique`::

    attempts = target(train problems)              mistakes = wrong attempts
    traces = teacher(first wrong step, cause, correction), one a mistake
    adapter = train(question and solution -> "All steps are right." or the trace)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from sei.recipes import costs
from sei.recipes.common import any_mistakes, evaluate, finetune, mistakes_of, phase_complaints, with_replay
from sei.recipes.recipe import Recipe
from sei.recipes.work import Generated, Trained, Work
from sei.records import Mistake
from sei.results import Results
from sei.stages import assemble
from sei.stages.attempt import attempt
from sei.stages.trace import trace
from sei.target.thoughts import Thoughts
from sei.teacher.base import can
from sei.teacher.review import Author
from sei.values import Count, Share

if TYPE_CHECKING:
    from sei.config import Config
    from sei.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Critique(Recipe):
    """Rows that judge the target's own solutions, half of them right."""

    max_examples: Count | None = None  # training rows at most, sampled by seed
    replay: Share = 0.0  # share of the training rows that are gold solutions of training problems, against forgetting

    def run(self, lab: Lab) -> Results:
        problems = lab.problems
        attempts = lab.do(attempt, problems, lab.target(), lab.formats, lab.sampling, style=lab.style)
        mistakes = mistakes_of(lab, problems, attempts)
        if not any_mistakes(lab, mistakes):
            return evaluate(lab, Results(), None)
        thoughts = self.thoughts(lab)
        traces = lab.do(trace, mistakes, cast(Author, lab.teacher), thoughts)
        critiques = assemble.from_checks(
            problems, attempts, mistakes, traces, thoughts, count=len(attempts), seed=lab.config.seed
        )
        if not critiques:
            lab.note("No right and wrong solution to judge: nothing is trained.")
            return evaluate(lab, Results(), None)
        rows = with_replay(lab, critiques, self.replay)
        return evaluate(lab, Results(), finetune(lab, rows, self.training, max_examples=self.max_examples))

    def thoughts(self, lab: Lab) -> Thoughts:
        """The prompt that asks to judge, and its response."""
        return Thoughts("plain" if lab.config.prompt_style == "plain" else "alpaca")

    def complaints(self, config: Config) -> Iterator[str]:
        yield from phase_complaints(self.training, "recipe.training")
        if not config.trainer.enabled:
            yield f"recipe={self.name} does nothing but train on critiques, so trainer=none leaves nothing to do"
        if self.replay == 1:
            yield "recipe.replay=1 leaves no room for critiques; training on gold solutions is recipe=cot"
        if not can(config.teacher, Author):
            yield f"teacher={config.teacher.name} judges no solutions step by step: recipe={self.name} needs one that does"

    def prompts(self, lab: Lab) -> Iterator[tuple[str, str]]:
        yield from super().prompts(lab)
        yield "critiques", self.thoughts(lab).check(lab.splits.train[0].question, ["(step 1)", "(step 2)"])

    def work(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Generated | Trained]:
        work, problems = Work(lab), len(lab.splits.train)
        yield work.attempts("attempts", problems)
        rows = round(problems / (1 - min(self.replay, 0.99)))
        yield work.training("recipe.training", self.training, min(rows, self.max_examples or rows))
        yield from super().work(lab, mistakes)

    def calls(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[costs.Asked]:
        yield from costs.Teacher.of(lab, mistakes).traces()
