"""Trained networks that others learn from.

The teacher for classification is in :mod:`.classification_teacher`, which needs mmpretrain.
"""

from .frozen_network import FrozenNetwork
from .segmentation_teacher import SegmentationTeacher
from .teacher_fit import check_feature_width, check_preprocessing

__all__ = ['FrozenNetwork', 'SegmentationTeacher', 'check_feature_width', 'check_preprocessing']
