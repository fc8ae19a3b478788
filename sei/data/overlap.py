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
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from sei.words import split_words

_BATCH = 256  # texts compared at a time: 256 x 30,000 references are 60 MB of scores

Words = array  # of word ids


class Overlap(NamedTuple):
    """The nearest reference of a text that is too similar."""

    score: float  # ROUGE-L F in [threshold, 1], or the share of the text's n-grams in (0, 1]
    reference: str


class SimilarityFilter:
    """Finds texts whose ROUGE-L F against any reference is at least `threshold`; accepted texts become references."""

    def __init__(self, threshold: float, references: Iterable[str] = ()) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold}: ROUGE-L F lies in [0, 1], a threshold in (0, 1]")
        self.threshold = threshold
        self._vocabulary: dict[str, int] = {}
        self._texts: list[str] = []
        self._words: list[Words] = []
        for text in references:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def check(self, text: str) -> Overlap | None:
        """The nearest reference if it is too similar, else None. The text does not become a reference."""
        return self._nearest([self._ids(text)])[0]

    def check_many(self, texts: Sequence[str]) -> list[Overlap | None]:
        """`check` for many texts at once, which is some hundred times faster; none of them becomes a reference."""
        words = [self._ids(text) for text in texts]
        starts = range(0, len(words), _BATCH)
        return [overlap for start in starts for overlap in self._nearest(words[start : start + _BATCH])]

    def add(self, text: str) -> None:
        """Make `text` a reference."""
        self._texts.append(text)
        self._words.append(self._ids(text))

    def filter_batch(self, texts: Sequence[str]) -> list[Overlap | None]:
        """In order: the overlap of each text that is too similar to a reference or to a text kept before it, else None.

        Texts with None are kept: they have become references. The same as `check` and `add` one by one, only faster.
        """
        results: list[Overlap | None] = []
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            words = [self._ids(text) for text in batch]
            nearest = self._nearest(words)
            among = rouge_l(words, words)
            kept: list[int] = []
            for index, text in enumerate(batch):
                overlap = nearest[index]
                if kept:
                    closest = kept[int(among[index, kept].argmax())]
                    score = float(among[index, closest])
                    if score >= self.threshold and (overlap is None or score > overlap.score):
                        overlap = Overlap(score, batch[closest])
                if overlap is None:
                    kept.append(index)
                    self._texts.append(text)
                    self._words.append(words[index])
                results.append(overlap)
        return results

    def _ids(self, text: str) -> Words:
        vocabulary = self._vocabulary
        return array("I", [vocabulary.setdefault(word, len(vocabulary)) for word in split_words(text.lower())])

    def _nearest(self, words: Sequence[Words]) -> list[Overlap | None]:
        if not self._words:
            return [None] * len(words)
        scores = rouge_l(words, self._words)
        best = scores.argmax(axis=1)
        return [
            Overlap(float(row[index]), self._texts[index]) if row[index] >= self.threshold else None
            for row, index in zip(scores, best, strict=True)
        ]


def rouge_l(candidates: Sequence[Words], references: Sequence[Words]) -> npt.NDArray[np.float64]:
    """ROUGE-L F of every candidate with every reference, [candidates, references]; 0 where either has no words."""
    common = process.cdist(candidates, references, scorer=LCSseq.similarity, dtype=np.int32).astype(np.float64)
    # The order of operations is rouge_score's, so that a score at the threshold falls on the same side.
    precision = common / np.maximum([[len(words)] for words in candidates], 1)
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
