"""First-in first-out memory of labelled features, identical on every rank."""

import torch
from torch import Tensor

from lt_mm.models.layers.class_queue import ClassQueue
from lt_mm.structures import ClassCounts


class LabelledQueue(ClassQueue):
    """The latest features of any class: a :class:`ClassQueue` of one class.

    Its ``keys().ids`` are the labels of the features. What classes are in it follows what was
    sampled, not the class counts.

    Args:
        dim: width of a feature.
        size: slots.
        dtype: of the features.

    Raises:
        ValueError: if ``size`` is below 1.
    """

    def __init__(self, dim: int, size: int, dtype: torch.dtype = torch.float16) -> None:
        super().__init__(num_classes=1, dim=dim, size=size, min_size=1, dtype=dtype)

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Stay as it is: the slots are not shared out to classes."""

    def enqueue(self, features: Tensor, labels: Tensor) -> None:
        """Write features of all ranks over the oldest ones; every rank must call it.

        Args:
            features: (M, dim), M may differ between ranks and be 0.
            labels: (M,) integers.

        Raises:
            ValueError: if the features are not (M, dim).
        """
        super().enqueue(features, torch.zeros_like(labels), ids=labels)
