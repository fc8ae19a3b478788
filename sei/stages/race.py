"""Race: which answers are still needed to know the best candidates, and which candidates are in or out.

Place in the flow: `stages.select` asks a `Race` what to ask the target next and tells it whether the answers were right.

A candidate's score is the mean of its shares of right answers at some groups of problems. While answers are open it lies between
its *lowest*, all of them wrong, and its *highest*, all of them right; both close in on the score. A candidate is in when
fewer than `keep` others can still come before it, out when as many are before it whatever happens, and is asked nothing more
either way. So the winners are exactly those of asking every candidate everything, ties by id included; their scores are known as
far as that needed. Estimates decide about the order of the questions alone:

- some candidates are asked everything at first: how often each problem is solved, and at what cost in tokens;
- their scores say where the cut will be about. A candidate is asked at once as many problems as it must solve to be above that
  cut, those that are mostly solved first, or as many as it must fail to be below, those that are mostly failed first, whichever
  is expected to take fewer tokens. As one candidate's questions stand together they share the demonstration in a prefix cache.

Example::

    race = Race(["a", "b", "c"], groups=[10, 10], keep=1)
    while asked := race.next():
        for candidate, problem in asked:
            race.tell(candidate, problem, right, tokens)
    race.ranked()[:1]                                          # the winner's place in the list
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PILOT = 50  # candidates that are asked everything, to know the problems
FULL = 256  # questions that fill a target's batches: with fewer at once, each candidate is asked more of its own
_ROUNDED = 1e-6  # scores are rounded to so much


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
        rank = {name: place for place, name in enumerate(sorted(set(ids)))}
        self._rank = np.array([rank[name] for name in ids], dtype=np.int64)
        self._pilot = drawn[: max(1, min(PILOT, len(ids) // 20))]
        self._rates: list[float] = []  # how often the pilot solved each problem
        self._cut = 1.0  # an estimate of the lowest score that is kept
        self.lowest = [0.0] * len(ids)
        self.highest = [1.0] * len(ids)

    def next(self) -> list[tuple[int, int]]:
        """What to ask next: candidates and problems, by their places; one candidate's together. Nothing: it is decided."""
        if not any(self._right):
            return [(item, problem) for item in sorted(self._pilot) for problem in range(self.problems)]
        if not self._rates:
            self._learn()
        running, goal = self._running([item for item in self._undecided() if self.asked(item) < self.problems])
        wanted = {item: self._wanted(item, goal) for item in running}
        more = max(1.0, FULL / max(1, sum(count for _, count in wanted.values())))
        return [
            (item, problem)
            for item, (order, count) in wanted.items()
            for problem in sorted(order[: round(count * more)])
        ]

    def tell(self, item: int, problem: int, right: bool | None, tokens: int = 0) -> None:
        """An answer, and what it cost. `right` None: there is none, and the score is the mean of the others."""
        self._right[item][problem] = right
        self.answers += 1
        self.tokens[problem] += tokens
        self.lowest[item] = self._score(item, if_open=False)
        self.highest[item] = self._score(item, if_open=True)

    def ranked(self) -> list[int]:
        """The candidates by their lowest scores, best first: once it is decided, the winners come first.

        Equal ones are ordered by id, which is a hash and so unrelated to the content.
        """
        ranked: list[int] = np.argsort(self._places(self.lowest), kind="stable").tolist()
        return ranked

    def asked(self, item: int) -> int:
        """How many problems a candidate has been asked."""
        return len(self._right[item])

    def decided(self) -> int:
        """How many answers are known or cannot matter any more."""
        return self.problems * len(self.ids) - sum(self.problems - self.asked(item) for item in self._undecided())

    def _score(self, item: int, *, if_open: bool) -> float:
        """A candidate's score if all its open answers are right, or all wrong."""
        right = self._right[item]
        shares = []
        for group in self._groups:
            known = [value for problem in group if (value := right.get(problem, if_open)) is not None]
            if known:
                shares.append(sum(known) / len(known))
        return round(sum(shares) / len(shares), 6) if shares else 0.0

    def _places(self, scores: Sequence[float]) -> npt.NDArray[np.int64]:
        """Numbers that order the candidates by score, best first, and equal ones by id."""
        points = np.rint(np.asarray(scores) / _ROUNDED).astype(np.int64)
        return (round(1 / _ROUNDED) - points) * len(self.ids) + self._rank

    def _undecided(self) -> list[int]:
        """The candidates that are neither in nor out."""
        best, worst = self._places(self.highest), self._places(self.lowest)
        # Who may be before it counts itself, if it may be better than its worst.
        is_in = np.searchsorted(np.sort(best), worst) - (best < worst) < self.keep
        is_out = np.searchsorted(np.sort(worst), best) >= self.keep
        undecided: list[int] = np.flatnonzero(~(is_in | is_out)).tolist()
        return undecided

    def _running(self, undecided: Sequence[int]) -> tuple[list[int], float]:
        """Whom to ask next, in order, and the score that matters: whether they reach it."""
        open_ = [
            i for i in undecided if self.lowest[i] < self._cut - _ROUNDED and self.highest[i] >= self._cut - _ROUNDED
        ]
        if open_:
            return open_, self._cut
        # Everyone is above or below the estimated cut. Too many above: as many as are kept lead, and the others must fall
        # behind them or overtake. Too few: those who can still come next must show it.
        leading = self.ranked()[: self.keep]
        if self.lowest[leading[-1]] >= self._cut - _ROUNDED:
            behind = set(undecided) - set(leading)
            return sorted(behind), self.lowest[leading[-1]] + min(self._weights, default=0.0)
        may_lead = np.argsort(self._places(self.highest), kind="stable")[: self.keep].tolist()
        return sorted(set(undecided) & set(may_lead)), self.highest[may_lead[-1]]

    def _learn(self) -> None:
        """From the pilot: where the cut will be about, and how often each problem is solved."""
        scores = sorted((self.lowest[item] for item in self._pilot), reverse=True)
        wanted = self.keep / len(self.ids) * len(scores)
        self._cut = scores[max(0, round(wanted) - 1)]
        # Of those with just this score some are kept and some not. Where most are not, who reaches it has shown little.
        if wanted - sum(one > self._cut for one in scores) < sum(one == self._cut for one in scores) / 2:
            self._cut += min(self._weights, default=0.0)
        count = len(self._pilot)
        solved = [sum(self._right[item][problem] is True for item in self._pilot) for problem in range(self.problems)]
        self._rates = [(right + 0.5) / (count + 1) for right in solved]  # never quite 0 or 1 in so few

    def _open(self, item: int) -> list[int]:
        return [problem for problem in range(self.problems) if problem not in self._right[item]]

    def _wanted(self, item: int, goal: float) -> tuple[list[int], int]:
        """The open problems in the order in which to ask them, and how many at once: no fewer tell whether it reaches `goal`."""
        up = self._way(item, self._rates, goal - self.lowest[item])
        down = self._way(item, [1 - rate for rate in self._rates], self.highest[item] - goal + 2 * _ROUNDED)
        order, needed, _ = min(up, down, key=lambda way: way[2])
        return order, max(1, needed)

    def _way(self, item: int, chances: Sequence[float], distance: float) -> tuple[list[int], int, float]:
        """To go `distance`, by answers that come with these chances: the order, how many it takes, the tokens expected."""

        def worth(problem: int) -> float:
            return self._weights[problem] * chances[problem] / (self.tokens[problem] + 1)

        order = sorted(self._open(item), key=lambda problem: -worth(problem))
        needed, gone, expected, tokens = 0, 0.0, 0.0, 0.0
        for problem in order:
            if gone < distance - _ROUNDED:
                gone += self._weights[problem]
                needed += 1
            if expected < distance:
                expected += self._weights[problem] * chances[problem]
                tokens += self.tokens[problem]
        return order, needed, tokens * max(1.0, distance / max(expected, 1e-9))
