"""What the losses that compare features have in common, for both tasks."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from lt_mm.registry import did_you_mean


class ContrastBatch(NamedTuple):
    """Features of one batch, with what is known of the images or pixels.

    Of images there are one or more views, and keys are in the order of the queries. Of pixels there
    is one view, of the labelled pixels of all images, and ``key_labels`` and ``key_ids`` say whose
    features the keys are.
    """

    queries: Tensor
    """(V, B, D) features by the student, with gradient; V is 1 where only one view was given."""
    keys: Tensor
    """(M, K) features without gradient: by the teacher, else by the momentum encoder, else by the
    student."""
    labels: Tensor
    """(B,) int64 classes."""
    ids: Tensor
    """(B,) int64, the same for the same image at all times; -1 where unknown."""
    indices: Tensor
    """(B,) int64, the image's place in its data set; -1 where unknown."""
    classifier: nn.Module
    """From (B, D) features to (B, C) logits; its ``weight`` is (C, D)."""
    key_labels: Tensor | None = None
    """(M,) classes of the keys; None where they are ``labels``."""
    key_ids: Tensor | None = None
    """(M,) ids of the keys; None where they are ``ids``."""

    def of_keys(self) -> tuple[Tensor, Tensor]:
        """Labels and ids of the keys."""
        labels = self.labels if self.key_labels is None else self.key_labels
        return labels, self.ids if self.key_ids is None else self.key_ids


class ContrastLoss(nn.Module, metaclass=ABCMeta):
    """A loss that compares features of the student with each other, with keys or with centres.

    A head builds it with ``num_classes`` and ``in_channels`` filled in and calls :meth:`contrast`
    in training. A subclass has :meth:`contrast` to write and the attributes below to set.

    Attributes:
        num_query_views: of how many views the student's features are wanted.
        key_channels: width of the keys; None where keys are not used.
        pairwise: whether memory grows with the square of the number of queries; of pixels, such a
            loss is given a sample in place of all.
        for_pixels: whether it makes sense of pixels.
    """

    num_query_views: ClassVar[int] = 1
    pairwise: ClassVar[bool] = True
    for_pixels: ClassVar[bool] = True
    key_channels: int | None = None

    @property
    def takes_keys(self) -> bool:
        """Whether keys are to be made."""
        return self.key_channels is not None

    @abstractmethod
    def contrast(self, batch: ContrastBatch) -> dict[str, Tensor]:
        """Losses of a batch, 0-d, whose keys begin with 'loss_'; others are for the log alone."""


def refuse_unknown(owner: type, unknown: Mapping[str, Any]) -> None:
    """Name the successor of ``temperature``, as a mixture loss called its own in earlier versions.

    Args:
        owner: the loss.
        unknown: arguments that it does not know.

    Raises:
        TypeError: if there are any.
    """
    if 'temperature' in unknown:
        raise TypeError(
            f'temperature of {owner.__name__} has another name now; use '
            f'mixture_temperature={unknown["temperature"]!r}.'
        )
    if unknown:
        near = ''.join(did_you_mean(key, owner) for key in unknown)
        raise TypeError(f'{owner.__name__} has no {" and no ".join(unknown)}; leave it out{near}.')


def check_rows(features: Tensor, labels: Tensor, owner: str) -> None:
    """Refuse features without one label for each.

    Args:
        features: (N, D).
        labels: (N,).
        owner: the loss.

    Raises:
        ValueError: if they are of other shapes.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f'features of shape {tuple(features.shape)} and labels of shape {tuple(labels.shape)} '
            f'reached {owner}, which takes (N, D) with one label for each row; give both of the '
            'same images or pixels.'
        )
