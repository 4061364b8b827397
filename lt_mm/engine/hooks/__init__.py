"""Hooks that long-tailed training needs."""

from .channels_last_hook import ChannelsLastHook
from .class_counts_hook import ClassCountsHook
from .class_means_hook import ClassMeansHook
from .deferred_hook import DeferredHook
from .meta_reweighting import MetaReweighting
from .random_state_hook import RandomStateHook
from .rank_zero_logger_hook import RankZeroLoggerHook
from .reinitialize_hook import ReinitializeHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .test_time_aggregation_hook import TestTimeAggregationHook
from .training_guard_hook import TrainingGuardHook

__all__ = [
    'ChannelsLastHook',
    'ClassCountsHook',
    'ClassMeansHook',
    'DeferredHook',
    'MetaReweighting',
    'RandomStateHook',
    'RankZeroLoggerHook',
    'ReinitializeHook',
    'SafeCheckpointHook',
    'TestTimeAggregationHook',
    'TrainingGuardHook',
]
