"""Clusterers that read: `llm`, SEI's seed-then-extend over an API teacher, and `hybrid`, k-means that a teacher names.

Place in the flow: `Llm` and `Hybrid` are the settings that `conf/clustering/` binds; `asking(teacher)` gives the
clusterer that `sei.stages.cluster` calls. Source of `llm`: SEI (arXiv 2505.22591), step 3: the first batch of phrases
is grouped from nothing, later batches are shown the groups so far. Ours is the bookkeeping around it. A reply is never
believed about which phrases there are: phrases it leaves out, or puts into two groups, are asked again, and what stays
open goes to the group of nearest centroid; phrases it invents are dropped. Batches are drawn at random (by seed), since
an alphabetical one holds hardly more than one kind of error. At the end the teacher says which groups are one weakness
under two names. What happened on the way is counted in `numbers`, over all calls of one clusterer, for the stage's
manifest.

Example::

    clusterer = Llm(max_types=16).asking(teacher)
    clusterer.cluster(phrases, counts, embedder.embed(phrases), seed=0).names
    clusterer.numbers                     # {"phrases_asked": 312, "missing": 2, "asked_again": 2, "merged": 3}
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sei.clustering.base import Clustering, PhrasePrompts, PhraseTeacher, Vectors
from sei.clustering.clusterers import KMeans, range_complaints
from sei.errors import UserError
from sei.records import Rejected
from sei.values import Count, PositiveShare, Whole

_log = logging.getLogger(__name__)

_MOST_PARTS = 4  # of a divided type, as its prompt says
_SHOWN = 12  # phrases that stand for a group when the teacher names or merges groups


Numbers = Counter[str]
"""What a clusterer counts, zeros left out.

phrases_asked: phrases of the first questions; asked_again: phrases of the repeated ones; missing, in_two_groups, invented:
phrases that a reply left out, put into two groups, or brought in unasked; unusable_replies: that gave nothing at all;
placed_by_embedding: phrases still open after the last question; divided: types that were too broad; merged: types that
the teacher joined to another; over_max_types: types joined to their nearest because there were too many; named, unnamed:
clusters that got a name from the teacher, or from a phrase of their own because its reply was unusable.
"""


Settings = TypeVar("Settings", "Llm", "Hybrid")


@dataclass(frozen=True)
class _Asking(Generic[Settings]):
    """Settings of a clusterer with the teacher that it asks, and what it counts."""

    settings: Settings
    teacher: PhraseTeacher
    numbers: Numbers = field(default_factory=Counter, compare=False)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def max_share(self) -> float:
        return self.settings.max_share

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self.settings), "teacher": self.teacher}


@dataclass(frozen=True)
class Llm:
    """Seed-then-extend. `batch` phrases a call (SEI: about 100); what a reply leaves open is asked `asks` times more."""

    min_types: Count = 4  # merging stops there
    max_types: Count = 16
    max_share: PositiveShare = 0.4
    batch: Count = 100
    asks: Whole = 2
    name = "llm"

    def complaints(self) -> list[str]:
        return range_complaints(self.min_types, self.max_types)

    def calls(self, prompts: PhrasePrompts, phrases: int) -> Iterator[tuple[list[Any], int]]:
        """One call a batch, and one that merges."""
        shown = [f"stand-in keyphrase for the error of mistake {n}" for n in range(min(phrases, self.batch))]
        yield [prompts.group_phrases(shown, (), divide=False, sample=0)], -(-phrases // self.batch) + 1

    def asking(self, teacher: PhraseTeacher) -> LlmClusterer:
        """The clusterer with these settings that asks `teacher`."""
        return LlmClusterer(self, teacher)


@dataclass(frozen=True)
class LlmClusterer(_Asking[Llm]):
    """`Llm` with its teacher."""

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Groups of the teacher's, merged where it says so and down to `max_types`; their names and descriptions.

        Raises UserError where no reply could be used at all.
        """
        groups = self._grouped(phrases, counts, vectors, seed, divide=False)
        if not groups:
            raise UserError(
                f"clustering=llm: the teacher gave no usable reply for any of {len(phrases)} keyphrases. Its answers are "
                "in the teacher's store; clustering=hybrid or clustering=kmeans needs less of it."
            )
        groups = _merged(self.teacher, groups, phrases, counts, vectors, self.settings.min_types, self.numbers)
        return _clustering(_at_most(self.settings.max_types, groups, counts, vectors, self.numbers), len(phrases))

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """Two to four groups of the teacher's; halves by k-means where it forms only one."""
        self.numbers["divided"] += 1
        groups = self._grouped(phrases, counts, vectors, seed, divide=True)
        if len(groups) < 2:
            return KMeans().split(phrases, counts, vectors, seed)
        return _clustering(_at_most(_MOST_PARTS, groups, counts, vectors, self.numbers), len(phrases))

    def _grouped(
        self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int, *, divide: bool
    ) -> list[_Draft]:
        """All phrases in groups, each in exactly one; no groups where every reply was useless."""
        order = [int(i) for i in np.random.default_rng(seed).permutation(len(phrases))]
        groups: dict[str, _Draft] = {}
        account: Numbers = Counter()
        left: list[int] = []
        for start in range(0, len(order), self.settings.batch):
            open_ = order[start : start + self.settings.batch]
            for sample in range(1 + self.settings.asks):
                self.numbers["asked_again" if sample else "phrases_asked"] += len(open_)
                open_ = self._ask(phrases, open_, groups, account, divide=divide, sample=sample)
                if not open_:
                    break
            left += open_
        drafts = [draft for draft in groups.values() if draft.members]
        if not drafts:
            self.numbers.update(account)
            return []
        centroids = _centroids(drafts, counts, vectors)
        for i in left:
            drafts[int((centroids @ vectors[i]).argmax())].members.append(i)
        if left:
            account["placed_by_embedding"] = len(left)
        self.numbers.update(account)
        if account.total():
            _log.warning("clustering=llm: of %d phrases, %s", len(phrases), _listed(account))
        return drafts

    def _ask(
        self,
        phrases: Sequence[str],
        batch: Sequence[int],
        groups: dict[str, _Draft],
        account: Numbers,
        *,
        divide: bool,
        sample: int,
    ) -> list[int]:
        """Ask about `batch` (indices of phrases), enter what is settled into `groups`; returns the indices left open."""
        known = [(draft.name, draft.description) for draft in groups.values()]
        reply = self.teacher.group_phrases([phrases[i] for i in batch], known, divide=divide, sample=sample)
        if isinstance(reply, Rejected):
            account["unusable_replies"] += 1
            return list(batch)
        index_of = {_key(phrases[i]): i for i in batch}
        claims: dict[int, dict[str, None]] = {i: {} for i in batch}  # phrase -> groups, in the reply's order
        for group in reply:
            own = [index_of[_key(text)] for text in group.phrases if _key(text) in index_of]
            if invented := len(group.phrases) - len(own):
                account["invented"] += invented
            if own:
                groups.setdefault(_key(group.name), _Draft(group.name, group.description))
            for i in own:
                claims[i][_key(group.name)] = None
        for i, names in claims.items():
            if len(names) == 1:
                groups[next(iter(names))].members.append(i)
            else:
                account["in_two_groups" if names else "missing"] += 1
        return [i for i in batch if len(claims[i]) != 1]


