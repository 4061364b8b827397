"""mmsegmentation's decode heads with long-tailed classifiers and losses."""

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
