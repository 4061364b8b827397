"""What ranks share: rows, with the gradient that all have for them, and divisors of means."""

from typing import Any, NamedTuple

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class GatheredRows(NamedTuple):
    """Rows of all ranks in rank order."""

    rows: Tensor
    """(M, D) with M the sum over ranks."""
    labels: Tensor
    """(M,) int64."""
    own: Tensor
    """(N,) int64, where this rank's rows are among them."""


def gather_rows(rows: Tensor, labels: Tensor) -> GatheredRows:
    """Bring the rows of all ranks together; every rank must call it, and its backward pass.

    The gradient of a row is the sum of those that all ranks have for it: with losses divided by
    what :func:`~lt_mm.models.ranks.mean_over_ranks` returns, DDP's average is then the
    gradient of the joint batch. ``torch.distributed.nn.functional.all_gather`` does the same for
    equally many rows a rank, but is deprecated in newer releases.

    Args:
        rows: (N, D); N may differ between ranks and be 0.
        labels: (N,) integers.

    Returns:
        All rows, their labels, and where this rank's are.
    """
    own = torch.arange(len(rows), device=rows.device)
    labels = labels.long()
    if get_world_size() == 1:
        return GatheredRows(rows, labels, own)
    sizes = numbers_of_ranks(len(rows), rows.device)
    if max(sizes) == 0:
        return GatheredRows(rows, labels, own)
    own = own + sum(sizes[: get_rank()])
    labels = _concatenate(labels[:, None], sizes)[:, 0]
    return GatheredRows(_GatherRows.apply(rows, sizes), labels, own)


class _GatherRows(torch.autograd.Function):
    """Concatenation over ranks; its transpose sums over ranks and takes the own rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        return _concatenate(rows, sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.clone(memory_format=torch.contiguous_format)
        all_reduce(total)
        return total.split(ctx.sizes)[get_rank()], None


def numbers_of_ranks(number: int, device: torch.device) -> list[int]:
    """A number of every rank, in rank order; every rank must call it, and waits for the others.

    Args:
        number: of this rank.
        device: that the ranks talk through.
    """
    return torch.cat(all_gather(torch.full((1,), number, device=device))).tolist()


def mean_over_ranks(count: int | Tensor, device: torch.device) -> Tensor:
    """A number of elements, averaged over ranks; every rank must call it.

    DDP averages gradients over ranks. With this as divisor the average is the gradient of the
    mean over the elements of all ranks, however unevenly they are spread; with each rank's own
    number, an element on a rank with few would weigh more.

    Args:
        count: elements of this rank.
        device: of the loss.

    Returns:
        0-d float32.
    """
    if isinstance(count, Tensor):
        count = count.to(device, torch.float32, copy=True)
    else:
        # Unlike a copy from the host, filling does not make it wait.
        count = torch.full((), count, dtype=torch.float32, device=device)
    if get_world_size() > 1:
        all_reduce(count, op='mean')
    return count


def _concatenate(rows: Tensor, sizes: list[int]) -> Tensor:
    # Messages have to be equally long.
    padded = F.pad(rows, (0, 0, 0, max(sizes) - len(rows)))
    parts = zip(all_gather(padded), sizes, strict=True)
    return torch.cat([part[:size] for part, size in parts])
