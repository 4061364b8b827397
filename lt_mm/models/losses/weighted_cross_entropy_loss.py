"""Cross-entropy with weights of classes, for both tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lt_mm.functional import logit_adjusted_cross_entropy, sigmoid_focal_loss
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class WeightedCrossEntropyLoss(LogitLoss):
    """Cross-entropy of each element times the weight of its class, by the softmax or by sigmoids.

    ``dict(type='effective_number', beta=0.9999)`` makes it the class-balanced loss,
    ``dict(type='inverse', power=rho)`` GRW. Ignored elements take no part.

    Args:
        class_weight: one of these two, or a list of weights; see :class:`ClassWeights`.
        use_sigmoid: whether each class has a classifier of its own, as for several labels an
            element or heads of one output channel; the loss is summed over classes.
        kwargs: further arguments of :class:`LogitLoss`, among them ``average``.

    Source: Cui et al., CVPR 2019; Zhang et al., CVPR 2021.
    """

    def __init__(
        self,
        class_weight: Mapping | Sequence[float] | None,
        use_sigmoid: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_weight=class_weight, **kwargs)
        self.use_sigmoid = use_sigmoid

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Plain cross-entropy of each element."""
        if self.use_sigmoid:
            return sigmoid_focal_loss(logits, target, 0.0, None, ignore_index)
        return logit_adjusted_cross_entropy(logits, target, ignore_index=ignore_index)

    def multi_label_loss(
        self, logits: Tensor, target: Tensor, class_weight: Tensor | None
    ) -> Tensor:
        """Sum of the binary cross-entropies of all classifiers."""
        return sigmoid_focal_loss(logits, target, 0.0, class_weight=class_weight)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'use_sigmoid={self.use_sigmoid}, average={self.average!r}'
