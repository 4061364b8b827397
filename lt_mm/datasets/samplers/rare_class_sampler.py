"""Rare classes first, for segmentation."""

from typing import Any

import numpy as np
from scipy.special import softmax
from torch.utils.data import Dataset

from lt_mm.datasets.samplers.weighted_sampler import WeightedSampler, class_then_sample
from lt_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class RareClassSampler(WeightedSampler):
    """Draws class c with ``P(c) = softmax((1 - f_c) / T)``, then an image with enough pixels of it.

    f_c is the share of pixels. Independently and with replacement. A class that no image shows by
    ``min_pixels`` is drawn from all images that show it; one without a pixel is never drawn, nor is
    an image without labels. The crop around the class is for a transform to choose: the published
    code draws up to ten until ``min_pixels / 2`` are inside, which is not done here.

    Source: rare class sampling of Hoyer et al., DAFormer, CVPR 2022.

    Args:
        dataset (Dataset): A data set with segmentation maps.
        temperature (float): T. Small ones leave the frequent classes out: at 0.01 a class of a
            tenth of all pixels is drawn e^10 times less often than one of none; 0.1 is nearly
            uniform. Defaults to 0.01.
        min_pixels (int): Pixels of the class that an image must have, in the map on disk. Defaults
            to 3000, as published for Cityscapes; ADE20K, with smaller images, wants fewer.
        **kwargs: Further arguments of :class:`LongTailSampler`.

    Attributes:
        class_probabilities (np.ndarray): P(c), shape (C,), float64.

    Raises:
        TypeError: If the data set has no segmentation maps.
        ValueError: If ``temperature`` is not positive or ``min_pixels`` is below 1.
    """

    def __init__(
        self,
        dataset: Dataset,
        temperature: float = 0.01,
        min_pixels: int = 3000,
        **kwargs: Any,
    ) -> None:
        if not temperature > 0:
            raise ValueError(
                f'temperature of RareClassSampler is {temperature}, but it must be positive'
            )
        if min_pixels < 1:
            raise ValueError(f'min_pixels of RareClassSampler is {min_pixels}: give 1 or more')
        super().__init__(dataset, **kwargs)
        if self.sample_counts.unit != 'pixels':
            raise TypeError(
                f'RareClassSampler needs segmentation maps, which {type(dataset).__name__} has '
                'not: use lt_mm.ClassBalancedSampler'
            )
        self.temperature = temperature
        self.min_pixels = min_pixels
        pixels = self.counts.sum(axis=0)
        scores = np.where(pixels > 0, (1 - pixels / pixels.sum()) / temperature, -np.inf)
        self.class_probabilities = softmax(scores)
        most = self.counts.max(axis=0).toarray().ravel()
        needed = np.where(most < min_pixels, 1, min_pixels)
        enough = self.counts.astype(np.float64)
        enough.data = (self.counts.data >= needed[self.counts.indices]).astype(np.float64)
        self._probabilities = class_then_sample(enough, self.class_probabilities)

    def expected_draws(self, number: int) -> np.ndarray:
        """Probability of each image, the same in every pass, shape (N,), float64."""
        return self._probabilities
