"""LADE's regulariser: logits that do not know how frequent a class was in training."""

import math

import torch
from torch import Tensor


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
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    num_classes = logits.shape[1]
    rows = logits.movedim(1, -1).reshape(-1, num_classes)
    if target.is_floating_point():
        shares = target.to(rows).movedim(1, -1).reshape(-1, num_classes)
        return torch.stack([(shares * rows).sum(0), shares.sum(0), rows.logsumexp(0)])
    target = target.long().flatten()
    kept = target != ignore_index
    label = target.masked_fill(~kept, 0)
    own = rows.gather(1, label[:, None])[:, 0] * kept
    sums = rows.new_zeros(2, num_classes).index_add(1, label, torch.stack([own, kept.to(own)]))
    everything = rows.masked_fill(~kept[:, None], -torch.inf).logsumexp(0)
    return torch.cat([sums, everything[None]])


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
