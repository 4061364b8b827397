"""Random picks outside a group."""

from collections.abc import Sequence

import torch
from torch import Tensor


def sample_other_groups(groups: Tensor, own: Tensor, number: int, seeds: Sequence[int]) -> Tensor:
    """For each row, indices of uniformly random entries that are of another group than its own.

    Entries are drawn with replacement, as noise-contrastive estimation assumes. Every row has a
    generator of its own, so that it gets the same entries whichever batch it is in.

    Args:
        groups: (M,) integers.
        own: (B,) integers, the group of each row.
        number: N, how many to draw for each row.
        seeds: B integers.

    Returns:
        (B, N) int64 indices into ``groups``.

    Raises:
        ValueError: if a row has no entry of another group.
    """
    order = torch.argsort(groups, stable=True)
    ordered = groups[order]
    starts = torch.searchsorted(ordered, own)
    sizes = torch.searchsorted(ordered, own, right=True) - starts
    others = (len(groups) - sizes).tolist()
    if 0 in others:
        group = own[others.index(0)].item()
        raise ValueError(f'all {len(groups)} entries are of group {group}: nothing else to draw.')
    generator = torch.Generator()
    picks = torch.zeros(len(own), number, dtype=torch.int64)
    for row, (high, seed) in enumerate(zip(others, seeds, strict=True)):
        torch.randint(high, (number,), generator=generator.manual_seed(seed), out=picks[row])
    picks = picks.to(groups.device)
    # In sorted order a group is one run; what comes after it is shifted over it.
    picks += (picks >= starts[:, None]) * sizes[:, None]
    return order[picks]
