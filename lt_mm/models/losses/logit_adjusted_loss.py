"""Logit-adjusted cross-entropy for both tasks."""

import math
from typing import Any

import torch
from torch import Tensor

from lt_mm.functional import (
    check_temperature,
    logit_adjusted_cross_entropy,
    logit_shift,
)
from lt_mm.models.alpha import LogitAdjusted
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class LogitAdjustedLoss(LogitAdjusted, LogitLoss):
    """Cross-entropy of ``logits / temperature + alpha * log p(c)``; L_cls of the GML paper.

    With ``alpha=1`` on a linear classifier this is balanced softmax. ``backward`` takes off the log
    prior of the tail that runs the other way as well, which makes a classifier for test sets where
    rare classes are frequent: the experts of SADE have ``alpha=0``; ``alpha=1``; and ``alpha=1,
    backward=2``. Called as mmsegmentation calls a loss (``weight=``, ``ignore_index=``) and as
    mmpretrain does (``avg_factor=``, hard or soft targets). The mean is over the elements of all
    ranks that are not ignored.

    Args:
        alpha: strength of the adjustment; 0 is plain cross-entropy and needs no counts. Defaults
            to that of the head, else 1.
        temperature: divisor of the logits, 1 behind a cosine classifier that has its own.
        loss_weight: factor of the result.
        reduction: 'mean', 'sum' or 'none'.
        loss_name: key of the loss in mmsegmentation's log.
        backward: tau of SADE, factor of the
            :func:`~lt_mm.functional.reversed_log_prior` that is taken off.
        unknown: further arguments of :class:`LogitLoss`.

    Raises:
        ValueError: if ``temperature`` is not positive and finite, or ``alpha`` or ``backward`` is
            not finite; when called with a label that is neither a class nor to be ignored.
        RuntimeError: when called without class counts and ``alpha`` or ``backward`` is not 0.

    Source: Menon et al., ICLR 2021; Suh and Seo, ICML 2023, eq. 7; Zhang et al., NeurIPS 2022
    (SADE).
    """

    def __init__(
        self,
        alpha: float | None = None,
        temperature: float = 1.0,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_name: str = 'loss_cls',
        backward: float = 0.0,
        **unknown: Any,
    ) -> None:
        super().__init__(loss_weight, reduction, loss_name, **unknown)
        check_temperature(temperature, 'of LogitAdjustedLoss', '1 is usual')
        if not math.isfinite(backward):
            raise ValueError(
                f'backward of LogitAdjustedLoss is {backward}, but it must be finite; SADE has 2 '
                'for its third expert, and 0 leaves it out.'
            )
        self.set_alpha(alpha)
        self.backward = backward
        self.temperature = temperature

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Adjusted cross-entropy of each element."""
        shift, alpha = None, self.alpha
        if self.alpha != 0 or self.backward != 0:
            shift = self.class_counts.require_log_prior()
        if self.backward != 0:
            shift = logit_shift(shift, self.alpha, self.backward)
            alpha = 1.0
        if self.temperature != 1:
            # Logits of label resolution are too large to be copied for nothing. In half precision
            # the quotient may be too large.
            wide = torch.promote_types(logits.dtype, torch.float32)
            logits = logits.to(wide) / self.temperature
        return logit_adjusted_cross_entropy(logits, target, shift, alpha, ignore_index)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        backward = f', backward={self.backward}' if self.backward else ''
        return f'alpha={self.alpha}, temperature={self.temperature}{backward}'
