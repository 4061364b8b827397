"""Trained networks that others learn from.

The teacher for classification is in :mod:`.classification_teacher`, which needs mmpretrain.
"""

from .frozen_network import FrozenNetwork
from .safe_checkpoint import load_weights, read_checkpoint
from .segmentation_teacher import SegmentationTeacher
from .taught_mixin import TaughtMixin
from .teacher_fit import check_feature_width, check_preprocessing

__all__ = [
    'FrozenNetwork',
    'SegmentationTeacher',
    'TaughtMixin',
    'check_feature_width',
    'check_preprocessing',
    'load_weights',
    'read_checkpoint',
]
