"""The maths of lt_mm in plain PyTorch: tensors in, tensors out, usable from any program."""

from .aggregation import aggregate_logits, prediction_stability
from .alignment import align_logits
from .calibration import (
    CalibrationSums,
    calibration_sums,
    equal_width_bins,
    expected_calibration_error,
    maximum_calibration_error,
)
from .checks import (
    check_batch,
    check_finite,
    check_labels,
    check_number,
    check_reduction,
    check_shapes,
    check_soft_targets,
    check_temperature,
    checked_once,
)
from .class_weights import effective_number_weights, inverse_power_weights
from .contrast import balanced_contrastive_loss, supervised_contrastive_loss
from .cross_entropy import logit_adjusted_cross_entropy, reduce_loss
from .distillation import distillation_loss, log_partition, noise_contrastive_loss
from .experts import (
    class_wise_temperature,
    diversity_divergence,
    gather_categories,
    hard_categories,
    hard_category_mask,
    mutual_divergence,
)
from .focal import sigmoid_focal_loss, softmax_focal_loss
from .grouping import rank_within_group, sample_per_group
from .host import read_numbers, to_device, true_places
from .label_aware_smoothing import label_aware_smoothing, smoothed_cross_entropy
from .lade import lade_regularizer, lade_statistics
from .margins import ldam_margins, margin_cross_entropy
from .meta_weights import (
    development_gradient,
    last_layer_losses_along,
    losses_along,
    macro_shares,
    rectified_weights,
    relative_conditional,
    rewound,
    sample_weight_gradient,
    two_component_weights,
    weight_net_loss,
)
from .mixture import class_log_likelihood
from .nearest_mean import nearest_mean_logits, normalize_features
from .negatives import sample_other_groups
from .parametric_contrast import parametric_contrastive_loss
from .post_compensation import post_compensate
from .priors import log_prior, logit_shift, queue_lengths, reversed_log_prior
from .routing import routing_targets, running_means
from .seesaw import seesaw_cross_entropy
from .soft_targets import mix_hard_losses
from .weight_norm import tau_normalize

__all__ = [
    'CalibrationSums',
    'aggregate_logits',
    'align_logits',
    'balanced_contrastive_loss',
    'calibration_sums',
    'check_batch',
    'check_finite',
    'check_labels',
    'check_number',
    'check_reduction',
    'check_shapes',
    'check_soft_targets',
    'check_temperature',
    'class_log_likelihood',
    'checked_once',
    'class_wise_temperature',
    'distillation_loss',
    'diversity_divergence',
    'effective_number_weights',
    'equal_width_bins',
    'expected_calibration_error',
    'gather_categories',
    'hard_categories',
    'hard_category_mask',
    'inverse_power_weights',
    'label_aware_smoothing',
    'lade_regularizer',
    'lade_statistics',
    'ldam_margins',
    'log_partition',
    'log_prior',
    'logit_shift',
    'logit_adjusted_cross_entropy',
    'margin_cross_entropy',
    'maximum_calibration_error',
    'mix_hard_losses',
    'mutual_divergence',
    'nearest_mean_logits',
    'noise_contrastive_loss',
    'normalize_features',
    'parametric_contrastive_loss',
    'post_compensate',
    'prediction_stability',
    'queue_lengths',
    'rank_within_group',
    'read_numbers',
    'reduce_loss',
    'reversed_log_prior',
    'routing_targets',
    'running_means',
    'sample_other_groups',
    'sample_per_group',
    'seesaw_cross_entropy',
    'sigmoid_focal_loss',
    'smoothed_cross_entropy',
    'softmax_focal_loss',
    'supervised_contrastive_loss',
    'tau_normalize',
    'to_device',
    'true_places',
    'development_gradient',
    'last_layer_losses_along',
    'losses_along',
    'macro_shares',
    'rectified_weights',
    'relative_conditional',
    'rewound',
    'sample_weight_gradient',
    'two_component_weights',
    'weight_net_loss',
]
