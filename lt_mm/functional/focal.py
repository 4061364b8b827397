"""Focal losses: what is classified well counts for less."""

import torch
from torch import Tensor
from torch.nn import functional as F


def softmax_focal_loss(
    logits: Tensor, target: Tensor, gamma: float = 2.0, ignore_index: int = -100
) -> Tensor:
    """``-(1 - p_y) ** gamma * log p_y`` with p the softmax.

    Args:
        logits: (N, C, ...), any floating dtype; the softmax is in float32 at least.
        target: (N, ...) class indices, or soft targets of the logits' shape: the loss of each
            class by its share.
        gamma: focusing parameter, zero or more; 0 is cross-entropy.
        ignore_index: label of elements whose loss is 0; hard targets only.

    Returns:
        The loss of each element, of the target's shape without its class axis.

    Source: Lin et al., "Focal loss for dense object detection", ICCV 2017, eq. 4, for classes
    that exclude each other.
    """
    log_p = F.log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
    if target.is_floating_point():
        return (target.to(log_p) * _focal(log_p, gamma)).sum(1)
    ignored = target == ignore_index
    label = target.long().masked_fill(ignored, 0)
    own = log_p.gather(1, label.unsqueeze(1)).squeeze(1)
    return _focal(own, gamma).masked_fill(ignored, 0)


def _focal(log_p: Tensor, gamma: float) -> Tensor:
    # The slope of a power below 1 is infinite at 0.
    wrong = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return -(wrong**gamma) * log_p


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Focal loss of one classifier for each class against the others, summed over classes.

    Unlike torchvision's it takes labels, leaves out those to ignore without making them one-hot,
    and on soft targets is the loss of each class by its share.

    Args:
        logits: (N, C, ...), any floating dtype; computed in float32 at least.
        target: (N, ...) class indices, or soft targets of the logits' shape.
        gamma: focusing parameter, zero or more; 0 is binary cross-entropy.
        alpha: share of the positive class against ``1 - alpha`` of the others; None weighs
            neither.
        ignore_index: label of elements whose loss is 0; hard targets only.

    Returns:
        The loss of each element, of the target's shape without its class axis.

    Source: Lin et al., ICCV 2017, eqs. 4 and 5.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    others = negative * _binary_focal(-logits, gamma)
    if target.is_floating_point():
        target = target.to(logits)
        own = positive * _binary_focal(logits, gamma)
        return (target * own + (target.sum(1, keepdim=True) - target) * others).sum(1)
    ignored = target == ignore_index
    label = target.long().masked_fill(ignored, 0).unsqueeze(1)
    own = positive * _binary_focal(logits.gather(1, label), gamma)
    loss = others.sum(1) + (own - others.gather(1, label)).squeeze(1)
    return loss.masked_fill(ignored, 0)


def _binary_focal(logits: Tensor, gamma: float) -> Tensor:
    """``-(1 - p) ** gamma * log p`` with p the sigmoid."""
    return torch.exp(-gamma * F.softplus(logits)) * F.softplus(-logits)
