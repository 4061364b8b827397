"""Class labels that cannot be."""

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
