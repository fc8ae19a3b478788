"""Figures for problems with several samples per problem: pass@k and maj@k.

Place in the flow: `sei.stages.evaluate` computes them from the votes of outcomes. Both are expectations over which k of
the n samples one would have drawn, so they use all n samples and depend on no order.

Example::

    pass_at_k(n=8, c=2, k=4)                   # 0.785...: one of 4 drawn samples is right
    majority_at_k((0, 1, 0, 2, -1), k=3)       # 0.566...: the answer most of 3 drawn samples give is the gold answer
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

DRAWS = 10_000  # of the Monte Carlo estimate: its standard error is at most 0.005 for one problem
_EXACT_STEPS = 20_000  # array operations of the exact sum, about 50 ms; n = 64 samples with ten answers stay far below
_EXACT_SAMPLES = 1000  # the number of subsets of more samples overflows a float


def ks(n: int) -> list[int]:
    """Which k to report of `n` samples: 1, the powers of two below n, and n."""
    if n < 1:
        raise ValueError(f"{n} samples: needs 1 or more")
    return sorted({*(2**i for i in range(n.bit_length())), n})


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that at least one of k samples is right, drawn without replacement from n of which c are right.

    The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, equation 1), 1 - C(n-c, k) / C(n, k), in whole numbers and
    so exact for any n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {c} right in {n} samples: needs 0 <= right <= samples and 1 <= k <= samples")
    subsets = math.comb(n, k)
    return (subsets - math.comb(n - c, k)) / subsets


def majority_at_k(votes: Sequence[int], k: int) -> float:
    """The probability that the most frequent answer of k samples, drawn without replacement, is the gold answer.

    `votes` has the answer of each sample as a number: 0 the gold answer, 1.. others, -1 no answer, which does not vote.
    t answers with equally many votes win 1/t each; where no sample votes, nothing wins. Exact where `is_exact` says
    so; else the share in DRAWS draws, seeded by the votes themselves, so equal votes give equal figures.
    """
    if not 1 <= k <= len(votes):
        raise ValueError(f"maj@{k} of {len(votes)} samples: needs 1 <= k <= samples")
    gold, others, silent = _counts(votes)
    return (_exact if is_exact(votes, k) else _drawn)(gold, others, silent, k)


def is_exact(votes: Sequence[int], k: int) -> bool:
    """Whether `majority_at_k` sums over all subsets of these votes, or draws some of them."""
    gold, others, _ = _counts(votes)
    most = min(gold, k)
    return len(votes) <= _EXACT_SAMPLES and most * sum(min(size, most) + 1 for size in others) <= _EXACT_STEPS


def _counts(votes: Sequence[int]) -> tuple[int, tuple[int, ...], int]:
    """Votes for the gold answer, for each other answer (sorted: which one it is does not matter), and for none."""
    counts = Counter(votes)
    gold, silent = counts.pop(0, 0), counts.pop(-1, 0)
    return gold, tuple(sorted(counts.values())), silent


@lru_cache(maxsize=65536)
def _exact(gold: int, others: tuple[int, ...], silent: int, k: int) -> float:
    """Sum over `top`, the gold answer's votes among the k, of the subsets in which no other answer has more.

    `ways[tied, drawn]` counts the choices of `drawn` other samples in which `tied` answers have just `top` votes and
    the rest fewer; it grows by one answer at a time.
    """
    won = 0.0
    for top in range(1, min(gold, k) + 1):
        width = k - top + 1
        ways = np.zeros((k // top, width))
        ways[0] = [math.comb(silent, drawn) for drawn in range(width)]
        for size in others:
            grown = np.zeros_like(ways)
            for drawn in range(min(top, size + 1, width)):
                grown[:, drawn:] += math.comb(size, drawn) * ways[:, : width - drawn]
            if top <= size and top < width:
                grown[1:, top:] += math.comb(size, top) * ways[:-1, : width - top]
            ways = grown
        shares = 1 / np.arange(1, len(ways) + 1)
        won += math.comb(gold, top) * float(shares @ ways[:, k - top])
    return min(1.0, won / math.comb(gold + sum(others) + silent, k))


@lru_cache(maxsize=65536)
def _drawn(gold: int, others: tuple[int, ...], silent: int, k: int) -> float:
    """The same by drawing: numbers of votes from the multivariate hypergeometric distribution."""
    generator = np.random.default_rng([gold, *others, silent, k])
    counts = generator.multivariate_hypergeometric([gold, *others, silent], k, size=DRAWS, method="marginals")[:, :-1]
    most = counts.max(axis=1)
    tied = (counts == most[:, None]).sum(axis=1)
    wins = (counts[:, 0] == most) & (most > 0)
    return float((wins / tied).mean())
