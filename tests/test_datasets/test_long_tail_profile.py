import numpy as np
import pytest

from lt_mm.datasets import long_tailed_counts


def naive_ratio(profile, rank, num_classes, imbalance_factor):
    if profile == 'exp':
        return imbalance_factor ** (-rank / (num_classes - 1))
    exponent = np.log(imbalance_factor) / np.log(num_classes)
    return (rank + 1) ** -exponent


@pytest.mark.parametrize('profile', ['exp', 'zipf'])
@pytest.mark.parametrize('imbalance_factor', [1, 10, 100, 1000])
@pytest.mark.parametrize(
    'total, num_classes', [(1600, 10), (1601, 10), (10, 10), (50, 2), (300, 30)]
)
def test_counts_are_the_formula_with_the_best_head(profile, imbalance_factor, total, num_classes):
    def naive(head):
        return [
            max(1, round(head * naive_ratio(profile, rank, num_classes, imbalance_factor)))
            for rank in range(num_classes)
        ]

    counts = long_tailed_counts(total, num_classes, imbalance_factor, profile)
    assert counts.dtype == np.int64
    assert counts.tolist() == naive(counts[0])
    misses = [abs(sum(naive(head)) - total) for head in range(1, total + 1)]
    assert abs(counts.sum() - total) == min(misses)


@pytest.mark.parametrize('profile', ['exp', 'zipf'])
def test_imbalance_factor_is_reached(profile):
    counts = long_tailed_counts(100_000, 10, 100, profile)
    assert counts[0] / counts[-1] == pytest.approx(100, rel=0.01)
    assert (np.diff(counts) < 0).all()


def test_profiles_differ_between_their_ends():
    exp, zipf = (long_tailed_counts(10_000, 10, 100, profile) for profile in ('exp', 'zipf'))
    assert zipf[1] / zipf[0] == pytest.approx(0.25, rel=0.01)
    assert exp[1] / exp[0] == pytest.approx(100 ** (-1 / 9), rel=0.01)


@pytest.mark.parametrize(
    'arguments, message',
    [
        ((100, 10, 10, 'pareto'), "profile='pareto'"),
        ((100, 1, 10), 'num_classes=1'),
        ((100, 10, 0.5), 'imbalance_factor=0.5'),
        ((100, 10, float('nan')), 'imbalance_factor=nan'),
        ((9, 10, 10), 'total=9'),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        long_tailed_counts(*arguments)
