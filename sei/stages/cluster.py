"""Stage: diagnoses to error types, and what happens to types from round to round.

Place in the flow: diagnoses -> **error types** -> synthetic problems. Unique keyphrases are embedded and clustered;
every phrase lands in exactly one type or is noise, a mistake with several phrases may be in several. A type of a later
round that resembles an earlier one keeps its id and name, so tables show what was fixed, what persists and what is new.

Example::

    types = cluster(diagnoses, embedder=Hashing(), clusterer=KMeans()).records
    later = cluster(new_diagnoses, types, embedder=Hashing(), clusterer=KMeans(), round=2).records
    changes(types, later).fixed
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sei.clustering.base import NOISE, Clusterer, Clustering, Embedder, Vectors
from sei.records import Diagnosis, ErrorType, Rejected, content_id
from sei.stage import Output, stage
from sei.stages.type_names import Spoken, fits, name_candidates

_log = logging.getLogger(__name__)

_MEDOIDS = 5  # phrases kept as the face of a type
# Two types of different rounds are one when this share of the smaller one's phrases is common, or when the distance of
# their centroids is at most this part of the distance to the earlier type's nearest sibling. The second is relative
# because embedders differ: types of one round have cosines up to 0.25 with `hashing` and up to 0.86 with MiniLM.
_SAME_PHRASES = 0.5
_SAME_DISTANCE = 0.5


@dataclass(frozen=True)
class Changes:
    """What became of the error types between two rounds."""

    fixed: tuple[ErrorType, ...]
    regrouped: tuple[ErrorType, ...]  # gone as they were, but their mistakes are still made, under another type
    persistent: tuple[tuple[ErrorType, ErrorType], ...]  # (before, now), with one id
    new: tuple[ErrorType, ...]


@dataclass(frozen=True)
class _Phrase:
    """One distinct keyphrase: how it is mostly written, and the mistakes it names."""

    key: str
    text: str
    mistake_ids: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """Phrases (indices) of one cluster, with the clusterer's words where it gave any."""

    members: list[int]
    name: str | None = None
    description: str | None = None


@stage(ErrorType, "error_types", on_top=True)
def cluster(
    diagnoses: Sequence[Diagnosis],
    previous: Sequence[ErrorType] = (),
    *,
    embedder: Embedder,
    clusterer: Clusterer,
    round: int = 1,
    seed: int = 0,
) -> Output[ErrorType]:
    """Group the keyphrases of `diagnoses` into error types, largest first.

    `previous` holds the types of all earlier rounds; a matched one passes on its id and name. A type that holds more than
    `clusterer.max_share` of the mistakes is divided until none does or the clusterer cannot divide it (a single phrase
    above the share stays whole, with a warning). The diagnoses' order does not matter. Rejected are diagnoses without a
    keyphrase (reason `no_keyphrase`) and those with none but noise (`noise`). The number `places` has, for each type and
    each of its keyphrases, where it lies on a map of all phrases (their first two principal components).
    """
    phrases = _unique_phrases(diagnoses)
    if not phrases:
        return _output([], diagnoses, frozenset(), {})
    texts = [phrase.text for phrase in phrases]
    vectors = embedder.embed(texts)
    clustering = clusterer.cluster(texts, [len(phrase.mistake_ids) for phrase in phrases], vectors, seed)
    if len(clustering.labels) != len(phrases):
        raise ValueError(f"{clusterer.name} gave {len(clustering.labels)} labels for {len(phrases)} phrases")
    groups = _groups(clustering, range(len(phrases)))
    typed = len(_mistake_ids([i for group in groups for i in group.members], phrases))
    drafts = [
        _error_type(part, phrases, vectors, round)
        for group in groups
        for part in _divide(group, phrases, vectors, clusterer, typed, seed)
    ]
    drafts.sort(key=lambda draft: (-draft.size, draft.keyphrases))
    noise = frozenset(phrase.key for phrase, label in zip(phrases, clustering.labels, strict=True) if label == NOISE)
    types = _identified(drafts, previous, {phrase.text: phrase.mistake_ids for phrase in phrases})
    places = dict(zip(texts, _plane(vectors, _counts(range(len(phrases)), phrases)), strict=True))
    numbers = {**getattr(clusterer, "numbers", {}), "places": [[places[text] for text in t.keyphrases] for t in types]}
    return _output(types, diagnoses, noise, numbers)


