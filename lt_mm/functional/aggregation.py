"""Weights of experts, and what is known of a good choice without labels."""

import torch
from torch import Tensor
from torch.nn import functional as F


def aggregate_logits(logits: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of what experts say.

    Args:
        logits: (E, N, C, ...), any floating dtype; the sum is in float32 at least.
        weights: (E,), summing to 1 for a mean.

    Returns:
        (N, C, ...).

    Raises:
        ValueError: if there is not one weight for each expert.
    """
    if weights.shape != logits.shape[:1]:
        raise ValueError(
            f'there are weights of shape {tuple(weights.shape)}, but logits of {len(logits)} '
            'experts; give one weight for each expert.'
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    # No matrix product, which autocast would take in half precision.
    shape = (-1,) + (1,) * (logits.ndim - 1)
    return (weights.to(logits.device, dtype).reshape(shape) * logits.to(dtype)).sum(0)


def prediction_stability(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """How alike the experts together judge two views of the same samples.

    It is the cosine of the angle between the probabilities for the two views. SADE finds that an
    expert is the more stable on a class the better it knows it, so that weights of greatest
    stability prefer the experts of the classes that a test set is made of.

    Args:
        first: (E, N, C, ...), logits of the experts for one view.
        second: likewise for the other view.
        weights: (E,), summing to 1.

    Returns:
        (N, ...), above 0 and at most 1.

    Raises:
        ValueError: if the logits differ in shape, or there is not one weight for each expert.

    Source: Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic
    Long-Tailed Recognition (SADE), NeurIPS 2022.
    """
    if first.shape != second.shape:
        raise ValueError(
            f'the logits for the two views have the shapes {tuple(first.shape)} and '
            f'{tuple(second.shape)}; give two views of the same samples, in the same order.'
        )
    probabilities = (aggregate_logits(logits, weights).softmax(dim=1) for logits in (first, second))
    return F.cosine_similarity(*probabilities, dim=1)
