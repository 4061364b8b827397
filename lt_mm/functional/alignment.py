"""Distribution alignment: an affine map of the logits, mixed in by how confident a sample is."""

from torch import Tensor

from lt_mm.functional.class_axis import along_classes

FORMS = ('paper', 'code')


def align_logits(
    logits: Tensor, confidence: Tensor, scale: Tensor, shift: Tensor, form: str = 'paper'
) -> Tensor:
    """Mix logits with their class-wise affine map.

    'paper': ``sigma * (alpha * z + beta) + (1 - sigma) * z``, which leaves the logits as they are
    where alpha is 1 and beta is 0. 'code', as published for classification:
    ``(1 + sigma * alpha) * z + sigma * beta``, that is 'paper' with an alpha greater by 1.

    Args:
        logits: z, (N, C) or (N, C, d1, ...).
        confidence: sigma, (N, 1) or (N, 1, d1, ...), between 0 and 1.
        scale: alpha, (C,).
        shift: beta, (C,).
        form: 'paper' or 'code'.

    Returns:
        Aligned logits, of the shape of ``logits``.

    Raises:
        ValueError: for another form, or another number of classes.

    Source: Zhang et al., Distribution Alignment: A Unified Framework for Long-tail Visual
    Recognition (DisAlign), CVPR 2021.
    """
    if form not in FORMS:
        raise ValueError(f"form of the alignment is {form!r}; use 'paper' or 'code'.")
    scale, shift = along_classes(scale, logits), along_classes(shift, logits)
    if form == 'paper':
        return confidence * (scale * logits + shift) + (1 - confidence) * logits
    return (1 + confidence * scale) * logits + confidence * shift
