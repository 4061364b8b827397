"""Keep the states of all random generators in checkpoints, so that resuming changes nothing."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from lt_mm.compat import draws_batches_to_skip
from lt_mm.engine.random_states import random_states, set_random_states
from lt_mm.engine.train_sampler import sampler_of, samples_of
from lt_mm.engine.worker_seeding import WorkerSeeding
from lt_mm.registry import HOOKS

_KEY = 'random_states'


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Make a resumed training draw the random numbers an uninterrupted one would have drawn.

    mmengine resumes the weights, the optimizer, the schedulers and the number of the iteration.
    This hook adds, for every rank, the states of Python's ``random``, numpy, torch and the CUDA
    device of the process, and the seed of the sampler, which mmengine draws anew when
    ``randomness.seed`` is not given. They are in ``checkpoint['random_states']``, one dict a rank
    in types that ``torch.load(weights_only=True)`` accepts, and are put back just before the first
    batch after a resume is drawn. ``load_from`` alone puts nothing back.

    To that end, training is made independent of what may differ between the two runs:

    - validation leaves the random states as it found them, since a resumed run does not repeat
      the one that follows the checkpoint;
    - worker processes of the data loader are seeded for every batch, from the seed of the run,
      the rank and the number of the batch, see :class:`WorkerSeeding`;
    - starting the data loader takes no number from torch's generator.

    With that, a resumed run on a CPU equals an uninterrupted one bit for bit. What limits it:

    - CUDA kernels that sum in varying order: ``randomness=dict(deterministic=True)``;
    - a checkpoint within an epoch of an epoch-based loop, which mmengine begins anew: samplers of
      lt_mm go on where they were, though not with ``persistent_workers``;
    - one between two optimizer steps of accumulated gradients (mmengine warns);
    - an iteration-based loop with workers and a sampler that ends or has no ``skip``: use
      mmengine's ``InfiniteSampler``;
    - OpenMMLab's mmengine 0.10.7 with workers in an iteration-based loop: they start before any
      hook, so ``randomness.seed`` must be given, and batches are skipped by loading them.

    A checkpoint without the states is resumed as mmengine does; so is, with a warning, one of
    another number of ranks.
    """

    # After the hooks that draw random numbers themselves, before CheckpointHook (90).
    priority = 89

    def __init__(self) -> None:
        self._loaded: list[dict] | None = None
        self._gathered: list[dict] | None = None
        self._gathered_at: int | None = None
        self._before_validation: dict | None = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Gather the states of all ranks if CheckpointHook is about to save this iteration.

        Only rank 0 gets as far as ``before_save_checkpoint``, which is too late to ask the others.

        Args:
            runner: of the training process.
            batch_idx: unused.
            data_batch: unused.
            outputs: unused.
        """
        if any(_saves_iteration(hook, runner) for hook in runner.hooks):
            self._gather(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Gather the states of all ranks, for CheckpointHook may save the epoch."""
        self._gather(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Gather the states of all ranks, for CheckpointHook may save the best network."""
        if isinstance(runner.train_dataloader, DataLoader):
            self._gather(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the states of all ranks."""
        if runner.world_size == 1:
            self._gather(runner)
        if self._gathered_at == runner.iter:
            checkpoint[_KEY] = self._gathered
        else:
            runner.logger.warning(
                'RandomStateHook knows the random states of other ranks only where CheckpointHook '
                'saves: this checkpoint has none, and a run resumed from it draws other numbers.'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the states until training begins."""
        self._loaded = checkpoint.get(_KEY)

    def before_train_epoch(self, runner: Runner) -> None:
        """Prepare the data loader; in the first epoch after a resume, put the states back."""
        loader = runner.train_dataloader
        # From where a data loader draws the base of its workers' seeds, each time it starts.
        loader.generator = torch.Generator()
        loaded, self._loaded = self._loaded, None
        # Without a finished iteration, the checkpoint was loaded and not resumed.
        resumed = loaded is not None and runner.iter > 0
        done = _go_on_within_epoch(runner) if resumed else 0
        if loader.num_workers > 0:
            WorkerSeeding(loader, runner.seed, _first_batches(runner.train_loop, done))
        if not resumed:
            return
        if len(loaded) != runner.world_size:
            runner.logger.warning(
                f'The checkpoint holds the random states of {len(loaded)} ranks and training goes '
                f'on with {runner.world_size}: random numbers will not be those of an '
                'uninterrupted run.'
            )
            return
        state = loaded[get_rank()]
        if state['sampler_seed'] is not None:
            sampler_of(loader).seed = state['sampler_seed']
        if draws_batches_to_skip(runner.train_loop):
            _SkippedBatches(runner.train_loop, lambda: set_random_states(state))
        else:
            set_random_states(state)

    def before_val(self, runner: Runner) -> None:
        """Remember the states that training goes on with."""
        self._before_validation = random_states()

    def after_val(self, runner: Runner) -> None:
        """Put them back."""
        set_random_states(self._before_validation)
        self._before_validation = None

    def _gather(self, runner: Runner) -> None:
        self._gathered = all_gather_object(self._state(runner))
        self._gathered_at = runner.iter

    def _state(self, runner: Runner) -> dict:
        # With save_best, checkpoints are also saved while validating.
        state = dict(self._before_validation or random_states())
        seed = getattr(sampler_of(runner.train_dataloader), 'seed', None)
        return {**state, 'sampler_seed': None if seed is None else int(seed)}


class _SkippedBatches:
    """Stand in for the batches of a loop by iteration until those to skip are drawn."""

    def __init__(self, loop: BaseLoop, restore: Callable[[], None]) -> None:
        self.loop = loop
        self.restore = restore
        self.batches = loop.dataloader_iterator
        self.left = loop.iter
        loop.dataloader_iterator = self

    def __next__(self) -> Any:
        if self.left == 0:
            self.loop.dataloader_iterator = self.batches
            self.restore()
        self.left -= 1
        return next(self.batches)


def _saves_iteration(hook: Hook, runner: Runner) -> bool:
    """Whether it is a CheckpointHook that saves after this iteration, by its own rule."""
    if not isinstance(hook, CheckpointHook) or hook.by_epoch:
        return False
    if hook.save_last and hook.is_last_train_iter(runner):
        return True
    return hook.every_n_train_iters(runner, hook.interval, hook.save_begin)


def _go_on_within_epoch(runner: Runner) -> int:
    """Have the sampler leave out what was drawn of the epoch; the number of those batches."""
    loader, sampler = runner.train_dataloader, sampler_of(runner.train_dataloader)
    if hasattr(runner.train_loop, 'dataloader_iterator') or not hasattr(sampler, 'start_at'):
        return 0
    done = runner.iter - runner.epoch * len(loader)
    # With another batch size than before, iterations do not tell.
    if not 0 < done <= len(loader):
        return 0
    sampler.start_at(samples_of(loader, done))
    return done


def _first_batches(loop: BaseLoop, done: int) -> list[int]:
    """Number of the first batch that each worker makes if the workers start now.

    ``done`` batches of the epoch are left out, so that another worker has the turn than would have
    had without.
    """
    loader = loop.dataloader
    workers = range(loader.num_workers)
    if hasattr(loop, 'dataloader_iterator'):
        return [loop.iter + worker for worker in workers]
    # Worker 0 makes the first batch of every epoch, so each counts its own batches.
    made = [len(range(worker, len(loader), len(workers))) * loop.epoch for worker in workers]
    turns = [divmod(done + worker, len(workers)) for worker in workers]
    return [worker + len(workers) * (made[worker] + turn) for turn, worker in turns]
