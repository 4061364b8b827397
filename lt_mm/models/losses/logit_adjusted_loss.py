"""Logit-adjusted cross-entropy for both tasks."""

import math

from torch import Tensor, nn

from lt_mm.functional import check_labels, logit_adjusted_cross_entropy, reduce_loss
from lt_mm.models.layers import ClassCountsBuffer
from lt_mm.models.losses.averaging import mean_over_ranks
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts


@MODELS.register_module()
class LogitAdjustedLoss(nn.Module):
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
        super().__init__()
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
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.loss_name = loss_name
        self.class_counts = ClassCountsBuffer('LogitAdjustedLoss')

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take the prior from these counts."""
        self.class_counts.set(class_counts)

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
    ) -> Tensor:
        """Loss of (N, C, ...) logits against (N, ...) labels or (N, C, ...) soft targets."""
        soft = target.is_floating_point()
        if not soft:
            check_labels(target, logits.shape[1], 'LogitAdjustedLoss', ignore_index)
        log_prior = self.class_counts.require_log_prior() if self.alpha != 0 else None
        if self.temperature != 1:
            # Logits of label resolution are too large to be copied for nothing.
            logits = logits / self.temperature
        loss = logit_adjusted_cross_entropy(logits, target, log_prior, self.alpha, ignore_index)
        reduction = reduction_override or self.reduction
        if reduction == 'mean' and avg_factor is None:
            counted = loss.numel() if soft else (target != ignore_index).sum()
            avg_factor = mean_over_ranks(counted, loss.device)
        return self.loss_weight * reduce_loss(loss, weight, reduction, avg_factor)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'alpha={self.alpha}, temperature={self.temperature}'
