"""mmpretrain's heads with classifiers for decoupled training and for test time."""

from types import MappingProxyType
from typing import Any

from mmpretrain.models.heads import VisionTransformerClsHead
from torch import Tensor, nn

from lt_mm.models.heads.cosine_cls_head import CosineClsHead
from lt_mm.models.layers import DecoupledHeadMixin
from lt_mm.registry import MODELS


class DecoupledClsHeadMixin(DecoupledHeadMixin):
    """Give a head of mmpretrain another classifier, an alignment or a post-compensated softmax.

    ``class DecoupledMyHead(DecoupledClsHeadMixin, MyHead): pass`` is all that a head with
    ``pre_logits`` and a classifier ``fc`` needs; set ``classifier_path`` where it has another name.
    The arguments are those of :class:`~lt_mm.models.layers.DecoupledHeadMixin` and of the head.
    """

    classifier_path = 'fc'
    default_temperature = 1 / 30

    def forward(self, feats: tuple[Any, ...]) -> Tensor:
        """Logits, (N, C); compensated in eval mode, where that is asked for."""
        features = None if self.alignment is None else self.pre_logits(feats)
        return self.finish(super().forward(feats), features)


@MODELS.register_module()
class DecoupledClsHead(DecoupledClsHeadMixin, CosineClsHead):
    """A head for LWS, cRT, tau-normalisation, nearest class means, DisAlign or MiSLAS.

    It loads the checkpoints of mmpretrain's LinearClsHead and of :class:`CosineClsHead`. The loss
    is cross-entropy without logit adjustment unless another is given, since decoupled training
    has a balanced sampler.

    Args:
        args: those of :class:`CosineClsHead`.
        loss: as there. Defaults to cross-entropy.
        alpha: as there, and for the default loss 0.
        kwargs: likewise, and those of :class:`~lt_mm.models.layers.DecoupledHeadMixin`.
    """

    base_arguments = MappingProxyType(dict(classifier='linear'))

    def __init__(
        self,
        *args: Any,
        loss: dict | nn.Module | None = None,
        alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        # A loss that is given keeps its own default, which is not 0.
        if loss is None and alpha is None:
            alpha = 0.0
        super().__init__(*args, loss=loss, alpha=alpha, **kwargs)


@MODELS.register_module()
class DecoupledVisionTransformerClsHead(DecoupledClsHeadMixin, VisionTransformerClsHead):
    """:class:`DecoupledClsHead` for mmpretrain's VisionTransformerClsHead, with its own loss."""

    classifier_path = 'layers.head'