@dataclass(frozen=True)
class Hybrid:
    """K-means forms the groups; the teacher names and describes them and says which are one."""

    min_types: Count = 8
    max_types: Count = 16
    max_share: PositiveShare = 0.4
    name = "hybrid"

    def complaints(self) -> list[str]:
        return range_complaints(self.min_types, self.max_types)

    def calls(self, prompts: PhrasePrompts, phrases: int) -> Iterator[tuple[list[Any], int]]:
        """One call a type for its name, and one that merges."""
        yield [prompts.name_type("cluster", ["stand-in keyphrase for an error"] * 12, [])], self.max_types + 1

    def asking(self, teacher: PhraseTeacher) -> HybridClusterer:
        """The clusterer with these settings that asks `teacher`."""
        return HybridClusterer(self, teacher)


@dataclass(frozen=True)
class HybridClusterer(_Asking[Hybrid]):
    """`Hybrid` with its teacher."""

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """The clusters of k-means, named and merged. A cluster whose naming failed is named after a phrase of its own."""
        drafts = self._named(self._kmeans.cluster(phrases, counts, vectors, seed), phrases, counts, vectors)
        merged = _merged(self.teacher, drafts, phrases, counts, vectors, self.settings.min_types, self.numbers)
        return _clustering(merged, len(phrases))

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        """The halves of k-means, named."""
        self.numbers["divided"] += 1
        halves = self._kmeans.split(phrases, counts, vectors, seed)
        return _clustering(self._named(halves, phrases, counts, vectors), len(phrases))

    @property
    def _kmeans(self) -> KMeans:
        return KMeans(self.settings.min_types, self.settings.max_types)

    def _named(
        self, clustering: Clustering, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors
    ) -> list[_Draft]:
        labels = np.asarray(clustering.labels)
        drafts = [_Draft("", "", [int(i) for i in np.flatnonzero(labels == label)]) for label in range(max(labels) + 1)]
        shown = [_central(draft, phrases, counts, vectors) for draft in drafts]
        names = self.teacher.name_types(shown, [f"cluster {number}" for number in range(1, len(drafts) + 1)])
        self.numbers.update("unnamed" if isinstance(named, Rejected) else "named" for named in names)
        return [
            # The stage writes a description from the phrases where there is none.
            _Draft(face[0], "", draft.members)
            if isinstance(named, Rejected)
            else _Draft(named.name, named.description, draft.members)
            for draft, face, named in zip(drafts, shown, names, strict=True)
        ]


