"""What a recipe would have the target do, counted without doing it: completions to generate, tokens to train on.

Place in the flow: a recipe's `work` adds up these parts; `sei.gpu_hours` turns them into hours for a dry run, as `costs` is
turned into dollars. Lengths are those of the prompts as they would be sent and of the gold solutions, in tokens counted without
a tokenizer; nobody knows yet how long the target's own answers are, and a base model may go on until it is cut.

Example::

    work = Work(lab)
    yield work.attempts("attempts", len(lab.splits.train))
    yield work.training("recipe.training", recipe.training, rows=3000)
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sei.llm.prices import estimate_tokens
from sei.training.settings import Hyperparameters, PreferenceHyperparameters

if TYPE_CHECKING:
    from sei.lab import Lab

_SAMPLE = 50  # problems whose lengths stand for all


@dataclass(frozen=True)
class Generated:
    """`completions` answers of a model, each of so many tokens on the average."""

    stage: str
    completions: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class Trained:
    """Training on `tokens`, in phase `key`; `scored` of them are first read once, by the reference."""

    key: str
    tokens: int
    phase: Hyperparameters
    scored: int = 0


@dataclass(frozen=True)
class Work:
    """Counts one run's work by the lengths of its problems."""

    lab: Lab

    def attempts(self, stage: str, completions: int, *, longer: int = 0) -> Generated:
        """Attempts at problems; with prompts that are `longer` by so many tokens."""
        return Generated(stage, completions, self.prompt + longer, min(self.solution, self.lab.sampling.max_new_tokens))

    def evaluation(self, trained: bool = True) -> Iterator[Generated]:
        """The tests before and after, and the validation set for each adapter that is scored."""
        lab, options = self.lab, self.lab.config.eval
        if not lab.trains:
            return
        tests = sum(len(lab.test(name)) for name in lab.splits.tests) * options.samples
        yield self.attempts("evaluation before", tests)
        if not trained:
            return
        yield self.attempts("evaluation after", tests * options.passes)
        kept = 0 if options.select == "last" else sum(map(kept_steps, lab.config.recipe.phases().values()))
        yield self.attempts("validation", len(lab.splits.validation) * (1 + kept))
        if kept and options.select == "paper":
            yield self.attempts("evaluation of what is kept", tests * kept)

    def training(self, key: str, phase: Hyperparameters, rows: int, *, longer: int = 0) -> Trained:
        """A phase on so many rows, as long as a prompt and a solution, and `longer` by so many tokens."""
        length = min(self.prompt + self.solution + longer, phase.max_tokens)
        if isinstance(phase, PreferenceHyperparameters):
            length = min(length + self.solution, 2 * phase.max_tokens)
        tokens = rows * length * phase.epochs
        if phase.tokens is not None:
            tokens = phase.tokens
        elif phase.steps is not None:
            tokens = phase.steps * (phase.batch_tokens or phase.batch_examples * length)
        scored = rows * length if isinstance(phase, PreferenceHyperparameters) else 0
        return Trained(key, round(tokens), phase, scored)

    @cached_property
    def prompt(self) -> int:
        """Tokens of a prompt, its problem included."""
        return self._mean(self.lab.formats.solve(problem.question) for problem in self.lab.splits.train[:_SAMPLE])

    @cached_property
    def solution(self) -> int:
        """Tokens of a gold solution."""
        return self._mean(problem.solution for problem in self.lab.splits.train[:_SAMPLE])

    @staticmethod
    def _mean(texts: Iterator[str]) -> int:
        return round(statistics.fmean(map(estimate_tokens, texts)))


def kept_steps(phase: Hyperparameters) -> int:
    """How many adapters are kept on the way; where the steps follow from the data, none can be told."""
    return 0 if phase.keep_every is None or phase.steps is None else phase.steps // phase.keep_every
