"""A teacher without a language model: it reads, compares, repairs and rewrites the arithmetic of solutions.

Place in the flow: the `teacher` of the recipes where `conf/teacher/` binds `Symbolic`. Read `diagnose` (which step is wrong, and
how), `correct` (the student's steps continued rightly), `synthesize` (new problems from the programs of old ones) and
`evolve` (a harder one from each).
It knows nothing but question and annotated gold solution, so it treats GSM8K and the arithmetic world alike; what it
cannot treat comes back as `Rejected` with a reason code.

Example::

    SymbolicTeacher().diagnose(mistakes)[0].keyphrases    # ("adds a unit price instead of multiplying, for ...",)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sei.answers import Style
from sei.errors import UserError
from sei.records import Correction, Diagnosis, Mistake, Problem, Rejected, Trace
from sei.teacher.base import Draft, Place, Solution, SynthesisRequest
from sei.teacher.review import Inspection, Revision
from sei.teacher.symbolic.correct import correct
from sei.teacher.symbolic.diagnose import diagnose, locate
from sei.teacher.symbolic.evolve import evolve
from sei.teacher.symbolic.synthesize import synthesize
from sei.teacher.symbolic.template import KINDS as STEP_KINDS
from sei.teacher.symbolic.template import StepKind, hard_kinds, inspect_template, step_rates, template
from sei.teacher.symbolic.trace import inspect_trace, trace
from sei.templates import ThoughtTemplate

__all__ = ["KINDS", "Kind", "Symbolic", "SymbolicTeacher"]


class SymbolicTeacher:
    """Implements `sei.teacher.base.Teacher`, `Evolver`, and `sei.teacher.review`; deterministic, costs nothing.

    `hard` are the kinds of steps that get a key in templates: measured, see `hard_steps`.
    """

    name = "symbolic"

    def __init__(self, hard: Collection[StepKind] = ()) -> None:
        self.hard = frozenset(hard)

    def fingerprint(self) -> dict[str, Any]:
        """The hard kinds, where there are any: the rest of its behaviour is its code, which the workspace fingerprints."""
        return {"teacher": self.name} | ({"hard": sorted(self.hard)} if self.hard else {})

    def close(self) -> None:
        """Nothing is open."""

    def diagnose(self, mistakes: Sequence[Mistake]) -> list[Diagnosis | Rejected]:
        """First wrong step, kind, keyphrases and explanation, one result per mistake in order."""
        return [diagnose(mistake) for mistake in mistakes]

    def locate(self, solutions: Sequence[Solution]) -> list[int | Rejected]:
        """First wrong steps by comparison with the gold solutions; Rejected where another step may be the first one."""
        return [locate(solution) for solution in solutions]

    def correct(self, mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis]) -> list[Correction | Rejected]:
        """A correction that executes to the gold answer per mistake, in order."""
        return [correct(mistake, diagnosis) for mistake, diagnosis in zip(mistakes, diagnoses, strict=True)]

    def synthesize(self, requests: Sequence[SynthesisRequest]) -> list[list[Draft | Rejected]]:
        """Up to `count` drafts per request, and what of its seeds could not be used."""
        return [synthesize(request) for request in requests]

    def evolve(
        self, seeds: Sequence[Problem], *, samples: int, style: Style, rouge_threshold: float, seed: int
    ) -> list[Draft | Rejected]:
        """One harder problem per seed. Its program is executed, so all of `samples` solutions would be the same one."""
        return evolve(seeds, rouge_threshold=rouge_threshold, seed=seed)

    def hard_steps(
        self, problems: Sequence[Problem], mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis]
    ) -> frozenset[str]:
        """The kinds of steps at which the target fails more often than on the whole."""
        return frozenset(hard_kinds(step_rates(problems, mistakes, diagnoses)))

    def with_hard_steps(self, hard: Collection[str]) -> Self:
        """The teacher whose templates have a key at steps of these kinds."""
        return type(self)([kind for kind in STEP_KINDS if kind in hard])

    def template(
        self, problems: Sequence[Problem], revisions: Sequence[Revision[ThoughtTemplate] | None] = ()
    ) -> list[ThoughtTemplate | Rejected]:
        """One template per problem. It has no second opinion: a revision is written like the first version."""
        return [template(problem, self.hard) for problem in problems]

    def trace(
        self, mistakes: Sequence[Mistake], revisions: Sequence[Revision[Trace] | None] = ()
    ) -> list[Trace | Rejected]:
        """One trace per mistake, that executes to the gold answer. A revision is written like the first version."""
        return [trace(mistake) for mistake in mistakes]

    def inspector(self, model: str | None) -> SymbolicTeacher:
        """Itself: it inspects by executing. Raises UserError where a model is to do it."""
        if complaints := Symbolic().inspector_complaints(model):
            raise UserError(complaints[0])
        return self

    def inspect_templates(
        self, problems: Sequence[Problem], templates: Sequence[ThoughtTemplate]
    ) -> list[Inspection | Rejected]:
        """One verdict per template: its arithmetic, its answer, and no number in its generalized part."""
        return [inspect_template(problem, version) for problem, version in zip(problems, templates, strict=True)]

    def inspect_traces(self, mistakes: Sequence[Mistake], traces: Sequence[Trace]) -> list[Inspection | Rejected]:
        """One verdict per trace: its step, the arithmetic of its correction, and its answer."""
        return [inspect_trace(mistake, version) for mistake, version in zip(mistakes, traces, strict=True)]


@dataclass(frozen=True)
class Symbolic:
    """`teacher=symbolic`: no LLM, needs nothing, costs nothing."""

    name: str = "symbolic"

    opens: ClassVar[type[SymbolicTeacher]] = SymbolicTeacher

    def open(self, place: Place) -> SymbolicTeacher:
        return SymbolicTeacher()

    def complaints(self) -> list[str]:
        return []

    def check(self) -> None:
        """Nothing is needed."""

    def check_inspector(self, model: str | None) -> None:
        """Nothing is needed."""

    def inspector_complaints(self, model: str | None) -> list[str]:
        if model is None:
            return []
        return [
            f"recipe.templates.inspector_model={model}: names a model at an API teacher's endpoint, but the symbolic teacher "
            "inspects by executing. Leave it out, or choose an API teacher"
        ]
