"""Bring the class counts of the training set to every module and metric that asks for them."""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import Runner

from lt_mm.datasets.class_counting import SampleCounts, count_samples, has_segmentation_maps
from lt_mm.datasets.samplers import LongTailSampler
from lt_mm.engine.distributed import unwrapped
from lt_mm.engine.hooks.training_guard_hook import TrainingGuardHook
from lt_mm.engine.train_sampler import place_of, sampler_of, warn_of_class_weights
from lt_mm.evaluation.per_class import check_names_of_figures
from lt_mm.models.counts import ClassCountsBuffer, counts_of_training, set_class_counts
from lt_mm.registry import HOOKS
from lt_mm.structures import ClassCounts

_MOST_NAMED = 30


@HOOKS.register_module()
class ClassCountsHook(Hook):
    """Hand the class counts of the training set to whoever has ``set_class_counts``.

    Every module of the model (losses, heads, queues) with a method
    ``set_class_counts(class_counts)`` gets them, twice in a training: in ``before_run``, so that
    the copy of the model that mmengine's ``EMAHook`` makes there has buffers of the same shapes,
    and in ``before_train``, after a checkpoint was loaded or resumed. Modules keep them in buffers,
    so a test finds them in the checkpoint. What has none there, such as a post-compensation that
    the training did without, is given those that this hook was given or, without such, those in
    the meta information of the checkpoint.

    Samplers of lt_mm tell the prior of what they yield, and where it changes. It comes with the
    counts as ``class_counts.prior`` and decides their ``log_prior()``, so that logit adjustment
    behind a class-balanced sampler corrects nothing twice; the ``counts`` remain those of the data
    set. Where it changes in the course of the training, the modules are told before the first
    iteration that it holds for. Another sampler that has a ``class_distribution`` is asked for it
    when the training begins.

    Metrics find the counts as ``dataset_meta['class_counts']``, with class names where these are
    known, unless the data set puts some there itself. Checkpoints carry the numbers in
    ``meta['class_counts']``, and the prior in ``meta['class_prior']`` where a sampler changed it,
    so that a test knows them without the training set.

    Before the first step, a head of another number of classes is refused by name, whatever its
    loss, and classes without a training sample are named, as are class weights behind a sampler of
    lt_mm that changes the prior, because both correct for the same. Counts given by name or path
    are put in the class order of the training set, and refused if they are of other classes;
    numbers without names are taken as they are. Metrics that give figures of the same names are
    refused, those of a test before its first image.

    A sampler of lt_mm has counted the training set already, and its counts are taken. Otherwise
    those of segmentation maps are kept beside the work dir, in ``<work_dir>/../class_counts``,
    where all experiments of a project find them: many share a data set, and reading its maps takes
    minutes. They are counted anew when a map was changed, see
    :class:`~lt_mm.datasets.count_cache.CountCache`. Labels of a classification set are in memory
    and counted each time.

    Args:
        class_counts (ClassCounts | str | PathLike | Sequence[int], optional): Class counts, the
            name of packaged ones, the path of a JSON file, or the numbers. Defaults to None: those
            of the training set, counted by rank 0 in as many processes as its data loader has
            workers.
        unit (str, optional): 'pixels', 'images' or 'instances'. Defaults to None: the unit of named
            counts; otherwise pixels for a segmentation data set and images for others.
        sampler_prior (bool): Whether the prior is that of what the sampler yields; False leaves
            that of the counts. Defaults to True.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self,
        class_counts: ClassCounts | str | os.PathLike | Sequence[int] | None = None,
        unit: str | None = None,
        sampler_prior: bool = True,
    ) -> None:
        self.unit = unit
        self.sampler_prior = sampler_prior
        self.class_counts = class_counts
        self._numbers: list[int] | None = None
        self._names: Sequence[str] | None = None
        self._resolved: ClassCounts | None = None
        self._prior_of_run: list[float] | None = None
        self._meta: dict = {}
        self._next_change: int | None = None
        if class_counts is not None:
            counts = ClassCounts.of(class_counts, unit=unit or 'images')
            if unit not in (None, counts.unit):
                raise ValueError(
                    f'class counts {counts.name!r} are {counts.unit}, but unit={unit!r}: '
                    'leave unit out, or name counts of that unit'
                )
            self._numbers = counts.counts.tolist()
            self._names = counts.class_names

    def before_run(self, runner: Runner) -> None:
        """Resolve the counts and set them, if this is a training, before the model is copied.

        Args:
            runner (Runner): The runner of the process.

        Raises:
            ValueError: If a module does not accept the counts, or a head has another number of
                classes, naming it; if two metrics give figures of the same name.
        """
        # Runner.test and Runner.val leave the optimizer wrapper unbuilt.
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
            return
        self._resolved = self._resolve(runner)
        self._name_empty(runner)
        # It warns itself.
        if not any(isinstance(hook, TrainingGuardHook) for hook in runner.hooks):
            warn_of_class_weights(runner)
        self._set(runner)
        self._check_heads(runner)
        if runner.val_loop is not None:
            check_names_of_figures(runner.val_evaluator.metrics)

    def before_train(self, runner: Runner) -> None:
        """Set the counts again on the modules of the model, which a checkpoint may have changed.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: If a module does not accept the counts, naming the module.
        """
        if self._resolved is None:
            self._resolved = self._resolve(runner)
        self._numbers = self._resolved.counts.tolist()
        self._names = self._resolved.class_names
        if not self._set(runner):
            name = type(unwrapped(runner.model)).__name__
            runner.logger.warning(
                f'ClassCountsHook leaves {name} as it is, because none of its modules has '
                'set_class_counts: only metrics get the class counts'
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None
    ) -> None:
        """Set the counts again where the sampler's prior changes.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Unused.
            data_batch (dict | tuple | list, optional): Unused.
        """
        if self._next_change is not None and place_of(runner) >= self._next_change:
            self._set(runner)

    def _prior(self, runner: Runner) -> Any:
        """Prior of what the sampler yields now; also finds out where it will change."""
        sampler = sampler_of(runner.train_dataloader)
        if not self.sampler_prior:
            return None
        if not isinstance(sampler, LongTailSampler):
            return getattr(sampler, 'class_distribution', None)
        place = place_of(runner)
        self._next_change = sampler.next_change(place)
        return sampler.class_distribution_at(place, self._resolved.unit)

    def _set(self, runner: Runner) -> bool:
        """Whether a module or another hook took the counts."""
        counts = self._resolved.with_prior(self._prior(runner))
        self._prior_of_run = None if counts.prior is None else counts.prior.tolist()
        taken = bool(set_class_counts(unwrapped(runner.model), counts))
        for hook in runner.hooks:
            if hasattr(hook, 'set_class_counts'):
                hook.set_class_counts(counts)
                taken = True
        return taken

    def before_val(self, runner: Runner) -> None:
        """Show the counts to the metrics of the validation, and to modules that have none."""
        self._fill(runner)
        self._inform(runner.val_evaluator)

    def before_test(self, runner: Runner) -> None:
        """Show the counts to the metrics of the test, and to modules that have none."""
        self._fill(runner)
        self._inform(runner.test_evaluator)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the counts into the meta information of a checkpoint."""
        meta = checkpoint.setdefault('meta', {})
        meta['class_counts'] = self._numbers
        if self._prior_of_run is not None:
            meta['class_prior'] = self._prior_of_run

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the counts of a checkpoint where none were given; training counts anew."""
        self._meta = checkpoint.get('meta', {})
        if self.class_counts is None:
            self._numbers = self._meta.get('class_counts')
            self._names = self._trained_classes
            if self._numbers is None or len(self._names or ()) != len(self._numbers):
                self._names = None

    def _fill(self, runner: Runner) -> None:
        """Give the counts to the modules of a tested model that neither it nor its file set."""
        if self._resolved is not None or self._numbers is None:
            return
        given = None
        if self.class_counts is not None:
            given = ClassCounts(self._numbers, self._names, self.unit or 'images')
        # The outputs of a model are in the class order of its training.
        counts = counts_of_training(self._meta, given, self.sampler_prior)
        # The two change places, buffer by buffer.
        copies = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
        models = [unwrapped(runner.model), *copies]
        for path, module in chain.from_iterable(model.named_modules() for model in models):
            if isinstance(module, ClassCountsBuffer) and not module.is_set:
                try:
                    module.set(counts)
                except ValueError as error:
                    raise ValueError(
                        f"'{path}' does not accept the class counts that the test knows: {error}"
                    ) from error

    @property
    def _trained_classes(self) -> Sequence[str] | None:
        return (self._meta.get('dataset_meta') or {}).get('classes')

    def _inform(self, evaluator: Evaluator) -> None:
        check_names_of_figures(evaluator.metrics)
        meta = evaluator.dataset_meta or {}
        if self._numbers is not None and 'class_counts' not in meta:
            counts = self._numbers
            if self._names is not None:
                # With names, metrics find out whether they evaluate the same classes.
                unit = 'images' if self._resolved is None else self._resolved.unit
                counts = ClassCounts(counts, self._names, unit)
            evaluator.dataset_meta = {**meta, 'class_counts': counts}

    def _resolve(self, runner: Runner) -> ClassCounts:
        dataset = runner.train_dataloader.dataset
        if self.class_counts is None:
            return self._count(runner).class_counts(self.unit)
        guess = 'pixels' if has_segmentation_maps(dataset) else 'images'
        counts = ClassCounts.of(self.class_counts, unit=self.unit or guess)
        classes = getattr(dataset, 'metainfo', {}).get('classes')
        return counts.in_order_of(classes, 'the training set')

    def _check_heads(self, runner: Runner) -> None:
        """Compare the counts with the heads of the model, whatever their losses."""
        for path, module in unwrapped(runner.model).named_modules():
            classes = getattr(module, 'num_classes', None)
            is_whole = isinstance(classes, int) and not isinstance(classes, bool)
            if 'head' in path.rpartition('.')[2] and is_whole and classes > 0:
                self._resolved.validate(classes, f"'{path}' ({type(module).__name__})")

    def _name_empty(self, runner: Runner) -> None:
        empty = (self._resolved.counts == 0).nonzero().flatten().tolist()
        if not empty:
            return
        names = self._resolved.class_names
        titles = [str(c) if names is None else names[c] for c in empty[:_MOST_NAMED]]
        more = f' and {len(empty) - _MOST_NAMED} more' if len(empty) > _MOST_NAMED else ''
        runner.logger.warning(
            f'{len(empty)} of {self._resolved.num_classes} classes have no training sample: '
            f'{", ".join(titles)}{more}'
        )

    @staticmethod
    def _count(runner: Runner) -> SampleCounts:
        loader = runner.train_dataloader
        sampler = sampler_of(loader)
        if isinstance(sampler, LongTailSampler) and sampler.dataset is loader.dataset:
            return sampler.sample_counts
        folder = Path(runner.work_dir).parent / 'class_counts'
        return count_samples(loader.dataset, folder, loader.num_workers)
