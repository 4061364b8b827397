"""LADE for both tasks."""

import math
from typing import Any

import torch
from torch import Tensor

from lt_mm.functional import lade_regularizer, lade_statistics, logit_adjusted_cross_entropy
from lt_mm.models.losses.logit_loss import LogitLoss
from lt_mm.models.ranks import gather_rows
from lt_mm.registry import MODELS


@MODELS.register_module()
class LADELoss(LogitLoss):
    """Balanced softmax plus a regulariser that takes the training prior out of the logits.

    The regulariser is a function of the whole batch, that of all ranks. At test time, add
    ``log p_t(c)`` to the logits where the prior p_t of the test is known and not uniform.

    Args:
        regularizer_weight: alpha; 0.1 on CIFAR-LT, 0.05 on ImageNet-LT and iNaturalist, 0.005 on
            Places-LT in the authors' settings.
        penalty: lambda; 0.01 on CIFAR-LT, 0.5 on ImageNet-LT, 0.1 on Places-LT there.
        loss_weight: factor of the result.
        loss_name: key of the loss in mmsegmentation's log.
        unknown: further arguments of :class:`LogitLoss`, but for the reduction.

    Raises:
        ValueError: if one of the first two is negative or not finite; when called with a reduction
            other than 'mean'.
        RuntimeError: when called without class counts.

    Source: Hong et al., CVPR 2021.
    """

    def __init__(
        self,
        regularizer_weight: float = 0.1,
        penalty: float = 0.1,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_cls',
        **unknown: Any,
    ) -> None:
        if unknown.pop('reduction', 'mean') != 'mean':
            raise ValueError(
                "reduction of LADELoss can only be 'mean', because its regulariser belongs to a "
                'batch and not to its elements; leave it out.'
            )
        super().__init__(loss_weight, 'mean', loss_name, **unknown)
        for name, value in (('regularizer_weight', regularizer_weight), ('penalty', penalty)):
            if not 0 <= value < math.inf:
                raise ValueError(
                    f'{name} of LADELoss is {value}, but it must be finite and zero or more; use '
                    '0.005 to 0.5.'
                )
        self.regularizer_weight = regularizer_weight
        self.penalty = penalty

    def element_loss(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Balanced softmax of each element."""
        log_prior = self.class_counts.require_log_prior()
        return logit_adjusted_cross_entropy(logits, target, log_prior, 1.0, ignore_index)

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """As of :class:`LogitLoss`; ``weight`` does not act on the regulariser."""
        if reduction_override not in (None, 'mean'):
            raise ValueError(
                f'reduction_override of LADELoss is {reduction_override!r}, but its regulariser '
                "belongs to a batch and not to its elements; use 'mean', and no pixel sampler."
            )
        if ignore_index is None:
            ignore_index = self.ignore_index
        loss = super().forward(logits, target, weight, avg_factor, None, ignore_index)
        statistics = lade_statistics(logits, target, ignore_index)
        owner = torch.zeros(1, dtype=torch.int64, device=logits.device)
        rows = gather_rows(statistics.flatten()[None], owner).rows
        regularizer = lade_regularizer(
            rows.unflatten(1, statistics.shape),
            self.class_counts.require_log_prior(),
            self.penalty,
        )
        return loss + self.loss_weight * self.regularizer_weight * regularizer

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'regularizer_weight={self.regularizer_weight}, penalty={self.penalty}'
