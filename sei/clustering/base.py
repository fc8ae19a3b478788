"""The protocols of clustering: an embedder turns keyphrases into vectors, a clusterer groups them.

Place in the flow: `sei.stages.cluster` embeds the unique keyphrases of all diagnoses, hands them to a clusterer and
makes error types of its labels. A clusterer sees phrases, counts and vectors, so one that reads (a language model) and
one that measures (k-means) fit behind the same call. One that needs the run's teacher is bound to it first, see
`AsksTeacher`.

Example::

    clustering = clusterer.cluster(["addition error", "wrong unit"], [3, 1], embedder.embed([...]), seed=0)
    clustering.labels                                   # (0, 1)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sei.records import Rejected

Vectors = npt.NDArray[np.float32]
"""Unit rows, [n, dimension]."""

NOISE = -1
"""The label of a phrase that belongs to no cluster, as in scikit-learn.

Noise forms no error type. A diagnosis all of whose keyphrases are noise is rejected with reason `noise`; one that has
another keyphrase besides goes on with that. Where everything is noise there are no types. This holds for `cluster`;
noise of a `split` stays with the nearest part, since the phrases were found to belong together before.
"""


@dataclass(frozen=True)
class Clustering:
    """One label per phrase, 0 .. clusters - 1 or NOISE; names and descriptions by label where the clusterer wrote any."""

    labels: tuple[int, ...]
    names: tuple[str, ...] | None = None
    descriptions: tuple[str, ...] | None = None


class Embedder(Protocol):
    """Text to vectors. Must not depend on the other texts of a call: centroids are compared across rounds."""

    name: str

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that identify this embedder's behaviour: part of cache keys."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32 [len(texts), dimension]."""
        ...


class Clusterer(Protocol):
    """Phrases to clusters. Deterministic for equal arguments.

    One that counts what happens on the way keeps the counts in an attribute `numbers`; the stage reports them.
    """

    name: str

    @property
    def max_share(self) -> float:
        """A type that holds more than this share of the mistakes is split; 1 sets no limit."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that identify this clusterer's behaviour, `max_share` among them: part of cache keys."""
        ...

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Group distinct `phrases`; `counts` are the mistakes of each, `vectors` [n, dimension] their embeddings."""
        ...

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Divide one cluster that holds too many of the mistakes; a single label means it cannot be divided."""
        ...


class PhrasePrompts(Protocol):
    """The filled prompts of what is asked about phrases, for counting; `sei.teacher.api.roles.Roles` has them."""

    def group_phrases(
        self, phrases: Sequence[str], groups: Sequence[tuple[str, str]], *, divide: bool, sample: int
    ) -> Any: ...

    def name_type(self, type_id: str, keyphrases: Sequence[str], taken: Sequence[str]) -> Any: ...


@runtime_checkable
class AsksTeacher(Protocol):
    """The settings of a clusterer that asks a language model: they become a clusterer once the teacher is known."""

    name: str

    def calls(self, prompts: PhrasePrompts, phrases: int) -> Iterator[tuple[list[Any], int]]:
        """For a dry run: what is asked about so many phrases, as a sample of jobs with one prompt and the number of calls."""
        ...

    def asking(self, teacher: PhraseTeacher) -> Clusterer:
        """The clusterer with these settings that asks `teacher`. Its fingerprint holds the teacher's."""
        ...


class Named(Protocol):
    """A name and description, as a teacher gives them."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...


class Group(Named, Protocol):
    """A named group and the phrases it receives."""

    @property
    def phrases(self) -> tuple[str, ...]: ...


class Merge(Named, Protocol):
    """Groups, by name, that are one; name and description are the joined group's."""

    @property
    def names(self) -> tuple[str, ...]: ...


@runtime_checkable
class PhraseTeacher(Protocol):
    """What a clusterer asks a teacher; `sei.teacher.api.teacher.ApiTeacher` answers."""

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that identify this teacher's behaviour: part of cache keys."""
        ...

    def group_phrases(
        self, phrases: Sequence[str], groups: Sequence[tuple[str, str]], *, divide: bool, sample: int
    ) -> Sequence[Group] | Rejected:
        """Groups for `phrases`, given the (name, description) of those that exist. `sample` tells repetitions apart."""
        ...

    def merge_groups(self, groups: Sequence[tuple[str, str, Sequence[str]]]) -> Sequence[Merge] | Rejected:
        """Which of the groups (name, description, some phrases) are one."""
        ...

    def name_types(self, keyphrases: Sequence[Sequence[str]], type_ids: Sequence[str]) -> Sequence[Named | Rejected]:
        """Names for groups of phrases."""
        ...
