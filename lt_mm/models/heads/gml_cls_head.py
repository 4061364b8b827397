"""Gaussian-mixture-likelihood training of a classifier."""

from typing import Any

from lt_mm.models.heads.contrastive_cls_head import ContrastiveClsHead
from lt_mm.registry import MODELS


@MODELS.register_module()
class GMLClsHead(ContrastiveClsHead):
    """:class:`ContrastiveClsHead` with :class:`GMLLoss`, and the paper's settings for ImageNet-LT.

    ``head=dict(type='lt_mm.GMLClsHead', loss=dict(type='lt_mm.LogitAdjustedLoss'))`` and the
    ``lt_mm.ClassCountsHook`` turn a config of mmpretrain with a LinearClsHead into GML without a
    teacher.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        args: further ones of :class:`CosineClsHead`.
        alpha: strength of the logit adjustment of L_GML and of a ``LogitAdjustedLoss`` that does
            not set its own.
        gml: further arguments of :class:`GMLLoss` (size, min_size, temperature,
            trainable_temperature, alpha, widths, key_channels, loss_weight, backend).
        kwargs: further ones of :class:`ContrastiveClsHead`, without ``contrast``.

    Source: Suh and Seo, ICML 2023, sections 3.3 and 4.2, Table A.1.
    """

    contrast_argument = 'gml'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *args: Any,
        alpha: float = 1.0,
        gml: dict | None = None,
        **kwargs: Any,
    ) -> None:
        contrast = {
            'type': 'lt_mm.GMLLoss',
            **dict(size=16384, min_size=2, widths=(2048, 1024), alpha=alpha),
            **(gml or {}),
        }
        super().__init__(num_classes, in_channels, *args, alpha=alpha, contrast=contrast, **kwargs)
