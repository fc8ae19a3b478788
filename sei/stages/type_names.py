"""What the members of an error type have in common, as its name.

Place in the flow: `stages.cluster` names each new type here, unless a teacher did. A name fits a keyphrase that has all its
telling words, those that tell one error from another. Candidates are the type's keyphrases, and the words that two of them
share ("multiplication of ... numbers miscalculated"). The best one fits the most of the type's mistakes and the least of the
other types': "subtraction of three-digit numbers miscalculated" would say something false of a type that holds additions of
three-digit numbers too, and "numbers miscalculated" nothing.

Example::

    both = Spoken.make({"addition of two-digit numbers wrong": ["m1"], "division of two-digit numbers wrong": ["m2"]})
    name_candidates(0, [both])[0]                                       # "two-digit numbers wrong"
    fits("addition of two-digit numbers wrong", both)                   # 0.5
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations

from sei.clustering.embedders import GENERIC_WORDS
from sei.words import split_words

_MOST_COMPARED = 20  # phrases of a type, the most frequent ones, whose common words are candidates
_PART_MUST_WIN_BY = 0.05  # part of a phrase reads less well than a whole one: it has to fit so much better
_STEM = 6  # letters by which forms of one word are told to be one: miscalculated ~ miscalculation
_MOST_RUNS = 2  # of words, with a gap between them, in such a candidate
_GAP = " ... "
# Words that say no more than that something went wrong. Those that say what with are left out of it.
_ONLY_WRONG = GENERIC_WORDS - frozenset(
    split_words("total number numbers amount amounts value values result step steps")
)
# What a name neither begins nor ends with.
_LOOSE = frozenset(
    split_words("a an the of in on at to for from by with and or as when while where which instead than")
)
_SAYS_LITTLE = _LOOSE | _ONLY_WRONG  # beside a gap, such words alone read as if something were missing


@dataclass(frozen=True)
class Spoken:
    """The phrases of one error type, most frequent first; the mistakes that each names; the phrases that have a word."""

    phrases: tuple[str, ...]
    mistakes: tuple[frozenset[str], ...]
    having: Mapping[str, frozenset[int]]  # telling word -> positions of the phrases
    size: int  # distinct mistakes

    @classmethod
    def make(cls, mistakes_of: Mapping[str, Sequence[str]]) -> Spoken:
        having: dict[str, set[int]] = {}
        for position, text in enumerate(mistakes_of):
            for word in _telling(text):
                having.setdefault(word, set()).add(position)
        mistakes = tuple(frozenset(ids) for ids in mistakes_of.values())
        index = {word: frozenset(positions) for word, positions in having.items()}
        return cls(tuple(mistakes_of), mistakes, index, len(frozenset().union(*mistakes)))

    def fitting(self, words: frozenset[str]) -> int:
        """How many mistakes have a phrase with all these words."""
        positions = frozenset.intersection(*(self.having.get(word, frozenset()) for word in words))
        return len(frozenset().union(*(self.mistakes[position] for position in positions)))


def fits(name: str, spoken: Spoken) -> float:
    """The share of the type's mistakes that have a phrase with all telling words of `name`."""
    words = _telling(name)
    return spoken.fitting(words) / spoken.size if words else 0.0


def name_candidates(index: int, types: Sequence[Spoken]) -> list[str]:
    """Names for the type at `index`, best first; at least one."""
    own = types[index]
    parts = dict.fromkeys(
        part
        for one, other in combinations(own.phrases[:_MOST_COMPARED], 2)
        if (part := _common(one, other)) and part not in own.phrases
    )
    others = [spoken for place, spoken in enumerate(types) if place != index]
    elsewhere = sum(spoken.size for spoken in others)

    def gain(name: str) -> float:
        """Share of the type's mistakes that the name fits, less that of all other types'."""
        words = _telling(name)
        if not words:
            return 0.0
        outside = sum(spoken.fitting(words) for spoken in others) / elsewhere if others else 0.0
        return own.fitting(words) / own.size - outside

    scores = {text: gain(text) for text in own.phrases}
    scores |= {text: gain(text) - _PART_MUST_WIN_BY for text in parts}
    # Of equals the one that says most, then the most frequent: sorting is stable.
    return sorted(scores, key=lambda text: (-round(scores[text], 6), -len(_telling(text))))


def _telling(text: str) -> frozenset[str]:
    """The words that tell errors apart, shortened; all of them where there are no such."""
    words = split_words(text.casefold())
    return frozenset(map(_stem, [word for word in words if word not in _ONLY_WRONG] or words))


def _stem(word: str) -> str:
    return (word[:-1] if len(word) > 3 and word.endswith("s") else word)[:_STEM]


def _common(one: str, other: str) -> str:
    """The words that both have, in their order, with a gap where they differ; "" where that says nothing."""
    left, right = one.split(), other.split()
    keys, others = ([_stem(" ".join(split_words(word.casefold()))) for word in side] for side in (left, right))
    blocks = SequenceMatcher(None, keys, others, autojunk=False).get_matching_blocks()
    runs = [left[block.a : block.a + block.size] for block in blocks if block.size]
    runs = [run for run in runs if any(word not in _SAYS_LITTLE for word in split_words(" ".join(run).casefold()))]
    while runs and (not runs[0] or runs[0][0].casefold() in _LOOSE):
        runs = [runs[0][1:], *runs[1:]] if runs[0] else runs[1:]
    while runs and (not runs[-1] or runs[-1][-1].casefold() in _LOOSE):
        runs = [*runs[:-1], runs[-1][:-1]] if runs[-1] else runs[:-1]
    text = _GAP.join(" ".join(run).rstrip(",;:. ") for run in runs)
    telling = [word for word in split_words(text.casefold()) if word not in _ONLY_WRONG]
    return text if telling and len(runs) <= _MOST_RUNS and sum(map(len, runs)) > 1 else ""
