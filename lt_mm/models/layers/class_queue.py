"""Class-wise first-in first-out memory of features, identical on every rank."""

import warnings
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_gather, get_world_size
from torch import Tensor, nn

from lt_mm.functional import check_labels, queue_lengths, true_places
from lt_mm.functional.checks import check_whole
from lt_mm.models.ranks import numbers_of_ranks
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

    Features are kept in float16, saturated at its range: half the memory, the checkpoint and the
    traffic between ranks, for a relative rounding of at most 2^-11. Per step each rank receives
    ``2 * (dim + 8)`` bytes a key (a feature, its label and its sample), padded to the rank with
    the most keys, and one integer a rank.

    All ranks hold the same, but not always what one process with the joint batch would: keys come
    in the order of the ranks and, of pixels, at random within a rank, and of a class with more keys
    than slots the last ones stay. Until a class overflows, both hold the same keys of it, if in
    another order, unless a head samples them.

    Args:
        num_classes: C.
        dim: width of a feature.
        size: k, slots of all classes together.
        min_size: k_m, slots of the rarest class.
        dtype: of the features.

    Raises:
        ValueError: if ``size`` cannot give every class ``min_size`` slots.

    Source: Suh and Seo, ICML 2023, section 3.3 and eq. 6.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        size: int,
        min_size: int,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        super().__init__()
        advice = 'they are slots for keys'
        self.size = check_whole('size', size, 'the class queue', advice, least=0)
        self.min_size = check_whole('min_size', min_size, 'the class queue', advice, least=0)
        lengths = queue_lengths([1] * num_classes, size, min_size)
        self.register_buffer('features', torch.zeros(size, dim, dtype=dtype))
        self.register_buffer('ids', torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer('lengths', lengths)
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

        Raises:
            ValueError: if a label is not a class, or the features are not (M, dim).
        """
        if features.shape != (len(labels), self.features.shape[1]):
            raise ValueError(
                f'features of shape {tuple(features.shape)} with {len(labels)} labels reached the '
                f'class queue, which takes (M, {self.features.shape[1]}) with M labels; set '
                'key_channels to the width of the features.'
            )
        labels = labels.to(self.lengths)
        check_labels(labels, len(self.lengths), 'the class queue', ignore_index=None)
        ids = torch.full_like(labels, -1) if ids is None else ids.to(self.ids)
        range_ = torch.finfo(self.features.dtype)
        features = features.detach().to(self.features).clamp(range_.min, range_.max)
        features, labels, ids = _gather(features, labels, ids)
        if len(labels) == 0:
            return
        written = torch.zeros_like(self.filled).index_add_(0, labels, torch.ones_like(labels))
        # Places of the features in the order of their classes, and their rank in their class.
        order = torch.argsort(labels, stable=True)
        places = torch.arange(len(order), device=order.device)
        place = torch.empty_like(order).scatter_(0, order, places)
        rank = place - (written.cumsum(0) - written)[labels]
        lengths = self.lengths[labels]
        slots = self._starts()[labels] + (self.positions[labels] + rank) % lengths
        # All that come to one slot write what the last of them brings. To leave them out instead,
        # the host would have to wait for their number.
        later = (written[labels] - 1 - rank) // lengths * lengths
        last = order[place + later]
        # index_select copies whole rows, which indexing does not.
        self.features[slots] = features.index_select(0, last)
        self.ids[slots] = ids[last]
        self.positions.copy_((self.positions + written) % self.lengths)
        self.filled.copy_(torch.minimum(self.filled + written, self.lengths))

    def keys(self, number: int | None = None) -> Keys:
        """What has been written, class-contiguous; a view while the queue is full.

        Args:
            number: how many features that are, the sum of ``filled``, where the host knows it and
                need not wait to find out.
        """
        number = int(self.filled.sum()) if number is None else number
        if number == self.size:
            return Keys(self.features, self.lengths, self.ids)
        slots = true_places(self.written()[1], number)
        return Keys(self.features.index_select(0, slots), self.filled, self.ids[slots])

    def written(self) -> tuple[Tensor, Tensor]:
        """Of each slot its class, (size,) int64, and whether it holds a feature, (size,) bool."""
        classes = torch.repeat_interleave(self.lengths, output_size=self.size)
        slots = torch.arange(self.size, device=classes.device)
        return classes, slots - self._starts()[classes] < self.filled[classes]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # A loader that is not strict leaves out features of another shape; it must not take
        # their fill levels then.
        loaded = state_dict.get(f'{prefix}features')
        if loaded is not None and loaded.shape != self.features.shape:
            for name in ('ids', 'lengths', 'positions', 'filled'):
                state_dict.pop(f'{prefix}{name}', None)
        super()._load_from_state_dict(state_dict, prefix, *args)

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
    sizes = numbers_of_ranks(len(labels), labels.device)
    if max(sizes) == 0:
        return features, labels, ids
    # One message instead of three: the bits of the integers travel as floats.
    integers = torch.stack([labels, ids], dim=1).view(features.dtype)
    rows = torch.cat([integers, features], dim=1)
    rows = torch.cat([rows, rows.new_zeros(max(sizes) - len(rows), rows.shape[1])])
    parts = zip(all_gather(rows), sizes, strict=True)
    rows = torch.cat([part[:size] for part, size in parts])
    width = integers.shape[1]
    labels, ids = rows[:, :width].contiguous().view(torch.int64).unbind(1)
    return rows[:, width:], labels, ids