def changes(previous: Sequence[ErrorType], current: Sequence[ErrorType]) -> Changes:
    """Which types of the round before are gone, which are still there, and which are new, by id.

    A round with fewer types has one where there were two: the other one is not fixed. A type that is gone is regrouped
    where a type of now is like it, or at least half of its keyphrases are in types of now.
    """
    before = {error_type.id: error_type for error_type in previous}
    now = {error_type.id for error_type in current}
    gone = [error_type for error_type in previous if error_type.id not in now]
    alike, _ = _alike(current, previous)
    like = {error_type.id for index, error_type in enumerate(previous) if alike[:, index].any()}
    named = {phrase_key(text) for error_type in current for text in error_type.keyphrases}

    def still_made(error_type: ErrorType) -> bool:
        own = {phrase_key(text) for text in error_type.keyphrases}
        return error_type.id in like or (bool(own) and len(own & named) >= _SAME_PHRASES * len(own))

    return Changes(
        fixed=tuple(error_type for error_type in gone if not still_made(error_type)),
        regrouped=tuple(filter(still_made, gone)),
        persistent=tuple((before[error_type.id], error_type) for error_type in current if error_type.id in before),
        new=tuple(error_type for error_type in current if error_type.id not in before),
    )


def assign(diagnoses: Sequence[Diagnosis], types: Sequence[ErrorType], embedder: Embedder) -> dict[str, str]:
    """Mistake id -> id of its nearest error type, for mistakes found after the types were formed.

    A known keyphrase goes to its type; others to the centroid of highest cosine similarity. A mistake with several
    keyphrases takes the nearest of all; one that resembles no centroid (similarity 0 or less) is left out.
    """
    phrases = _unique_phrases(diagnoses)
    types = [error_type for error_type in types if error_type.centroid]  # self-instruct's nameless type has none
    if not types or not phrases:
        return {}
    centroids = np.asarray([error_type.centroid for error_type in types])
    similarities = embedder.embed([phrase.text for phrase in phrases]) @ centroids.T  # [phrases, types]
    known = {phrase_key(text): index for index, error_type in enumerate(types) for text in error_type.keyphrases}
    best: dict[str, tuple[float, int]] = {}
    for phrase, row in zip(phrases, similarities, strict=True):
        index = known.get(phrase.key, int(row.argmax()))
        similarity = 1.0 if phrase.key in known else float(row[index])
        for mistake_id in phrase.mistake_ids:
            if similarity > best.get(mistake_id, (0.0, -1))[0]:
                best[mistake_id] = (similarity, index)
    order = dict.fromkeys(diagnosis.mistake_id for diagnosis in diagnoses)
    return {mistake_id: types[best[mistake_id][1]].id for mistake_id in order if mistake_id in best}


def phrase_key(text: str) -> str:
    """Phrases that differ in case, spacing or a final stop are one phrase."""
    return " ".join(text.casefold().split()).rstrip(".!;:, ")


def _keys(diagnosis: Diagnosis) -> dict[str, str]:
    return {phrase_key(text): " ".join(text.split()) for text in diagnosis.keyphrases if phrase_key(text)}


def _unique_phrases(diagnoses: Sequence[Diagnosis]) -> list[_Phrase]:
    spellings: dict[str, Counter[str]] = {}
    mistakes: dict[str, set[str]] = {}
    for diagnosis in diagnoses:
        for key, text in _keys(diagnosis).items():
            spellings.setdefault(key, Counter())[text] += 1
            mistakes.setdefault(key, set()).add(diagnosis.mistake_id)
    return [
        _Phrase(key, min(spellings[key], key=lambda text: (-spellings[key][text], text)), tuple(sorted(mistakes[key])))
        for key in sorted(spellings)
    ]


def _output(
    types: Sequence[ErrorType], diagnoses: Sequence[Diagnosis], noise: frozenset[str], numbers: Mapping[str, Any]
) -> Output[ErrorType]:
    """The types, and an account of every diagnosis; `noise` holds the keys of phrases in no type."""
    rejected = []
    for diagnosis in diagnoses:
        keys = _keys(diagnosis).keys()
        if not keys:
            detail = f"the diagnosis of {diagnosis.mistake_id} names no error"
            rejected.append(Rejected.make(diagnosis.id, "no_keyphrase", detail))
        elif keys <= noise:
            detail = f"the keyphrases of {diagnosis.mistake_id} are in no cluster: {', '.join(diagnosis.keyphrases)}"
            rejected.append(Rejected.make(diagnosis.id, "noise", detail))
    return Output(
        types,
        received=len(diagnoses),
        rejected=rejected,
        passed=len(diagnoses) - len(rejected),
        numbers={**numbers, **({"noise_phrases": len(noise)} if noise else {})},
    )


