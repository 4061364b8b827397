"""What a mean divides by when a batch is spread over ranks."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


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
    count = torch.as_tensor(count, dtype=torch.float32, device=device).clone()
    if get_world_size() > 1:
        all_reduce(count, op='mean')
    return count
