"""Class-balanced, square-root and instance-balanced sampling."""

import math
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lt_mm.datasets.samplers.weighted_sampler import WeightedSampler, class_then_sample
from lt_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ClassBalancedSampler(WeightedSampler):
    """Draws a class with probability ``p_c = n_c^q / sum_j n_j^q``, then one of its images.

    Independently and with replacement. An image of several classes is drawn for each of them; one
    without any is never drawn, nor is a class without images.

    Source: eq. 1 of Kang et al., Decoupling Representation and Classifier for Long-Tailed
    Recognition, ICLR 2020; the second stage of MiSLAS, Zhong et al., CVPR 2021, with q = 0.

    Args:
        dataset (Dataset): The data set.
        q (float): Power of the class counts: 1 draws images alike, 0.5 is square-root sampling, 0
            draws classes alike, below 0 rare ones more often than frequent ones. Defaults to 0.
        **kwargs: Further arguments of :class:`LongTailSampler`.

    Raises:
        ValueError: If ``q`` is not finite.
    """

    def __init__(self, dataset: Dataset, q: float = 0.0, **kwargs: Any) -> None:
        if not math.isfinite(q):
            raise ValueError(f'q of ClassBalancedSampler is {q}, but it must be finite: use 0 to 1')
        super().__init__(dataset, **kwargs)
        shows = self.shows
        images = shows.sum(axis=0)
        powers = np.power(images, q, out=np.zeros(len(images)), where=images > 0)
        self.q = q
        self._probabilities = class_then_sample(shows, powers)

    def expected_draws(self, number: int) -> np.ndarray:
        """Probability of each image, the same in every pass, shape (N,), float64."""
        return self._probabilities
