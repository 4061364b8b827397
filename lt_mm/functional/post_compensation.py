"""Logits for another class prior than that of the training."""

from torch import Tensor

from lt_mm.functional.class_axis import along_classes

# Added to the logit of a class that does not occur. Not infinite: maps of logits are interpolated,
# where infinity times 0 is no number; and float16 can hold it.
NEVER = -3e4


def post_compensate(
    logits: Tensor, log_prior: Tensor, alpha: float = 1.0, target_log_prior: Tensor | None = None
) -> Tensor:
    """Replace the prior that logits were trained with: ``z - alpha * (log p_s - log p_t)``.

    Args:
        logits: z, (N, C) or (N, C, d1, ...), of a classifier trained by plain cross-entropy.
        log_prior: log p_s, (C,): the class prior of the training. A class of minus infinity, which
            did not occur, is never predicted; give it the count of one if it should be.
        alpha: 1 is exact for calibrated logits; 0 leaves them as they are.
        target_log_prior: log p_t, (C,): the class prior to predict for, likewise. None for a
            uniform one, which adds nothing, since a constant does not change the softmax.

    Returns:
        Of the shape of ``logits``.

    Raises:
        ValueError: if a prior is of another number of classes.

    Source: Hong et al., Disentangling Label Distribution for Long-tailed Visual Recognition (LADE),
    CVPR 2021 (post-compensated softmax); Menon et al., ICLR 2021, eq. 9.
    """
    trained = along_classes(log_prior, logits)
    if alpha == 0:
        return logits
    absent = trained.isneginf()
    logits = logits - (alpha * trained).masked_fill(absent, -NEVER)
    if target_log_prior is not None:
        wanted = along_classes(target_log_prior, logits)
        shift = (alpha * wanted).masked_fill(wanted.isneginf(), NEVER)
        logits = logits + shift.masked_fill(absent, 0)
    return logits
