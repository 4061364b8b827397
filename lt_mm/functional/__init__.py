"""The maths of lt_mm in plain PyTorch: tensors in, tensors out, usable from any program."""

from .contrast import balanced_contrastive_loss, supervised_contrastive_loss
from .cross_entropy import logit_adjusted_cross_entropy, reduce_loss
from .distillation import distillation_loss, log_partition, noise_contrastive_loss
from .finite_check import check_finite
from .grouping import rank_within_group, sample_per_group
from .label_check import check_labels
from .mixture import class_log_likelihood
from .negatives import sample_other_groups
from .parametric_contrast import parametric_contrastive_loss
from .priors import log_prior, queue_lengths

__all__ = [
    'balanced_contrastive_loss',
    'check_finite',
    'check_labels',
    'class_log_likelihood',
    'distillation_loss',
    'log_partition',
    'log_prior',
    'logit_adjusted_cross_entropy',
    'noise_contrastive_loss',
    'parametric_contrastive_loss',
    'queue_lengths',
    'rank_within_group',
    'reduce_loss',
    'sample_other_groups',
    'sample_per_group',
    'supervised_contrastive_loss',
]
