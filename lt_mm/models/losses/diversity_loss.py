"""Experts that are to differ."""

import torch
from torch import Tensor

from lt_mm.functional import class_wise_temperature, diversity_divergence
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.losses.expert_loss import ExpertLoss
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts


@MODELS.register_module()
class DiversityLoss(ExpertLoss):
    """``loss_diversity``: experts keep away from the mean of their predictions.

    See :func:`lt_mm.functional.diversity_divergence`. With the negative factor of RIDE the
    divergence grows, and the loss in the log is negative.

    Args:
        temperature: T, divisor of all logits; of the most frequent class where it is class-wise.
        class_factor: how much lower T is for rare classes, see
            :func:`lt_mm.functional.class_wise_temperature`; 0.05 on CIFAR-LT, 0.02 on ImageNet-LT.
            At 0 all classes have the same and no class counts are needed. With
            ``lt_mm.DeferredHook`` it acts from the deferred part of the training on, as in RIDE.
        loss_weight: factor of the result; -0.2 and, on CIFAR-LT, -0.45 in the authors' settings.

    Raises:
        ValueError: if the temperature is not positive and finite, or ``class_factor`` not in
            [0, 1); when called with logits of another number of classes than the class counts.
        RuntimeError: when called without class counts where they are needed.

    Source: Wang et al., "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts"
    (RIDE), ICLR 2021, and its public code.
    """

    def __init__(
        self, temperature: float = 1.0, class_factor: float = 0.0, loss_weight: float = -0.2
    ) -> None:
        super().__init__(loss_weight)
        class_wise_temperature([1], temperature, class_factor)
        self.temperature = temperature
        self.class_factor = class_factor
        self.class_counts = ClassCountsBuffer('DiversityLoss')
        self.register_buffer('active', torch.tensor(True))

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take class-wise temperatures from these counts."""
        self.class_counts.set(class_counts)

    def set_deferred(self, active: bool) -> None:
        """Whether the temperature is class-wise; otherwise all classes have the same."""
        self.active.fill_(active)

    def terms(
        self, logits: Tensor, target: Tensor, ignored: Tensor | None
    ) -> dict[str, tuple[float, Tensor]]:
        """Divergence of the experts from their mean at each element."""
        temperature = self.temperature
        if self.class_factor > 0:
            of_classes = self.class_counts.derived(
                class_wise_temperature, temperature, self.class_factor
            )
            temperature = torch.where(self.active, of_classes, temperature)
        return dict(loss_diversity=(1.0, diversity_divergence(logits, temperature)))

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'temperature={self.temperature}, class_factor={self.class_factor}, '
            f'loss_weight={self.loss_weight}'
        )
