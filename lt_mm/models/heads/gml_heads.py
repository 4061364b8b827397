"""mmsegmentation's decode heads trained with GML."""

from mmseg.models.decode_heads import (
    ASPPHead,
    DepthwiseSeparableASPPHead,
    FCNHead,
    PSPHead,
    SegformerHead,
    UPerHead,
)

from lt_mm.models.heads.gml_head_mixin import GMLHeadMixin
from lt_mm.registry import MODELS


@MODELS.register_module()
class GMLFCNHead(GMLHeadMixin, FCNHead):
    """FCNHead trained with GML."""


@MODELS.register_module()
class GMLPSPHead(GMLHeadMixin, PSPHead):
    """PSPHead trained with GML."""


@MODELS.register_module()
class GMLASPPHead(GMLHeadMixin, ASPPHead):
    """ASPPHead trained with GML."""


@MODELS.register_module()
class GMLDepthwiseSeparableASPPHead(GMLHeadMixin, DepthwiseSeparableASPPHead):
    """DepthwiseSeparableASPPHead (DeepLabV3+) trained with GML."""


@MODELS.register_module()
class GMLUPerHead(GMLHeadMixin, UPerHead):
    """UPerHead trained with GML."""


@MODELS.register_module()
class GMLSegformerHead(GMLHeadMixin, SegformerHead):
    """SegformerHead trained with GML."""
