from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lt_mm.functional.priors import (
    check_counts,
    log_prior,
    logit_shift,
    queue_lengths,
    reversed_log_prior,
)
from lt_mm.structures import ClassCounts


def naive_lengths(counts, size, min_size):
    """Eq. 6 in fractions, the places left over handed out one by one."""
    total = sum(counts)
    exact = [min_size + (size - min_size * len(counts)) * Fraction(n, total) for n in counts]
    lengths = [int(value) for value in exact]
    while sum(lengths) < size:
        missing = [value - length for value, length in zip(exact, lengths)]
        lengths[missing.index(max(missing))] += 1
    return lengths


def test_log_prior_is_the_log_of_the_shares():
    counts = np.array([2036416525, 336090793, 7, 1], dtype=np.float64)
    expected = np.log(counts / counts.sum())
    for given_counts in (counts, counts.tolist(), torch.tensor(counts)):
        prior = log_prior(given_counts)
        assert prior.dtype == torch.float32
        np.testing.assert_allclose(prior.numpy(), expected, rtol=1e-6)


def test_log_prior_of_an_absent_class_is_minus_infinity():
    assert log_prior([0, 3, 0]).tolist() == [-np.inf, 0, -np.inf]
    np.testing.assert_allclose(log_prior([1, 0, 3]).exp().numpy(), [0.25, 0, 0.75], rtol=1e-6)


def test_an_absent_class_is_shifted_like_the_one_that_is_helped_least():
    prior = log_prior([60, 0, 30, 10, 0])
    present = [0, 2, 3]
    for alpha, backward in ((1.0, 0.0), (0.5, 0.0), (-1.0, 0.0), (1.0, 2.0), (0.0, 0.0), (0, 1)):
        expected = logit_shift(prior[present], alpha, backward)
        shift = logit_shift(prior, alpha, backward)
        assert torch.equal(shift[present], expected)
        assert shift[[1, 4]].tolist() == [expected.max().item()] * 2
    assert torch.equal(logit_shift(prior[present], 0.3), 0.3 * prior[present])


def test_reversed_log_prior_leaves_absent_classes_where_they_are():
    prior = log_prior([60, 0, 30, 10, 0])
    expected = [prior[3], -np.inf, prior[2], prior[0], -np.inf]
    assert reversed_log_prior(prior).tolist() == expected


def test_log_prior_of_one_class_is_zero():
    assert log_prior([17]).tolist() == [0.0]


@pytest.mark.parametrize(
    ('counts', 'message'),
    [
        ([], 'at least one class'),
        ([[1, 2]], 'one number for each class'),
        (5, 'one number for each class'),
        (['a', 'b'], 'one number for each class'),
        ([1, -2], 'class 1 has -2'),
        ([1.0, float('nan')], 'class 1 has nan'),
        ([float('inf'), 1], 'class 0 has inf'),
        ([0, 0], 'zero for all 2 classes'),
    ],
)
def test_invalid_counts_are_refused(counts, message):
    for function in (log_prior, lambda value: queue_lengths(value, 8, 1)):
        with pytest.raises(ValueError, match=message):
            function(counts)


def test_counts_stay_exact_beyond_float32():
    assert check_counts([2**53 + 1, 1], whole=True).tolist() == [2**53 + 1, 1]
    with pytest.raises(ValueError, match='whole numbers, but class 0 has 1.5'):
        check_counts([1.5, 2], whole=True)


def test_queue_lengths_of_ade20k_with_k_8192_and_k_m_27_as_in_the_gml_paper():
    counts = ClassCounts.load('ade20k_pixels').counts
    lengths = queue_lengths(counts, 8192, 27)
    assert lengths.dtype == torch.int64
    assert lengths.sum() == 8192
    assert lengths.min() >= 27
    assert lengths.tolist() == naive_lengths(counts.tolist(), 8192, 27)


def test_queue_lengths_where_plain_rounding_misses_the_total():
    counts, size = [1, 1, 1], 5
    assert sum(1 + round((size - 3) * n / 3) for n in counts) != size
    assert queue_lengths(counts, size, 1).tolist() == [2, 2, 1]


def test_queue_lengths_give_an_absent_class_the_minimum():
    assert queue_lengths([0, 10, 0, 30], 28, 2).tolist() == [2, 7, 2, 17]


def test_queue_lengths_without_spare_places():
    assert queue_lengths([5, 1], 6, 3).tolist() == [3, 3]


def test_queue_lengths_do_not_overflow():
    counts = [2**61, 2**60, 3]
    assert queue_lengths(counts, 65536, 2).tolist() == naive_lengths(counts, 65536, 2)


@pytest.mark.parametrize(
    ('size', 'min_size', 'message'),
    [
        (5, 2, 'size=5 is too small for 3 queues of min_size=2: raise size to 6'),
        (5, 0, 'min_size is 0'),
    ],
)
def test_queue_lengths_refuse_sizes_that_cannot_be(size, min_size, message):
    with pytest.raises(ValueError, match=message):
        queue_lengths([1, 2, 3], size, min_size)


@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=12).filter(any),
    st.integers(1, 5),
    st.integers(0, 300),
)
def test_queue_lengths_are_those_of_the_naive_method(counts, min_size, spare):
    size = min_size * len(counts) + spare
    assert queue_lengths(counts, size, min_size).tolist() == naive_lengths(counts, size, min_size)


def naive_reversed(values):
    """Give every class the value of the class whose rank, from the other end, is its own."""
    ranked = sorted(range(len(values)), key=lambda c: (values[c], c))
    return [values[ranked[len(values) - 1 - ranked.index(c)]] for c in range(len(values))]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_reversed_log_prior_swaps_ranks_also_where_classes_are_as_frequent(counts):
    prior = log_prior(counts)
    assert reversed_log_prior(prior).tolist() == naive_reversed(prior.tolist())


def test_reversed_log_prior_of_an_unsorted_prior():
    prior = torch.tensor([0.1, 0.6, 0.05, 0.25]).log()
    expected = torch.tensor([0.25, 0.05, 0.6, 0.1]).log()
    assert torch.equal(reversed_log_prior(prior), expected)
    assert torch.equal(reversed_log_prior(expected), prior)


def test_reversed_log_prior_refuses_a_table():
    with pytest.raises(ValueError, match=r'shape \(2, 2\)'):
        reversed_log_prior(torch.zeros(2, 2))
