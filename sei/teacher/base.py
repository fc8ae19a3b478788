"""The Teacher protocol: who diagnoses, corrects and synthesizes.

Place in the flow: stages call a teacher; two families of implementations exist, `symbolic` (no LLM, works from
arithmetic annotations) and an OpenAI-compatible API. Every role takes a batch and answers in the same order, one
result or one `Rejected` per item, so a stage can account for every record and an API teacher can run concurrently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sei.answers import Style
from sei.records import Correction, Diagnosis, Mistake, Problem, Rejected


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


class Evolver(Protocol):
    """A teacher that makes a harder problem of an old one (LeMa step 4)."""

    def evolve(
        self, seeds: Sequence[Problem], *, samples: int, style: Style, rouge_threshold: float, seed: int
    ) -> list[Draft | Rejected]:
        """One new problem per seed, in order; a seed that occurs again gets another one.

        The answer is the one that most of `samples` independent solutions reach; a program that knows the answer needs none.
        Questions with a ROUGE-L F of `rouge_threshold` or more to their seed will be thrown away: a teacher may avoid them.
        """
        ...
