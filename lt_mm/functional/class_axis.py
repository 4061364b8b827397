"""Numbers of classes beside logits of any shape."""

from torch import Tensor


def along_classes(values: Tensor, logits: Tensor) -> Tensor:
    """View one number a class so that it broadcasts against logits.

    Args:
        values: (C,).
        logits: (N, C) or (N, C, d1, ...), whose dtype and device the result has.

    Raises:
        ValueError: if there are not as many numbers as the logits have classes.
    """
    if values.shape != logits.shape[1:2]:
        raise ValueError(
            f'there are {tuple(values.shape)} numbers for the classes, but the logits have '
            f'{logits.shape[1]} classes; give one number for each class of the classifier.'
        )
    return values.to(logits).reshape((1, -1) + (1,) * (logits.ndim - 2))
