"""What hooks need to know of the sampler of a training."""

from typing import Any

from mmengine.runner import Runner
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


def class_distribution(runner: Runner, unit: str) -> Any:
    """Prior of what the sampler of a training yields at this iteration.

    Args:
        runner (Runner): The runner of the training process.
        unit (str): Unit of the class counts, see :meth:`LongTailSampler.class_distribution_of`.

    Returns:
        Any: Probabilities, (C,), the same object as long as they do not change, if the sampler is
        one of lt_mm; the ``class_distribution`` of any other sampler that has one. None where the
        classes come as the data set has them.
    """
    loader = runner.train_dataloader
    sampler = sampler_of(loader)
    if not hasattr(sampler, 'class_distribution_of'):
        return getattr(sampler, 'class_distribution', None)
    drawn = samples_of(loader, runner.iter) if sampler.infinite else 0
    return sampler.class_distribution_of(unit, drawn)
