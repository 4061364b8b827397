"""Nested collaborative learning: all classes, and the few that are confused with the label."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional import (
    check_labels,
    gather_categories,
    hard_categories,
    logit_shift,
    mutual_divergence,
)
from lt_mm.functional.class_axis import along_classes
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.losses.expert_loss import ExpertLoss
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts


@MODELS.register_module()
class HardCategoryLoss(ExpertLoss):
    """What NCL adds to the experts' own losses, in up to three terms.

    - ``loss_hard_cls``: cross-entropy of every expert among the hard categories, summed.
    - ``loss_mutual``: :func:`lt_mm.functional.mutual_divergence` over all classes.
    - ``loss_hard_mutual``: the same among the hard categories.

    The hard categories of an element are its label and the classes of the largest logits of the
    first expert, the same for all experts. Classes outside have no part in the softmax; in the
    public code they stay in it with a logit of 0.

    Args:
        num_hard: K, number of hard categories, the label among them.
        alpha: strength of the logit adjustment in all terms; 1 is balanced softmax, which NCL has,
            0 needs no class counts. The categories are chosen by the logits without it.
        temperature: T of the divergences.
        detach: whether the side that teaches gets no gradient; in the public code it does.
        hard_weight: factor of the cross-entropy among hard categories.
        mutual_weight: factor of the divergence over all classes.
        hard_mutual_weight: factor of the divergence among hard categories.
        loss_weight: factor of all terms. A term whose factor is 0 is absent.

    Raises:
        ValueError: if a factor or ``alpha`` is not finite or the temperature not positive; when
            called with soft targets, a label that is no class, or fewer than ``num_hard`` classes.
        RuntimeError: when called without class counts and ``alpha`` is not 0.

    Source: Li et al., "Nested Collaborative Learning for Long-Tailed Visual Recognition" (NCL),
    CVPR 2022, and its public code.
    """

    def __init__(
        self,
        num_hard: int = 30,
        alpha: float = 1.0,
        temperature: float = 1.0,
        detach: bool = True,
        hard_weight: float = 1.0,
        mutual_weight: float = 0.6,
        hard_mutual_weight: float = 0.6,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        if not math.isfinite(alpha):
            raise ValueError(
                f'alpha of HardCategoryLoss is {alpha}, but it must be finite; use 0 to 1.'
            )
        mutual_divergence(torch.zeros(2, 1, 1), temperature)
        self.num_hard = num_hard
        self.alpha = alpha
        self.temperature = temperature
        self.detach = detach
        self.hard_weight = self.checked_weight('hard_weight', hard_weight)
        self.mutual_weight = self.checked_weight('mutual_weight', mutual_weight)
        self.hard_mutual_weight = self.checked_weight('hard_mutual_weight', hard_mutual_weight)
        self.class_counts = ClassCountsBuffer('HardCategoryLoss')

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take the prior of the logit adjustment from these counts."""
        self.class_counts.set(class_counts)

    def terms(
        self, logits: Tensor, target: Tensor, ignored: Tensor | None
    ) -> dict[str, tuple[float, Tensor]]:
        """The three terms at each element, without those whose factor is 0."""
        if ignored is None:
            raise ValueError(
                'soft targets reached HardCategoryLoss, but it compares the label with the classes '
                'that it is confused with; take Mixup, CutMix and the like out of train_cfg, and '
                'to_onehot out of the data_preprocessor.'
            )
        labels = target.masked_fill(ignored, 0)
        check_labels(labels, logits.shape[2], 'HardCategoryLoss', ignore_index=None)
        categories = None
        if self.hard_weight != 0 or self.hard_mutual_weight != 0:
            categories = hard_categories(logits[0], labels, self.num_hard)
        if self.alpha != 0:
            shift = logit_shift(self.class_counts.require_log_prior(), self.alpha)
            # In half precision, large logits would swallow the shift.
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            logits = logits + along_classes(shift, logits[0])
        terms = {}
        if categories is not None:
            hard = gather_categories(logits, categories)
        if self.hard_weight != 0:
            # The label is the first of its categories.
            elements = -F.log_softmax(hard, dim=2).select(2, 0).sum(0)
            terms['loss_hard_cls'] = (self.hard_weight, elements)
        if self.mutual_weight != 0:
            terms['loss_mutual'] = (self.mutual_weight, self._divergence(logits))
        if self.hard_mutual_weight != 0:
            terms['loss_hard_mutual'] = (self.hard_mutual_weight, self._divergence(hard))
        return terms

    def _divergence(self, logits: Tensor) -> Tensor:
        return mutual_divergence(logits, self.temperature, self.detach)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'num_hard={self.num_hard}, alpha={self.alpha}, temperature={self.temperature}, '
            f'detach={self.detach}, hard_weight={self.hard_weight}, '
            f'mutual_weight={self.mutual_weight}, hard_mutual_weight={self.hard_mutual_weight}, '
            f'loss_weight={self.loss_weight}'
        )
