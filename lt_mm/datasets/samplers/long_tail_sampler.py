"""What all samplers of the package have in common: epochs, endless streams, ranks and priors."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import chain, count, islice

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from scipy import sparse
from torch.utils.data import Dataset, Sampler

from lt_mm.datasets.class_counting import count_samples


class LongTailSampler(Sampler, ABC):
    """Draws passes of ``size`` samples, which ranks share by turns.

    A pass depends on the seed and its number alone, so that any of them can be drawn again. By
    epoch, pass e is epoch e, as with mmengine's ``DefaultSampler``; infinite, passes follow each
    other without end, as with its ``InfiniteSampler``, and :meth:`skip` resumes at any sample. A
    subclass says how a pass is drawn and how often it expects to draw each sample.

    A *place* of the training is the number of an epoch, from 0; for an infinite sampler, the number
    of samples that each rank has drawn since the start. It is a place and no moment, because the
    workers of a data loader draw ahead of the training.

    Args:
        dataset (Dataset): A data set of mmseg or mmpretrain, or an mmengine wrapper around some.
            It is counted once, see :func:`~lt_mm.datasets.class_counting.count_samples`, and
            ``ClassCountsHook`` takes the counts from here.
        infinite (bool): Whether passes follow each other without end, which loops by iteration
            want. Defaults to False.
        deferred (bool): Whether to shuffle the plain data set up to the place that
            ``lt_mm.DeferredHook`` names (DRS). Defaults to False.
        size (int, optional): Samples of a pass, of all ranks. Defaults to None: as many as the data
            set has.
        seed (int, optional): The same on all ranks. Defaults to None: a random one.
        round_up (bool): Whether the ranks draw equally many in an epoch, by repeating its first
            ones. Defaults to True.
        shuffle (bool): True, taken because mmengine's samplers have it. Defaults to True.
        cache_dir (str | PathLike): Where counts of segmentation maps are cached. Defaults to
            'work_dirs/class_counts', where ``ClassCountsHook`` has its own by default.
        counting_workers (int): Processes that count segmentation maps. Defaults to 0, this one.

    Attributes:
        sample_counts (SampleCounts): Which classes each sample shows.
        counts (csr_array): Pixels of each class in each sample, or ones for its labels, (N, C).
        last_change (int): Number of the last pass whose expected draws differ from those of the
            pass before; 0 if those of all passes are alike. A subclass whose are not sets it.

    Raises:
        TypeError: If the data set does not tell the labels of its samples.
        ValueError: If it has no labelled sample, ``size`` is below 1, or ``shuffle`` is False.
    """

    last_change: int = 0

    def __init__(
        self,
        dataset: Dataset,
        infinite: bool = False,
        deferred: bool = False,
        size: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
        shuffle: bool = True,
        cache_dir: str | os.PathLike = 'work_dirs/class_counts',
        counting_workers: int = 0,
    ) -> None:
        name = type(self).__name__
        if not shuffle:
            raise ValueError(
                f'{name} has shuffle=False, but it draws at random: leave shuffle out, or use '
                "mmengine's DefaultSampler"
            )
        if size is not None and size < 1:
            raise ValueError(f'size of {name} is {size}: give 1 or more, or leave it out')
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.infinite = infinite
        self.deferred = deferred
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.epoch = 0
        self.sample_counts = count_samples(dataset, cache_dir, counting_workers)
        self.counts = self.sample_counts.table
        self.size = size or len(dataset)
        self._begin: int | None = None if deferred else 0
        self._start = 0
        self._stream: Iterator[int] | None = None

    @abstractmethod
    def draw(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Draw a pass.

        Args:
            generator (np.random.Generator): Source of randomness, fresh for every pass.
            number (int): Number of the pass, from 0.

        Returns:
            np.ndarray: Sample indices of all ranks, int64; repeated or cut to ``size``.
        """

    @abstractmethod
    def expected_draws(self, number: int) -> np.ndarray:
        """How often a pass is expected to draw each sample, up to a common factor.

        Args:
            number (int): Number of the pass, from 0.

        Returns:
            np.ndarray: Shape (N,), float64.
        """

    @property
    def shows(self) -> sparse.csr_array:
        """Whether a sample shows a class: 1 or nothing, (N, C), float64."""
        return self.sample_counts.in_unit('images').astype(np.float64)

    @property
    def class_distribution(self) -> np.ndarray | None:
        """Prior of what is drawn in the current epoch, or at the start of the stream, (C,) float64.

        Pixels of segmentation, counted on whole maps as class counts are, before any crop; labels
        of classification. None while a deferred sampler shuffles the plain data set.
        """
        return self.class_distribution_at(0 if self.infinite else self.epoch)

    def class_distribution_at(self, place: int, unit: str | None = None) -> np.ndarray | None:
        """Prior of what is drawn at a place, in a unit.

        Args:
            place (int): Number of the epoch, or samples drawn.
            unit (str, optional): 'images' counts an image once for each class that it shows; any
                other counts what :attr:`counts` does. Defaults to None.

        Returns:
            np.ndarray | None: Shape (C,), float64, summing to one. None while a deferred sampler
            shuffles the plain data set.
        """
        if self._begin is None or place < self._begin:
            return None
        counts = self.shows if unit == 'images' else self.counts
        prior = self.expected_draws(self._pass_at(place)) @ counts
        return prior / prior.sum()

    def next_change(self, place: int) -> int | None:
        """Where the prior changes next.

        Args:
            place (int): Number of the epoch, or samples drawn.

        Returns:
            int | None: The first place after this one at which :meth:`class_distribution_at`
            differs; this one itself while a deferred sampler has not been told where to begin, so
            that it is asked again; None if it stays as it is.
        """
        if self._begin is None:
            return place
        if place < self._begin:
            return self._begin
        number = self._pass_at(place) + 1
        if number > self.last_change:
            return None
        if not self.infinite:
            return number
        return self._begin + math.ceil(number * self.size / self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Sample indices of this rank: of the current epoch, or of the rest of the stream."""
        if not self.infinite:
            return self._epoch()
        if self._stream is None:
            self._stream = self._endless()
        return self._stream

    def __len__(self) -> int:
        """Samples of this rank in an epoch; of a pass for an infinite sampler."""
        if self.infinite:
            return self.size
        if self.round_up:
            return math.ceil(self.size / self.world_size)
        return math.ceil((self.size - self.rank) / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; an infinite sampler has none and stays where it is.

        Args:
            epoch (int): Number of the epoch, from 0.
        """
        if not self.infinite:
            self.epoch = epoch

    def start_at(self, num_samples: int) -> None:
        """Leave out the first samples of the next epoch drawn, to resume within it.

        Args:
            num_samples (int): Samples of this rank that were drawn of it before.
        """
        self._start = num_samples

    @property
    def skip(self) -> Callable[[int], None]:
        """``skip(num_samples)`` of an infinite sampler: go to a sample of this rank's stream.

        ``num_samples`` counts from the start of training and not from where the stream is. Samplers
        by epoch have no such attribute, which is how mmengine asks: an epoch's last batch may be
        short, so iterations do not tell how many samples were drawn.
        """
        if not self.infinite:
            raise AttributeError(f'{type(self).__name__} has skip only if it is infinite')
        return self._skip

    def defer_until(self, place: int) -> None:
        """Draw as the sampler is made to from a place on; for a deferred one.

        Args:
            place (int): Number of the epoch; samples of each rank for an infinite sampler.
        """
        if self.deferred:
            self._begin = place

    def _skip(self, num_samples: int) -> None:
        if num_samples < 0:
            raise ValueError(f'{num_samples} samples cannot be skipped: give 0 or more')
        self._start = num_samples
        self._stream = None

    def _pass_at(self, place: int) -> int:
        """Number of the pass; those of a stream are counted from where a deferred one begins."""
        if not self.infinite:
            return place
        return (place - self._begin) * self.world_size // self.size

    def _epoch(self) -> Iterator[int]:
        self._require_begin()
        indices = self._pass(self.epoch, active=self.epoch >= self._begin)
        if self.round_up:
            indices = np.resize(indices, len(self) * self.world_size)
        start, self._start = self._start, 0
        return iter(indices[self.rank :: self.world_size][start:].tolist())

    def _endless(self) -> Iterator[int]:
        self._require_begin()
        begin = self._begin * self.world_size
        stream = chain(islice(self._passes(False), begin), self._passes(True))
        first = self._start * self.world_size + self.rank
        yield from islice(stream, first, None, self.world_size)

    def _passes(self, active: bool) -> Iterator[int]:
        for number in count():
            yield from self._pass(number, active).tolist()

    def _pass(self, number: int, active: bool) -> np.ndarray:
        generator = np.random.default_rng((self.seed, number))
        if active:
            return np.resize(self.draw(generator, number), self.size)
        times = math.ceil(self.size / len(self.dataset))
        shuffled = [generator.permutation(len(self.dataset)) for _ in range(times)]
        return np.concatenate(shuffled)[: self.size]

    def _require_begin(self) -> None:
        if self._begin is None:
            raise RuntimeError(
                f'{type(self).__name__}(deferred=True) was not told where to begin; add '
                "`dict(type='lt_mm.DeferredHook', begin=...)` to the custom_hooks of the config"
            )
