"""What a contrastive loss on images is given."""

from typing import NamedTuple

from torch import Tensor, nn


class ContrastBatch(NamedTuple):
    """Features of the views of one batch, with what is known of the images.

    A contrastive loss is a module with a method ``contrast(batch)`` that returns a dict of losses,
    and an attribute ``num_query_views``: of how many views it wants the student's features.
    """

    queries: Tensor
    """(V, B, D) features by the student, with gradient; V is 1 where only one view was given."""
    keys: Tensor
    """(B, K) features of the last view, without gradient: by the teacher, else by the momentum
    encoder, else by the student."""
    labels: Tensor
    """(B,) int64 classes."""
    ids: Tensor
    """(B,) int64, the same for the same image at all times; -1 where unknown."""
    indices: Tensor
    """(B,) int64, the image's place in its data set; -1 where unknown."""
    classifier: nn.Module
    """From (B, D) features to (B, C) logits; its ``weight`` is (C, D)."""
