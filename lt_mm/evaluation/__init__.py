"""Metrics that tell how a model fares on frequent, middling and rare classes."""

from lt_mm.evaluation.long_tail_accuracy import LongTailAccuracy, shot_groups
from lt_mm.evaluation.long_tail_iou import LongTailIoUMetric
from lt_mm.evaluation.per_class import group_means

__all__ = ['LongTailAccuracy', 'LongTailIoUMetric', 'group_means', 'shot_groups']
