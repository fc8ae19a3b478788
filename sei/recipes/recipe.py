"""What every recipe is: a schema, an algorithm, its own complaints and its own cost.

Place in the flow: each module beside this one holds one `Recipe`, bound by one YAML in conf/recipe. The fields are the keys
below `recipe.` and their defaults; a key that a recipe has no use for is not there, and so refused like a typo.

Example::

    @dataclass(frozen=True)
    class ChainOfThought(Recipe):
        paths: Whole | None = None
        def run(self, lab: Lab) -> Results: ...
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sei.recipes.work import Generated, Trained, Work
from sei.records import Mistake
from sei.target.formats import PromptStyle
from sei.training.settings import Hyperparameters

if TYPE_CHECKING:
    from sei.config import Config
    from sei.lab import Lab
    from sei.recipes.costs import Asked
    from sei.recipes.sources import FromModel
    from sei.results import Results


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """A method. `style`: the paper's prompts, for a target that knows none (model.style).

    The groups `teacher`, `clustering` and `embedder` are `uses` of some: choosing an option of one that a recipe does not
    work with is refused, since it would change nothing.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"teacher"})  # the groups that not every recipe works with
    checks: ClassVar[bool] = False  # whether the target is taught to check its solutions, for eval.passes=2

    name: str
    training: Hyperparameters  # of the phase that every method has
    style: PromptStyle = "alpaca"

    @abstractmethod
    def run(self, lab: Lab) -> Results:
        """The whole method: all rounds, evaluated before the first and after the last."""

    def complaints(self, config: Config) -> Iterator[str]:
        """What is wrong with its settings, or with what they are combined with. Nothing, unless a recipe says so."""
        yield from ()

    def phases(self) -> dict[str, Hyperparameters]:
        """Configuration key -> hyperparameters of each training phase, in order."""
        return {"recipe.training": self.training}

    def with_phases(self, **values: object) -> Self:
        """The recipe with these values in all its phases."""
        changed = {
            key.removeprefix("recipe."): dataclasses.replace(phase, **values)  # type: ignore[arg-type]
            for key, phase in self.phases().items()
        }
        return dataclasses.replace(self, **changed)  # type: ignore[arg-type]

    def check(self, config: Config) -> None:
        """Raise UserError where this machine lacks what the recipe asks for: a key in the environment."""
        if "teacher" in self.uses:
            config.teacher.check()

    def other_models(self) -> Iterator[tuple[str, FromModel]]:
        """(configuration key, model) of those that are loaded beside the target, each in its turn."""
        yield from ()

    def prompts(self, lab: Lab) -> Iterator[tuple[str, str]]:
        """For a dry run: (stage, prompt) of what the target is asked, filled."""
        yield "attempts", lab.formats.solve(lab.splits.train[0].question)

    def work(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Generated | Trained]:
        """What the target does in all rounds, about. `mistakes` None: not yet known. A recipe adds its own."""
        yield from Work(lab).evaluation()

    def calls(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Asked]:
        """What its first round asks of a teacher, or of other served models, at most. `mistakes` None: not yet known."""
        yield from ()
