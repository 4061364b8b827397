"""Begin re-weighting and re-sampling late in the training."""

import math

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from lt_mm.engine.distributed import unwrapped
from lt_mm.engine.train_sampler import sampler_of, samples_of
from lt_mm.registry import HOOKS


@HOOKS.register_module()
class DeferredHook(Hook):
    """Tell losses (DRW) and the sampler (DRS) that the second part of the training has begun.

    Every module of the model, and every hook, with a method ``set_deferred(active: bool)`` is told,
    at the start of the training and whenever it changes. What is active follows from the number of
    the epoch or iteration, so that a resumed run needs nothing else.

    Samplers of lt_mm are told the place once, before training; with ``deferred=True`` they shuffle
    the plain data set up to it. In a loop by iteration, such a sampler has to be infinite, and
    changes at the very sample that ``begin`` starts with, no matter how far workers draw ahead. In
    a loop by epoch with ``by_epoch=False``, modules change at that iteration and the sampler with
    the next epoch. Another sampler that has ``set_deferred`` is told at the start of every epoch.

    Source: Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss,
    NeurIPS 2019.

    Args:
        begin (int): First epoch, or iteration, of the second part, from 0; LDAM on CIFAR has 160 of
            200 epochs.
        by_epoch (bool): Whether ``begin`` counts epochs. Defaults to True.

    Raises:
        ValueError: If ``begin`` is negative; before training, if it counts epochs of a loop by
            iteration, or if the deferred sampler of such a loop is not infinite.
    """

    def __init__(self, begin: int, by_epoch: bool = True) -> None:
        if begin < 0:
            raise ValueError(f'begin of DeferredHook is {begin}, but it must be 0 or more')
        self.begin = begin
        self.by_epoch = by_epoch
        self._told: bool | None = None

    def before_train(self, runner: Runner) -> None:
        """Find whom to tell, and tell the sampler where to change.

        Args:
            runner (Runner): The runner of the training process.
        """
        loader = runner.train_dataloader
        sampler = sampler_of(loader)
        deferred = getattr(sampler, 'deferred', hasattr(sampler, 'set_deferred'))
        infinite = getattr(sampler, 'infinite', False)
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            if self.by_epoch:
                raise ValueError(
                    f'begin={self.begin} of DeferredHook counts epochs, but the training loop goes '
                    'by iteration: give the iteration and by_epoch=False'
                )
            if getattr(sampler, 'deferred', False) and not infinite:
                raise ValueError(
                    f'{type(sampler).__name__}(deferred=True) goes by epoch, but the training loop '
                    'by iteration: give it infinite=True'
                )
        if hasattr(sampler, 'defer_until'):
            if infinite:
                place = samples_of(loader, self.begin)
            else:
                place = self.begin if self.by_epoch else math.ceil(self.begin / len(loader))
            sampler.defer_until(place)
        length = runner.max_epochs if self.by_epoch else runner.max_iters
        if self.begin >= length:
            runner.logger.warning(
                f'DeferredHook begins with {"epoch" if self.by_epoch else "iteration"} '
                f'{self.begin} counted from 0, but the training ends after {length}, so that the '
                'deferred part never comes; give a smaller begin, or leave the hook out'
            )
        if not deferred and not self._takers(runner):
            runner.logger.warning(
                f'DeferredHook(begin={self.begin}) changes nothing, because no module of '
                f'{type(runner.model).__name__} has set_deferred and the sampler '
                f'{type(sampler).__name__} is not deferred'
            )
        self._told = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the modules, and a sampler of another package, whose epoch is about to be drawn.

        Args:
            runner (Runner): The runner of the training process.
        """
        loader = runner.train_dataloader
        sampler = sampler_of(loader)
        if hasattr(sampler, 'set_deferred'):
            # A run resumed within an epoch has the sampler that the epoch began with.
            start = runner.epoch if self.by_epoch else runner.epoch * len(loader)
            sampler.set_deferred(start >= self.begin)
        self._tell(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None
    ) -> None:
        """Tell the modules if ``begin`` is reached.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Unused.
            data_batch (dict | tuple | list, optional): Unused.
        """
        self._tell(runner)

    def _active(self, runner: Runner) -> bool:
        return (runner.epoch if self.by_epoch else runner.iter) >= self.begin

    def _tell(self, runner: Runner) -> None:
        active = self._active(runner)
        if active == self._told:
            return
        for module in self._takers(runner):
            module.set_deferred(active)
        if active:
            where = f'epoch {runner.epoch}' if self.by_epoch else f'iteration {runner.iter}'
            runner.logger.info(f'The deferred part of the training holds from {where} on.')
        self._told = active

    @staticmethod
    def _takers(runner: Runner) -> list:
        parts = (*unwrapped(runner.model).modules(), *runner.hooks)
        return [part for part in parts if hasattr(part, 'set_deferred')]
