"""Overlap between texts: exact copies by normalized text, near copies by ROUGE-L, shared stretches by word n-grams.

Place in the flow: the synthesize stage keeps a draft only if its ROUGE-L F is below a threshold against the seed
problems, the test problems and everything kept so far (SEI: 0.7); the separate stage uses all three ways to keep
training problems apart from validation and test problems. Words are those of `sei.words`, in any script. For texts in
ASCII the ROUGE-L scores are those of the package rouge_score (rougeL, no stemmer), to the last bit, because both compute
the same expression from the same integer, the length of the longest common subsequence of words.

Example::

    near = SimilarityFilter(0.7, ["Ann has 3 apples. How many?"])
    near.check("Ann has 4 apples. How many?")       # Overlap(score=0.8333333333333334, reference='Ann has 3 ...')
    near.filter_batch(drafts)                       # per draft None (kept, and a reference from now on) or its Overlap
"""

from __future__ import annotations

import re
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from sei.data.index import WordIndex
from sei.words import split_words

_FEW = 64  # references from which on the index is faster than comparing with all of them
_CHARACTERS = sys.maxunicode  # the last word number that is a character

Words = str | array  # of word numbers


class Overlap(NamedTuple):
    """The nearest reference of a text that is too similar."""

    score: float  # ROUGE-L F in [threshold, 1], or the share of the text's n-grams in (0, 1]
    reference: str


class SimilarityFilter:
    """Finds texts whose ROUGE-L F against any reference is at least `threshold`; accepted texts become references.

    Decisions, scores and nearest references are those of comparing every text with every reference; `sei.data.index` rules
    out most of them beforehand.
    """

    def __init__(self, threshold: float, references: Iterable[str] = ()) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold}: ROUGE-L F lies in [0, 1], a threshold in (0, 1]")
        self.threshold = threshold
        self._vocabulary: dict[str, int] = {}
        self._texts: list[str] = []
        self._words: list[Words] = []
        self._index = WordIndex(threshold)
        for text in references:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def check(self, text: str) -> Overlap | None:
        """The nearest reference if it is too similar, else None. The text does not become a reference."""
        return self._nearest(self._ids(text))

    def check_many(self, texts: Iterable[str]) -> list[Overlap | None]:
        """`check` for many texts; none of them becomes a reference."""
        return [self.check(text) for text in texts]

    def add(self, text: str) -> None:
        """Make `text` a reference."""
        self._add(text, self._ids(text))

    def filter_batch(self, texts: Iterable[str]) -> list[Overlap | None]:
        """In order: the overlap of each text that is too similar to a reference or to a text kept before it, else None.

        Texts with None are kept: they have become references.
        """
        results: list[Overlap | None] = []
        for text in texts:
            ids = self._ids(text)
            results.append(self._nearest(ids))
            if results[-1] is None:
                self._add(text, ids)
        return results

    def _ids(self, text: str) -> list[int]:
        vocabulary = self._vocabulary
        return [vocabulary.setdefault(word, len(vocabulary)) for word in split_words(text.lower())]

    def _add(self, text: str, ids: list[int]) -> None:
        self._texts.append(text)
        self._words.append(_as_sequence(ids))
        self._index.add(ids)

    def _nearest(self, ids: list[int]) -> Overlap | None:
        few = len(self._words) <= _FEW
        candidates = range(len(self._words)) if few else self._index.candidates(ids).tolist()
        if not candidates:
            return None
        scores = rouge_l(_as_sequence(ids), self._words if few else [self._words[one] for one in candidates])
        best = int(scores.argmax())
        return Overlap(float(scores[best]), self._texts[candidates[best]]) if scores[best] >= self.threshold else None


def _as_sequence(ids: list[int]) -> Words:
    """Word numbers as rapidfuzz compares them fastest: as characters, where there are so many. It takes both kinds together."""
    return "".join(map(chr, ids)) if max(ids, default=0) <= _CHARACTERS else array("Q", ids)


def rouge_l(candidate: Words, references: Sequence[Words]) -> npt.NDArray[np.float64]:
    """ROUGE-L F of a text with every reference; 0 where either has no words."""
    [row] = process.cdist([candidate], references, scorer=LCSseq.similarity, dtype=np.int32)
    common = row.astype(np.float64)
    # The order of operations is rouge_score's, so that a score at the threshold falls on the same side.
    precision = common / max(len(candidate), 1)
    recall = common / np.maximum([len(words) for words in references], 1)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def content_key(text: str) -> str:
    """A form that is equal for texts that differ only in case, spacing, quote and dash style, or a final stop."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(_SAME_SIGNS)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)  # 1,000 = 1000
    return " ".join(text.split()).rstrip(".!? ")


_SAME_SIGNS = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-"})


def exact_matches(texts: Sequence[str], references: Iterable[str]) -> dict[int, str]:
    """Index of each text that is a reference up to `content_key` -> that reference."""
    known: dict[str, str] = {}
    for reference in references:
        known.setdefault(content_key(reference), reference)
    return {index: known[key] for index, text in enumerate(texts) if (key := content_key(text)) in known}


def shared_ngrams(texts: Sequence[str], references: Sequence[str], n: int) -> dict[int, Overlap]:
    """Index of each text that has `n` words in a row in common with a reference -> the reference that shares the most.

    The score is the share of the text's distinct n-grams that this reference holds. A text shorter than `n` words is
    compared whole: it is one n-gram, equal only to a reference of the same words. Words are those of ROUGE-L.
    """
    if n < 1:
        raise ValueError(f"n={n}: an n-gram has at least one word")
    holders: dict[tuple[str, ...], list[int]] = {}
    for number, reference in enumerate(references):
        for gram in _ngrams(reference, n):
            holders.setdefault(gram, []).append(number)
    found: dict[int, Overlap] = {}
    for index, text in enumerate(texts):
        grams = _ngrams(text, n)
        shared = Counter(number for gram in grams for number in holders.get(gram, ()))
        if shared:
            number = min(shared, key=lambda number: (-shared[number], number))
            found[index] = Overlap(shared[number] / len(grams), references[number])
    return found


def _ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    sequence = split_words(text.lower())
    if not sequence:
        return set()
    return {tuple(sequence[start : start + n]) for start in range(max(1, len(sequence) - n + 1))}
