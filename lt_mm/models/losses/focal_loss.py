"""Focal loss for both tasks."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from lt_mm.functional import sigmoid_focal_loss, softmax_focal_loss
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class FocalLoss(LogitLoss):
    """Focal loss on the softmax, or on one sigmoid for each class summed over classes.

    Class weights multiply the loss, and do not enter the probability that it is focused by. With
    ``class_weight=dict(type='effective_number')`` and ``use_sigmoid=True`` it is the
    class-balanced focal loss, for which the paper starts the classifier's bias at
    ``-log((1 - p) / p)`` with ``p = 1 / C`` (``bias_init_with_prob`` of mmengine).

    A head of one label an element predicts by the softmax even where this loss trains sigmoids: the
    class is the same, the score is not. Sigmoids also serve heads of several labels, such as
    mmpretrain's MultiLabelLinearClsHead, and those of mmsegmentation with ``out_channels=1``.

    Args:
        gamma: focusing parameter; 0 is cross-entropy.
        use_sigmoid: whether each class has a classifier of its own.
        alpha: with ``use_sigmoid``, share of the positive class against ``1 - alpha`` of the
            others, for all classes or a list with one for each; None weighs neither.
        kwargs: further arguments of :class:`LogitLoss`, among them ``class_weight``.

    Raises:
        ValueError: if ``gamma`` is negative or not finite, ``alpha`` is not between 0 and 1, or
            is given without ``use_sigmoid``.

    Source: Lin et al., ICCV 2017, eqs. 4 and 5; Cui et al., CVPR 2019.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        use_sigmoid: bool = False,
        alpha: float | Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= gamma < math.inf:
            raise ValueError(
                f'gamma of FocalLoss is {gamma}, but it must be finite and zero or more; use 0.5 '
                'to 2.'
            )
        if alpha is not None and not (use_sigmoid and _are_shares(alpha)):
            raise ValueError(
                f'alpha of FocalLoss is {alpha} with use_sigmoid={use_sigmoid}, but it must be '
                'between 0 and 1, one number or a list with one for each class, and needs '
                'use_sigmoid=True; use class_weight for weights of classes.'
            )
        self.gamma = gamma
        self.use_sigmoid = use_sigmoid
        self.alpha = alpha

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Focal loss of each element."""
        if self.use_sigmoid:
            return sigmoid_focal_loss(logits, target, self.gamma, self.alpha, ignore_index)
        return softmax_focal_loss(logits, target, self.gamma, ignore_index)

    def multi_label_loss(
        self, logits: Tensor, target: Tensor, class_weight: Tensor | None
    ) -> Tensor:
        """Sum of the focal losses of all classifiers."""
        return sigmoid_focal_loss(logits, target, self.gamma, self.alpha, class_weight=class_weight)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'gamma={self.gamma}, use_sigmoid={self.use_sigmoid}, alpha={self.alpha}'


def _are_shares(alpha: float | Sequence[float]) -> bool:
    """Whether these are numbers between 0 and 1."""
    values = alpha if isinstance(alpha, Sequence) and not isinstance(alpha, str) else [alpha]
    return len(values) > 0 and all(isinstance(v, Real) and 0 <= v <= 1 for v in values)
