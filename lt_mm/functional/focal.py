"""Focal losses: what is classified well counts for less."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lt_mm.functional.checks import check_shapes
from lt_mm.functional.class_axis import along_classes


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
    check_shapes(logits, target, 'the focal loss')
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
    alpha: float | Sequence[float] | Tensor | None = None,
    ignore_index: int = -100,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Focal loss of one classifier for each class against the others, summed over classes.

    Unlike torchvision's it takes labels and leaves out those to ignore without making them
    one-hot. A target of several labels is the sum of what each classifier says of its class; one
    that sums to 1 is thereby the loss of each class by its share. A single logit is that of label 1
    against label 0. For labels, nothing of the logits' size is kept for the backward pass but the
    logits themselves.

    Args:
        logits: (N, C, ...), any floating dtype; computed in float32 at least.
        target: (N, ...) class indices, or 0 and 1 where C is 1; or targets of the logits' shape,
            each between 0 and 1.
        gamma: focusing parameter, zero or more; 0 is binary cross-entropy.
        alpha: share of the positive class against ``1 - alpha`` of the others, for all classes or
            one for each of them, (C,); None weighs neither.
        ignore_index: label of elements whose loss is 0; hard targets only.
        class_weight: (C,) weights, (2,) where C is 1, for targets of the logits' shape alone. A
            classifier has the weight of its class where it is to say yes, and the mean weight of
            the element's other labels where it is to say no.

    Returns:
        The loss of each element, of the target's shape without its class axis.

    Source: Lin et al., ICCV 2017, eqs. 4 and 5.
    """
    check_shapes(logits, target, 'the focal loss')
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if alpha is None:
        positive = negative = 1.0
    else:
        positive = alpha
        if not isinstance(alpha, float | int):
            values = torch.as_tensor(alpha, dtype=logits.dtype, device=logits.device)
            positive = along_classes(values, logits)
        negative = 1 - positive
    if target.is_floating_point():
        own = positive * _binary_focal(logits, gamma)
        others = negative * _binary_focal(-logits, gamma)
        yes, no = _shares(target.to(logits), class_weight)
        return (yes * own + no * others).sum(1)
    ignored = target == ignore_index
    label = target.long().masked_fill(ignored, 0).unsqueeze(1)
    if logits.shape[1] == 1:
        # The logit of the label against the other one.
        of_one = label == 1
        share = torch.where(of_one, positive, negative)
        loss = share * _binary_focal(torch.where(of_one, logits, -logits), gamma)
        return loss.squeeze(1).masked_fill(ignored, 0)
    loss = _FocalOfLabels.apply(logits, label, gamma, positive, negative)
    return loss.masked_fill(ignored, 0)


def _shares(target: Tensor, class_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """How much each classifier is to say yes, and no; (N, C, ...)."""
    if class_weight is None:
        return target, 1 - target
    class_weight = class_weight.to(target)
    if target.shape[1] == 1:
        return class_weight[1] * target, class_weight[0] * (1 - target)
    weighted = along_classes(class_weight, target) * target
    rest = target.sum(1, keepdim=True) - target
    weight = (weighted.sum(1, keepdim=True) - weighted) / rest.masked_fill(rest <= 0, 1)
    return weighted, (1 - target) * torch.where(rest > 0, weight, 1)


def _binary_focal(logits: Tensor, gamma: float) -> Tensor:
    """``-(1 - p) ** gamma * log p`` with p the sigmoid."""
    return torch.exp(-gamma * F.softplus(logits)) * F.softplus(-logits)


def _slope(logits: Tensor, gamma: float) -> Tensor:
    """Derivative of :func:`_binary_focal`."""
    slope = F.softplus(-logits).mul_(logits.sigmoid()).mul_(gamma).add_((-logits).sigmoid_())
    return slope.mul_(F.softplus(logits).mul_(-gamma).exp_()).neg_()


class _FocalOfLabels(torch.autograd.Function):
    """(N, ...) losses of (N, 1, ...) labels; what the backward pass needs, it computes again."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        label: Tensor,
        gamma: float,
        positive: float | Tensor,
        negative: float | Tensor,
    ) -> Tensor:
        ctx.save_for_backward(logits, label)
        ctx.others = gamma, positive, negative
        others = F.softplus(-logits).mul_(-gamma).exp_().mul_(F.softplus(logits)).mul_(negative)
        own = _of_label(positive, label) * _binary_focal(logits.gather(1, label), gamma)
        return others.sum(1) + (own - others.gather(1, label)).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        logits, label = ctx.saved_tensors
        gamma, positive, negative = ctx.others
        own = _of_label(positive, label) * _slope(logits.gather(1, label), gamma)
        slope = _slope(-logits, gamma).neg_().mul_(negative).scatter_(1, label, own)
        return slope.mul_(grad.unsqueeze(1)), None, None, None, None


def _of_label(share: float | Tensor, label: Tensor) -> float | Tensor:
    return share.flatten()[label] if isinstance(share, Tensor) else share
