"""Class-wise first-in first-out memory of features, identical on every rank."""

import warnings
from typing import NamedTuple

import torch
from mmengine.dist import all_gather, get_world_size
from torch import Tensor, nn

from lt_mm.functional import queue_lengths, rank_within_group
from lt_mm.structures import ClassCounts


class Keys(NamedTuple):
    """Contents of a queue."""

    features: Tensor
    """(K, dim), those of class 0 first."""
    lengths: Tensor
    """(C,) int64, number of features of each class; they sum to K."""
    ids: Tensor
    """(K,) int64, the sample each feature comes from, -1 where unknown."""


class ClassQueue(nn.Module):
    """One queue a class in one class-contiguous buffer; the lengths follow the class counts.

    Only what was written is ever handed out. Everything is a buffer: it goes into the
    checkpoint, and no gradient flows through it.

    Args:
        num_classes: C.
        dim: width of a feature.
        size: k, slots of all classes together.
        min_size: k_m, slots of the rarest class.

    Raises:
        ValueError: if ``size`` cannot give every class ``min_size`` slots.

    Source: Suh and Seo, ICML 2023, section 3.3 and eq. 6.
    """

    def __init__(self, num_classes: int, dim: int, size: int, min_size: int) -> None:
        super().__init__()
        self.size = size
        self.min_size = min_size
        self.register_buffer('features', torch.zeros(size, dim))
        self.register_buffer('ids', torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer('lengths', queue_lengths([1] * num_classes, size, min_size))
        self.register_buffer('positions', torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer('filled', torch.zeros(num_classes, dtype=torch.int64))

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Share the slots out by eq. 6; a change of lengths empties the queue.

        Raises:
            ValueError: if the number of classes differs.
        """
        class_counts.validate(len(self.lengths), 'the class queue')
        lengths = queue_lengths(class_counts.counts, self.size, self.min_size)
        if torch.equal(lengths, self.lengths.cpu()):
            return
        if self.filled.any():
            warnings.warn('other class counts than before: the class queue is emptied.')
        self.lengths.copy_(lengths)
        self.ids.fill_(-1)
        for buffer in (self.features, self.positions, self.filled):
            buffer.zero_()

    @torch.no_grad()
    def enqueue(self, features: Tensor, labels: Tensor, ids: Tensor | None = None) -> None:
        """Write features of all ranks, oldest first; every rank must call it.

        Of more features than a class has slots, the last ones stay.

        Args:
            features: (M, dim), M may differ between ranks and be 0.
            labels: (M,) class indices.
            ids: (M,) integers, the sample each feature comes from; -1 when not given.
        """
        features = features.detach().to(self.features)
        labels = labels.to(self.lengths)
        ids = torch.full_like(labels, -1) if ids is None else ids.to(self.ids)
        features, labels, ids = _gather(features, labels, ids)
        if len(labels) == 0:
            return
        written = torch.bincount(labels, minlength=len(self.lengths))
        rank = rank_within_group(labels)
        lengths = self.lengths[labels]
        kept = rank >= written[labels] - lengths
        slots = (self._starts()[labels] + (self.positions[labels] + rank) % lengths)[kept]
        self.features[slots] = features[kept]
        self.ids[slots] = ids[kept]
        self.positions.copy_((self.positions + written) % self.lengths)
        self.filled.copy_(torch.minimum(self.filled + written, self.lengths))

    def keys(self) -> Keys:
        """What has been written, class-contiguous; a view while the queue is full."""
        if bool((self.filled == self.lengths).all()):
            return Keys(self.features, self.lengths, self.ids)
        classes = torch.repeat_interleave(self.lengths, output_size=self.size)
        slots = torch.arange(self.size, device=classes.device)
        written = slots - self._starts()[classes] < self.filled[classes]
        return Keys(self.features[written], self.filled, self.ids[written])

    def _starts(self) -> Tensor:
        """(C,) the first slot of each class."""
        return self.lengths.cumsum(0) - self.lengths

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f'num_classes={len(self.lengths)}, dim={self.features.shape[1]}, '
            f'size={self.size}, min_size={self.min_size}'
        )


def _gather(features: Tensor, labels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of all ranks in rank order; ranks may bring different numbers of rows."""
    if get_world_size() == 1:
        return features, labels, ids
    sizes = [int(size) for size in all_gather(torch.tensor([len(labels)], device=labels.device))]
    padding = max(sizes) - len(labels)

    def gather(rows: Tensor) -> Tensor:
        padded = torch.cat([rows, rows.new_zeros(padding, *rows.shape[1:])])
        parts = all_gather(padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    return gather(features), gather(labels), gather(ids)
