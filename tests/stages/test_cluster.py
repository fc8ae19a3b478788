"""Error types from diagnoses: nothing lost, no type too large, the same type keeps its id from round to round."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sei.clustering.base import Clusterer, Clustering, Vectors
from sei.clustering.clusterers import Agglomerative, KMeans, Single
from sei.clustering.embedders import Hashing
from sei.records import Diagnosis, ErrorType
from sei.stages.cluster import assign, changes, cluster
from sei.stages.type_names import Spoken, fits, name_candidates
from sei.workspace import Output

_PHRASES = Path(__file__).parents[2] / "../shared/data/keyphrases/gpt4o_gsm8k.txt"

_ADDITION = ["incorrect addition", "addition error", "addition mistake", "incorrect addition of totals"]
_DIVISION = ["incorrect division", "division error", "division mistake", "division by the wrong number"]
_UNITS = ["unit conversion omitted", "conversion of hours to minutes", "conversion error", "wrong conversion factor"]
_IGNORED = ["ignored the round trip", "ignored one group", "ignored an expense", "ignored leftover"]

hashing = Hashing()
kmeans = KMeans(min_types=2, max_types=6)


def _diagnoses(*phrases: str | tuple[str, ...], prefix: str = "m") -> list[Diagnosis]:
    return [
        Diagnosis(f"diagnosis-{prefix}{i}", f"{prefix}{i}", 1, "", (own,) if isinstance(own, str) else own, "")
        for i, own in enumerate(phrases)
    ]


def _types(phrases: Sequence[str | tuple[str, ...]], **more: object) -> list[ErrorType]:
    return list(cluster(_diagnoses(*phrases), embedder=hashing, clusterer=kmeans, **more).records)  # type: ignore[arg-type]


def test_kinds_of_error_become_types() -> None:
    types = _types([*_ADDITION, *_ADDITION[:2], *_DIVISION, *_UNITS, *_IGNORED])
    groups = {frozenset(error_type.keyphrases) for error_type in types}
    assert groups == {frozenset(_ADDITION), frozenset(_DIVISION), frozenset(_UNITS), frozenset(_IGNORED)}
    largest = types[0]
    assert largest.size == 6
    assert largest.keyphrases[:2] == ("addition error", "incorrect addition")  # two mistakes each
    assert largest.name in _ADDITION
    assert set(largest.medoids) <= set(_ADDITION)
    assert largest.medoids[0] in largest.description
    assert np.linalg.norm(largest.centroid) == pytest.approx(1, abs=1e-4)
    assert 0.5 < largest.cohesion <= 1
    assert len({error_type.name for error_type in types}) == len({error_type.id for error_type in types}) == 4
    assert {error_type.status for error_type in types} == {"new"}


def test_cohesion_is_the_mean_similarity_to_the_centroid() -> None:
    (whole,) = cluster(_diagnoses(*_ADDITION), embedder=hashing, clusterer=Single()).records
    vectors = hashing.embed(list(whole.keyphrases))
    assert np.asarray(whole.centroid) == pytest.approx(vectors.mean(0) / np.linalg.norm(vectors.mean(0)), abs=1e-5)
    assert whole.cohesion == pytest.approx(float((vectors @ np.asarray(whole.centroid)).mean()), abs=1e-4)
    assert whole.name == "any mistake"


def test_a_name_says_what_the_members_have_in_common() -> None:
    """Two kinds of phrases, so alike that they are one type: the name is that of neither."""
    digits = ["subtraction of three-digit numbers miscalculated", "addition of three-digit numbers miscalculated"]
    types = _types([*digits, *digits[:1], *_UNITS, *_IGNORED])
    (mixed,) = [error_type for error_type in types if "m0" in error_type.mistake_ids]
    assert (set(mixed.keyphrases), mixed.name, mixed.fits) == (set(digits), "three-digit numbers miscalculated", 1.0)


def test_a_name_fits_its_type_better_than_the_others() -> None:
    own = Spoken.make({"addition of two-digit numbers": ["m1", "m2"], "division of two-digit numbers": ["m3"]})
    other = Spoken.make({"multiplication of two-digit numbers": [f"n{i}" for i in range(30)]})
    assert name_candidates(0, [own])[0] == "two-digit numbers"
    # "two-digit numbers" is true of all its members, and of every other type's: 1 - 1 against 2/3 - 0.
    assert name_candidates(0, [own, other])[0] == "addition of two-digit numbers"
    assert fits("addition of two-digit numbers", own) == pytest.approx(2 / 3)
    assert fits("an error", own) == 0


def test_what_two_phrases_share_may_have_a_gap() -> None:
    both = ["multiplication of two-digit numbers miscalculated", "multiplication of large numbers miscalculated"]
    spoken = Spoken.make({text: [text] for text in both})
    assert name_candidates(0, [spoken])[0] == "multiplication of ... numbers miscalculated"


def test_a_name_with_a_gap_has_something_to_say_on_both_sides_of_it() -> None:
    """ "computed ... instead of subtracting" reads as if a word were missing, and "divides, ... a total" as a slip."""
    spoken = Spoken.make(
        {
            "adds a computed difference instead of subtracting": ["m1"],
            "multiplies a computed share instead of subtracting": ["m2"],
        }
    )
    names = name_candidates(0, [spoken])
    assert not any(name.startswith("computed") for name in names)
    spoken = Spoken.make({"divides, it seems, the rest by two": ["m1"], "divides, for once, the rest by two": ["m2"]})
    assert name_candidates(0, [spoken])[0] == "divides ... the rest by two"


def test_phrases_have_a_place_on_a_map() -> None:
    output = cluster(_diagnoses(*_ADDITION, *_DIVISION), embedder=hashing, clusterer=kmeans)
    places = output.numbers["places"]
    assert [len(own) for own in places] == [len(error_type.keyphrases) for error_type in output.records]
    vectors = hashing.embed([text for error_type in output.records for text in error_type.keyphrases])
    spread = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)[:2]
    flat = np.asarray([place for own in places for place in own])
    assert np.sqrt((flat**2).sum(axis=0)) == pytest.approx(spread, abs=1e-3)  # the two largest singular values
    single = cluster(_diagnoses("addition error"), embedder=hashing, clusterer=kmeans)
    assert single.numbers["places"] == [[[0.0, 0.0]]]


def test_every_phrase_in_one_type_and_a_mistake_in_several() -> None:
    phrases = [("addition error", "Division error."), *_ADDITION, *_DIVISION, *_UNITS]
    types = _types(phrases)
    everywhere = [phrase for error_type in types for phrase in error_type.keyphrases]
    assert len(everywhere) == len(set(everywhere)) == 12
    assert sum("m0" in error_type.mistake_ids for error_type in types) == 2
    assert {mistake for error_type in types for mistake in error_type.mistake_ids} == {f"m{i}" for i in range(13)}


def test_spellings_of_one_phrase_are_one() -> None:
    types = _types(["Addition  error", "addition error.", "addition error", "addition error", *_DIVISION, *_UNITS])
    (addition,) = [error_type for error_type in types if "m0" in error_type.mistake_ids]
    assert (addition.keyphrases, addition.size) == (("addition error",), 4)


def test_order_of_diagnoses_does_not_matter() -> None:
    # Phrases without clear groups, so that k-means would end elsewhere if it started elsewhere.
    draw = random.Random(0)
    words = sorted({word for phrase in (*_ADDITION, *_DIVISION, *_UNITS, *_IGNORED) for word in phrase.split()})
    diagnoses = _diagnoses(*(" ".join(draw.sample(words, 3)) for _ in range(60)))
    forwards = cluster(diagnoses, embedder=hashing, clusterer=kmeans)
    assert forwards == cluster(diagnoses[::-1], embedder=hashing, clusterer=kmeans)


def test_diagnoses_without_keyphrase_are_rejected() -> None:
    diagnoses = _diagnoses(*_ADDITION, (), (" ", "."))
    output = cluster(diagnoses, embedder=hashing, clusterer=kmeans)
    assert (output.received, output.accepted) == (6, 4)
    assert [(item.source_id, item.reason) for item in output.rejected] == [
        ("diagnosis-m4", "no_keyphrase"),
        ("diagnosis-m5", "no_keyphrase"),
    ]
    assert {mistake for error_type in output.records for mistake in error_type.mistake_ids} == {"m0", "m1", "m2", "m3"}
    assert cluster(diagnoses[4:], embedder=hashing, clusterer=kmeans).records == []
    assert cluster([], embedder=hashing, clusterer=kmeans) == Output([], received=0, rejected=[], passed=0)


def test_a_type_above_the_share_is_divided_by_distinct_mistakes() -> None:
    # Ten mistakes with two addition phrases each: by phrases addition has 20 of 28, by mistakes 10 of 18.
    phrases = [
        (f"incorrect addition of {a}", f"incorrect addition of {b}")
        for a, b in zip("abcdefghij", "klmnopqrst", strict=True)
    ]
    diagnoses = _diagnoses(*phrases, *_DIVISION, *_DIVISION)
    free = cluster(diagnoses, embedder=hashing, clusterer=KMeans(2, 2, max_share=1.0)).records
    assert free[0].size == 10
    capped = cluster(diagnoses, embedder=hashing, clusterer=KMeans(2, 2, max_share=0.5)).records
    assert len(capped) > 2
    assert max(error_type.size for error_type in capped) <= 9
    assert sum(len(error_type.keyphrases) for error_type in capped) == 24


def test_one_phrase_above_the_share_stays_whole_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        types = _types(["addition error"] * 6 + _DIVISION)
    assert (types[0].keyphrases, types[0].size) == (("addition error",), 6)
    assert "holds 60 % of the mistakes" in caplog.text


class _Reader:
    """Stands for a clusterer that reads: it names its clusters itself, and counts what it reads."""

    name = "reader"

    def __init__(self, max_share: float) -> None:
        self.max_share = max_share
        self.numbers: dict[str, int] = {}

    def fingerprint(self) -> dict[str, object]:
        return {}

    def cluster(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        self.numbers["read"] = len(phrases)
        labels = tuple(int("division" in phrase) for phrase in phrases)
        return Clustering(labels, ("Sums", "Sums"), ("sums go wrong", "quotients go wrong"))

    def split(self, phrases: Sequence[str], counts: Sequence[int], vectors: Vectors, seed: int) -> Clustering:
        return Clustering(tuple(range(len(phrases))))


def test_names_of_a_clusterer_are_kept_and_made_distinct() -> None:
    output = cluster(_diagnoses(*_ADDITION, *_DIVISION), embedder=hashing, clusterer=_Reader(0.5))
    types = output.records
    assert output.numbers["read"] == 8
    assert {error_type.fits for error_type in types} == {None}  # its words need not be those of the phrases
    assert {error_type.description for error_type in types} == {"sums go wrong", "quotients go wrong"}
    assert types[0].name == "Sums"
    assert types[1].name != "Sums"


def test_names_of_a_divided_cluster_are_not_kept() -> None:
    types = cluster(_diagnoses(*_ADDITION, "division error"), embedder=hashing, clusterer=_Reader(0.4)).records
    assert {error_type.name for error_type in types} == {*_ADDITION, "Sums"}


def test_identity_across_rounds() -> None:
    first = _types([*_ADDITION, *_DIVISION, *_UNITS])
    later = ["addition errors", "incorrect addition of costs", "wrong addition", *_UNITS[1:], *_IGNORED]
    second = _types(later, previous=first, round=2)
    result = changes(first, second)
    assert [set(error_type.keyphrases) for error_type in result.fixed] == [set(_DIVISION)]
    assert {before.name: now.size for before, now in result.persistent} == {
        next(t.name for t in first if set(t.keyphrases) == set(_ADDITION)): 3,
        next(t.name for t in first if set(t.keyphrases) == set(_UNITS)): 3,
    }
    for before, now in result.persistent:
        assert (before.id, before.name, now.status, now.round) == (now.id, now.name, "persistent", 2)
    assert [(set(error_type.keyphrases), error_type.status) for error_type in result.new] == [(set(_IGNORED), "new")]


def test_a_type_whose_mistakes_are_in_another_type_now_is_not_fixed() -> None:
    first = _types([*_ADDITION, *_DIVISION, *_UNITS])
    merged = cluster(_diagnoses(*_ADDITION, *_DIVISION), first, embedder=hashing, clusterer=Single(), round=2).records
    result = changes(first, merged)
    gone = {error_type.id for error_type in first} - {error_type.id for error_type in merged}
    assert {error_type.id for error_type in (*result.fixed, *result.regrouped)} == gone
    assert [set(error_type.keyphrases) for error_type in result.fixed] == [set(_UNITS)]
    assert all(set(error_type.keyphrases) in (set(_ADDITION), set(_DIVISION)) for error_type in result.regrouped)
    assert result.regrouped
    assert changes(first, []).fixed == tuple(first)


def test_a_type_that_comes_back_is_known_from_all_rounds() -> None:
    first = _types([*_ADDITION, *_DIVISION])
    second = _types(_ADDITION * 2 + _UNITS, previous=first, round=2)
    third = _types([*_DIVISION, *_UNITS], previous=[*first, *second], round=3)
    third_without_first = _types([*_DIVISION, *_UNITS], previous=second, round=3)
    ids = {phrase: error_type.id for error_type in [*first, *second] for phrase in error_type.keyphrases}
    assert {ids["division error"], ids["conversion error"]} <= {error_type.id for error_type in third}
    assert ids["division error"] not in {error_type.id for error_type in third_without_first}


def test_assign_takes_known_phrases_then_the_nearest_centroid() -> None:
    types = _types([*_ADDITION, *_DIVISION, *_UNITS])
    by_phrase = {phrase: error_type.id for error_type in types for phrase in error_type.keyphrases}
    later = _diagnoses("Division Error", "incorrect addition of apples", ("zzz", "conversion of feet"), (), prefix="t")
    assert assign(later, types, hashing) == {
        "t0": by_phrase["division error"],
        "t1": by_phrase["addition error"],
        "t2": by_phrase["conversion error"],
    }
    assert assign(later, [], hashing) == {}


def test_another_embedder_in_a_later_round_is_noticed() -> None:
    first = _types([*_ADDITION, *_DIVISION])

    class Short:
        name = "short"

        def fingerprint(self) -> dict[str, object]:
            return {}

        def embed(self, texts: Sequence[str]) -> Vectors:
            return hashing.embed(texts)[:, :7] + np.float32(0.1)

    with pytest.raises(ValueError, match="another embedder"):
        cluster(_diagnoses(*_ADDITION), first, embedder=Short(), clusterer=kmeans, round=2)


@pytest.mark.skipif(not _PHRASES.exists(), reason="needs shared/data/keyphrases")
@pytest.mark.parametrize("clusterer", [KMeans(min_types=4), Agglomerative(min_types=4)])
def test_real_phrases(clusterer: Clusterer) -> None:
    phrases = [line.strip() for line in _PHRASES.read_text().splitlines() if line.strip()]
    output = cluster(_diagnoses(*phrases), embedder=hashing, clusterer=clusterer)
    types = output.records
    assert not output.rejected
    assert 4 <= len(types) <= 20
    assert types[0].size <= 0.4 * len(phrases)
    assert sum(error_type.size for error_type in types) == len(phrases)
    # Phrases that say division, and nothing else arithmetic, keep together.
    division = [phrase for phrase in phrases if phrase.casefold().startswith("division error")]
    homes = {error_type.id for error_type in types for phrase in division if phrase in error_type.keyphrases}
    assert len(division) > 4
    assert len(homes) == 1
