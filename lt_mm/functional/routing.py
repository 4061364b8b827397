"""When to ask one more expert."""

import torch
from torch import Tensor


def running_means(logits: Tensor, weights: Tensor) -> Tensor:
    """What the first experts say together, for every number of them.

    Args:
        logits: (E, N, C, ...), any floating dtype; computed in float32 at least.
        weights: (E,), of the experts, positive; alike for the plain mean.

    Returns:
        (E, N, C, ...): entry e is the weighted mean over experts 0 to e.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    shape = (-1,) + (1,) * (logits.ndim - 1)
    weights = weights.to(logits.device, dtype).reshape(shape)
    return (weights * logits.to(dtype)).cumsum(0) / weights.cumsum(0)


def routing_targets(means: Tensor, labels: Tensor) -> Tensor:
    """Whether more experts would make up for the fault of those asked so far.

    Args:
        means: (E, N, C, ...), of :func:`running_means`.
        labels: (N, ...) integers.

    Returns:
        (E - 1, N, ...) bool: in entry e, whether experts 0 to e together are wrong, and right with
        those up to e + 1, e + 2, ... or the last.

    Source: Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts
    (RIDE), ICLR 2021, and its public code.
    """
    right = means.argmax(dim=2) == labels
    # Entry e: whether any of the entries after e is right.
    later = right.flip(0).cummax(0).values.flip(0)[1:]
    return ~right[:-1] & later
