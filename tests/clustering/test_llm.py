"""Clusterers that ask: whatever the teacher replies, every phrase ends in exactly one group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sei.clustering.base import AsksTeacher
from sei.clustering.clusterers import KMeans
from sei.clustering.embedders import Hashing
from sei.clustering.llm import Hybrid, HybridClusterer, Llm, LlmClusterer
from sei.errors import UserError
from sei.records import Rejected
from sei.teacher.api.replies import GroupMerge, PhraseGroup, TypeName

PHRASES = ["addition error", "adding apples wrongly", "division error", "dividing money wrongly", "conversion of units"]
COUNTS = [4, 1, 3, 1, 2]
VECTORS = Hashing().embed(PHRASES)
BAD = Rejected.make("keyphrases", "wrong_schema", "detail")


def group(name: str, *phrases: str) -> PhraseGroup:
    return PhraseGroup(name, f"About {name}.", phrases)


def by_word(phrases: Sequence[str]) -> list[PhraseGroup]:
    """The right reply: one group for each of three words."""
    words = {"add": "Adding", "div": "Dividing", "con": "Converting"}
    return [group(name, *own) for word, name in words.items() if (own := [p for p in phrases if p.startswith(word)])]


class Teacher:
    """Answers the n-th grouping call with the n-th function; the last one stands for all further calls."""

    def __init__(
        self, *replies: Callable[[Sequence[str]], list[PhraseGroup] | Rejected], merges: Any = (), names: Any = None
    ) -> None:
        self.replies, self.merges, self.names = replies or (by_word,), merges, names
        self.asked: list[tuple[list[str], list[str], bool, int]] = []

    def fingerprint(self) -> dict[str, Any]:
        return {"model": "stand-in"}

    def group_phrases(self, phrases: Any, groups: Any, *, divide: bool, sample: int) -> Any:
        self.asked.append((list(phrases), [name for name, _ in groups], divide, sample))
        return self.replies[min(len(self.asked), len(self.replies)) - 1](phrases)

    def merge_groups(self, groups: Any) -> Any:
        return self.merges

    def name_types(self, keyphrases: Any, type_ids: Any) -> Any:
        return self.names or [TypeName(f"Type {n}", "d") for n in range(len(keyphrases))]


def members(clusterer: LlmClusterer | HybridClusterer, *, split: bool = False) -> dict[str, set[str]]:
    call = clusterer.split if split else clusterer.cluster
    result = call(PHRASES, COUNTS, VECTORS, 0)
    assert len(result.labels) == len(PHRASES)
    assert result.names is not None
    assert sorted(set(result.labels)) == list(range(len(result.names)))
    return {
        name: {phrase for phrase, own in zip(PHRASES, result.labels, strict=True) if own == label}
        for label, name in enumerate(result.names)
    }


RIGHT = {"Adding": set(PHRASES[:2]), "Dividing": set(PHRASES[2:4]), "Converting": {PHRASES[4]}}


def test_later_batches_see_the_groups_so_far_and_case_does_not_matter() -> None:
    teacher = Teacher(lambda phrases: by_word([p.upper().lower() + "." for p in phrases]))
    assert members(Llm(min_types=1, batch=2).asking(teacher)) == RIGHT
    assert [len(phrases) for phrases, *_ in teacher.asked] == [2, 2, 1]
    assert teacher.asked[0][1] == []
    assert all(shown for _, shown, _, _ in teacher.asked[1:])
    assert sorted(phrase for phrases, *_ in teacher.asked for phrase in phrases) == sorted(PHRASES)


def test_missing_doubled_and_invented_phrases_are_mended(caplog: pytest.LogCaptureFixture) -> None:
    def faulty(phrases: Sequence[str]) -> list[PhraseGroup]:
        return [
            group("Adding", PHRASES[0], PHRASES[2], "a phrase that nobody noted"),
            group("Dividing", PHRASES[2], PHRASES[3]),
            group("Nothing", "another one that nobody noted"),
        ]

    teacher = Teacher(faulty, by_word)
    clusterer = Llm(min_types=1).asking(teacher)
    assert members(clusterer) == RIGHT
    again, shown, _, sample = teacher.asked[1]
    assert set(again) == {PHRASES[1], PHRASES[2], PHRASES[4]}, "only what is open is asked again"
    assert (shown, sample) == (["Adding", "Dividing"], 1)
    assert "1 in two groups, 2 invented, 2 missing" in caplog.text
    expected = {"phrases_asked": 5, "asked_again": 3, "in_two_groups": 1, "invented": 2, "missing": 2}
    assert clusterer.numbers == expected
    assert clusterer.numbers.keys() == expected.keys(), "zeros are left out"


def test_what_stays_open_goes_to_the_nearest_group_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    def stubborn(phrases: Sequence[str]) -> list[PhraseGroup]:
        return [group("Adding", PHRASES[0]), group("Dividing", PHRASES[2])]

    teacher = Teacher(stubborn)
    clusterer = Llm(asks=2).asking(teacher)
    found = members(clusterer)
    assert len(teacher.asked) == 3
    assert PHRASES[1] in found["Adding"]
    assert PHRASES[3] in found["Dividing"]
    assert "3 placed by embedding" in caplog.text
    told_twice = {"invented": 4}  # what was settled before was not asked for again
    assert (
        clusterer.numbers == {"phrases_asked": 5, "asked_again": 6, "missing": 9, "placed_by_embedding": 3} | told_twice
    )


def test_unusable_replies_are_asked_again_then_the_user_is_told() -> None:
    teacher = Teacher(lambda phrases: BAD, by_word)
    clusterer = Llm(min_types=1).asking(teacher)
    assert members(clusterer) == RIGHT
    assert clusterer.numbers == {"phrases_asked": 5, "asked_again": 5, "unusable_replies": 1}
    assert [sample for *_, sample in teacher.asked] == [0, 1], "a repeated question is another sample, not a stored one"
    with pytest.raises(UserError, match="no usable reply for any of 5"):
        members(Llm().asking(Teacher(lambda phrases: BAD)))


def test_merges_join_what_the_teacher_calls_one_and_nothing_else() -> None:
    merges = [
        GroupMerge("Arithmetic", "d", ("adding", "Dividing", "Unheard of")),
        GroupMerge("Once more", "d", ("Adding", "Converting")),  # Adding is gone
    ]
    merged = {"Arithmetic": set(PHRASES[:4]), "Converting": {PHRASES[4]}}
    clusterer = Llm(min_types=1).asking(Teacher(merges=merges))
    assert members(clusterer) == merged
    assert clusterer.numbers == {"phrases_asked": 5, "merged": 1}
    assert members(Llm(min_types=3).asking(Teacher(merges=merges))) == RIGHT, "no fewer than min_types"
    everything = [GroupMerge("All", "d", tuple(RIGHT))]
    assert members(Llm(min_types=2).asking(Teacher(merges=everything))) == RIGHT
    unread = Llm(min_types=1).asking(Teacher(merges=BAD))
    assert members(unread) == RIGHT
    assert unread.numbers == {"phrases_asked": 5, "unusable_replies": 1}


def test_more_groups_than_max_types_lose_the_smallest() -> None:
    clusterer = Llm(min_types=1, max_types=2).asking(Teacher())
    found = members(clusterer)
    assert len(found) == 2
    assert clusterer.numbers["over_max_types"] == 1
    assert "Converting" not in found


def test_split_divides_by_the_teacher_and_by_vectors_where_it_will_not() -> None:
    teacher = Teacher()
    clusterer = Llm().asking(teacher)
    assert members(clusterer, split=True) == RIGHT
    assert clusterer.numbers == {"phrases_asked": 5, "divided": 1}
    assert teacher.asked[0][2], "the teacher is told that the group was too broad"
    whole = Llm().asking(Teacher(lambda phrases: [group("All", *phrases)]))
    assert len(set(whole.split(PHRASES, COUNTS, VECTORS, 0).labels)) == 2


def test_hybrid_names_and_merges_what_k_means_formed() -> None:
    labels = KMeans(min_types=3, max_types=3).cluster(PHRASES, COUNTS, VECTORS, 0).labels
    names = [TypeName("First", "d1"), BAD, TypeName("Third", "d3")]
    clusterer = Hybrid(3, 3).asking(Teacher(names=names))
    result = clusterer.cluster(PHRASES, COUNTS, VECTORS, 0)
    assert clusterer.numbers == {"named": 2, "unnamed": 1}
    assert result.labels == labels
    assert result.names is not None
    assert (result.names[0], result.names[2]) == ("First", "Third")
    assert result.names[1] in {PHRASES[i] for i in np.flatnonzero(np.asarray(labels) == 1)}
    # min_types bounds k-means too: two clusters asked for, one left after the merge
    two = Teacher(names=None, merges=[GroupMerge("Joined", "d", ("Type 0", "Type 1"))])
    assert len(members(Hybrid(1, 3).asking(two))) < 3
    assert set(members(Hybrid(1, 3).asking(two), split=True)) == {"Type 0", "Type 1"}


def test_they_need_a_teacher_and_are_identified_with_it() -> None:
    teacher = Teacher()
    for settings, other in ((Llm(), Llm(batch=50)), (Hybrid(), Hybrid(max_share=0.5))):
        assert isinstance(settings, AsksTeacher)
        clusterer = settings.asking(teacher)
        assert not isinstance(clusterer, AsksTeacher)
        assert (clusterer.name, clusterer.max_share) == (settings.name, settings.max_share)
        assert clusterer.fingerprint()["teacher"] is teacher
        assert clusterer.fingerprint() != other.asking(teacher).fingerprint()
    assert not isinstance(KMeans(), AsksTeacher)
