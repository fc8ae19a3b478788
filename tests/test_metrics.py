"""pass@k and maj@k against hand arithmetic and enumeration of every subset."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import pytest

from sei import metrics
from sei.metrics import is_exact, ks, majority_at_k, pass_at_k


@pytest.mark.parametrize(("n", "expected"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5]), (8, [1, 2, 4, 8])])
def test_ks_are_one_the_powers_of_two_and_n(n: int, expected: list[int]) -> None:
    assert ks(n) == expected


def test_ks_of_no_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="0 samples: needs 1 or more"):
        ks(0)


def test_pass_at_k_by_hand() -> None:
    # 2 of 8 right, 4 drawn: all wrong in C(6, 4) = 15 of C(8, 4) = 70 draws.
    assert pass_at_k(8, 2, 4) == 55 / 70
    assert pass_at_k(8, 2, 1) == 2 / 8
    assert pass_at_k(8, 2, 7) == 1.0  # only 6 are wrong
    assert pass_at_k(8, 0, 8) == 0.0


def test_pass_at_k_is_exact_where_factorials_overflow() -> None:
    # The product form of the paper's authors: 1 - prod over i of (1 - k / i), i from n - c + 1 to n.
    n, c, k = 20_000, 3, 5_000
    assert pass_at_k(n, c, k) == pytest.approx(1 - math.prod(1 - k / i for i in range(n - c + 1, n + 1)), rel=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_pass_at_k_refuses_impossible_numbers(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="needs 0 <= right <= samples and 1 <= k <= samples"):
        pass_at_k(n, c, k)


def test_majority_by_hand() -> None:
    assert majority_at_k((0, 0, 1), 3) == 1.0
    assert majority_at_k((0, 1, 1), 3) == 0.0
    # Pairs of (0, 0, 1): one of two zeros, which wins; two of zero and one, which share.
    assert majority_at_k((0, 0, 1), 2) == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert majority_at_k((0, 1, 2), 3) == pytest.approx(1 / 3)


def test_samples_without_an_answer_do_not_vote() -> None:
    assert majority_at_k((-1, -1, 0), 3) == 1.0
    assert majority_at_k((-1, -1), 2) == 0.0
    # Pairs: two without a vote, 0; two with one zero, 1 each.
    assert majority_at_k((-1, -1, 0), 2) == pytest.approx(2 / 3)


def test_majority_is_pass_at_one_for_one_draw() -> None:
    votes = (0, 3, -1, 0, 1)
    assert majority_at_k(votes, 1) == pytest.approx(pass_at_k(5, 2, 1))


def enumerated(votes: Sequence[int], k: int) -> float:
    won = 0.0
    for drawn in combinations(votes, k):
        counts = Counter(vote for vote in drawn if vote >= 0)
        if counts and counts[0] == max(counts.values()):
            won += 1 / sum(count == counts[0] for count in counts.values())
    return won / math.comb(len(votes), k)


def test_majority_agrees_with_the_enumeration_of_all_subsets() -> None:
    generator = random.Random(0)
    for _ in range(60):
        votes = [generator.choice([-1, 0, 0, 1, 1, 2, 3]) for _ in range(generator.randint(1, 9))]
        for k in range(1, len(votes) + 1):
            assert majority_at_k(votes, k) == pytest.approx(enumerated(votes, k), abs=1e-12), (votes, k)


def test_drawing_agrees_with_the_sum_within_its_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = [0] * 9 + [1] * 8 + [2] * 4 + [3] * 3 + [-1] * 8
    exact = majority_at_k(votes, 16)
    monkeypatch.setattr(metrics, "_EXACT_STEPS", 0)
    assert is_exact(votes, 16) is False
    drawn = majority_at_k(votes, 16)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / metrics.DRAWS))
    assert majority_at_k(votes[::-1], 16) == drawn, "seeded by the votes, whatever their order"
    # Pairs: one without votes, 0; two with the zero alone, 1 each; two with the one alone, 0; one shared.
    assert majority_at_k((-1, -1, 0, 1), 2) == pytest.approx(2.5 / 6, abs=0.02)


def test_many_samples_are_summed_without_overflow() -> None:
    votes = [0] * 60 + [1] * 50 + [-1] * 890
    assert is_exact(votes, 500)
    # The difference of the votes drawn for both answers is nearly normal, mean 5, variance
    # k (n - k) / (n - 1) (p + q - (p - q)^2) = 500 * 500 / 999 * 0.1099 = 27.5; half of a tie counts.
    assert majority_at_k(votes, 500) == pytest.approx(0.5 * (1 + math.erf(5 / math.sqrt(2 * 27.5))), abs=0.003)
    assert not is_exact([*votes, -1], 500)


def test_majority_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="maj@3 of 2 samples"):
        majority_at_k((0, 1), 3)
