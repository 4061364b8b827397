"""Ranks and random picks inside groups, without a Python loop over groups."""

import torch
from torch import Tensor

from lt_mm.functional.host import to_device, true_places


def rank_within_group(groups: Tensor) -> Tensor:
    """How many earlier entries belong to the same group.

    Args:
        groups: (M,) integers.

    Returns:
        (M,) int64: 0 for the first entry of each group, 1 for the second, and so on.
    """
    order = torch.argsort(groups, stable=True)
    ordered = groups[order]
    positions = torch.arange(len(groups), device=groups.device)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    first = torch.cummax(torch.where(is_first, positions, 0), dim=0).values
    return torch.empty_like(positions).scatter_(0, order, positions - first)


def sample_per_group(
    groups: Tensor,
    most: int,
    generator: torch.Generator | None = None,
    size: int | None = None,
) -> Tensor:
    """Indices of at most ``most`` uniformly random entries of every group.

    Args:
        groups: (M,) integers.
        most: upper limit for each group, at least 1.
        generator: source of randomness on the CPU; the global one by default.
        size: S, where it is known: the sum of the sizes of the groups, each at most ``most``. The
            host need not wait for the device then.

    Returns:
        (S,) int64 indices into ``groups``, in random order.

    Raises:
        ValueError: if ``most`` is below 1.
    """
    if most < 1:
        raise ValueError(f'most is {most}, but at least 1 entry per group must be allowed.')
    shuffled = to_device(torch.randperm(len(groups), generator=generator), groups.device)
    chosen = rank_within_group(groups[shuffled]) < most
    size = int(chosen.sum()) if size is None else size
    return shuffled[true_places(chosen, size)]
