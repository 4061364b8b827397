"""Draws with replacement."""

from abc import abstractmethod

import numpy as np
from scipy import sparse

from lt_mm.datasets.samplers.long_tail_sampler import LongTailSampler


def class_then_sample(shows: sparse.csr_array, class_probabilities: np.ndarray) -> np.ndarray:
    """Probability of each sample if a class is drawn first, and then a sample that shows it.

    Args:
        shows (csr_array): Whether a sample can be drawn for a class, (N, C), 0 or 1.
        class_probabilities (np.ndarray): Shape (C,), up to a common factor. A class without a
            sample is never drawn.

    Returns:
        np.ndarray: Shape (N,), float64, summing to one.
    """
    samples = np.asarray(shows.sum(axis=0)).ravel()
    each = np.divide(class_probabilities, samples, out=np.zeros(len(samples)), where=samples > 0)
    weights = shows @ each
    return weights / weights.sum()


class WeightedSampler(LongTailSampler):
    """Draws independently and with replacement; a subclass says with which probabilities."""

    @abstractmethod
    def expected_draws(self, number: int) -> np.ndarray:
        """Probability of each sample.

        Args:
            number (int): Number of the pass, from 0.

        Returns:
            np.ndarray: Shape (N,), float64, summing to one.
        """

    def draw(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Draw a pass.

        Args:
            generator (np.random.Generator): Source of randomness.
            number (int): Number of the pass, from 0.

        Returns:
            np.ndarray: Sample indices, shape (size,), int64.
        """
        return generator.choice(len(self.dataset), self.size, p=self.expected_draws(number))
