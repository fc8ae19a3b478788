"""Clusterers: `kmeans` (faiss), `agglomerative` (scikit-learn) and `single`, the ablation without types.

Place in the flow: bound in `conf/clustering/`, called by `sei.stages.cluster` with the unique keyphrases.
The number of clusters is the one of best silhouette inside [min_types, max_types].

Example::

    KMeans(min_types=2, max_types=8).cluster(phrases, counts, embedder.embed(phrases), seed=0).labels
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sei.clustering.base import Clustering, Vectors
from sei.values import Count, PositiveShare

Labels = npt.NDArray[np.int64]

_STARTS = 10  # of k-means, each from other random phrases
_SILHOUETTE_SAMPLE = 2000  # phrases; the silhouette needs all pairs among them


@dataclass(frozen=True)
class KMeans:
    """Spherical k-means of faiss: each phrase weighs as much as the mistakes it has, centroids stay unit vectors."""

    min_types: Count = 8
    max_types: Count = 16
    max_share: PositiveShare = 0.4
    name = "kmeans"

    def complaints(self) -> list[str]:
        return range_complaints(self.min_types, self.max_types)

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self)}

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Labels by k-means with the number of clusters of best silhouette."""
        labels_of = self._labels_of(counts, vectors, seed)
        return _best(labels_of, counts, vectors, self.min_types, self.max_types, seed)

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Two clusters, or one where all vectors are equal."""
        return _best(self._labels_of(counts, vectors, seed), counts, vectors, 2, 2, seed)

    def _labels_of(self, counts: Sequence[int], vectors: Vectors, seed: int) -> Callable[[int], Labels]:
        import faiss

        points = np.ascontiguousarray(vectors, dtype=np.float32)
        weights = np.asarray(counts, dtype=np.float32)

        def labels_of(k: int) -> Labels:
            best_labels, best_similarity = np.zeros(len(points), dtype=np.int64), -np.inf
            # Restarts are ours and not faiss' nredo, which chooses by the objective without weights (seen in 1.15).
            for start in range(_STARTS):
                kmeans = faiss.Kmeans(
                    points.shape[1],
                    k,
                    niter=50,
                    seed=_STARTS * seed + start,
                    spherical=True,
                    min_points_per_centroid=1,
                    max_points_per_centroid=len(points),  # never subsample
                )
                kmeans.train(points, weights=weights)
                similarities, labels = kmeans.index.search(points, 1)
                similarity = float(weights @ similarities.ravel())
                if similarity > best_similarity:
                    best_labels, best_similarity = labels.ravel(), similarity
            return best_labels

        return labels_of


@dataclass(frozen=True)
class Agglomerative:
    """Ward's hierarchical clustering of scikit-learn. It has no weights: each phrase counts once in the tree."""

    min_types: Count = 8
    max_types: Count = 16
    max_share: PositiveShare = 0.4
    name = "agglomerative"

    def complaints(self) -> list[str]:
        return range_complaints(self.min_types, self.max_types)

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self)}

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Labels by cutting the tree at the number of clusters of best silhouette."""
        return _best(self._labels_of(vectors), counts, vectors, self.min_types, self.max_types, seed)

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Two clusters, or one where all vectors are equal."""
        return _best(self._labels_of(vectors), counts, vectors, 2, 2, seed)

    def _labels_of(self, vectors: Vectors) -> Callable[[int], Labels]:
        from sklearn.cluster import AgglomerativeClustering

        return lambda k: AgglomerativeClustering(n_clusters=k, linkage="ward").fit_predict(vectors)


@dataclass(frozen=True)
class Single:
    """One type that holds every phrase: what error types are worth is measured against it."""

    max_share: PositiveShare = 1.0
    name = "single"

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self)}

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """All labels 0."""
        return Clustering((0,) * len(phrases), names=("any mistake",))

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """All labels 0: it is never divided."""
        return self.cluster(phrases, counts, vectors, seed)


def range_complaints(min_types: int, max_types: int) -> list[str]:
    """What is wrong with a range of the number of types, beyond what the two fields' own types say."""
    if min_types <= max_types:
        return []
    return [f"clustering.min_types={min_types} is above clustering.max_types={max_types}"]


def _best(
    labels_of: Callable[[int], Labels], counts: Sequence[int], vectors: Vectors, low: int, high: int, seed: int
) -> Clustering:
    """The clustering of best count-weighted mean silhouette (cosine) among `low` to `high` clusters.

    Rousseeuw 1987; defined from 2 clusters to one less than the points, so outside of that range the number of clusters
    is the nearest that exists: one for equal vectors, one per distinct vector where these are fewer than `low`.
    """
    distinct, rows = np.unique(np.asarray(vectors).round(6), axis=0, return_inverse=True)
    if low >= len(distinct):
        return Clustering(_renumbered(rows))
    candidates = range(max(2, low), min(high, len(distinct) - 1) + 1)
    if not candidates or high == 1:
        return Clustering((0,) * len(vectors))
    if len(candidates) == 1:
        return Clustering(_renumbered(labels_of(candidates[0])))

    from sklearn.metrics import pairwise_distances, silhouette_samples

    weights = np.asarray(counts, dtype=np.float64)
    sample = np.arange(len(vectors))
    if len(sample) > _SILHOUETTE_SAMPLE:
        sample = np.sort(np.random.default_rng(seed).choice(sample, _SILHOUETTE_SAMPLE, replace=False))
    distances = pairwise_distances(vectors[sample], metric="cosine").astype(np.float64)
    np.fill_diagonal(distances, 0.0)
    best_labels, best_score = None, -np.inf
    for k in candidates:
        labels = labels_of(k)
        if not 2 <= len(np.unique(labels[sample])) < len(sample):
            continue
        score = np.average(silhouette_samples(distances, labels[sample], metric="precomputed"), weights=weights[sample])
        if score > best_score + 1e-9:  # the smaller number of types wins a tie
            best_labels, best_score = labels, score
    if best_labels is None:
        return Clustering((0,) * len(vectors))
    return Clustering(_renumbered(best_labels))


def _renumbered(labels: npt.NDArray[Any]) -> tuple[int, ...]:
    """The same partition with labels 0, 1, ... in order of first appearance (k-means may leave a cluster empty)."""
    seen: dict[int, int] = {}
    return tuple(seen.setdefault(int(label), len(seen)) for label in labels)
