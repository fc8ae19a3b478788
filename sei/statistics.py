"""Intervals and paired tests for accuracies.

Place in the flow: evaluation gives each accuracy, and the averages over test sets, an interval after Wilson; `sei.compare`
gives means over seeds their Student interval and tests two recipes on the same test items: McNemar within one pair of
seeds, a bootstrap over items and seeds.

Example::

    wilson_interval(8, 10)                              # Interval(mean=0.8, low=0.490..., high=0.943...)
    mcnemar([True, True, False], [True, False, False])  # McNemar(only_first=1, only_second=0, p=1.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95  # of every interval
RESAMPLES = 10_000  # of the bootstrap


class Interval(NamedTuple):
    """An estimate and its confidence interval; `low` and `high` are nan if the data give none."""

    mean: float
    low: float
    high: float


class McNemar(NamedTuple):
    """Items that only one of two models got right, and the exact two-sided p-value of their difference."""

    only_first: int
    only_second: int
    p: float


class Effect(NamedTuple):
    """Difference of two accuracies (second minus first) with its interval and two-sided p-value.

    `odds` is the odds ratio of the discordant pairs: items that only the second model has right for each that only the first
    has right.
    """

    difference: float
    low: float
    high: float
    p: float
    odds: Interval


def wilson_interval(correct: float, n: float) -> Interval:
    """Accuracy `correct / n` with Wilson's score interval (Wilson 1927, equation for p without continuity correction).

    An effective number of items need not be whole.
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} correct of {n}: needs 0 <= correct <= n and n > 0")
    from scipy.stats import norm

    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def mean_interval(values: Sequence[float], *, least: float = -math.inf, most: float = math.inf) -> Interval:
    """Mean over seeds with Student's t interval, cut at `least` and `most`; one value has no interval (nan).

    Student's interval knows nothing of the range of what it is about: of a few seeds it reaches beyond 0 and 1.
    """
    if len(values) == 0:
        raise ValueError("no values to take the mean of")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan)
    from scipy.stats import t

    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return Interval(mean, max(least, mean - half), min(most, mean + half))


def shares_interval(groups: Sequence[npt.ArrayLike]) -> Interval:
    """Mean of the groups' means, each of the same weight, with an interval that has a width even at 0 and 1.

    groups: the items' shares in [0, 1], such as right (1) or wrong (0), or pass@k of several samples. One group gives the
    mean over its items; the test sets of an average, or the subjects of a set, are several. A group of single samples has
    Wilson's interval; otherwise it is Wilson's for the number of single samples that would vary as much (the effective
    sample size, Kish 1965). The groups' limits are combined by the recovery of their variances (Zou and Donner 2008).
    """
    if len(groups) == 0 or any(np.size(group) == 0 for group in groups):
        raise ValueError("no values to take the mean of")
    found = [_share(np.asarray(group, dtype=np.float64)) for group in groups]
    mean = math.fsum(one.mean for one in found) / len(found)
    below = math.hypot(*(one.mean - one.low for one in found)) / len(found)
    above = math.hypot(*(one.high - one.mean for one in found)) / len(found)
    return Interval(mean, max(0.0, mean - below), min(1.0, mean + above))  # floating-point sums may end just outside


def _share(values: npt.NDArray[np.float64]) -> Interval:
    n, mean = len(values), float(values.mean())
    single = mean * (1 - mean)  # the variance of single samples with this mean
    if np.isin(values, (0.0, 1.0)).all():
        return wilson_interval(float(values.sum()), n)
    # One item more, as variable as a single sample: a few items that happen to agree do not prove that all would.
    variance = (n * float(values.var()) + single) / (n + 1)
    effective = n * single / variance
    return wilson_interval(mean * effective, effective)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's exact test that two models are right equally often on the same items (binomial, where they differ)."""
    first_right, second_right = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first_right.shape != second_right.shape:
        raise ValueError(f"paired items needed, got {first_right.shape} and {second_right.shape}")
    from scipy.stats import binom

    only_first = int((first_right & ~second_right).sum())
    only_second = int((~first_right & second_right).sum())
    differing = only_first + only_second
    p = min(1.0, 2 * float(binom.cdf(min(only_first, only_second), differing, 0.5))) if differing else 1.0
    return McNemar(only_first, only_second, p)


def difference_interval(first: npt.ArrayLike, second: npt.ArrayLike) -> Interval:
    """Mean difference of two models' scores on the same items, second minus first, with its 95 % interval.

    Scores are shares in [0, 1], mostly 0 or 1. Bonett and Price (2012): a normal interval after adding an item that only
    the first has right and one that only the second has. `paired_bootstrap` takes several seeds too, and seconds of time.
    """
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    if differences.size == 0:
        raise ValueError("no items to compare")
    from scipy.stats import norm

    more = np.append(differences, (1.0, -1.0))
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * float(more.std()) / math.sqrt(more.size)
    centre = float(more.mean())
    return Interval(float(differences.mean()), max(-1.0, centre - half), min(1.0, centre + half))


