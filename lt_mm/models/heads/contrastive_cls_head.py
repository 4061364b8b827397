"""A classifier with a contrast loss and a distillation loss beside its own."""

import inspect
from typing import Any

import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from lt_mm.functional import check_finite
from lt_mm.models.heads.cosine_cls_head import CosineClsHead
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS
from lt_mm.structures import sample_ids


@MODELS.register_module()
class ContrastiveClsHead(CosineClsHead):
    """Train a classifier by gamma L_cls, beta times a contrast loss, and alpha_KD L_KD.

    In :class:`GMLClassifier` the contrast loss compares several views, and a teacher may give
    keys and logits. In mmpretrain's own ImageClassifier there is one view, and the keys are the
    features themselves, detached. Inference is that of the classifier alone.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        args: further ones of :class:`CosineClsHead`.
        contrast: ``dict(type='lt_mm.GMLLoss')``, or 'lt_mm.SupConLoss' and others: a module with
            ``contrast(batch)`` and ``num_query_views``, see :class:`ContrastBatch`. The head fills
            in its ``num_classes`` and ``in_channels`` and, for a loss that takes keys, its
            ``key_channels``, which are ``in_channels`` unless given.
        distillation: ``dict(type='lt_mm.KDLoss', temperature=4)``: a module that takes the logits
            of the student, without the log prior, and those of the teacher.
        kwargs: further ones of :class:`CosineClsHead`.

    Source: Suh and Seo, ICML 2023, section 3.3 and Table A.1.
    """

    contrast_argument = 'contrast'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *args: Any,
        contrast: dict | None = None,
        distillation: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, *args, **kwargs)
        self.key_channels: int | None = None
        self.contrast: nn.Module | None = None
        self.distillation: nn.Module | None = None
        if contrast is not None:
            filled = dict(num_classes=num_classes, in_channels=in_channels, **contrast)
            if _takes_keys(filled['type']):
                self.key_channels = filled.get('key_channels') or in_channels
                filled['key_channels'] = self.key_channels
            self.contrast = MMPRETRAIN_MODELS.build(filled)
        if distillation is not None:
            self.distillation = MMPRETRAIN_MODELS.build(distillation)

    @property
    def num_query_views(self) -> int:
        """Of how many views the contrast loss wants the student's features."""
        return 0 if self.contrast is None else self.contrast.num_query_views

    @property
    def takes_keys(self) -> bool:
        """Whether the contrast loss compares with keys."""
        return self.key_channels is not None

    def loss(
        self,
        feats: tuple[Tensor, ...],
        data_samples: list[DataSample],
        queries: Tensor | None = None,
        keys: Tensor | None = None,
        teacher_logits: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """All losses of a batch.

        Args:
            feats: features of each stage for the view to classify.
            data_samples: of the images. A contrast loss needs hard labels.
            queries: (V, B, D), what :meth:`pre_logits` gives for the views to contrast. Defaults
                to those of ``feats``.
            keys: (B, key_channels). Default to those of ``feats``, detached.
            teacher_logits: (B, C), for the distillation.
            kwargs: further arguments of the classification loss.

        Returns:
            ``loss_cls``; what the contrast loss returns; ``loss_kd`` with a distillation.

        Raises:
            ValueError: if a label is not a class, labels are soft, or the distillation has no
                logits of a teacher, or of other classes.
            FloatingPointError: if queries or keys are not finite.
        """
        features = self.pre_logits(feats)
        logits = self.fc(features)
        targets = self.targets(data_samples)
        losses = self.classification_loss(logits, targets, **kwargs)
        if self.contrast is not None:
            queries = features[None] if queries is None else queries
            keys = features if keys is None else keys
            losses |= self._contrast_losses(queries, keys.detach(), targets, data_samples)
        if self.distillation is not None:
            losses['loss_kd'] = self._distillation_loss(logits, teacher_logits)
        return losses

    def _contrast_losses(
        self, queries: Tensor, keys: Tensor, labels: Tensor, data_samples: list[DataSample]
    ) -> dict[str, Tensor]:
        owner = type(self).__name__
        if labels.ndim > 1:
            raise ValueError(
                f'the contrast loss of {owner} needs hard labels, and the data samples have soft '
                'ones; take Mixup, CutMix and the like out of train_cfg, and to_onehot out of the '
                'data_preprocessor.'
            )
        check_finite(queries, owner, 'its features')
        check_finite(keys, owner, 'its keys')
        places = [sample.get('sample_idx', -1) for sample in data_samples]
        return self.contrast.contrast(
            ContrastBatch(
                queries=queries,
                keys=keys,
                labels=labels.long(),
                ids=sample_ids(data_samples).to(labels.device),
                indices=torch.tensor(places, dtype=torch.int64, device=labels.device),
                classifier=self.fc,
            )
        )

    def _distillation_loss(self, logits: Tensor, teacher_logits: Tensor | None) -> Tensor:
        owner = type(self).__name__
        if teacher_logits is None:
            raise ValueError(
                f'the distillation of {owner} has no teacher; use '
                "dict(type='lt_mm.GMLClassifier', teacher=dict(config=..., checkpoint=...)) as "
                'model, or leave distillation out.'
            )
        if teacher_logits.shape != logits.shape:
            raise ValueError(
                f'the teacher gives logits of shape {tuple(teacher_logits.shape)}, but those of '
                f'{owner} have {tuple(logits.shape)}; use a teacher of the same classes.'
            )
        return self.distillation(logits, teacher_logits)


def _takes_keys(loss: str | type) -> bool:
    cls = MMPRETRAIN_MODELS.get(loss) if isinstance(loss, str) else loss
    return 'key_channels' in inspect.signature(cls).parameters
