"""Building blocks shared by heads of both tasks."""

from .class_queue import ClassQueue
from .cosine import CosineConv2d, CosineLinear
from .disalign import DisAlign
from .embedding_bank import EmbeddingBank
from .expert_routers import ExpertRouters
from .labelled_queue import LabelledQueue
from .learnable_weight_scaling import LearnableWeightScaling
from .nearest_class_mean import NearestClassMeanLinear
from .post_compensation import PostCompensation
from .projection_mlp import ProjectionMLP
from .tau_norm import TauNormConv2d, TauNormLinear
from .weight_net import WeightNet, kinds_of_classes

__all__ = [
    'ClassQueue',
    'CosineConv2d',
    'CosineLinear',
    'DisAlign',
    'EmbeddingBank',
    'ExpertRouters',
    'LabelledQueue',
    'LearnableWeightScaling',
    'NearestClassMeanLinear',
    'PostCompensation',
    'ProjectionMLP',
    'TauNormConv2d',
    'TauNormLinear',
    'WeightNet',
    'kinds_of_classes',
]
