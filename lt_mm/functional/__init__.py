"""The maths of lt_mm in plain PyTorch: tensors in, tensors out, usable from any program."""

from .cross_entropy import logit_adjusted_cross_entropy, reduce_loss
from .grouping import rank_within_group, sample_per_group
from .label_check import check_labels
from .mixture import class_log_likelihood
from .priors import log_prior, queue_lengths

__all__ = [
    'check_labels',
    'class_log_likelihood',
    'log_prior',
    'logit_adjusted_cross_entropy',
    'queue_lengths',
    'rank_within_group',
    'reduce_loss',
    'sample_per_group',
]
