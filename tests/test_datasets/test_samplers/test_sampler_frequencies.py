"""What samplers draw against what they should, by chi-square with a fixed seed."""

from itertools import chain, islice

import numpy as np
import pytest
from scipy.stats import chisquare

from lt_mm.datasets.samplers import (
    ClassAwareSampler,
    ClassBalancedSampler,
    ProgressivelyBalancedSampler,
    RareClassSampler,
    RepeatFactorSampler,
)

COUNTS = np.array([60, 25, 10, 4, 1])
PASSES = 60


def theory(q):
    return COUNTS**q / (COUNTS**q).sum()


# t = 0.2: a tenth of the images is repeated sqrt(2) times, and so on.
FACTORS = np.maximum(1, np.sqrt(0.2 / (COUNTS / 100)))
CASES = dict(
    instance=(lambda d, **k: ClassBalancedSampler(d, 1, **k), theory(1.0)),
    square_root=(lambda d, **k: ClassBalancedSampler(d, 0.5, **k), theory(0.5)),
    balanced=(lambda d, **k: ClassBalancedSampler(d, **k), theory(0.0)),
    reversed=(lambda d, **k: ClassBalancedSampler(d, -1, **k), theory(-1.0)),
    class_aware=(lambda d, **k: ClassAwareSampler(d, **k), theory(0.0)),
    class_aware_4=(lambda d, **k: ClassAwareSampler(d, 4, **k), theory(0.0)),
    repeat_factor=(
        lambda d, **k: RepeatFactorSampler(d, 0.2, **k),
        COUNTS * FACTORS / (COUNTS * FACTORS).sum(),
    ),
)


def take(samplers, infinite):
    """Samples of PASSES passes; a list a rank."""
    if infinite:
        per_rank = PASSES * samplers[0].size // len(samplers)
        return [list(islice(sampler, per_rank)) for sampler in samplers]
    drawn = [[] for _ in samplers]
    for epoch in range(PASSES):
        for own, sampler in zip(drawn, samplers, strict=True):
            sampler.set_epoch(epoch)
            indices = list(sampler)
            assert len(indices) == len(sampler)
            own += indices
    return drawn


def p_value(drawn, probabilities):
    found = np.bincount(drawn, minlength=len(probabilities))
    possible = probabilities > 0
    assert not found[~possible].any()
    return chisquare(found[possible], probabilities[possible] * len(drawn)).pvalue


@pytest.mark.parametrize('world_size', [1, 2])
@pytest.mark.parametrize('infinite', [False, True])
@pytest.mark.parametrize('case', CASES)
def test_classes(case, infinite, world_size, labels, on_ranks):
    maker, expected = CASES[case]
    dataset = labels(*COUNTS)
    of_image = np.array(dataset._labels)
    samplers = on_ranks(world_size, lambda: maker(dataset, infinite=infinite, seed=3))
    drawn = take(samplers, infinite)
    together = list(chain(*drawn))
    assert p_value(of_image[together], expected) > 0.01
    # Images of a class alike.
    within = expected[of_image] / COUNTS[of_image]
    assert p_value(together, within) > 0.01
    for sampler, own in zip(samplers, drawn, strict=True):
        np.testing.assert_allclose(sampler.class_distribution, expected, rtol=1e-12)
        assert p_value(of_image[own], expected) > 0.01
    if world_size == 2:
        assert drawn[0] != drawn[1]
    # The test can tell this sampler from others.
    wrong = theory(1.0) if case not in ('instance', 'repeat_factor') else theory(0.5)
    assert p_value(of_image[together], wrong) < 1e-6


@pytest.mark.parametrize('infinite', [False, True])
def test_progress(infinite, labels):
    dataset = labels(*COUNTS)
    of_image = np.array(dataset._labels)
    sampler = ProgressivelyBalancedSampler(dataset, 4, infinite=infinite, seed=0, size=5000)
    stream = iter(sampler)
    for epoch in (0, 1, 2, 3, 4, 5):
        sampler.set_epoch(epoch)
        drawn = list(islice(stream, 5000)) if infinite else list(sampler)
        t = min(epoch / 4, 1)
        expected = (1 - t) * COUNTS / 100 + t / 5
        assert p_value(of_image[drawn], expected) > 0.01
        prior = sampler.class_distribution_at(5000 * epoch if infinite else epoch)
        np.testing.assert_allclose(prior, expected, rtol=1e-12)


@pytest.mark.parametrize('world_size', [1, 2])
def test_rare_classes_of_maps(maps, tmp_path, on_ranks, world_size):
    """Pixels are 80, 7 and 3 of 90; c is drawn from the one image that shows it at all."""
    pixels = np.array([80, 7, 3])
    scores = np.exp((1 - pixels / 90) / 0.5)
    p = scores / scores.sum()
    # Of the six images, a has 5 with 5 pixels or more, b has one of two.
    expected = np.array([p[0] / 5, p[0] / 5, 0, p[0] / 5 + p[1], p[0] / 5 + p[2], p[0] / 5])

    def make():
        return RareClassSampler(
            maps,
            temperature=0.5,
            min_pixels=5,
            size=4000,
            seed=0,
            infinite=True,
            cache_dir=tmp_path,
        )

    samplers = on_ranks(world_size, make)
    drawn = [list(islice(sampler, 4000)) for sampler in samplers]
    np.testing.assert_allclose(samplers[0].class_probabilities, p)
    assert p_value(list(chain(*drawn)), expected) > 0.01


def test_images_of_several_classes_are_drawn_for_each(maps, tmp_path):
    """a is shown by five images, b by two and c by one; the third shows none."""
    sampler = ClassBalancedSampler(maps, size=6000, seed=1, cache_dir=tmp_path)
    a, b, c = 1 / 15, 1 / 6, 1 / 3
    expected = np.array([a, a + b, 0, a + b, a + c, a])
    assert p_value(list(sampler), expected) > 0.01
    found = np.array([[20, 0, 0], [18, 2, 0], [0] * 3, [10, 5, 0], [12, 0, 3], [20, 0, 0]])
    pixels = expected @ found
    np.testing.assert_allclose(sampler.class_distribution, pixels / pixels.sum())
    images = expected @ (found > 0)
    np.testing.assert_allclose(sampler.class_distribution_at(0, 'images'), images / images.sum())
