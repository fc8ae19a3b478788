"""A few problems of another data set: its own where they lie in a folder, else made-up ones in the same form.

Place in the flow: a rehearsal (`sei.rehearsal`) puts this in the place of the data set, so that every stage has something to
work on where the hub cannot be reached. Made-up problems are those of the arithmetic world, written as the set writes its own:
with a box, or with choices. They say nothing of a model.

Example::

    Few(Published("math"), train=20, validation=5, test=5, sets=("math", "gsm8k")).load().tests["math"][0].solution
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sei import answers
from sei.data import arithmetic
from sei.data.arithmetic import Arithmetic
from sei.data.base import Data, OverlapLimits
from sei.data.sources import SOURCES, load_tests
from sei.data.splits import Splits
from sei.records import Problem
from sei.steps import split_steps


@dataclass(frozen=True)
class Few:
    """So many problems of `of` for training and validation, and of each of `sets`."""

    of: Data
    train: int
    validation: int
    test: int
    sets: tuple[str, ...] = ()  # evaluation sets; none: the tests of `of`
    paths: Mapping[str, str] = field(default_factory=dict)  # evaluation set -> local folder

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def style(self) -> answers.Style:
        return self.of.style

    @property
    def overlap(self) -> OverlapLimits:
        """Made-up problems share their words: the arithmetic world's own limits are for them."""
        return Arithmetic().overlap if self.made_up else self.of.overlap

    @property
    def has_train(self) -> bool:
        return self.of.has_train

    @property
    def test_sets(self) -> tuple[str, ...]:
        return self.sets or self.of.test_sets

    @property
    def worked(self) -> bool:
        return self.of.worked

    @property
    def made_up(self) -> list[str]:
        """Which sets would come from the hub, and are made up here: the training problems first, under the set's name."""
        found = {self.name: getattr(self.of, "path", None)} | {
            name: self.paths.get(name) for name in self.sets if name not in self.of.test_sets
        }
        return [name for name, path in found.items() if name in SOURCES and path is None]

    def complaints(self) -> list[str]:
        return self.of.complaints()

    def load(self) -> Splits:
        """Its problems. Raises UserError where a folder of one's own cannot be read."""
        made_up = self.made_up
        whole = None if self.name in made_up else self.of.load()
        others = [name for name in self.sets if name not in made_up and name not in self.of.test_sets]
        tests = load_tests(others, {name: path for name, path in self.paths.items() if name in others})
        tests |= whole.tests if whole else {}
        names = self.test_sets
        made = arithmetic.load(train=self.train, validation=self.validation, test=self.test * len(names), seed=0)
        spare = made.tests["in_domain"]
        found = {}
        for number, name in enumerate(names):
            own = spare[number * self.test : (number + 1) * self.test]
            found[name] = tests[name][: self.test] if name in tests else written_as(name, own)
        if whole is None:
            return Splits(written_as(self.name, made.train), written_as(self.name, made.validation), found)
        return Splits(whole.train[: self.train], whole.validation[: self.validation], found)


def written_as(name: str, problems: Sequence[Problem]) -> list[Problem]:
    """Problems of the arithmetic world, as the published set `name` writes its own."""
    style = SOURCES[name].style
    return [dataclasses.replace(_written(problem, style), source=name, split=problem.split) for problem in problems]


def _written(problem: Problem, style: answers.Style) -> Problem:
    steps = [re.sub(r"<<.*?>>", "", step) for step in split_steps(problem.solution)[0]]
    question, answer = problem.question, problem.answer
    if style == "gsm8k":
        return problem
    if style == "math":
        solution = "\n".join([*steps, f"So the answer is $\\boxed{{{answer}}}$."])
    else:
        number = int(answer)
        options = " ".join(
            f"({letter}) {number + more}" for letter, more in zip("ABCDE", (-2, -1, 0, 1, 2), strict=True)
        )
        question, answer, solution = f"{question}\nAnswer Choices: {options}", "C", "The answer is (C)."
    return Problem.make(
        question=question, answer=answer, solution=solution, source=problem.source, family=problem.family
    )
