"""Race: which answers are still needed to know the best candidates, and which candidates are out.

Place in the flow: `stages.select` asks a `Race` what to ask the target next and tells it whether the answers were right.

A candidate's score is the mean of its shares of right answers at some groups of problems. Its *bound* is the score that it
has if every open answer is right. The candidates with the best bounds are asked until all of them have been asked
everything: no other can come before them then, because bounds only fall. So the winners and their scores are exactly those of
asking every candidate everything. Estimates decide about the order of the questions alone:

- some candidates are asked everything at first: where they fail, and at what cost in tokens, is asked first of the others;
- their scores say where the cut will be about. A candidate is asked at once as many problems as it must fail to fall below
  that cut. These questions are hardly ever in vain, and as one candidate's stand together they share the demonstration
  in a prefix cache.

Example::

    race = Race(["a", "b", "c"], groups=[10, 10], keep=1)
    while asked := race.next():
        for candidate, problem in asked:
            race.tell(candidate, problem, right, tokens)
    race.ranked()[:1]                                          # the winner's place in the list
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

PILOT = 50  # candidates that are asked everything, to know the problems
FULL = 256  # questions that fill a target's batches: with fewer at once, each candidate is asked more of its own


class Race:
    """The candidates `ids`, of which the best `keep` are wanted; `groups`: how many problems each group has."""

    def __init__(self, ids: Sequence[str], groups: Sequence[int], keep: int) -> None:
        self.ids, self.keep = ids, keep
        self.problems = sum(groups)
        starts = [sum(groups[:place]) for place in range(len(groups))]
        self._groups = [range(start, start + size) for start, size in zip(starts, groups, strict=True) if size]
        self._weights = [1 / len(group) / len(self._groups) for group in self._groups for _ in group]
        self._right: list[dict[int, bool | None]] = [{} for _ in ids]  # by problem; None: there is no answer
        self.tokens = [0] * self.problems  # of all answers to each problem
        self.answers = 0
        drawn = sorted(range(len(ids)), key=lambda item: ids[item])  # ids are hashes, so this is a random order
        self._pilot = drawn[: max(1, min(PILOT, len(ids) // 20))]
        self._learnt = False
        self._order = list(range(self.problems))
        self._estimate = 1.0  # of the lowest score that is kept
        self._bounds = [1.0] * len(ids)

    def next(self) -> list[tuple[int, int]]:
        """What to ask next: candidates and problems, by their places; one candidate's together. Nothing: it is decided."""
        if not any(self._right):
            return [(item, problem) for item in sorted(self._pilot) for problem in range(self.problems)]
        if not self._learnt:
            self._learn()
        leaders = self.ranked()[: self.keep]
        if all(self.asked(item) == self.problems for item in leaders):
            return []
        border = self._bounds[leaders[-1]]
        goal = min(self._estimate, border)
        running = range(len(self.ids)) if goal < border else sorted(leaders)
        running = [item for item in running if self._bounds[item] >= goal and self.asked(item) < self.problems]
        needed = [self._needed(item, goal) for item in running]
        more = max(1.0, FULL / sum(needed))
        asked = []
        for item, count in zip(running, needed, strict=True):
            asked += [(item, problem) for problem in sorted(self._open(item)[: round(count * more)])]
        return asked

    def tell(self, item: int, problem: int, right: bool | None, tokens: int = 0) -> None:
        """An answer, and what it cost. `right` None: there is none, and the score is the mean of the others."""
        self._right[item][problem] = right
        self.answers += 1
        self.tokens[problem] += tokens
        self._bounds[item] = self.score(item, if_open=True)

    def ranked(self) -> list[int]:
        """The candidates by their bounds, best first; equal ones by id, which is a hash and so unrelated to the content."""
        return sorted(range(len(self.ids)), key=lambda item: (-self._bounds[item], self.ids[item]))

    def bound(self, item: int) -> float:
        """The highest score that a candidate can still have: its score, once it has been asked everything."""
        return self._bounds[item]

    def asked(self, item: int) -> int:
        """How many problems a candidate has been asked."""
        return len(self._right[item])

    def score(self, item: int, *, if_open: bool) -> float:
        """A candidate's score if all its open answers are right, or all wrong."""
        right = self._right[item]
        shares = []
        for group in self._groups:
            known = [value for problem in group if (value := right.get(problem, if_open)) is not None]
            if known:
                shares.append(sum(known) / len(known))
        return round(sum(shares) / len(shares), 6) if shares else 0.0

    def decided(self) -> int:
        """How many answers are known or cannot matter any more, since as many candidates as are kept will be better."""
        lowest = [(-self.score(item, if_open=False), name) for item, name in enumerate(self.ids)]
        border = sorted(lowest)[self.keep - 1]
        out = ((-bound, name) > border for bound, name in zip(self._bounds, self.ids, strict=True))
        return sum(self.problems if lost else self.asked(item) for item, lost in enumerate(out))

    def _learn(self) -> None:
        """From the pilot: where the cut will be about, and the problems by how far asking one lowers a bound per token."""
        scores = sorted((self.bound(item) for item in self._pilot), reverse=True)
        self._estimate = scores[max(0, round(self.keep / len(self.ids) * len(scores)) - 1)]

        def worth(problem: int) -> float:
            failed = fmean(self._right[item][problem] is False for item in self._pilot)
            return self._weights[problem] * (failed + 0.01) / (self.tokens[problem] + 1)

        self._order.sort(key=lambda problem: -worth(problem))
        self._learnt = True

    def _open(self, item: int) -> list[int]:
        return [problem for problem in self._order if problem not in self._right[item]]

    def _needed(self, item: int, goal: float) -> int:
        """How many problems a candidate must fail, at least, to fall below `goal`; all where that does not suffice."""
        bound, open_ = self._bounds[item], self._open(item)
        for count, problem in enumerate(open_, start=1):
            bound -= self._weights[problem]
            if bound < goal - 1e-6:  # bounds are rounded
                return count
        return len(open_)
