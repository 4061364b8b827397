"""The sampler of a training, how many samples it has drawn, and what it should not meet."""

from typing import Any

import numpy as np
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from lt_mm.datasets.samplers import LongTailSampler
from lt_mm.engine.distributed import unwrapped
from lt_mm.models.losses.class_weights import weighs_classes


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


def place_of(runner: Runner) -> int:
    """Where a sampler of lt_mm has come to, see there.

    Args:
        runner (Runner): The runner of a training with such a sampler.

    Returns:
        int: Number of the epoch, or samples drawn.
    """
    loader = runner.train_dataloader
    sampler = sampler_of(loader)
    return samples_of(loader, runner.iter) if sampler.infinite else sampler.epoch


def warn_of_class_weights(runner: Runner) -> None:
    """Say so where class weights meet a sampler that changes the prior: both correct for the same.

    Args:
        runner (Runner): The runner of a training.
    """
    sampler = sampler_of(runner.train_dataloader)
    if not isinstance(sampler, LongTailSampler):
        return
    weighted = [
        f"'{path}' ({type(module).__name__})"
        for path, module in unwrapped(runner.model).named_modules()
        if weighs_classes(module)
    ]
    weighted += [type(hook).__name__ for hook in runner.hooks if weighs_classes(hook)]
    place, samples = place_of(runner), np.asarray(sampler.counts.sum(axis=0)).ravel()
    prior = sampler.class_distribution_at(place)
    stays = prior is not None and sampler.next_change(place) is None
    if not weighted or (stays and np.allclose(prior, samples / samples.sum(), rtol=0.05)):
        return
    runner.logger.warning(
        f'Class weights of {", ".join(weighted)} stand behind {type(sampler).__name__}, which '
        'yields the classes in other shares than the data set has: both make up for few samples, '
        'so rare classes count twice. Leave one of them out, unless that is intended'
    )
