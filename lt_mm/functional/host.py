"""Between the host and a GPU, so that the host seldom has to wait.

The host runs ahead of a GPU and keeps it busy. It has to wait, and the GPU then for the host, where
it reads a number, where the size of a result depends on values (``nonzero``, boolean masks) and
where it copies from memory that is not pinned. A training step should read all the numbers it
needs at once, and go on with sizes it knows.
"""

import torch
from torch import Tensor


def read_numbers(*numbers: Tensor) -> list[list]:
    """The values of several tensors, waiting for the device once.

    Args:
        numbers: of any shape: floating point, booleans or integers up to 2^53.

    Returns:
        For each tensor the list of its values; those of booleans are integers.
    """
    flat = torch.cat([part.detach().reshape(-1).double() for part in numbers]).tolist()
    found, start = [], 0
    for part in numbers:
        values = flat[start : start + part.numel()]
        found.append(values if part.is_floating_point() else [int(value) for value in values])
        start += part.numel()
    return found


def true_places(mask: Tensor, number: int) -> Tensor:
    """``mask.nonzero()[:, 0]`` where the number of true entries is known.

    Args:
        mask: (M,) bool.
        number: how many are true.

    Returns:
        (number,) int64, ascending.
    """
    places = torch.arange(len(mask), device=mask.device)
    if number == len(mask):
        return places
    # All others are written to one more entry, which is dropped.
    targets = torch.where(mask, mask.cumsum(0) - 1, number)
    return places.new_empty(number + 1).scatter_(0, targets, places)[:number]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device, copied from the host without waiting.

    Args:
        tensor: on the host, and not to be written to afterwards, or there already.
        device: where it is wanted.
    """
    if device.type == 'cuda' and tensor.device.type == 'cpu':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
