"""What passes between an author and an inspector of templates and traces: verdicts, and requests to write again.

Place in the flow: `stages.inspect` asks an inspector, and sends what is faulty back to its author. The two may be different
teachers (SuperCorrect, arXiv 2410.09008: o1-mini writes, o1-preview inspects), so what each must be able to do is its own
protocol; `sei.teacher.api.ApiTeacher` and `sei.teacher.symbolic.SymbolicTeacher` are both of both.

Example::

    Inspection(correct=False, faults=("Step 2 is right, step 3 is the first wrong one.",))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sei.records import Mistake, Problem, Rejected, Trace
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


class Author(Protocol):
    """Writes thought templates and correction traces; a revision, where there is one, says what to mend."""

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


class Inspector(Protocol):
    """Checks templates and traces against problem and gold solution."""

    def inspect_templates(
        self, problems: Sequence[Problem], templates: Sequence[ThoughtTemplate]
    ) -> list[Inspection | Rejected]:
        """One verdict per template, in order."""
        ...

    def inspect_traces(self, mistakes: Sequence[Mistake], traces: Sequence[Trace]) -> list[Inspection | Rejected]:
        """One verdict per trace, in order."""
        ...
