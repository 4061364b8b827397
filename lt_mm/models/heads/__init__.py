"""mmpretrain's heads with long-tailed classifiers and losses."""

from .contrastive_cls_head import ContrastiveClsHead
from .cosine_cls_head import CosineClsHead
from .decoupled_cls_head import (
    DecoupledClsHead,
    DecoupledClsHeadMixin,
    DecoupledVisionTransformerClsHead,
)
from .gml_cls_head import GMLClsHead
from .multi_expert_cls_head import MultiExpertClsHead
from .reslt_cls_head import ResLTClsHead
from .routed_cls_head import RoutedClsHead

__all__ = [
    'ContrastiveClsHead',
    'CosineClsHead',
    'DecoupledClsHead',
    'DecoupledClsHeadMixin',
    'DecoupledVisionTransformerClsHead',
    'GMLClsHead',
    'MultiExpertClsHead',
    'ResLTClsHead',
    'RoutedClsHead',
]
