"""Margins that grow as a class gets rarer."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional.checks import check_shapes
from lt_mm.functional.priors import check_counts
from lt_mm.functional.soft_targets import mix_hard_losses


def ldam_margins(counts: Tensor | Sequence[float], max_margin: float = 0.5) -> Tensor:
    """Margins proportional to ``n_c ** -0.25``, of which the rarest class has ``max_margin``.

    A class without a sample has none.

    Source: Cao et al., "Learning imbalanced datasets with label-distribution-aware margin loss",
    NeurIPS 2019.

    Args:
        counts (Tensor | Sequence[float]): n_c, samples of each class, shape (C,).
        max_margin (float): Largest margin, in units of the cosine. Defaults to 0.5.

    Returns:
        Tensor: Margins, shape (C,), float32.

    Raises:
        ValueError: If the counts are not valid, or ``max_margin`` is negative or not finite.
    """
    if not 0 <= max_margin < math.inf:
        raise ValueError(
            f'max_margin of LDAM is {max_margin}, but it must be finite and zero or more; use 0.5'
        )
    counts = check_counts(counts)
    rarest = counts.masked_fill(counts == 0, math.inf).min()
    margins = max_margin * (rarest / counts.clamp(min=rarest)) ** 0.25
    return margins.masked_fill(counts == 0, 0).float()


def margin_cross_entropy(
    logits: Tensor, target: Tensor, margins: Tensor, ignore_index: int = -100
) -> Tensor:
    """Cross-entropy after ``margins[y]`` is taken from the logit of the label.

    Args:
        logits: (N, C, ...), any floating dtype; the softmax is in float32 at least.
        target: (N, ...) class indices, or soft targets of the logits' shape: the loss of each
            class, with its own margin, by its share.
        margins: (C,) in units of the logits.
        ignore_index: label of elements whose loss is 0; hard targets only.

    Returns:
        The loss of each element, of the target's shape without its class axis.

    Raises:
        ValueError: if ``margins`` is of another number of classes.

    Source: Cao et al., NeurIPS 2019, L_LDAM.
    """
    check_shapes(logits, target, 'the cross-entropy with margins')
    if margins.shape != logits.shape[1:2]:
        raise ValueError(
            f'margins has shape {tuple(margins.shape)}, but the logits have {logits.shape[1]} '
            'classes; use the class counts of the data set that is trained on'
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    margins = margins.to(logits)
    if target.is_floating_point():
        return mix_hard_losses(
            lambda z, label: margin_cross_entropy(z, label, margins), logits, target.to(logits)
        )
    target = target.long()
    label = target.masked_fill(target == ignore_index, 0)
    shifted = logits.scatter_add(1, label.unsqueeze(1), -margins[label].unsqueeze(1))
    return F.cross_entropy(shifted, target, ignore_index=ignore_index, reduction='none')