@dataclass
class _Draft:
    """A group while it grows; `members` are indices of phrases."""

    name: str
    description: str
    members: list[int] = field(default_factory=list)


def _merged(
    teacher: PhraseTeacher,
    drafts: list[_Draft],
    phrases: Sequence[str],
    counts: Sequence[int],
    vectors: Vectors,
    at_least: int,
    numbers: Numbers,
) -> list[_Draft]:
    """`drafts` with those joined that the teacher calls one, while more than `at_least` remain.

    Unknown names and groups that stand in two merges are passed over: a name joins the first merge it stands in.
    """
    if len(drafts) <= max(1, at_least):
        return drafts
    reply = teacher.merge_groups(
        [(draft.name, draft.description, _central(draft, phrases, counts, vectors)) for draft in drafts]
    )
    if isinstance(reply, Rejected):
        numbers["unusable_replies"] += 1
        _log.warning("clustering: the teacher's merges cannot be used (%s); nothing is merged", reply.reason)
        return drafts
    remaining = list(drafts)
    free = {_key(draft.name): draft for draft in drafts}
    for merge in reply:
        found = [free[key] for key in dict.fromkeys(map(_key, merge.names)) if key in free]
        if len(found) < 2 or len(remaining) - len(found) + 1 < at_least:
            continue
        for draft in found:
            del free[_key(draft.name)]
        members = [i for draft in found for i in draft.members]
        place = remaining.index(found[0])
        remaining[place] = dataclasses.replace(
            found[0], name=merge.name, description=merge.description, members=members
        )
        remaining = [draft for draft in remaining if not any(draft is other for other in found)]
    if len(remaining) < len(drafts):
        numbers["merged"] += len(drafts) - len(remaining)
    return remaining


def _at_most(
    limit: int, drafts: list[_Draft], counts: Sequence[int], vectors: Vectors, numbers: Numbers
) -> list[_Draft]:
    """At most `limit` groups: the one of fewest mistakes joins its nearest until that holds."""
    drafts = list(drafts)
    while len(drafts) > limit:
        smallest = min(range(len(drafts)), key=lambda j: sum(counts[i] for i in drafts[j].members))
        centroids = _centroids(drafts, counts, vectors)
        similarities = centroids @ centroids[smallest]
        similarities[smallest] = -np.inf
        nearest = drafts[int(similarities.argmax())]
        nearest.members.extend(drafts.pop(smallest).members)
        numbers["over_max_types"] += 1
    return drafts


def _centroids(drafts: Sequence[_Draft], counts: Sequence[int], vectors: Vectors) -> npt.NDArray[np.float64]:
    """Unit rows, [groups, dimension]: the mean of each group's vectors, every mistake counting once."""
    weights = np.asarray(counts, dtype=np.float64)
    means = np.stack([np.average(vectors[d.members], axis=0, weights=weights[d.members]) for d in drafts])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = means / np.where(lengths > 0, lengths, 1.0)
    return unit


def _central(draft: _Draft, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors) -> list[str]:
    """The phrases nearest to the group's centroid; ties alphabetical."""
    similarities = np.round(vectors[draft.members] @ _centroids([draft], counts, vectors)[0], 6)
    order = sorted(range(len(draft.members)), key=lambda j: (-similarities[j], phrases[draft.members[j]]))
    return [phrases[draft.members[j]] for j in order[:_SHOWN]]


def _clustering(drafts: Sequence[_Draft], number: int) -> Clustering:
    """Labels in order of the groups. A phrase in no group or in two is a bug here, not in a reply."""
    labels = [-1] * number
    for label, draft in enumerate(drafts):
        for i in draft.members:
            if labels[i] >= 0:
                raise AssertionError(f"phrase {i} is in two groups")
            labels[i] = label
    if -1 in labels:
        raise AssertionError(f"phrase {labels.index(-1)} is in no group")
    return Clustering(tuple(labels), tuple(d.name for d in drafts), tuple(d.description for d in drafts))


def _key(text: str) -> str:
    """Phrases and names that differ in case, spacing, quotes or a final stop are one."""
    return " ".join(text.casefold().strip(" \"'`-").split()).rstrip(".!;:, ")


def _listed(account: Numbers) -> str:
    return ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in sorted(account.items()))
