"""Samplers that decide how often each class is trained on."""

from .class_aware_sampler import ClassAwareSampler
from .class_balanced_sampler import ClassBalancedSampler
from .long_tail_sampler import LongTailSampler
from .progressively_balanced_sampler import ProgressivelyBalancedSampler
from .rare_class_sampler import RareClassSampler
from .repeat_factor_sampler import RepeatFactorSampler
from .weighted_sampler import WeightedSampler

__all__ = [
    'ClassAwareSampler',
    'ClassBalancedSampler',
    'LongTailSampler',
    'ProgressivelyBalancedSampler',
    'RareClassSampler',
    'RepeatFactorSampler',
    'WeightedSampler',
]