def _groups(clustering: Clustering, members: Sequence[int]) -> list[_Group]:
    """The clusters of `members` by label, with the clusterer's words for each; noise is left out."""
    return [
        _Group(
            [i for i, own in zip(members, clustering.labels, strict=True) if own == label],
            clustering.names[label] if clustering.names else None,
            clustering.descriptions[label] if clustering.descriptions else None,
        )
        for label in sorted(set(clustering.labels) - {NOISE})
    ]


def _divide(
    group: _Group, phrases: list[_Phrase], vectors: Vectors, clusterer: Clusterer, typed: int, seed: int
) -> list[_Group]:
    """`group`, divided until no part holds more than the clusterer's share of the `typed` mistakes, those in any group.

    A part has the splitter's words. Noise among the parts joins the part of nearest centroid.
    """
    members = group.members
    share = len(_mistake_ids(members, phrases)) / typed
    if share <= clusterer.max_share:
        return [group]
    texts = [phrases[i].text for i in members]
    split = Clustering((0,))
    if len(members) > 1:
        split = clusterer.split(texts, [len(phrases[i].mistake_ids) for i in members], vectors[members], seed)
    parts = _groups(split, members)
    if len(parts) < 2:
        _log.warning(
            "error type %r holds %.0f %% of the mistakes, above max_share=%s, and %s cannot divide it",
            texts[0],
            100 * share,
            clusterer.max_share,
            clusterer.name,
        )
        return [group]
    centroids = np.stack([_centroid(part.members, phrases, vectors) for part in parts])  # before any noise joins
    for i, label in zip(members, split.labels, strict=True):
        if label == NOISE:
            parts[int((centroids @ vectors[i]).argmax())].members.append(i)
    return [piece for part in parts for piece in _divide(part, phrases, vectors, clusterer, typed, seed)]


def _error_type(group: _Group, phrases: list[_Phrase], vectors: Vectors, round: int) -> ErrorType:
    """The error type of a group, not yet matched with earlier rounds; without a name unless the clusterer gave one."""
    members = group.members
    counts = _counts(members, phrases)
    centroid = _centroid(members, phrases, vectors)
    similarities = vectors[members] @ centroid
    by_similarity = sorted(range(len(members)), key=lambda j: (-_rounded(similarities[j]), phrases[members[j]].text))
    by_count = sorted(range(len(members)), key=lambda j: (-counts[j], phrases[members[j]].text))
    medoids = tuple(phrases[members[j]].text for j in by_similarity[:_MEDOIDS])
    mistake_ids = tuple(sorted(_mistake_ids(members, phrases)))
    keyphrases = tuple(phrases[members[j]].text for j in by_count)
    return ErrorType(
        id=content_id("type", round, keyphrases),
        name=group.name or "",
        description=group.description or _describe(medoids),
        size=len(mistake_ids),
        keyphrases=keyphrases,
        medoids=medoids,
        mistake_ids=mistake_ids,
        cohesion=_rounded(np.average(similarities, weights=counts)),
        centroid=tuple(_rounded(value) for value in centroid),
        round=round,
    )


def _mistake_ids(members: Sequence[int], phrases: list[_Phrase]) -> set[str]:
    """The mistakes that these phrases name."""
    return {mistake_id for i in members for mistake_id in phrases[i].mistake_ids}


def _counts(members: Sequence[int], phrases: list[_Phrase]) -> npt.NDArray[np.float64]:
    """The number of mistakes of each phrase."""
    return np.asarray([len(phrases[i].mistake_ids) for i in members], dtype=np.float64)


def _centroid(members: list[int], phrases: list[_Phrase], vectors: Vectors) -> npt.NDArray[np.floating[Any]]:
    """The direction of the mean vector, every mistake counting once; that of the first phrase where the mean is zero."""
    mean = np.average(vectors[members], axis=0, weights=_counts(members, phrases))
    length = float(np.linalg.norm(mean))
    return mean / length if length > 0 else vectors[members[0]]


