"""Cross-entropy on logits shifted by a class prior."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional.checks import check_shapes
from lt_mm.functional.priors import logit_shift


def logit_adjusted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    log_prior: Tensor | None = None,
    alpha: float = 1.0,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy of ``logits + alpha * log_prior``, element by element.

    Args:
        logits: (N, C) or (N, C, d1, ...), any floating dtype; the softmax is in float32 at least.
        target: (N,) or (N, d1, ...) class indices, or soft targets of the logits' shape.
        log_prior: (C,) log p(c), eta_c in the paper. None leaves the logits as they are. A class
            of minus infinity, which does not occur, is treated as :func:`logit_shift` says.
        alpha: strength of the adjustment, alpha of eq. 11. 0 is plain cross-entropy.
        ignore_index: label of elements whose loss is 0; hard targets only.

    Returns:
        The loss of each element, of the target's shape without its class axis.

    Source: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, eq. 10; Suh and
    Seo, ICML 2023, eqs. 7 and 11.
    """
    check_shapes(logits, target, 'the cross-entropy')
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if log_prior is not None and alpha != 0:
        if log_prior.shape != logits.shape[1:2]:
            raise ValueError(
                f'log_prior has shape {tuple(log_prior.shape)}, but the logits have '
                f'{logits.shape[1]} classes; use the class counts of the data set that is '
                'trained on.'
            )
        shape = (1, -1) + (1,) * (logits.ndim - 2)
        logits = logits + logit_shift(log_prior.to(logits), alpha).reshape(shape)
    if target.is_floating_point():
        return F.cross_entropy(logits, target.to(logits), reduction='none')
    return F.cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction='none')


def reduce_loss(
    loss: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """Weight and reduce an element-wise loss; a mean over nothing is a zero with a graph.

    Args:
        loss: any shape.
        weight: factors of exactly the loss's shape.
        reduction: 'none', 'sum' or 'mean'.
        avg_factor: divisor of the mean, one number. Defaults to the number of elements.

    Raises:
        ValueError: for another reduction, or a weight or divisor of another shape.
    """
    if weight is not None:
        if weight.shape != loss.shape:
            raise ValueError(
                f'a weight of shape {tuple(weight.shape)} came with losses of shape '
                f'{tuple(loss.shape)}; give one factor for each element.'
            )
        loss = loss * weight
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        return loss.sum()
    if reduction != 'mean':
        raise ValueError(f"reduction is {reduction!r}; use 'none', 'sum' or 'mean'.")
    if avg_factor is None:
        avg_factor = loss.numel()
    if isinstance(avg_factor, Tensor):
        if avg_factor.numel() != 1:
            raise ValueError(
                f'avg_factor has shape {tuple(avg_factor.shape)}, but a mean has one divisor; give '
                'a number.'
            )
        avg_factor = avg_factor.to(loss).reshape(())
    else:
        # Unlike a copy from the host, filling does not make it wait.
        avg_factor = torch.full((), avg_factor, dtype=loss.dtype, device=loss.device)
    return loss.sum() / avg_factor.masked_fill(avg_factor == 0, 1)
