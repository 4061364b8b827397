"""Registered losses."""

from .alpha import with_alpha
from .bcl_loss import BCLLoss
from .crd_loss import CRDLoss
from .gml_loss import GMLLoss
from .kd_loss import KDLoss
from .logit_adjusted_loss import LogitAdjustedLoss
from .paco_loss import PaCoLoss
from .supcon_loss import SupConLoss
from .text_gml_loss import TextGMLLoss

__all__ = [
    'BCLLoss',
    'CRDLoss',
    'GMLLoss',
    'KDLoss',
    'LogitAdjustedLoss',
    'PaCoLoss',
    'SupConLoss',
    'TextGMLLoss',
    'with_alpha',
]
