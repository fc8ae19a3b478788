"""Known numbers from textbooks, scipy as an independent implementation, and hand arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sei.statistics import (
    difference_interval,
    holm,
    mcnemar,
    mean_interval,
    nested_bootstrap,
    nested_means,
    paired_bootstrap,
    shares_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (8, 10), (10, 10), (263, 1319), (1, 1)])
def test_wilson_agrees_with_scipy(correct: int, n: int) -> None:
    expected = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    interval = wilson_interval(correct, n)
    assert interval.mean == correct / n
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_of_newcombe_1998() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662 by the score method.
    assert wilson_interval(81, 263)[1:] == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match="needs 0 <= correct <= n"):
        wilson_interval(correct, n)


def test_mean_interval_by_hand() -> None:
    # 1, 2, 3: standard deviation 1, error 1/sqrt(3), t(0.975, 2) = 4.302653 -> half width 2.484138
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-6)


def test_mean_interval_of_shares_stays_among_shares() -> None:
    assert mean_interval([0.25, 0.5], least=0.0, most=1.0) == (0.375, 0.0, 1.0)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, each at least the one before it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_odds_ratio_of_discordant_pairs_by_hand() -> None:
    first = [[True] * 2 + [False] * 6 + [True] * 12]
    second = [[False] * 2 + [True] * 6 + [True] * 12]
    odds = paired_bootstrap(first, second).odds
    assert odds.mean == 6.5 / 2.5  # six against two, half an item put to each
    assert 0 < odds.low < 1 < odds.mean < odds.high
    assert paired_bootstrap(second, first).odds.mean == pytest.approx(1 / odds.mean)


def test_mean_interval_of_one_seed_has_no_width() -> None:
    interval = mean_interval([0.5])
    assert interval.mean == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_mcnemar_by_hand_and_scipy() -> None:
    first = [True] * 6 + [False] * 1 + [True] * 10
    second = [False] * 6 + [True] * 1 + [True] * 10
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (6, 1)
    assert result.p == pytest.approx(2 * (1 + 7) / 2**7)  # 0.125
    assert result.p == pytest.approx(stats.binomtest(1, 7).pvalue)


def test_mcnemar_without_difference_and_without_pairs() -> None:
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)
    assert mcnemar([True, False], [False, True]).p == 1.0
    with pytest.raises(ValueError, match="paired items"):
        mcnemar([True], [True, False])


def test_interval_of_a_paired_difference_by_hand() -> None:
    # 10 items, 3 fixed and 1 broken; with one more of each in 12: 4/12 - 2/12, half 1.96 sqrt((6/12 - (2/12)^2) / 12)
    before = [1, 0, 0, 0, 1, 1, 0, 0, 1, 1]
    after = [0, 1, 1, 1, 1, 1, 0, 0, 1, 1]
    interval = difference_interval(before, after)
    assert interval == pytest.approx((0.2, 1 / 6 - 0.388809, 1 / 6 + 0.388809), abs=1e-5)
    assert difference_interval([1, 1], [1, 1]).low < 0 < difference_interval([1, 1], [1, 1]).high
    with pytest.raises(ValueError, match="no items"):
        difference_interval([], [])


def test_bootstrap_agrees_with_the_standard_error_of_one_seed() -> None:
    generator = np.random.default_rng(1)
    first = generator.random(2000) < 0.5
    second = first ^ (generator.random(2000) < 0.1)
    effect = paired_bootstrap(first, second, seed=3)
    differences = second.astype(float) - first
    error = differences.std() / math.sqrt(2000)
    assert effect.difference == pytest.approx(differences.mean())
    assert effect.low == pytest.approx(differences.mean() - 1.96 * error, abs=error / 8)
    assert effect.high == pytest.approx(differences.mean() + 1.96 * error, abs=error / 8)
    assert effect.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)


def test_bootstrap_widens_when_seeds_disagree() -> None:
    # The same mean gain of 0.1: once in every seed, once as +0.3 and -0.1 in turn.
    first = np.zeros((4, 100))
    steady, fickle = first.copy(), first.copy()
    steady[:, :10] = 1
    fickle[[0, 2], :30] = 1
    first_fickle = first.copy()
    first_fickle[[1, 3], 90:] = 1
    narrow, wide = paired_bootstrap(first, steady), paired_bootstrap(first_fickle, fickle)
    assert narrow.difference == pytest.approx(wide.difference) == pytest.approx(0.1)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert narrow.p < 0.01 < 0.1 < wide.p


def test_bootstrap_is_paired_seeded_and_symmetric() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random((3, 200)) < 0.5, generator.random((3, 200)) < 0.6
    effect = paired_bootstrap(first, second, seed=5)
    assert effect == paired_bootstrap(first, second, seed=5)
    assert effect != paired_bootstrap(first, second, seed=6)
    mirrored = paired_bootstrap(second, first, seed=5)
    assert (mirrored.difference, mirrored.low, mirrored.high) == pytest.approx(
        (-effect.difference, -effect.high, -effect.low)
    )
    assert mirrored.p == pytest.approx(effect.p)


def test_bootstrap_of_equal_outcomes_sees_nothing() -> None:
    same = np.ones((2, 50))
    assert paired_bootstrap(same, same) == (0.0, 0.0, 0.0, 1.0, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="no outcomes"):
        paired_bootstrap(np.empty((1, 0)), np.empty((1, 0)))


def test_shares_of_single_samples_are_wilson() -> None:
    assert shares_interval([[1, 0, 0, 1, 0]]) == wilson_interval(2, 5)
    for n in range(1, 150):
        assert shares_interval([[0.0] * n]).low >= 0, n
        assert shares_interval([[1.0] * n, [1.0] * 3]).high <= 1, n


def test_shares_of_several_samples_agree_with_the_standard_error() -> None:
    values = np.random.default_rng(1).random(1000)  # variance 1/12, a third of that of single samples
    interval = shares_interval([values])
    error = values.std() / math.sqrt(1000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=error / 50)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=error / 50)


def test_shares_that_happen_to_be_alike_keep_a_width() -> None:
    # 4 items of 1/2: variance (4 * 0 + 1/4) / 5 = 1/20 against 1/4, so they count as 20 single samples
    assert shares_interval([[0.5] * 4]) == pytest.approx(wilson_interval(10, 20))


def test_groups_have_the_same_weight_and_their_limits_are_combined() -> None:
    large, small = [1.0] * 90 + [0.0] * 10, [1.0] * 3 + [0.0] * 3
    one, two = wilson_interval(90, 100), wilson_interval(3, 6)
    interval = shares_interval([large, small])
    assert interval.mean == pytest.approx(0.7)
    # the limits' distances from the means add up in squares, as standard errors do
    assert interval.low == pytest.approx(0.7 - math.sqrt((0.9 - one.low) ** 2 + (0.5 - two.low) ** 2) / 2)
    assert interval.high == pytest.approx(0.7 + math.sqrt((one.high - 0.9) ** 2 + (two.high - 0.5) ** 2) / 2)
    with pytest.raises(ValueError, match="no values"):
        shares_interval([[1.0], []])


@pytest.mark.parametrize(
    ("sizes", "rate", "samples"), [((25, 6, 7, 19, 11, 18, 14), 0.4, 1), ((100,), 0.01, 4), ((200,), 0.6, 8)]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(sizes: tuple[int, ...], rate: float, samples: int) -> None:
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        groups = [draw.binomial(samples, draw.beta(2 * rate, 2 - 2 * rate, size=n)) / samples for n in sizes]
        interval = shares_interval(groups)
        held += interval.low <= rate <= interval.high
    assert 0.92 <= held / 400 <= 0.985  # 95 % and three standard errors of 400 draws


def test_seeds_with_items_of_their_own_are_drawn_with_their_items() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 2, size), rng.integers(0, 2, size)) for size in (40, 60, 50)]
    found = nested_bootstrap(pairs)
    both = [np.concatenate(side) for side in zip(*pairs, strict=True)]
    assert found.difference == pytest.approx(float((both[1] - both[0]).mean())), "every item has the same weight"
    assert found.low < found.difference < found.high
    assert found == nested_bootstrap(pairs)
    mirrored = nested_bootstrap([(second, first) for first, second in pairs])
    assert mirrored.difference == pytest.approx(-found.difference)
    assert mirrored.odds.mean == pytest.approx(1 / found.odds.mean)
    one = nested_bootstrap(pairs[:1])  # of one seed the items alone are drawn, as in the paired bootstrap
    assert one[:4] == pytest.approx(paired_bootstrap(*pairs[0])[:4], abs=0.02)
    better, worse = (np.zeros(50), np.ones(50)), (np.ones(50), np.zeros(50))
    apart = nested_bootstrap([better, worse])
    assert (apart.difference, apart.low, apart.high) == (0, -1, 1), "seeds that disagree"
    with pytest.raises(ValueError, match="no outcomes"):
        nested_bootstrap([])


def test_columns_share_their_draws_and_may_be_missing_from_a_seed() -> None:
    values = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    means = nested_means([values, np.array([[1.0, np.nan], [0.0, np.nan]])])
    first_alone = means[:, 0] == means[:, 1]
    assert 0.2 < first_alone.mean() < 0.4, "the draws in which the first seed was drawn twice, and some others"
    assert 0.2 < np.isnan(means[:, 1]).mean() < 0.3, "and in which it was not drawn at all"
    assert not np.isnan(means[:, 0]).any()
