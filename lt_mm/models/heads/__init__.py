"""Heads of both tasks with long-tailed classifiers and losses."""

from importlib.util import find_spec

from .cosine_heads import (
    CosineASPPHead,
    CosineDepthwiseSeparableASPPHead,
    CosineFCNHead,
    CosineHeadMixin,
    CosinePSPHead,
    CosineSegformerHead,
    CosineUPerHead,
)
from .decoupled_heads import (
    DecoupledASPPHead,
    DecoupledDecodeHeadMixin,
    DecoupledDepthwiseSeparableASPPHead,
    DecoupledFCNHead,
    DecoupledPSPHead,
    DecoupledSegformerHead,
    DecoupledUPerHead,
)
from .gml_head_mixin import GMLHeadMixin
from .gml_heads import (
    GMLASPPHead,
    GMLDepthwiseSeparableASPPHead,
    GMLFCNHead,
    GMLPSPHead,
    GMLSegformerHead,
    GMLUPerHead,
)
from .mean_of_heads import MeanOfHeads
from .multi_expert_decode_head import MultiExpertDecodeHead

__all__ = [
    'CosineASPPHead',
    'CosineDepthwiseSeparableASPPHead',
    'CosineFCNHead',
    'CosineHeadMixin',
    'CosinePSPHead',
    'CosineSegformerHead',
    'CosineUPerHead',
    'DecoupledASPPHead',
    'DecoupledDecodeHeadMixin',
    'DecoupledDepthwiseSeparableASPPHead',
    'DecoupledFCNHead',
    'DecoupledPSPHead',
    'DecoupledSegformerHead',
    'DecoupledUPerHead',
    'GMLASPPHead',
    'GMLDepthwiseSeparableASPPHead',
    'GMLFCNHead',
    'GMLHeadMixin',
    'GMLPSPHead',
    'GMLSegformerHead',
    'GMLUPerHead',
    'MeanOfHeads',
    'MultiExpertDecodeHead',
]

if find_spec('mmpretrain') is not None:
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

    __all__ += [
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
