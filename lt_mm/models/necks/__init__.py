"""Necks for features with an axis of experts."""

from .expert_global_average_pooling import ExpertGlobalAveragePooling

__all__ = ['ExpertGlobalAveragePooling']
