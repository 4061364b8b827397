"""Refuse what would silently become NaN, infinity or a wrong class."""

import math

from torch import Tensor


def check_labels(
    labels: Tensor, num_classes: int, owner: str, ignore_index: int | None = -100
) -> None:
    """Refuse labels that are neither a class nor the one to ignore.

    Args:
        labels: integers of any shape.
        num_classes: C.
        owner: what the error message calls the module that the labels reached.
        ignore_index: the one label outside 0..C-1 that is allowed; None allows none.

    Raises:
        ValueError: with the first such label.
    """
    wrong = (labels < 0) | (labels >= num_classes)
    if ignore_index is not None:
        wrong &= labels != ignore_index
    if wrong.any():
        ignored = 'nothing' if ignore_index is None else ignore_index
        raise ValueError(
            f'label {int(labels[wrong][0])} reached {owner}, which has {num_classes} classes and '
            f'ignores {ignored}; correct num_classes, or how the data set maps its labels '
            '(reduce_zero_label in mmsegmentation).'
        )


def check_finite(
    features: Tensor, owner: str, name: str, harm: str = 'the queue would be poisoned'
) -> None:
    """Refuse features that are NaN or infinite, before a memory keeps them.

    Args:
        features: of any shape.
        owner: what the error message calls the module that the features reached.
        name: what it calls the features.
        harm: what it says would happen.

    Raises:
        FloatingPointError: if one is not finite.
    """
    if not features.detach().isfinite().all():
        raise FloatingPointError(
            f'{owner}: {name} are not finite, so {harm}; lower the learning rate, clip gradients, '
            'or look for damaged inputs or weights.'
        )


def check_temperature(temperature: float, owner: str, usual: str) -> None:
    """Raise if a temperature is not positive and finite.

    Args:
        temperature: of a softmax or a mixture.
        owner: whose it is, as in 'of GMLLoss'.
        usual: what the message recommends, such as '1 is usual'.

    Raises:
        ValueError: if it is not.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f'temperature {owner} is {temperature}, but it must be positive and finite; {usual}.'
        )
