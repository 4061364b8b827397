"""Images of rare classes, repeated."""

import math
import warnings
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from torch.utils.data import Dataset

from lt_mm.datasets.samplers.long_tail_sampler import LongTailSampler
from lt_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(LongTailSampler):
    """Repeats image I ``r(I) = max over its classes c of r(c) = max(1, sqrt(t / f_c))`` times.

    f_c is the share of images that show class c. An image without any class is taken once. Factors
    are rounded at random in every pass, up with the probability of their fraction: of two images
    with a factor of 1.5, either one or the other comes twice. The roundings are drawn together
    (systematic sampling), so that every pass has the same size, the sum of the factors rounded up,
    and an image still has the very expectation r(I). mmengine's ``ClassBalancedDataset`` rounds all
    of them up.

    Source: Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019,
    section on repeat factor sampling.

    Args:
        dataset (Dataset): The data set.
        threshold (float): t, the share of images below which classes are repeated. LVIS has 0.001,
            which does nothing on ADE20K, whose rarest class is in 0.2% of the images; a threshold
            that does nothing is warned about. Defaults to 0.01.
        **kwargs: Further arguments of :class:`LongTailSampler`, without ``size``.

    Attributes:
        factors (np.ndarray): r(I), shape (N,), float64.

    Raises:
        ValueError: If ``threshold`` is not above 0 and up to 1, or ``size`` is given.
    """

    def __init__(self, dataset: Dataset, threshold: float = 0.01, **kwargs: Any) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(
                f'threshold of RepeatFactorSampler is {threshold}, but it is a share of the '
                'images: give a number above 0 and up to 1'
            )
        if kwargs.get('size') is not None:
            raise ValueError('the factors decide the size of RepeatFactorSampler: leave size out')
        super().__init__(dataset, **kwargs)
        self.threshold = threshold
        shows = self.shows
        shares = shows.sum(axis=0) / len(dataset)
        of_class = np.sqrt(threshold / np.where(shares > 0, shares, 1)).clip(min=1)
        of_image = shows.multiply(of_class[None]).max(axis=1).toarray().ravel()
        self.factors = of_image.clip(min=1)
        # Sums such as 0.1 + 0.2 must not add an image.
        self.size = math.ceil(round(self.factors.sum(), 6))
        if self.size == len(dataset) and is_main_process():
            rarest = shares[shares > 0].min()
            warnings.warn(
                f'threshold={threshold:g} of RepeatFactorSampler does nothing, because the rarest '
                f'class is in {rarest:.3%} of the images: give one above {rarest:.2g}'
            )

    def draw(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Draw a pass.

        Args:
            generator (np.random.Generator): Source of randomness.
            number (int): Number of the pass, from 0.

        Returns:
            np.ndarray: Sample indices in random order, int64, ``size`` or one less.
        """
        order = generator.permutation(len(self.factors))
        ends = np.floor(self.factors[order].cumsum() + generator.random()).astype(np.int64)
        drawn = np.repeat(order, np.diff(ends, prepend=0))
        return generator.permutation(drawn)

    def expected_draws(self, number: int) -> np.ndarray:
        """The factors, the same in every pass, shape (N,), float64."""
        return self.factors