def _rounded(value: Any) -> float:
    """Six decimals: far below any difference that matters, above the noise of another machine's arithmetic."""
    return float(np.round(value, 6))


def _describe(medoids: Sequence[str]) -> str:
    quoted = ", ".join(f'"{text}"' for text in medoids)
    return f"Mistakes described as {quoted}."


def _plane(vectors: Vectors, counts: npt.NDArray[np.float64]) -> list[list[float]]:
    """Each phrase on the first two principal components of all, every mistake counting once. For looking at, no more."""
    centred = vectors - np.average(vectors, axis=0, weights=counts)
    _, axes = np.linalg.eigh(centred.T @ (centred * counts[:, None]))  # [dimension, dimension], the largest last
    axes = axes[:, :-3:-1]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)  # either direction would do: always the same one
    places: list[list[float]] = np.round((centred @ axes).astype(np.float64), 4).tolist()
    return places


def _identified(
    drafts: list[ErrorType], previous: Sequence[ErrorType], mistakes_of: Mapping[str, Sequence[str]]
) -> list[ErrorType]:
    """The drafts with id, name and status of the earlier type each one matches; new names kept distinct."""
    earlier = list({error_type.id: error_type for error_type in previous}.values())  # the latest form of each type
    matches = _match(drafts, earlier)
    taken = {phrase_key(earlier[j].name) for j in matches.values()}
    spoken = [Spoken.make({text: mistakes_of[text] for text in draft.keyphrases}) for draft in drafts]
    identified = []
    for index, draft in enumerate(drafts):
        named = bool(draft.name)  # by the clusterer, whose words need not be those of the phrases
        if index in matches:
            same = earlier[matches[index]]
            draft = dataclasses.replace(draft, id=same.id, name=same.name, status="persistent")
            named = same.fits is None
        else:
            own = [draft.name] if named else name_candidates(index, spoken)
            candidates = (*own, *draft.medoids, *draft.keyphrases)
            name = next(
                (text for text in candidates if phrase_key(text) not in taken), f"{candidates[0]} ({index + 1})"
            )
            taken.add(phrase_key(name))
            draft = dataclasses.replace(draft, name=name, status="new")
        share = None if named else _rounded(fits(draft.name, spoken[index]))
        identified.append(dataclasses.replace(draft, fits=share))
    return identified


def _match(drafts: Sequence[ErrorType], earlier: Sequence[ErrorType]) -> dict[int, int]:
    """Index of draft -> index of the earlier type it is; one to one, best sum of similarities (Hungarian)."""
    if not drafts or not earlier:
        return {}
    from scipy.optimize import linear_sum_assignment

    same, likeness = _alike(drafts, earlier)
    # A pair below both thresholds must not win a place in the assignment that one above them could have.
    rows, columns = linear_sum_assignment(np.where(same, 1.0 + likeness, 0.0), maximize=True)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if same[i, j]}


def _alike(
    drafts: Sequence[ErrorType], earlier: Sequence[ErrorType]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Which of the drafts may be which of the earlier types, and how alike they are: [drafts, earlier]."""
    if not drafts or not earlier:
        empty = np.zeros((len(drafts), len(earlier)))
        return empty.astype(bool), empty
    if len(drafts[0].centroid) != len(earlier[0].centroid):
        raise ValueError("error types of earlier rounds come from another embedder: their centroids differ in length")
    centroids = np.asarray([error_type.centroid for error_type in earlier])
    cosine = np.asarray([draft.centroid for draft in drafts]) @ centroids.T  # [drafts, earlier]
    siblings = centroids @ centroids.T
    np.fill_diagonal(siblings, 0.0)
    nearest_sibling = siblings.max(axis=1)  # [earlier]
    shared = np.zeros_like(cosine)  # overlap coefficient of the phrases
    for i, draft in enumerate(drafts):
        own = {phrase_key(text) for text in draft.keyphrases}
        for j, other in enumerate(earlier):
            theirs = {phrase_key(text) for text in other.keyphrases}
            shared[i, j] = len(own & theirs) / max(1, min(len(own), len(theirs)))
    same = (1 - cosine <= _SAME_DISTANCE * (1 - nearest_sibling)) | (shared >= _SAME_PHRASES)
    return same, cosine + shared
