import numpy as np
import pytest

from lt_mm.datasets import (
    long_tailed_counts,
    long_tailed_counts_of_head,
    profile_ratios,
    shuffled_by_class,
)


def naive_ratio(profile, rank, num_classes, imbalance_factor):
    if profile == 'exp':
        return imbalance_factor ** (-rank / (num_classes - 1))
    if profile == 'step':
        return 1 if rank < num_classes // 2 else 1 / imbalance_factor
    exponent = np.log(imbalance_factor) / np.log(num_classes)
    return (rank + 1) ** -exponent


@pytest.mark.parametrize('profile', ['exp', 'zipf', 'step'])
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


@pytest.mark.parametrize('profile', ['exp', 'zipf', 'step'])
@pytest.mark.parametrize('num_classes, imbalance_factor', [(2, 10), (10, 1), (10, 33.3), (7, 100)])
def test_ratios_are_the_formula(profile, num_classes, imbalance_factor):
    ratios = profile_ratios(num_classes, imbalance_factor, profile)
    naive = [naive_ratio(profile, d, num_classes, imbalance_factor) for d in range(num_classes)]
    np.testing.assert_allclose(ratios, naive, rtol=1e-12)


@pytest.mark.parametrize(
    'head, num_classes, imbalance_factor, total, rarest',
    [
        (500, 100, 100, 10_847, 5),
        (500, 100, 50, 12_608, 10),
        (5000, 10, 100, 12_406, 50),
        (5000, 10, 50, 13_996, 100),
        (500, 100, 1, 50_000, 500),
    ],
)
def test_counts_of_head_are_those_published_for_cifar(
    head, num_classes, imbalance_factor, total, rarest
):
    counts = long_tailed_counts_of_head(head, num_classes, imbalance_factor)
    assert (counts.sum(), counts[0], counts[-1]) == (total, head, rarest)
    # The expression of the public code, with the inverse factor.
    share = 1 / imbalance_factor
    assert counts.tolist() == [
        int(head * share ** (c / (num_classes - 1.0))) for c in range(num_classes)
    ]


def test_step_counts_of_head():
    assert long_tailed_counts_of_head(500, 5, 100, 'step').tolist() == [500, 500, 5, 5, 5]


def test_a_tail_beyond_the_head_is_empty():
    assert long_tailed_counts_of_head(5, 3, 100).tolist() == [5, 0, 0]


@pytest.mark.parametrize('seed', [0, 3])
def test_shuffling_is_the_published_stream(seed):
    labels = np.random.default_rng(1).integers(0, 4, 50)
    orders = shuffled_by_class(labels.tolist(), 5, seed)
    state = np.random.get_state()
    np.random.seed(seed)
    for label in range(4):
        indices = np.where(labels == label)[0]
        np.random.shuffle(indices)
        assert orders[label].tolist() == indices.tolist()
    np.random.set_state(state)
    assert orders[4].tolist() == []


def test_shuffling_leaves_the_global_stream_alone():
    before = np.random.get_state()[1].tolist()
    shuffled_by_class([0, 1, 0, 1], 2)
    assert np.random.get_state()[1].tolist() == before
