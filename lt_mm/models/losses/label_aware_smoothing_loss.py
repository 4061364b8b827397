"""Label-aware smoothing for both tasks."""

from typing import Any

from torch import Tensor

from lt_mm.functional import label_aware_smoothing, smoothed_cross_entropy
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class LabelAwareSmoothingLoss(LogitLoss):
    """LAS of MiSLAS: cross-entropy with labels that are softer the more frequent the class is.

    Args:
        head_smoothing: epsilon_1, of the most frequent class; Table 6 of the supplement has 0.1 to
            0.4.
        tail_smoothing: epsilon_K, of the rarest class; 0 or 0.1 there.
        shape: 'concave', 'linear', 'convex' (eqs. 3.a to 3.c) or 'exponential' (eq. 7).
        power: p of eq. 7, for 'exponential'.
        share: who gets what the label gives away: 'others', the C - 1 other classes as in eq. 9,
            or 'all', all C as in the authors' code.
        loss_weight: factor of the result.
        reduction: 'mean', 'sum' or 'none'.
        loss_name: key of the loss in mmsegmentation's log.
        unknown: further arguments of :class:`LogitLoss`.

    Raises:
        ValueError: if an argument is out of its range.
        RuntimeError: when called without class counts.

    Source: Zhong et al., CVPR 2021, eqs. 2, 3 and 7 to 12.
    """

    def __init__(
        self,
        head_smoothing: float = 0.3,
        tail_smoothing: float = 0.0,
        shape: str = 'concave',
        power: float = 1.0,
        share: str = 'others',
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_name: str = 'loss_cls',
        **unknown: Any,
    ) -> None:
        super().__init__(loss_weight, reduction, loss_name, **unknown)
        label_aware_smoothing([1], head_smoothing, tail_smoothing, shape, power)
        if share not in ('others', 'all'):
            raise ValueError(
                f"share of LabelAwareSmoothingLoss is {share!r}; use 'others' or 'all'."
            )
        self.head_smoothing = head_smoothing
        self.tail_smoothing = tail_smoothing
        self.shape = shape
        self.power = power
        self.share = share

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Cross-entropy of each element with its smoothed label."""
        smoothing = self.class_counts.derived(
            label_aware_smoothing, self.head_smoothing, self.tail_smoothing, self.shape, self.power
        )
        return smoothed_cross_entropy(logits, target, smoothing, self.share, ignore_index)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        power = f', power={self.power}' if self.shape == 'exponential' else ''
        return (
            f'head_smoothing={self.head_smoothing}, tail_smoothing={self.tail_smoothing}, '
            f'shape={self.shape!r}{power}, share={self.share!r}'
        )
