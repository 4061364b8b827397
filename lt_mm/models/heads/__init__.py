"""mmpretrain's heads with long-tailed classifiers and losses."""

from .contrastive_cls_head import ContrastiveClsHead
from .cosine_cls_head import CosineClsHead
from .decoupled_cls_head import (
    DecoupledClsHead,
    DecoupledClsHeadMixin,
    DecoupledVisionTransformerClsHead,
)
from .gml_cls_head import GMLClsHead

__all__ = [
    'ContrastiveClsHead',
    'CosineClsHead',
    'DecoupledClsHead',
    'DecoupledClsHeadMixin',
    'DecoupledVisionTransformerClsHead',
    'GMLClsHead',
]
