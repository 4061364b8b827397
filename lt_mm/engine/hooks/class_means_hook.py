"""Compute the class means that a nearest-class-mean classifier compares with."""

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import Runner
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lt_mm.engine.data_config import dataset_with_pipeline
from lt_mm.engine.distributed import unwrapped
from lt_mm.functional.nearest_mean import normalize_features
from lt_mm.registry import HOOKS


@HOOKS.register_module()
class ClassMeansHook(Hook):
    """Hand class means to whoever has ``set_class_means``: for a validation, a test, a checkpoint.

    That is ``lt_mm.NearestClassMeanLinear``, see there; with several experts each has its own. A
    checkpoint that a ``CheckpointHook`` saves holds the means of its weights, those of an
    ``EMAHook`` where there is one. One that is saved otherwise in the course of an epoch has none.
    A checkpoint and a validation of the same weights share one computation.

    The features of the training set are what the classifier is given in eval mode, once for 'un'
    and 'l2n', twice for 'cl2n', which needs their mean first; none is kept. Sums are in float64 and
    over all ranks, each of which reads its share of the samples once, so their number does not
    matter.

    Args:
        dataloader: a data loader of the training set, without random
            augmentation and with a sampler that repeats nothing. Defaults to None: the data set of
            ``train_dataloader`` with everything else, the pipeline included, of the data loader of
            the validation or else of the test.

    Raises:
        ValueError: if the model has no such classifier, the data set takes no pipeline, or the
            images have no labels.
    """

    # After EMAHook has put the averaged weights in place, before CheckpointHook saves.
    priority = 'LOW'

    def __init__(self, dataloader: dict | None = None) -> None:
        self.dataloader = dataloader
        self._loader: DataLoader | None = None
        # Whether there are means of what a checkpoint saved now would hold.
        self._is_current = False

    def before_run(self, runner: Runner) -> None:
        """Take no means of an earlier run for current."""
        self._is_current = False

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None
    ) -> None:
        """Forget the means of weights that are about to change."""
        if self._is_current:
            # The model's own layers do so by themselves.
            for model in _averaged(runner):
                for layer in _layers(model).values():
                    layer.counts.zero_()
        self._is_current = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Compute the means for a checkpoint of this iteration."""
        if any(
            not hook.by_epoch
            and (
                hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
                or (hook.save_last and hook.is_last_train_iter(runner))
            )
            for hook in _of_kind(runner, CheckpointHook)
        ):
            self._prepare_checkpoint(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Compute the means for a checkpoint of this epoch."""
        if any(
            hook.by_epoch
            and (
                hook.every_n_epochs(runner, hook.interval, hook.save_begin)
                or (hook.save_last and hook.is_last_train_epoch(runner))
            )
            for hook in _of_kind(runner, CheckpointHook)
        ):
            self._prepare_checkpoint(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Compute the means for a validation."""
        # mmpretrain's EMAHook can leave the averaged weights, which are saved, out of a validation.
        if not all(getattr(hook, 'evaluate_on_ema', True) for hook in _of_kind(runner, EMAHook)):
            self._update(runner)
        elif not self._is_current:
            self._update(runner)
            self._share(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Compute the means for a test."""
        self._update(runner)

    def _prepare_checkpoint(self, runner: Runner) -> None:
        if self._is_current:
            return
        averaging = _of_kind(runner, EMAHook)
        # By mmengine's own methods, which put the averaged weights into the model and back whatever
        # a subclass validates.
        for hook in averaging:
            EMAHook.before_val_epoch(hook, runner)
        self._update(runner)
        self._share(runner)
        for hook in averaging:
            EMAHook.after_val_epoch(hook, runner)

    def _share(self, runner: Runner) -> None:
        """Give the means to the averaged model, whose buffers a checkpoint holds, too."""
        own = _layers(unwrapped(runner.model))
        for model in _averaged(runner):
            for path, layer in _layers(model).items():
                layer.set_class_means(own[path].means, own[path].counts, own[path].centre)
        self._is_current = True

    @torch.no_grad()
    def _update(self, runner: Runner) -> None:
        model = unwrapped(runner.model)
        layers = [*_layers(model).values()]
        if not layers:
            raise ValueError(
                f'ClassMeansHook finds nothing with set_class_means in {type(model).__name__}; use '
                "head=dict(type='lt_mm.LongTailClsHead', classifier='class_means'), or leave the "
                'hook out.'
            )
        if self._loader is None:
            self._loader = Runner.build_dataloader(self._settings(runner), seed=runner.seed)
            # To start it takes a random number, which is none of the training's.
            self._loader.generator = torch.Generator()
        training = model.training
        model.eval()
        for layer in layers:
            # They are linear then and need no means.
            layer.train()
        for layer in layers:
            centre = None
            if layer.features == 'cl2n':
                sums, counts = self._sums(model, layer, 'un', None, 'mean feature')
                centre = (sums.sum(dim=0) / counts.sum()).to(layer.centre)
            sums, counts = self._sums(model, layer, layer.features, centre, 'class means')
            layer.set_class_means(sums / counts[:, None], counts, centre)
        model.train(training)

    def _sums(
        self,
        model: nn.Module,
        layer: nn.Module,
        kind: str,
        centre: Tensor | None,
        title: str,
    ) -> tuple[Tensor, Tensor]:
        """(C, D) sums of the prepared features of each class, and (C,) numbers of samples."""
        sums = torch.zeros_like(layer.means, dtype=torch.float64)
        counts = torch.zeros_like(layer.counts)
        given: list[Tensor] = []
        handle = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        batches = track(self._loader, f'{title} of the training set', disable=not is_main_process())
        for batch in batches:
            data = model.data_preprocessor(batch, training=False)
            labels = _labels(data['data_samples']).to(sums.device)
            model(data['inputs'], mode='tensor')
            prepared = normalize_features(given.pop().float(), kind, centre)
            sums.index_add_(0, labels, prepared.double())
            counts += labels.bincount(minlength=len(counts))
        handle.remove()
        all_reduce(sums)
        all_reduce(counts)
        return sums, counts

    def _settings(self, runner: Runner) -> dict:
        if self.dataloader is not None:
            return self.dataloader
        evaluation = runner.cfg.get('val_dataloader') or runner.cfg.get('test_dataloader')
        dataset = dataset_with_pipeline(
            type(self).__name__,
            'how to read the training set for the test',
            runner.cfg.get('train_dataloader'),
            evaluation,
        )
        sampler = dict(type='DefaultSampler', shuffle=False, round_up=False)
        return {**evaluation, 'dataset': dataset, 'sampler': sampler}


def _of_kind(runner: Runner, kind: type[Hook]) -> list[Hook]:
    return [hook for hook in runner.hooks if isinstance(hook, kind)]


def _averaged(runner: Runner) -> list[nn.Module]:
    """The averaged models of a training."""
    return [hook.ema_model.module for hook in _of_kind(runner, EMAHook)]


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """What takes class means, by its path."""
    return {path: part for path, part in model.named_modules() if hasattr(part, 'set_class_means')}


def _labels(data_samples: list | None) -> Tensor:
    if not data_samples or any('gt_label' not in sample for sample in data_samples):
        raise ValueError(
            'ClassMeansHook needs a label of every training image, and some have none; let the '
            "pipeline of its dataloader end in dict(type='PackInputs')."
        )
    return torch.cat([sample.gt_label for sample in data_samples])
