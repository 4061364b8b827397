"""Seesaw loss: rare classes are punished less by frequent ones."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional.checks import check_shapes
from lt_mm.functional.class_axis import along_classes
from lt_mm.functional.priors import logit_shift
from lt_mm.functional.soft_targets import mix_hard_losses


def seesaw_cross_entropy(
    logits: Tensor,
    target: Tensor,
    log_counts: Tensor,
    p: float = 0.8,
    q: float = 2.0,
    eps: float = 0.01,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy of ``z_j + log(M_yj * C_yj)`` for every class j but the label y.

    ``M_yj = min(1, n_j / n_y) ** p`` takes punishment from classes rarer than the label,
    ``C_yj = max(1, sigma_j / sigma_y) ** q`` gives it back where such a class is taken for the
    label; sigma is the softmax, without gradient. Both factors are 1 for j = y.

    Args:
        logits: (N, C, ...), any floating dtype; the softmax is in float32 at least.
        target: (N, ...) class indices, or soft targets of the logits' shape: the loss of each
            class by its share.
        log_counts: (C,) log n_c, up to a constant; minus infinity for a class that does not occur,
            which is spared nothing.
        p: strength of the mitigation, zero or more.
        q: strength of the compensation, zero or more.
        eps: least sigma_y, so that a hopeless element does not grow without bounds.
        ignore_index: label of elements whose loss is 0; hard targets only.

    Returns:
        The loss of each element, of the target's shape without its class axis.

    Raises:
        ValueError: if ``log_counts`` is of another number of classes.

    Source: Wang et al., "Seesaw loss for long-tailed instance segmentation", CVPR 2021.
    """
    check_shapes(logits, target, 'the seesaw loss')
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if target.is_floating_point():
        return mix_hard_losses(
            lambda z, label: seesaw_cross_entropy(z, label, log_counts, p, q, eps),
            logits,
            target.to(logits),
        )
    target = target.long()
    label = target.masked_fill(target == ignore_index, 0).unsqueeze(1)
    with torch.no_grad():
        log_n = along_classes(logit_shift(log_counts), logits)
        # In place: at label resolution each of these is as large as the logits.
        log_sigma = F.log_softmax(logits, dim=1)
        least = log_sigma.gather(1, label).clamp(min=math.log(eps))
        factor = log_sigma.sub_(least).clamp_(min=0).mul_(q)
        factor.add_((log_n - log_n.flatten()[label]).clamp_(max=0), alpha=p)
    return F.cross_entropy(logits + factor, target, ignore_index=ignore_index, reduction='none')
