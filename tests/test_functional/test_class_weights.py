"""Effective-number and inverse-power weights against loops over Python floats."""

import pytest
import torch

from lt_mm.functional import effective_number_weights, inverse_power_weights

COUNTS = [5000, 420, 37, 1]


def mean_one(raw):
    return [value * len(raw) / sum(raw) for value in raw]


@pytest.mark.parametrize('beta', [0.0, 0.9, 0.999, 0.9999])
def test_effective_number_is_the_geometric_sum(beta):
    """E_n = 1 + beta + ... + beta^(n-1), summed term by term."""
    raw = [1 / sum(beta**k for k in range(count)) for count in COUNTS]
    result = effective_number_weights(COUNTS, beta)
    assert result.tolist() == pytest.approx(mean_one(raw), rel=1e-6)
    assert result.dtype == torch.float32


@pytest.mark.parametrize('power', [0.0, 0.2, 1.0, 1.2])
def test_inverse_power_is_grw(power):
    raw = [(sum(COUNTS) / count) ** power for count in COUNTS]
    assert inverse_power_weights(COUNTS, power).tolist() == pytest.approx(mean_one(raw), rel=1e-6)


@pytest.mark.parametrize('weights', [effective_number_weights, inverse_power_weights])
def test_an_absent_class_weighs_nothing_and_the_others_as_without_it(weights):
    result = weights([50, 0, 7])
    assert result[1] == 0
    torch.testing.assert_close(result[[0, 2]], weights([50, 7]))


@pytest.mark.parametrize('weights', [effective_number_weights, inverse_power_weights])
def test_one_class_and_counts_of_pixels(weights):
    assert weights([9]).tolist() == [1.0]
    result = weights([4 * 10**11, 10**3])
    assert result.isfinite().all() and result[0] < result[1]


def test_beta_near_one_is_the_inverse_frequency():
    torch.testing.assert_close(
        effective_number_weights(COUNTS, 1 - 1e-12),
        inverse_power_weights(COUNTS),
        rtol=1e-4,
        atol=0,
    )


@pytest.mark.parametrize('beta', [-0.1, 1.0, float('nan')])
def test_beta_out_of_range(beta):
    with pytest.raises(ValueError, match=f'beta of effective-number weights is {beta}'):
        effective_number_weights(COUNTS, beta)


@pytest.mark.parametrize('power', [-0.1, float('inf'), float('nan')])
def test_power_out_of_range(power):
    with pytest.raises(ValueError, match=f'power of inverse-power weights is {power}'):
        inverse_power_weights(COUNTS, power)
