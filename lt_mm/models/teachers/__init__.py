"""Trained networks that others learn from.

The teacher for classification is in :mod:`.classification_teacher`, which needs mmpretrain.
"""

from .frozen_network import (
    FrozenNetwork,
    TeacherOutput,
    check_feature_width,
    check_preprocessing,
    teacher_model_config,
)
from .segmentation_teacher import SegmentationTeacher

__all__ = [
    'FrozenNetwork',
    'SegmentationTeacher',
    'TeacherOutput',
    'check_feature_width',
    'check_preprocessing',
    'teacher_model_config',
]
