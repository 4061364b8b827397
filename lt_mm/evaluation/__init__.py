"""Metrics that tell how a model fares on frequent, middling and rare classes."""

from lt_mm.evaluation.long_tail_iou import LongTailIoUMetric, group_means

__all__ = ['LongTailIoUMetric', 'group_means']
