"""An index of texts by their words, for whoever asks which of very many texts may be like one.

Place in the flow: `sei.data.overlap` compares a text, word by word in order, only with the candidates that it gets here. With a
million texts that is a few hundred instead of all, and none is ever missing that the comparison with all would find.

Why none is missing. ROUGE-L F of texts of m and n words with a longest common subsequence of L words is 2L / (m + n). So F
reaches the threshold t only where L >= t (m + n) / 2. The subsequence takes from both texts, so they have at least L words in
common, a repeated word counting as often as both have it. As L <= n, that is at least t m / (2 - t) words, however long the other
text is.
Leave out k of the text's words, fewer than that: the other text still has at least t (m + n) / 2 - k of those that are left.
So the index leaves out the k words that most texts have, whose lists are long, and counts in the lists of the others.

Example::

    index = WordIndex(0.7)
    index.add([4, 8, 15, 16, 23, 42])                 # text 0, by the numbers of its words
    index.candidates([4, 8, 15, 16, 23, 99])          # array([0]): may reach the threshold
    index.candidates([1, 2, 3])                       # array([]): none can
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# Of the words that may be left out: the last tenth costs little and rules out nearly all that is unlike.
_LEFT_OUT = 0.9
_SAFE = 1 - 1e-9  # above the rounding error of any score, so that a score at the threshold is never ruled out


class WordIndex:
    """For each word the texts that have it; a word's second occurrence in a text counts as a word of its own."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._lengths = array("I")
        self._texts: dict[Hashable, array[int]] = {}  # word -> numbers of the texts, in order

    def add(self, words: Sequence[int]) -> None:
        """Number the text and enter it."""
        number = len(self._lengths)
        self._lengths.append(len(words))
        for word in _numbered(words):
            self._texts.setdefault(word, array("I")).append(number)

    def candidates(self, words: Sequence[int]) -> npt.NDArray[Any]:
        """The numbers, in order, of all texts whose ROUGE-L F with these words may reach the threshold."""
        if not words or not self._lengths:
            return np.empty(0, dtype=np.intp)
        lists = sorted((self._texts[word] for word in _numbered(words) if word in self._texts), key=len)
        in_common = _needed(self._threshold * len(words) / (2 - self._threshold))
        left_out = int(_LEFT_OUT * (in_common - 1))
        counted = lists[: max(0, len(lists) - left_out)]
        if not counted:
            return np.empty(0, dtype=np.intp)
        # No list names a text twice, so this counts words.
        counts = np.bincount(np.concatenate([np.frombuffer(one, dtype=np.uint32) for one in counted]))
        found = np.flatnonzero(counts >= in_common - left_out)
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)[found]
        needed = np.ceil(self._threshold * (len(words) + lengths.astype(np.float64)) / 2 * _SAFE) - left_out
        return found[counts[found] >= needed]


def _needed(bound: float) -> int:
    """The smallest whole number that is not below `bound`, which may be a rounding error too large; at least 1."""
    return max(1, int(np.ceil(bound * _SAFE)))


def _numbered(words: Sequence[int]) -> list[Hashable]:
    """The words, from the second occurrence on with the number of the occurrence: sets of them intersect as bags of words do."""
    seen: dict[int, int] = {}
    found: list[Hashable] = []
    for word in words:
        before = seen.get(word, 0)
        seen[word] = before + 1
        found.append((word, before) if before else word)
    return found
