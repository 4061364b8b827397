"""Class labels that cannot be."""

from torch import Tensor


def check_labels(labels: Tensor, num_classes: int, owner: str, ignore_index: int = -100) -> None:
    """Refuse labels that are neither a class nor the one to ignore.

    Args:
        labels: integers of any shape.
        num_classes: C.
        owner: what the error message calls the module that the labels reached.
        ignore_index: the one label outside 0..C-1 that is allowed.

    Raises:
        ValueError: with the first such label.
    """
    wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    if wrong.any():
        raise ValueError(
            f'label {int(labels[wrong][0])} reached {owner}, which has {num_classes} classes and '
            f'ignores {ignore_index}; correct num_classes, or how the data set maps its labels '
            '(reduce_zero_label in mmsegmentation).'
        )
