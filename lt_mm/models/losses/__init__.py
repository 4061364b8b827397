"""Registered losses."""

from .gml_loss import GMLLoss
from .logit_adjusted_loss import LogitAdjustedLoss

__all__ = ['GMLLoss', 'LogitAdjustedLoss']
