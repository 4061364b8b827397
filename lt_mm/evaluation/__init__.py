"""Metrics: how a model fares on frequent, middling and rare classes, and how sure it is of it."""

from lt_mm.compat import know_rules
from lt_mm.evaluation.calibration_error import CalibrationError
from lt_mm.evaluation.expert_accuracy import ExpertAccuracy
from lt_mm.evaluation.expert_usage import ExpertUsage
from lt_mm.evaluation.long_tail_accuracy import LongTailAccuracy
from lt_mm.evaluation.long_tail_iou import LongTailIoUMetric
from lt_mm.evaluation.per_class import group_means

__all__ = [
    'CalibrationError',
    'ExpertAccuracy',
    'ExpertUsage',
    'LongTailAccuracy',
    'LongTailIoUMetric',
    'group_means',
]

know_rules(greater=['_IoU'], less=['/ECE', '_ECE', '/MCE', '/NLL', '/Brier'])
