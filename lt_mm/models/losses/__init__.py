"""Registered losses."""

from .bcl_loss import BCLLoss
from .class_weights import ClassWeights
from .contrast_loss import ContrastBatch, ContrastLoss
from .crd_loss import CRDLoss
from .diversity_loss import DiversityLoss
from .expert_loss import ExpertLoss
from .focal_loss import FocalLoss
from .gml_loss import GMLLoss
from .hard_category_loss import HardCategoryLoss
from .kd_loss import KDLoss
from .label_aware_smoothing_loss import LabelAwareSmoothingLoss
from .lade_loss import LADELoss
from .ldam_loss import LDAMLoss
from .logit_adjusted_loss import LogitAdjustedLoss
from .logit_loss import LogitLoss
from .mutual_loss import MutualLoss
from .paco_loss import PaCoLoss
from .seesaw_loss import SeesawLoss
from .supcon_loss import SupConLoss
from .text_gml_loss import TextGMLLoss
from .weighted_cross_entropy_loss import WeightedCrossEntropyLoss

__all__ = [
    'BCLLoss',
    'CRDLoss',
    'ClassWeights',
    'ContrastBatch',
    'ContrastLoss',
    'DiversityLoss',
    'ExpertLoss',
    'FocalLoss',
    'GMLLoss',
    'HardCategoryLoss',
    'KDLoss',
    'LADELoss',
    'LDAMLoss',
    'LabelAwareSmoothingLoss',
    'LogitAdjustedLoss',
    'LogitLoss',
    'MutualLoss',
    'PaCoLoss',
    'SeesawLoss',
    'SupConLoss',
    'TextGMLLoss',
    'WeightedCrossEntropyLoss',
]
