"""From instance-balanced to class-balanced sampling in the course of the training."""

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lt_mm.datasets.samplers.weighted_sampler import WeightedSampler, class_then_sample
from lt_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ProgressivelyBalancedSampler(WeightedSampler):
    """Draws from ``(1 - t/T) p_IB + (t/T) p_CB`` in pass t: all images alike, then all classes.

    Independently and with replacement. The prior it tells is that of the current pass.

    Source: eq. 2 of Kang et al., Decoupling Representation and Classifier for Long-Tailed
    Recognition, ICLR 2020.

    Args:
        dataset (Dataset): The data set.
        epochs (int): T, passes of the training. Pass t counts from 0, so that the last one is
            (T-1)/T balanced; those after it wholly. An infinite sampler has no epochs: give
            iterations x batch size x ranks / size of a pass.
        **kwargs: Further arguments of :class:`LongTailSampler`.

    Raises:
        ValueError: If ``epochs`` is below 1, or ``deferred`` is given, which makes no sense here.
    """

    def __init__(self, dataset: Dataset, epochs: int, **kwargs: Any) -> None:
        if epochs < 1:
            raise ValueError(
                f'epochs of ProgressivelyBalancedSampler is {epochs}: give those of the training'
            )
        if kwargs.get('deferred'):
            raise ValueError(
                'ProgressivelyBalancedSampler has its own schedule: leave deferred=True out, or '
                'use ClassBalancedSampler'
            )
        super().__init__(dataset, **kwargs)
        shows = self.shows
        self.epochs = self.last_change = epochs
        self._balanced = class_then_sample(shows, np.ones(shows.shape[1]))

    def expected_draws(self, number: int) -> np.ndarray:
        """Probability of each image in pass ``number``, shape (N,), float64."""
        progress = min(number / self.epochs, 1.0)
        return (1 - progress) / len(self._balanced) + progress * self._balanced
