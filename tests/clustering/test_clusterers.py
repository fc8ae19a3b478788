"""Clusterers on points whose groups are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic
import pytest

from sei.clustering.base import Clusterer, Vectors
from sei.clustering.clusterers import Agglomerative, KMeans, Single
from sei.clustering.llm import Hybrid, Llm


def _groups(sizes: list[int], seed: int = 0) -> tuple[Vectors, list[int]]:
    """Unit vectors near as many orthogonal axes as there are sizes, and the axis of each."""
    generator = np.random.default_rng(seed)
    truth = [axis for axis, size in enumerate(sizes) for _ in range(size)]
    points = np.eye(len(sizes) + 2)[truth] + 0.1 * generator.normal(size=(len(truth), len(sizes) + 2))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), truth


def _cluster(clusterer: Clusterer, vectors: Vectors, counts: list[int] | None = None, seed: int = 0) -> tuple[int, ...]:
    phrases = [str(i) for i in range(len(vectors))]
    return clusterer.cluster(phrases, counts or [1] * len(vectors), vectors, seed).labels


def _same_partition(first: tuple[int, ...], second: list[int]) -> bool:
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len(set(first)) == len(set(second))


@pytest.fixture(params=[KMeans, Agglomerative])
def clusterer(request: pytest.FixtureRequest) -> Clusterer:
    made: Clusterer = request.param(min_types=2, max_types=10)
    return made


def test_silhouette_finds_the_number_of_groups(clusterer: Clusterer) -> None:
    vectors, truth = _groups([12, 9, 7, 15, 8])
    labels = _cluster(clusterer, vectors)
    assert _same_partition(labels, truth)
    assert sorted(set(labels)) == list(range(5))
    assert labels == _cluster(clusterer, vectors)  # deterministic


@pytest.mark.parametrize("kind", [KMeans, Agglomerative])
def test_the_number_stays_inside_the_range(kind: type[KMeans] | type[Agglomerative]) -> None:
    vectors, _ = _groups([10, 10, 10, 10, 10])
    for low, high in ((2, 3), (7, 9)):
        assert low <= len(set(_cluster(kind(min_types=low, max_types=high), vectors))) <= high


def test_few_phrases(clusterer: Clusterer) -> None:
    vectors, _ = _groups([1, 1, 1])
    assert _cluster(clusterer, vectors[:1]) == (0,)
    assert _cluster(clusterer, vectors[:2]) == (0, 1)
    assert len(set(_cluster(clusterer, vectors))) in {2, 3}
    assert _cluster(clusterer, np.repeat(vectors[:1], 4, axis=0)) == (0, 0, 0, 0)  # equal vectors are one cluster


def test_fewer_phrases_than_types_are_a_type_each() -> None:
    vectors, _ = _groups([1, 1, 1])
    assert len(set(_cluster(KMeans(min_types=4, max_types=8), vectors))) == 3


def test_split_gives_two_parts_or_one(clusterer: Clusterer) -> None:
    vectors, truth = _groups([6, 6])
    phrases = [str(i) for i in range(12)]
    assert _same_partition(clusterer.split(phrases, [1] * 12, vectors, 0).labels, truth)
    equal = np.repeat(vectors[:1], 3, axis=0)
    assert clusterer.split(phrases[:3], [1] * 3, equal, 0).labels == (0, 0, 0)


def test_kmeans_weighs_phrases_by_their_mistakes() -> None:
    # On an arc at 0, 37, 53 and 90 degrees: two pairs are best when all count the same, and the two outer ones alone are
    # worth less than two heavy ones in the middle, whichever random start k-means has.
    vectors = np.asarray([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
    kmeans = KMeans(min_types=2, max_types=2)
    for seed in range(5):
        assert _same_partition(_cluster(kmeans, vectors, [1, 1, 1, 1], seed), [0, 0, 1, 1])
        assert _same_partition(_cluster(kmeans, vectors, [1, 100, 100, 1], seed), [0, 0, 1, 1])
        assert _same_partition(_cluster(kmeans, vectors, [100, 100, 1, 1], seed), [0, 1, 1, 1])


def test_single_never_divides() -> None:
    vectors, _ = _groups([5, 5])
    single = Single()
    assert _cluster(single, vectors) == (0,) * 10
    assert single.split([str(i) for i in range(10)], [1] * 10, vectors, 0).labels == (0,) * 10


@pytest.mark.parametrize("kind", [KMeans, Agglomerative, Llm, Hybrid])
def test_a_range_the_wrong_way_round_is_a_complaint(kind: Any) -> None:
    assert kind(min_types=5, max_types=5).complaints() == []
    assert kind(min_types=5, max_types=4).complaints() == ["clustering.min_types=5 is above clustering.max_types=4"]


@pytest.mark.parametrize("kind", [KMeans, Agglomerative, Single, Llm, Hybrid])
@pytest.mark.parametrize("share", [0.0, 1.5])
def test_an_impossible_share_is_refused_where_the_settings_are_read(kind: type[Any], share: float) -> None:
    door = pydantic.TypeAdapter(kind)
    assert door.validate_python({"max_share": 0.5}) == kind(max_share=0.5)
    with pytest.raises(pydantic.ValidationError, match="max_share"):
        door.validate_python({"max_share": share})


def test_all_that_decides_the_types_is_in_the_fingerprint() -> None:
    one = KMeans().fingerprint()
    assert one == KMeans().fingerprint()
    for other in (KMeans(min_types=2), KMeans(max_types=9), KMeans(max_share=0.5), Agglomerative()):
        assert other.fingerprint() != one
