"""What passes between an author and an inspector of templates and traces: verdicts, and requests to write again.

Place in the flow: `stages.inspect` asks an inspector, and sends what is faulty back to its author. The two may be different
models (SuperCorrect, arXiv 2410.09008: o1-mini writes, o1-preview inspects), so what each must be able to do is its own
protocol; `sei.teacher.api.teacher.ApiTeacher` and `sei.teacher.symbolic.SymbolicTeacher` are both of both.

Example::

    Inspection(correct=False, faults=("Step 2 is right, step 3 is the first wrong one.",))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar, runtime_checkable

from sei.records import Diagnosis, Mistake, Problem, Rejected, Trace
from sei.templates import ThoughtTemplate

T = TypeVar("T")


@dataclass(frozen=True)
class Inspection:
    """What an inspector says of one version of a text: `faults` is empty exactly if it is correct."""

    correct: bool
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Revision(Generic[T]):
    """A version that has to be written again, and what is wrong with it."""

    version: T
    faults: tuple[str, ...]


@runtime_checkable
class Author(Protocol):
    """Writes thought templates and correction traces; a revision, where there is one, says what to mend."""

    def fingerprint(self) -> dict[str, Any]:
        """As `Teacher.fingerprint`."""
        ...

    def template(
        self, problems: Sequence[Problem], revisions: Sequence[Revision[ThoughtTemplate] | None] = ()
    ) -> list[ThoughtTemplate | Rejected]:
        """One template per problem, in order. `revisions` is empty or aligned with `problems`."""
        ...

    def trace(
        self, mistakes: Sequence[Mistake], revisions: Sequence[Revision[Trace] | None] = ()
    ) -> list[Trace | Rejected]:
        """One trace per mistake (its output in GSM8K's format), in order, made with the gold solution."""
        ...

    def inspector(self, model: str | None) -> Inspector:
        """Who checks what this author writes: itself, or another `model` that it can reach; it closes that one with itself.

        Raises UserError where there is no other model; `AuthorChoice.inspector_complaints` says so before the run.
        """
        ...


@runtime_checkable
class AuthorChoice(Protocol):
    """A `TeacherChoice` whose teacher is an `Author`."""

    def inspector_complaints(self, model: str | None) -> list[str]:
        """Why `model` (`recipe.templates.inspector_model`) could not inspect; [] where it can, or is None."""
        ...

    def check_inspector(self, model: str | None) -> None:
        """Raise UserError where what `model` needs to inspect is lacking, such as a provider that still serves it."""
        ...


@runtime_checkable
class Inspector(Protocol):
    """Checks templates and traces against problem and gold solution."""

    def fingerprint(self) -> dict[str, Any]:
        """As `Teacher.fingerprint`."""
        ...

    def inspect_templates(
        self, problems: Sequence[Problem], templates: Sequence[ThoughtTemplate]
    ) -> list[Inspection | Rejected]:
        """One verdict per template, in order."""
        ...

    def inspect_traces(self, mistakes: Sequence[Mistake], traces: Sequence[Trace]) -> list[Inspection | Rejected]:
        """One verdict per trace, in order."""
        ...


@runtime_checkable
class NeedsHardSteps(Protocol):
    """An author that must be told at which kinds of steps the target fails, because it cannot judge that itself."""

    def hard_steps(
        self, problems: Sequence[Problem], mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis]
    ) -> frozenset[str]:
        """The kinds at which the target fails most; `problems` are all that it attempted, `mistakes` those that went wrong."""
        ...

    def with_hard_steps(self, hard: frozenset[str]) -> Self:
        """The author that marks steps of these kinds."""
        ...
