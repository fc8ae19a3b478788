"""Noise: HDBSCAN, written here as a user would write it, leaves phrases in no cluster, and every diagnosis is accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sei.clustering.base import NOISE, Clustering, Vectors
from sei.clustering.embedders import Hashing
from sei.records import Diagnosis
from sei.stages.cluster import cluster
from sei.values import Count, PositiveShare


@dataclass(frozen=True)
class Hdbscan:
    """Density clusters of scikit-learn; what lies in no dense place is noise."""

    min_cluster_size: Count = 4
    max_share: PositiveShare = 1.0
    name = "hdbscan"

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self)}

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        from sklearn.cluster import HDBSCAN

        if len(phrases) < self.min_cluster_size:
            return Clustering((NOISE,) * len(phrases))
        labels = HDBSCAN(min_cluster_size=self.min_cluster_size, copy=True).fit_predict(vectors)
        return Clustering(tuple(int(label) for label in labels))

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        return self.cluster(phrases, counts, vectors, seed)


@dataclass(frozen=True)
class Places:
    """An embedder that knows where each phrase lies: "a3" near axis a, "lone2" far from everything."""

    name = "places"

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name}

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._place(text) for text in texts])

    def _place(self, text: str) -> Vectors:
        kind = text.rstrip("0123456789")
        number = int(text.removeprefix(kind))
        vector = 0.02 * np.random.default_rng(number).normal(size=12)
        # Three dense places; lone phrases have an axis each.
        vector[3 + number if kind == "lone" else "abc".index(kind)] += 1.0
        unit: Vectors = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit


def diagnoses(*phrases: tuple[str, ...]) -> list[Diagnosis]:
    return [Diagnosis(f"d{i}", f"m{i}", 1, "", own, "") for i, own in enumerate(phrases)]


DENSE = [(f"{axis}{i}",) for axis in "abc" for i in range(6)]  # m0 to m17


def test_noise_is_rejected_with_its_reason_and_the_rest_is_typed() -> None:
    both = [("a7", "lone0")]  # m18, which goes on with its other phrase
    noise = [("lone1",), ("lone2", "lone3")]  # m19, m20
    silent = [()]  # m21
    output = cluster(diagnoses(*DENSE, *both, *noise, *silent), embedder=Places(), clusterer=Hdbscan())
    assert [(item.source_id, item.reason) for item in output.rejected] == [
        ("d19", "noise"),
        ("d20", "noise"),
        ("d21", "no_keyphrase"),
    ]
    assert "lone2, lone3" in output.rejected[1].detail
    assert (output.received, output.accepted) == (22, 19)
    assert output.numbers["noise_phrases"] == 4
    assert {error_type.mistake_ids for error_type in output.records} == {
        tuple(sorted([*(f"m{i}" for i in range(6)), "m18"])),
        tuple(sorted(f"m{i}" for i in range(6, 12))),
        tuple(sorted(f"m{i}" for i in range(12, 18))),
    }
    typed = {phrase for error_type in output.records for phrase in error_type.keyphrases}
    assert typed == {phrase for (phrase,) in DENSE} | {"a7"}


def test_only_noise_forms_no_types() -> None:
    output = cluster(diagnoses(("lone1",), ("lone2",), ("lone3",)), embedder=Places(), clusterer=Hdbscan())
    assert output.records == []
    assert [item.reason for item in output.rejected] == ["noise"] * 3
    assert (output.received, output.accepted) == (3, 0)


@dataclass(frozen=True)
class Halves:
    """One cluster of all that is arithmetic; its split knows where the short phrases belong, and no more."""

    max_share: float = 0.5
    name = "halves"

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self)}

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        return Clustering(tuple(NOISE if phrase.startswith("units") else 0 for phrase in phrases))

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        known = {"addition": 0, "division": 1}
        return Clustering(tuple(known.get(phrase, NOISE) for phrase in phrases))


def test_noise_of_a_split_joins_the_nearest_part() -> None:
    phrases = ("addition", "addition of apples", "division", "division by ten", "division of pears")
    noise = ("units of one", "units of two", "units of three", "units of four", "units of five")
    # Half of all mistakes are in the cluster, and so all of those that have a type: it is above the share.
    given = diagnoses(*((phrase,) for phrase in (*phrases, *noise)))
    output = cluster(given, embedder=Hashing(), clusterer=Halves())
    assert {frozenset(error_type.keyphrases) for error_type in output.records} == {
        frozenset(phrases[:2]),
        frozenset(phrases[2:]),
    }
    assert (output.received, output.accepted, output.numbers["noise_phrases"]) == (10, 5, 5)


def test_a_split_that_finds_one_part_or_none_leaves_the_type_whole() -> None:
    for phrases in (("addition", "addition of apples", "addition of pears"), ("sums", "totals")):
        (whole,) = cluster(
            diagnoses(*((phrase,) for phrase in phrases)), embedder=Hashing(), clusterer=Halves()
        ).records
        assert set(whole.keyphrases) == set(phrases)
