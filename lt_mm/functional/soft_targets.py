"""A loss of hard labels, on soft targets."""

from collections.abc import Callable

import torch
from torch import Tensor


def mix_hard_losses(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor
) -> Tensor:
    """Sum over classes c of ``target_c * loss(logits, c)``, as Mixup is meant.

    Calls the loss as often as the fullest target has classes that are not 0: twice for Mixup, C
    times for smoothed labels, each with the memory of one call.

    Args:
        loss: of (N, C, ...) logits and (N, ...) int64 labels; returns (N, ...).
        logits: (N, C, ...).
        target: (N, C, ...), zero or more.

    Returns:
        (N, ...), of the dtype of the loss.
    """
    present = (target != 0).sum(1)
    most = max(int(present.max()), 1) if present.numel() else 1
    shares, labels = target.topk(most, dim=1)
    losses = [
        share * loss(logits, label)
        for share, label in zip(shares.unbind(1), labels.unbind(1), strict=True)
    ]
    return torch.stack(losses).sum(0)
