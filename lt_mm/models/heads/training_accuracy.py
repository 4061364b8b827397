"""Accuracies that heads log in training."""

from collections.abc import Sequence

from mmpretrain.evaluation.metrics import Accuracy
from torch import Tensor


def training_accuracies(
    logits: Tensor, targets: Tensor, topk: Sequence[int], owner: str
) -> dict[str, Tensor]:
    """Percentages of images whose label is among the k largest logits, as 'accuracy_top-k'.

    Args:
        logits: (N, C).
        targets: (N,) labels.
        topk: every k.
        owner: what the error calls the head.

    Raises:
        ValueError: if the targets are soft.
    """
    if targets.ndim > 1:
        raise ValueError(
            f'cal_acc of {owner} has no meaning for soft labels, such as Mixup makes; set '
            'cal_acc=False.'
        )
    # Without a threshold: logits, unlike scores, may be negative and right.
    accuracies = Accuracy.calculate(logits, targets, topk=topk, thrs=(None,))
    return {f'accuracy_top-{k}': value[0] for k, value in zip(topk, accuracies, strict=True)}