def odds_ratio(only_first: Any, only_second: Any) -> Any:
    """The odds ratio of discordant pairs, with half an item put to each side so that it is finite (Haldane 1955)."""
    return (only_second + 0.5) / (only_first + 0.5)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, in their order: Holm 1979, "A simple sequentially rejective multiple test
    procedure". The chance that any of those below 0.05 is there by chance alone is then below 0.05, however they depend.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def paired_bootstrap(first: npt.ArrayLike, second: npt.ArrayLike, *, seed: int = 0) -> Effect:
    """Difference of accuracy, second minus first, by resampling items and seeds together.

    `first` and `second` are 1 for right and 0 for wrong, [seeds, items]; row s of both is the same seed, column i the same
    item. Each resample draws items and, independently, seeds with replacement (the pigeonhole bootstrap, Owen 2007), the
    same for both models. Percentile interval; p is twice the smaller share of resamples on one side of zero, counting
    the observed one. With one seed only the items are drawn, and nothing is said about other seeds; with two to four the
    seeds' part of the spread comes out too small by (seeds - 1) / seeds. The odds ratio has its percentile interval from the
    same resamples.
    """
    differences = np.atleast_2d(np.asarray(second, dtype=np.float64)) - np.atleast_2d(
        np.asarray(first, dtype=np.float64)
    )
    seeds, items = differences.shape
    if items == 0 or seeds == 0:
        raise ValueError(f"no outcomes to compare: {seeds} seeds, {items} items")
    generator = np.random.default_rng(seed)
    sides = np.stack([np.maximum(-differences, 0.0), np.maximum(differences, 0.0)])  # [2, seeds, items]
    sums = np.empty((2, RESAMPLES))  # of what only the first, and only the second, has right
    block = max(1, 4_000_000 // items)  # 32 MB of weights at a time
    for start in range(0, RESAMPLES, block):
        count = min(block, RESAMPLES - start)
        item_weights = generator.multinomial(items, np.full(items, 1 / items), size=count)  # [count, items]
        seed_weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=count)  # [count, seeds]
        sums[:, start : start + count] = ((seed_weights @ sides) * item_weights).sum(axis=2)
    means = (sums[1] - sums[0]) / (seeds * items)
    return Effect(float(differences.mean()), *percentiles(means), _odds(sides.sum(axis=(1, 2)), sums))


def nested_bootstrap(pairs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], *, seed: int = 0) -> Effect:
    """The same where each seed has items of its own: `pairs` has the scores of both models on them, [items], for each seed.

    Each resample draws seeds with replacement, and items within each; every item has the same weight.
    """
    differences = [
        np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64) for first, second in pairs
    ]
    if not differences or not all(one.size for one in differences):
        raise ValueError("no outcomes to compare")
    sides = [np.stack([np.maximum(-one, 0.0), np.maximum(one, 0.0)], axis=1) for one in differences]
    observed = np.concatenate(sides).sum(axis=0)
    items = sum(map(len, sides))
    means = nested_means(sides, seed=seed)
    shares = means[:, 1] - means[:, 0]
    difference = float(observed[1] - observed[0]) / items
    return Effect(difference, *percentiles(shares), _odds(observed, items * means.T))


def nested_means(groups: Sequence[npt.NDArray[np.float64]], *, seed: int = 0) -> npt.NDArray[np.float64]:
    """The means of bootstrap resamples of groups and, within each, of items, [RESAMPLES, columns].

    groups: one array for each group, [items of the group, columns]; its columns share their draws. A column of nan is one that
    the group does not have; a resample that has no other group says nothing of it: nan.
    """
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=RESAMPLES)
    sums, counts = np.zeros((2, RESAMPLES, groups[0].shape[1]))
    for number, values in enumerate(groups):
        items = len(values)
        there = ~np.isnan(values).any(axis=0)
        block = max(1, 4_000_000 // items)  # 32 MB of weights at a time
        parts = [
            generator.multinomial(items, np.full(items, 1 / items), size=min(block, RESAMPLES - start))
            @ np.where(there, values, 0.0)
            for start in range(0, RESAMPLES, block)
        ]
        sums += weights[:, number, None] * np.concatenate(parts)
        counts += weights[:, number, None] * (items * there)
    with np.errstate(invalid="ignore"):
        return sums / counts


def percentiles(means: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Percentile interval and two-sided p of a bootstrap's resamples: low, high, p.

    p is twice the smaller share of them on one side of zero, counting the observed one.
    """
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # A resample that sums to zero must count on both sides, even if floating point leaves 1e-18 of it.
    below = (np.count_nonzero(means <= 1e-12) + 1) / (len(means) + 1)
    above = (np.count_nonzero(means >= -1e-12) + 1) / (len(means) + 1)
    return float(low), float(high), min(1.0, 2 * min(below, above))


def _odds(observed: npt.NDArray[np.float64], sums: npt.NDArray[np.float64]) -> Interval:
    """The odds ratio with its percentile interval; `sums` of both sides, [2, resamples]."""
    ends = np.quantile(odds_ratio(sums[0], sums[1]), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(odds_ratio(*observed)), *map(float, ends))
