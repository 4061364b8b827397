import math

import pytest
import torch

from lt_mm.functional.imbalance import gini, jensen_shannon, total_variation

CASES = ([5, 5, 5], [1, 2, 3, 4], [0, 0, 7], [100.0, 3.0, 0.0, 1.0], [9])


@pytest.mark.parametrize('counts', CASES)
def test_gini_is_half_the_relative_mean_difference(counts):
    number, mean = len(counts), sum(counts) / len(counts)
    naive = sum(abs(a - b) for a in counts for b in counts) / (2 * number**2 * mean)
    assert gini(counts) == pytest.approx(naive, abs=1e-12)
    assert gini(torch.tensor(counts) * 1000) == pytest.approx(naive, abs=1e-12)


def test_gini_at_its_ends():
    assert gini([4, 4, 4, 4]) == 0
    assert gini([0, 0, 0, 9]) == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ('first', 'second'), [([1, 2, 3], [3, 2, 1]), ([1, 0], [0, 1]), ([2], [5])]
)
def test_distances_of_distributions(first, second):
    p = [value / sum(first) for value in first]
    q = [value / sum(second) for value in second]
    assert total_variation(first, second) == pytest.approx(
        sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2
    )
    mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]

    def divergence(x):
        return sum(a * math.log2(a / m) for a, m in zip(x, mean, strict=True) if a)

    assert jensen_shannon(first, second) == pytest.approx((divergence(p) + divergence(q)) / 2)


def test_equal_and_disjoint_distributions():
    assert total_variation([1, 2], [10, 20]) == 0 == jensen_shannon([1, 2], [10, 20])
    assert total_variation([1, 0], [0, 1]) == 1 == jensen_shannon([1, 0], [0, 1])


def test_what_is_no_distribution_is_refused():
    with pytest.raises(ValueError, match='2 and 3 classes'):
        total_variation([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match='zero for all'):
        gini([0, 0])
