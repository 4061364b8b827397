"""Repeat factors by hand, their rounding, and thresholds that do nothing."""

import math
import warnings

import numpy as np
import pytest

from lt_mm.datasets.samplers import RepeatFactorSampler


def test_factors_of_maps(maps, tmp_path):
    """Classes are in 5, 2 and 1 of six images; an image has the factor of its rarest class."""
    sampler = RepeatFactorSampler(maps, 0.6, seed=0, cache_dir=tmp_path)
    b, c = math.sqrt(0.6 * 6 / 2), math.sqrt(0.6 * 6)
    np.testing.assert_allclose(sampler.factors, [1, b, 1, b, c, 1])
    assert len(sampler) == math.ceil(3 + 2 * b + c)


def test_rounding_is_unbiased_and_to_neighbours(labels):
    dataset = labels(30, 8, 2)
    sampler = RepeatFactorSampler(dataset, 0.5, seed=0)
    passes = []
    for number in range(400):
        drawn = sampler.draw(np.random.default_rng((0, number)), number)
        assert len(drawn) in (sampler.size - 1, sampler.size)
        passes.append(np.bincount(drawn, minlength=40))
    passes = np.stack(passes)
    factors = np.array([max(1, math.sqrt(0.5 * 40 / [30, 8, 2][c])) for c in dataset._labels])
    assert ((passes == np.floor(factors)) | (passes == np.ceil(factors))).all()
    # Six standard deviations of a mean of 400 roundings.
    fraction = factors % 1
    spread = np.sqrt(fraction * (1 - fraction) / 400)
    assert (abs(passes.mean(axis=0) - factors) <= 6 * spread + 1e-12).all()
    assert passes.std(axis=0)[fraction > 0.1].min() > 0


def test_whole_factors_repeat_exactly(labels):
    """sqrt(1 / (1/4)) = 2 for each of four classes."""
    sampler = RepeatFactorSampler(labels(3, 3, 3, 3), 1.0, seed=0)
    assert np.bincount(list(sampler)).tolist() == [2] * 12


def test_a_threshold_that_does_nothing_is_warned_about(labels):
    with pytest.warns(UserWarning, match=r'threshold=0.05 .* does nothing.*is in 10.000% .*above'):
        sampler = RepeatFactorSampler(labels(18, 2), 0.05)
    assert sorted(sampler) == list(range(20))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        RepeatFactorSampler(labels(18, 2), 0.11)


def test_bad_arguments_of_repeat_factors(labels):
    for threshold in (0, 1.5, float('nan')):
        with pytest.raises(ValueError, match='threshold of RepeatFactorSampler is'):
            RepeatFactorSampler(labels(3, 1), threshold)
    with pytest.raises(ValueError, match='leave size out'):
        RepeatFactorSampler(labels(3, 1), 0.5, size=4)
