"""The index names every text that can reach the threshold, and few others."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from sei.data.index import WordIndex
from sei.data.overlap import rouge_l

# Few distinct words, so that texts repeat them, share most of them, and fall on the threshold; some texts are empty.
_texts = st.lists(st.integers(0, 6), max_size=14)
# Every score that such texts can have is a threshold, so that many pairs lie just on it.
_thresholds = st.builds(lambda common, more: 2 * common / (2 * common + more), st.integers(1, 14), st.integers(0, 14))


@settings(max_examples=500, deadline=None)
@given(st.lists(_texts, max_size=12), _texts, _thresholds)
def test_whatever_reaches_the_threshold_is_a_candidate(
    texts: list[list[int]], asked: list[int], threshold: float
) -> None:
    index = WordIndex(threshold)
    for text in texts:
        index.add(text)
    found = index.candidates(asked).tolist()
    assert found == sorted(set(found))
    if texts:
        scores = rouge_l("".join(map(chr, asked)), ["".join(map(chr, text)) for text in texts])
        assert {number for number, score in enumerate(scores) if score >= threshold} <= set(found)


def test_by_hand() -> None:
    index = WordIndex(0.7)
    for text in ([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1], [], [1, 2, 3, 4, 9, 9]):
        index.add(text)
    assert index.candidates([1, 2, 3, 4, 5, 7]).tolist() == [0]  # 5 in common: 10 / 12; the last has 4: 8 / 12
    assert index.candidates([1, 1, 1, 1]).tolist() == [1]  # 4 in common: 8 / 10
    assert index.candidates([1]).tolist() == []  # at most 2 / 7
    assert index.candidates([]).tolist() == []
    assert WordIndex(0.7).candidates([1]).tolist() == []


def test_texts_that_are_unlike_are_no_candidates() -> None:
    draw = random.Random(0)
    # As in a language: twenty words are half of every text, the others are rare.
    texts = [
        [draw.randrange(20) if draw.random() < 0.5 else draw.randrange(20, 5000) for _ in range(45)]
        for _ in range(1000)
    ]
    index = WordIndex(0.7)
    for text in texts:
        index.add(text)
    found = [index.candidates(text) for text in texts[:100]]
    assert all(number in candidates for number, candidates in enumerate(found))
    assert sum(map(len, found)) < 300  # of 100,000 pairs
