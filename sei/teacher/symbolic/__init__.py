"""A teacher without a language model: it reads, compares, repairs and rewrites the arithmetic of solutions.

Place in the flow: the `teacher` of the recipes where `teacher=symbolic`. Read `diagnose` (which step is wrong, and
how), `correct` (the student's steps continued rightly), `synthesize` (new problems from the programs of old ones) and
`evolve` (a harder one from each).
It knows nothing but question and annotated gold solution, so it treats GSM8K and the arithmetic world alike; what it
cannot treat comes back as `Rejected` with a reason code.

Example::

    SymbolicTeacher().diagnose(mistakes)[0].keyphrases    # ("adds a unit price instead of multiplying, for ...",)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sei.answers import Style
from sei.records import Correction, Diagnosis, Mistake, Problem, Rejected
from sei.teacher.base import Draft, SynthesisRequest
from sei.teacher.symbolic.correct import correct
from sei.teacher.symbolic.diagnose import KINDS, Kind, diagnose
from sei.teacher.symbolic.evolve import evolve
from sei.teacher.symbolic.synthesize import synthesize

__all__ = ["KINDS", "Kind", "SymbolicTeacher"]


class SymbolicTeacher:
    """Implements `sei.teacher.base.Teacher` and `Evolver`; deterministic, needs nothing and costs nothing."""

    name = "symbolic"

    def fingerprint(self) -> dict[str, Any]:
        """No parameters: its behaviour is its code, which the workspace fingerprints."""
        return {"teacher": self.name}

    def diagnose(self, mistakes: Sequence[Mistake]) -> list[Diagnosis | Rejected]:
        """First wrong step, kind, keyphrases and explanation, one result per mistake in order."""
        return [diagnose(mistake) for mistake in mistakes]

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
