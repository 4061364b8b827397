"""Cosine classifiers on mmsegmentation's decode heads."""

from typing import Any

from mmseg.models.decode_heads import (
    ASPPHead,
    DepthwiseSeparableASPPHead,
    FCNHead,
    PSPHead,
    SegformerHead,
    UPerHead,
)

from lt_mm.models.layers import CosineConv2d
from lt_mm.registry import MODELS


class CosineHeadMixin:
    """Swap the classifier of any decode head that ends in ``cls_seg`` for a cosine classifier.

    ``class CosineMyHead(CosineHeadMixin, MyHead): pass`` is all another head needs.

    Args:
        classifier: 'cosine', or 'linear' to leave the head's own.
        temperature: tau_s of eq. 7, for 'cosine'.

    Raises:
        ValueError: for another classifier.

    Source: Suh and Seo, ICML 2023, eq. 7 and section 4.8.
    """

    def __init__(
        self,
        *args: Any,
        classifier: str = 'cosine',
        temperature: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if classifier not in ('cosine', 'linear'):
            raise ValueError(
                f"classifier of {type(self).__name__} is {classifier!r}; use 'cosine' or 'linear'."
            )
        if classifier == 'cosine':
            self.conv_seg = CosineConv2d(self.channels, self.out_channels, temperature)


@MODELS.register_module()
class CosineFCNHead(CosineHeadMixin, FCNHead):
    """FCNHead with a cosine classifier."""


@MODELS.register_module()
class CosinePSPHead(CosineHeadMixin, PSPHead):
    """PSPHead with a cosine classifier."""


@MODELS.register_module()
class CosineASPPHead(CosineHeadMixin, ASPPHead):
    """ASPPHead with a cosine classifier."""


@MODELS.register_module()
class CosineDepthwiseSeparableASPPHead(CosineHeadMixin, DepthwiseSeparableASPPHead):
    """DepthwiseSeparableASPPHead (DeepLabV3+) with a cosine classifier."""


@MODELS.register_module()
class CosineUPerHead(CosineHeadMixin, UPerHead):
    """UPerHead with a cosine classifier."""


@MODELS.register_module()
class CosineSegformerHead(CosineHeadMixin, SegformerHead):
    """SegformerHead with a cosine classifier."""
