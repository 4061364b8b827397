"""Mutual learning of experts."""

import torch
from torch import Tensor

from lt_mm.functional import mutual_divergence
from lt_mm.models.losses.expert_loss import ExpertLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class MutualLoss(ExpertLoss):
    """``loss_mutual``: every expert learns from the predictions of the others.

    See :func:`lt_mm.functional.mutual_divergence`. The logits are those of the classifiers, with
    no prior added, whatever the experts' own losses add.

    Args:
        temperature: T, divisor of all logits.
        detach: whether the side that teaches gets no gradient.
        loss_weight: factor of the result.

    Raises:
        ValueError: if the temperature is not positive and finite.

    Source: Zhang et al., "Deep Mutual Learning", CVPR 2018; for long tails, a reconstruction of
    Park et al., "Mutual Learning for Long-Tailed Recognition", WACV 2023.
    """

    def __init__(
        self, temperature: float = 1.0, detach: bool = True, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        mutual_divergence(torch.zeros(2, 1, 1), temperature)
        self.temperature = temperature
        self.detach = detach

    def terms(
        self, logits: Tensor, target: Tensor, ignored: Tensor | None
    ) -> dict[str, tuple[float, Tensor]]:
        """Divergence between the experts at each element."""
        return dict(loss_mutual=(1.0, mutual_divergence(logits, self.temperature, self.detach)))

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'temperature={self.temperature}, detach={self.detach}, loss_weight={self.loss_weight}'
        )
