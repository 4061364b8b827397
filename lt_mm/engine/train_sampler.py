"""The sampler of a training, and how many samples it has drawn."""

from typing import Any

from torch.utils.data import DataLoader


def sampler_of(loader: DataLoader) -> Any:
    """The sampler of a data loader, also where the config gives a batch sampler around it.

    Args:
        loader (DataLoader): A data loader as a Runner builds it.

    Returns:
        Any: Its sampler.
    """
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def samples_of(loader: DataLoader, iterations: int) -> int:
    """Samples that a rank draws in some iterations of a loop by iteration.

    Args:
        loader (DataLoader): A data loader as a Runner builds it.
        iterations (int): Number of batches.

    Returns:
        int: Number of samples.
    """
    return iterations * loader.batch_sampler.batch_size
