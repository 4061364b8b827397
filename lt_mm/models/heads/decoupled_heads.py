"""mmsegmentation's decode heads with classifiers for decoupled training and for test time."""

from typing import Any

from mmseg.models.decode_heads import (
    ASPPHead,
    DepthwiseSeparableASPPHead,
    FCNHead,
    PSPHead,
    SegformerHead,
    UPerHead,
)
from torch import Tensor

from lt_mm.models.layers import DecoupledHeadMixin
from lt_mm.registry import MODELS


class DecoupledDecodeHeadMixin(DecoupledHeadMixin):
    """Give a decode head another classifier, an alignment or a post-compensated softmax.

    ``class DecoupledMyHead(DecoupledDecodeHeadMixin, MyHead): pass`` is all another head that ends
    in ``cls_seg`` needs. Logits are changed at the size of the feature map. The arguments are those
    of :class:`~lt_mm.models.layers.DecoupledHeadMixin` and of the head.

    Raises:
        ValueError: if the head is binary with a single output channel.
    """

    classifier_path = 'conv_seg'
    default_temperature = 0.05

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.out_channels != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} has out_channels={self.out_channels} for '
                f'{self.num_classes} classes, but needs one output channel a class.'
            )

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Classify each pixel; the alignment sees the features before dropout."""
        return self.finish(super().cls_seg(feat), feat)


@MODELS.register_module()
class DecoupledFCNHead(DecoupledDecodeHeadMixin, FCNHead):
    """FCNHead for decoupled training."""


@MODELS.register_module()
class DecoupledPSPHead(DecoupledDecodeHeadMixin, PSPHead):
    """PSPHead for decoupled training."""


@MODELS.register_module()
class DecoupledASPPHead(DecoupledDecodeHeadMixin, ASPPHead):
    """ASPPHead for decoupled training."""


@MODELS.register_module()
class DecoupledDepthwiseSeparableASPPHead(DecoupledDecodeHeadMixin, DepthwiseSeparableASPPHead):
    """DepthwiseSeparableASPPHead (DeepLabV3+) for decoupled training."""


@MODELS.register_module()
class DecoupledUPerHead(DecoupledDecodeHeadMixin, UPerHead):
    """UPerHead for decoupled training."""


@MODELS.register_module()
class DecoupledSegformerHead(DecoupledDecodeHeadMixin, SegformerHead):
    """SegformerHead for decoupled training."""
