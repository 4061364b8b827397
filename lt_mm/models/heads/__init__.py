"""mmpretrain's heads with long-tailed classifiers and losses."""

from .contrastive_cls_head import ContrastiveClsHead
from .cosine_cls_head import CosineClsHead
from .gml_cls_head import GMLClsHead

__all__ = ['ContrastiveClsHead', 'CosineClsHead', 'GMLClsHead']
