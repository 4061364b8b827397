"""Logits for another class prior than that of the training."""

from torch import Tensor

from lt_mm.functional.class_axis import along_classes


def post_compensate(
    logits: Tensor, log_prior: Tensor, alpha: float = 1.0, target_log_prior: Tensor | None = None
) -> Tensor:
    """Replace the prior that logits were trained with: ``z - alpha * (log p_s - log p_t)``.

    Args:
        logits: z, (N, C) or (N, C, d1, ...), of a classifier trained by plain cross-entropy.
        log_prior: log p_s, (C,): the class prior of the training.
        alpha: 1 is exact for calibrated logits; 0 leaves them as they are.
        target_log_prior: log p_t, (C,): the class prior to predict for. None for a uniform one,
            which adds nothing, since a constant does not change the softmax.

    Returns:
        Of the shape of ``logits``.

    Raises:
        ValueError: if a prior is of another number of classes.

    Source: Hong et al., Disentangling Label Distribution for Long-tailed Visual Recognition (LADE),
    CVPR 2021 (post-compensated softmax); Menon et al., ICLR 2021, eq. 9.
    """
    logits = logits - alpha * along_classes(log_prior, logits)
    if target_log_prior is not None:
        logits = logits + alpha * along_classes(target_log_prior, logits)
    return logits
