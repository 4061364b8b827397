"""A cosine or linear classifier with a logit-adjusted loss."""

from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from lt_mm.functional import check_labels
from lt_mm.models.heads.training_accuracy import training_accuracies
from lt_mm.models.layers import CosineLinear
from lt_mm.models.losses import with_alpha
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import MODELS


@MODELS.register_module()
class CosineClsHead(LinearClsHead):
    """LinearClsHead with a cosine classifier and L_cls.

    Predictions are those of the unshifted logits. The loss is the mean over the images of all
    ranks, under the key ``loss_cls``; mmpretrain's own key, ``loss``, is that of the sum in the
    log.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        temperature: tau_s of eq. 7, for 'cosine'.
        classifier: 'cosine', or 'linear' for LinearClsHead's own.
        loss: classification loss of mmpretrain's kind; its ``loss_weight`` is gamma of Table A.1.
            Defaults to a ``LogitAdjustedLoss``.
        alpha: strength of the logit adjustment in a ``LogitAdjustedLoss`` that does not set its
            own. Defaults to that of the loss, 1.
        init_cfg: defaults to LinearClsHead's, for ``fc`` alone; a cosine classifier starts as
            random unit vectors.
        kwargs: ``topk`` and ``cal_acc`` of mmpretrain's ClsHead.

    Raises:
        ValueError: for another classifier.

    Source: Suh and Seo, ICML 2023, eq. 7 and section 4.2.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        temperature: float = 1 / 30,
        classifier: str = 'cosine',
        loss: dict | nn.Module | None = None,
        alpha: float | None = None,
        init_cfg: dict | list | None = None,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if classifier not in ('cosine', 'linear'):
            raise ValueError(f"classifier of {name} is {classifier!r}; use 'cosine' or 'linear'.")
        if not isinstance(loss, nn.Module):
            loss = with_alpha(loss or dict(type='lt_mm.LogitAdjustedLoss'), alpha, 'loss')
        if init_cfg is None and classifier == 'linear':
            # Without naming a layer type, which would reach the MLPs of a contrast loss, too.
            init_cfg = dict(type='Normal', std=0.01, override=dict(name='fc'))
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, loss=loss, **kwargs)
        if classifier == 'cosine':
            self.fc = CosineLinear(in_channels, num_classes, temperature)

    def loss(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """L_cls, and the accuracy where ``cal_acc`` asks for it.

        Args:
            feats: features of each stage; the last, (N, D), is classified.
            data_samples: with hard labels or, after Mixup and the like, soft ones.
            kwargs: further arguments of the loss.

        Raises:
            ValueError: if a label is not a class.
        """
        return self.classification_loss(self(feats), self.targets(data_samples), **kwargs)

    def targets(self, data_samples: list[DataSample]) -> Tensor:
        """(N,) labels, or (N, C) soft ones where the samples have scores.

        Raises:
            ValueError: if a label is not a class.
        """
        if 'gt_score' in data_samples[0]:
            return torch.stack([sample.gt_score for sample in data_samples])
        labels = torch.cat([sample.gt_label for sample in data_samples])
        check_labels(labels, self.num_classes, type(self).__name__, ignore_index=None)
        return labels

    def classification_loss(
        self, logits: Tensor, targets: Tensor, **kwargs: Any
    ) -> dict[str, Tensor]:
        """L_cls of (N, C) logits, and the accuracy where ``cal_acc`` asks for it."""
        # mmpretrain divides by the number of this rank.
        images = mean_over_ranks(len(logits), logits.device)
        losses = dict(loss_cls=self.loss_module(logits, targets, avg_factor=images, **kwargs))
        if self.cal_acc:
            losses |= training_accuracies(logits, targets, self.topk, type(self).__name__)
        return losses
