"""LADE's regulariser: logits that do not know how frequent a class was in training."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lt_mm.functional.checks import check_shapes
from lt_mm.functional.class_axis import along_classes


def lade_statistics(logits: Tensor, target: Tensor, ignore_index: int = -100) -> Tensor:
    """What the regulariser needs of a batch; batches may be stacked.

    Args:
        logits: (N, C, ...), any floating dtype; computed in float32 at least.
        target: (N, ...) class indices, or soft targets of the logits' shape.
        ignore_index: label of elements that take no part; hard targets only.

    Returns:
        (3, C): of each class, the sum of its logit over elements labelled with it, the number of
        these elements, and the log-sum-exp of its logit over all elements, which is minus infinity
        where there is none.
    """
    check_shapes(logits, target, 'the regulariser of LADE')
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    num_classes = logits.shape[1]
    if target.is_floating_point():
        rows = logits.movedim(1, -1).reshape(-1, num_classes)
        shares = target.to(rows).movedim(1, -1).reshape(-1, num_classes)
        return torch.stack([(shares * rows).sum(0), shares.sum(0), rows.logsumexp(0)])
    kept = target != ignore_index
    label = target.long().masked_fill(~kept, 0)
    own = logits.gather(1, label.unsqueeze(1)).squeeze(1) * kept
    sums = logits.new_zeros(2, num_classes)
    sums = sums.index_add(1, label.flatten(), torch.stack([own.flatten(), kept.flatten().to(own)]))
    return torch.cat([sums, _LogSumOfClasses.apply(logits, kept.unsqueeze(1))[None]])


class _LogSumOfClasses(torch.autograd.Function):
    """(C,) log-sum-exp over the elements of a (N, 1, ...) mask.

    Of the size of the logits, nothing is kept for the backward pass but the logits themselves.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, kept: Tensor) -> Tensor:
        elements = [0, *range(2, logits.ndim)]
        log_sums = logits.masked_fill(~kept, -torch.inf).logsumexp(elements)
        ctx.save_for_backward(logits, kept, log_sums)
        return log_sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, kept, log_sums = ctx.saved_tensors
        # Without an element the log is minus infinity, and no logit has a part in it.
        log_sums = log_sums.masked_fill(log_sums.isneginf(), torch.inf)
        shares = (logits - along_classes(log_sums, logits)).exp_()
        return shares.masked_fill_(~kept, 0).mul_(along_classes(grad, logits)), None


def lade_regularizer(statistics: Tensor, log_prior: Tensor, penalty: float = 0.1) -> Tensor:
    """Minus the regularised Donsker-Varadhan bound of each class, weighted by the prior.

    With f_c the logits of class c: the bound is ``mean of f_c over its elements - T_c - penalty *
    T_c^2``, where ``T_c = log of the mean of exp(f_c) * (1 / C) / p(c) over all elements``. A class
    without an element in the batch contributes with T_c alone, as in the authors' code; one that
    does not occur in training, of prior 0, not at all.

    Args:
        statistics: (B, 3, C) of B batches that make up one, from :func:`lade_statistics`.
        log_prior: (C,) log p(c) in training, p_s(y) in the paper.
        penalty: lambda; 0.01 on CIFAR-LT, 0.1 on Places-LT, 0.5 on ImageNet-LT in the authors'
            settings.

    Returns:
        0-d; 0, with a graph, when there is no element.

    Raises:
        ValueError: if ``log_prior`` is of another number of classes.

    Source: Hong et al., "Disentangling label distribution for long-tailed visual recognition",
    CVPR 2021, as in the authors' code.
    """
    num_classes = statistics.shape[-1]
    if log_prior.shape != (num_classes,):
        raise ValueError(
            f'log_prior has shape {tuple(log_prior.shape)}, but the logits have {num_classes} '
            'classes; use the class counts of the data set that is trained on'
        )
    log_prior = log_prior.to(statistics)
    sums, counts = statistics[:, :2].sum(0)
    total = counts.sum()
    if total == 0:
        return sums.sum()
    spread = statistics[:, 2].logsumexp(0) - total.log()
    # A class that does not occur has the weight 0, which must not meet an infinite spread.
    finite = log_prior.masked_fill(log_prior.isneginf(), 0)
    spread = spread - finite - math.log(num_classes)
    bound = sums / counts.masked_fill(counts == 0, 1) - spread - penalty * spread**2
    return -(log_prior.exp() * bound).sum()
