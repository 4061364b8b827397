"""Rare class sampling where there is little to draw."""

import numpy as np
import pytest

from lt_mm.datasets.samplers import RareClassSampler
from lt_mm.structures import ClassCounts


def test_published_temperature_on_ade20k():
    """The wall is left out, and the tail is drawn more often than not."""
    pixels = ClassCounts.load('ade20k_pixels').counts.numpy()
    scores = np.exp(-pixels / pixels.sum() / 0.01)
    p = scores / scores.sum()
    assert p[0] < 1e-6 and p[75:].sum() > 0.5


def test_classes_without_pixels_and_images_without_labels(maps, tmp_path):
    maps._metainfo['classes'] = ('a', 'b', 'c', 'absent')
    sampler = RareClassSampler(maps, temperature=1e-4, size=50, seed=0, cache_dir=tmp_path)
    # Next to no pixels, next to no temperature: c alone, in the one image that shows it.
    assert set(sampler) == {4}
    assert sampler.class_probabilities[3] == 0
    np.testing.assert_allclose(sampler.class_distribution, [12 / 15, 0, 3 / 15, 0], atol=1e-12)


def test_bad_arguments_of_rare_classes(maps, labels, tmp_path):
    for kwargs in (dict(temperature=0), dict(min_pixels=0)):
        with pytest.raises(ValueError, match=f'{next(iter(kwargs))} of RareClassSampler is 0'):
            RareClassSampler(maps, cache_dir=tmp_path, **kwargs)
    with pytest.raises(TypeError, match='needs segmentation maps, which Labels has not'):
        RareClassSampler(labels(3, 1))
