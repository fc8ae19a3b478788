"""The Teacher protocol: who diagnoses, corrects and synthesizes; and how a configuration names one.

Place in the flow: `conf/teacher/` binds a `TeacherChoice`, a run opens it at its `Place`, and stages call the teacher. Two
families of implementations exist, `symbolic` (no LLM, works from arithmetic annotations) and an OpenAI-compatible API.
Every role takes a batch and answers in the same order, one result or one `Rejected` per item, so a stage can account for
every record and an API teacher can run concurrently. What only some teachers can do has a protocol of its own, and `can`
tells before anything is opened.

Example::

    choice.complaints()                 # [] where the configuration holds
    can(choice, Solver)                 # False: the symbolic teacher does not solve
    teacher = choice.open(Place("gsm8k", store=cache / "teacher.sqlite", run_folder=run))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from sei.answers import Style
from sei.records import Correction, Diagnosis, Mistake, Problem, Rejected

if TYPE_CHECKING:
    from sei.llm.store import Store
    from sei.teacher.api.estimate import Estimate
    from sei.teacher.api.roles import Job, Roles


@dataclass(frozen=True)
class Place:
    """Where a run's teacher works."""

    style: Style  # how answers of the run's data are graded
    store: Path  # where paid answers lie
    run_folder: Path  # the run that is charged


@dataclass(frozen=True)
class Seed:
    """A worked problem shown to the teacher as an example for synthesis."""

    id: str  # id of the mistake or the synthetic problem
    question: str
    solution: str
    answer: str


@dataclass(frozen=True)
class SynthesisRequest:
    """One call's worth of synthesis: `count` new problems for one error type.

    `mistakes` are problems the target got wrong by this type of error, `synthesized` are earlier problems of the
    type (SEI: 5 and 3; 8 and 0 until three exist). `seed` makes the call reproducible and distinct from the
    type's other calls.
    """

    error_type_id: str
    name: str
    description: str
    keyphrases: tuple[str, ...]
    mistakes: tuple[Seed, ...]
    synthesized: tuple[Seed, ...]
    count: int
    seed: int
    rouge_threshold: float = 0.7  # drafts whose question has this ROUGE-L F to a seed or another draft are thrown away


@dataclass(frozen=True)
class Draft:
    """A synthesized problem as the teacher returned it, before filters."""

    question: str
    solution: str
    answer: str
    parents: tuple[str, ...]


class Teacher(Protocol):
    """A strong model, or a program that plays one."""

    name: str

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that identify this teacher's behaviour (model, prompts' hashes, parameters): part of cache keys."""
        ...

    def diagnose(self, mistakes: Sequence[Mistake]) -> list[Diagnosis | Rejected]:
        """First wrong step and error keyphrases, one result per mistake in order."""
        ...

    def correct(self, mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis]) -> list[Correction | Rejected]:
        """A correction per mistake in order; `diagnoses` are aligned with `mistakes`."""
        ...

    def synthesize(self, requests: Sequence[SynthesisRequest]) -> list[list[Draft | Rejected]]:
        """For each request in order, up to `count` drafts (and what could not be used)."""
        ...

    def close(self) -> None:
        """Free what the teacher has opened. A second call does nothing."""
        ...


class TeacherChoice(Protocol):
    """One option of `conf/teacher/`: a teacher that is not opened yet."""

    opens: ClassVar[type[Any]]  # the teacher's class, so that `can` needs no teacher

    @property
    def name(self) -> str: ...

    def open(self, place: Place) -> Teacher:
        """The teacher, cheaply: before its first question it needs no key and no network and touches no file."""
        ...

    def complaints(self) -> list[str]:
        """What is wrong with the configuration, as far as types cannot say."""
        ...

    def check(self) -> None:
        """Raise UserError where this machine lacks what the teacher will need, such as its key."""
        ...


def can(choice: TeacherChoice, capability: type[Any]) -> bool:
    """Whether the teacher that `choice` opens has a capability, a runtime-checkable protocol such as `Solver`."""
    return issubclass(choice.opens, capability)


# What only some teachers can do


@runtime_checkable
class Evolver(Protocol):
    """A teacher that makes a harder problem of an old one (LeMa step 4)."""

    def fingerprint(self) -> dict[str, Any]:
        """As `Teacher.fingerprint`."""
        ...

    def evolve(
        self, seeds: Sequence[Problem], *, samples: int, style: Style, rouge_threshold: float, seed: int
    ) -> list[Draft | Rejected]:
        """One new problem per seed, in order; a seed that occurs again gets another one.

        The answer is the one that most of `samples` independent solutions reach; a program that knows the answer needs none.
        Questions with a ROUGE-L F of `rouge_threshold` or more to their seed will be thrown away: a teacher may avoid them.
        """
        ...


@runtime_checkable
class Solver(Protocol):
    """A teacher that solves problems it has no solution of."""

    def fingerprint(self) -> dict[str, Any]:
        """As `Teacher.fingerprint`."""
        ...

    def solve(
        self, questions: Sequence[str], source_ids: Sequence[str], samples: int = 1, temperature: float | None = None
    ) -> list[list[str | Rejected]]:
        """`samples` solutions per question, in order."""
        ...


@dataclass(frozen=True)
class Solution:
    """A solution, right or wrong, whose first wrong step is sought. Its steps are given, not read from a text."""

    id: str
    question: str
    steps: tuple[str, ...]
    gold_answer: str = ""  # "" where unknown, as the gold solution
    gold_solution: str = ""


@runtime_checkable
class Locator(Protocol):
    """A teacher that finds the first wrong step of a solution that may be right."""

    def locate(self, solutions: Sequence[Solution]) -> list[int | Rejected]:
        """For each in order the number of its first wrong step, from 1, or 0 where none is wrong."""
        ...


@runtime_checkable
class Charged(Protocol):
    """A teacher that is paid by the call."""

    def charged(self) -> Mapping[str, float] | None:
        """US dollars that the answers this run used have cost, by role; None where no price is known."""
        ...


@runtime_checkable
class Priced(Protocol):
    """A `TeacherChoice` whose teacher is paid by the call: what a run would ask and cost, asking nobody."""

    @property
    def budget_usd(self) -> float | None:
        """What a run may spend on all served models together."""
        ...

    def roles(self, style: Style) -> Roles:
        """What fills the teacher's prompts."""
        ...

    def estimate(
        self,
        jobs: Sequence[Job[Any]],
        style: Style,
        *,
        calls: int | None = None,
        store: Store | None = None,
        model: str | None = None,
    ) -> Estimate:
        """Calls, tokens and dollars of `jobs`; `model` is asked in place of the teacher's where given."""
        ...
