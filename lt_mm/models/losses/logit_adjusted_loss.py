"""Logit-adjusted cross-entropy for both tasks."""

import math

from torch import Tensor

from lt_mm.functional import logit_adjusted_cross_entropy
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class LogitAdjustedLoss(LogitLoss):
    """Cross-entropy of ``logits / temperature + alpha * log p(c)``; L_cls of the GML paper.

    With ``alpha=1`` on a linear classifier this is balanced softmax. Called as mmsegmentation
    calls a loss (``weight=``, ``ignore_index=``) and as mmpretrain does (``avg_factor=``, hard or
    soft targets). The mean is over the elements of all ranks that are not ignored.

    Args:
        alpha: strength of the adjustment; 0 is plain cross-entropy and needs no counts.
        temperature: divisor of the logits, 1 behind a cosine classifier that has its own.
        loss_weight: factor of the result.
        reduction: 'mean', 'sum' or 'none'.
        loss_name: key of the loss in mmsegmentation's log.

    Raises:
        ValueError: if ``temperature`` is not positive or ``alpha`` is not finite; when called with
            a label that is neither a class nor to be ignored.
        RuntimeError: when called without class counts and ``alpha`` is not 0.

    Source: Menon et al., ICLR 2021; Suh and Seo, ICML 2023, eq. 7.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        temperature: float = 1.0,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_name: str = 'loss_cls',
    ) -> None:
        super().__init__(loss_weight, reduction, loss_name)
        if not temperature > 0:
            raise ValueError(
                f'temperature of LogitAdjustedLoss is {temperature}, but it must be positive.'
            )
        if not math.isfinite(alpha):
            raise ValueError(
                f'alpha of LogitAdjustedLoss is {alpha}, but it must be finite; use 0 to 1.'
            )
        self.alpha = alpha
        self.temperature = temperature

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Adjusted cross-entropy of each element."""
        log_prior = self.class_counts.require_log_prior() if self.alpha != 0 else None
        if self.temperature != 1:
            # Logits of label resolution are too large to be copied for nothing.
            logits = logits / self.temperature
        return logit_adjusted_cross_entropy(logits, target, log_prior, self.alpha, ignore_index)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'alpha={self.alpha}, temperature={self.temperature}'
