"""Classes by turns, each with some of its images."""

import math
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lt_mm.datasets.samplers.long_tail_sampler import LongTailSampler
from lt_mm.datasets.samplers.weighted_sampler import class_then_sample
from lt_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(LongTailSampler):
    """Goes through the classes in random order, taking ``samples_per_class`` images of each.

    When all classes had their turn, they are shuffled anew; so are the images of a class when all
    of them were taken. Every class thus comes equally often, and not only in expectation: up to
    one turn in a pass. With several ranks, those images go to the ranks by turns.

    Source: Shen et al., Relay Backpropagation, ECCV 2016. With four images a class it is what the
    public code of Kang et al., ICLR 2020, trains cRT and LWS with; there an epoch has as many
    images as the largest class times the number of classes, which ``size`` can be set to.

    Args:
        dataset (Dataset): The data set.
        samples_per_class (int): Images of a class in a row. Defaults to 1.
        **kwargs: Further arguments of :class:`LongTailSampler`.

    Raises:
        ValueError: If ``samples_per_class`` is below 1.
    """

    def __init__(self, dataset: Dataset, samples_per_class: int = 1, **kwargs: Any) -> None:
        if samples_per_class < 1:
            raise ValueError(
                f'samples_per_class of ClassAwareSampler is {samples_per_class}: give 1 or more'
            )
        super().__init__(dataset, **kwargs)
        self.samples_per_class = samples_per_class
        by_class = self.counts.tocsc()
        images = np.split(by_class.indices, by_class.indptr[1:-1])
        self._images = {c: own for c, own in enumerate(images) if len(own)}

    def draw(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Draw a pass.

        Args:
            generator (np.random.Generator): Source of randomness.
            number (int): Number of the pass, from 0.

        Returns:
            np.ndarray: Sample indices, shape (size,), int64.
        """
        classes = np.array(list(self._images))
        turns = math.ceil(self.size / (len(classes) * self.samples_per_class))
        order = generator.permuted(np.tile(classes, (turns, 1)), axis=1).ravel()
        order = order.repeat(self.samples_per_class)[: self.size]
        drawn = np.empty(self.size, dtype=np.int64)
        places = np.split(
            np.argsort(order, kind='stable'),
            np.cumsum(np.bincount(order, minlength=classes[-1] + 1))[:-1],
        )
        for c, images in self._images.items():
            rounds = math.ceil(len(places[c]) / len(images))
            shuffled = generator.permuted(np.tile(images, (rounds, 1)), axis=1).ravel()
            drawn[places[c]] = shuffled[: len(places[c])]
        return drawn

    def expected_draws(self, number: int) -> np.ndarray:
        """Probability of each image, the same in every pass, shape (N,), float64."""
        shows = self.shows
        return class_then_sample(shows, np.ones(shows.shape[1]))
