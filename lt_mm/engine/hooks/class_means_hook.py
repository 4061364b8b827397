"""Compute the class means that a nearest-class-mean classifier compares with."""

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
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
    """Hand class means to whoever has ``set_class_means``, before every validation and test.

    That is ``lt_mm.NearestClassMeanLinear``, see there; with several experts each has its own.

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

    # After EMAHook has put the averaged weights in place.
    priority = 'LOW'

    def __init__(self, dataloader: dict | None = None) -> None:
        self.dataloader = dataloader
        self._loader: DataLoader | None = None

    def before_val_epoch(self, runner: Runner) -> None:
        """Compute the means for a validation."""
        self._update(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Compute the means for a test."""
        self._update(runner)

    @torch.no_grad()
    def _update(self, runner: Runner) -> None:
        model = unwrapped(runner.model)
        layers = [part for part in model.modules() if hasattr(part, 'set_class_means')]
        if not layers:
            raise ValueError(
                f'ClassMeansHook finds nothing with set_class_means in {type(model).__name__}; use '
                "head=dict(type='lt_mm.LongTailClsHead', classifier='class_means'), or leave the "
                'hook out.'
            )
        if self._loader is None:
            self._loader = Runner.build_dataloader(self._settings(runner), seed=runner.seed)
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


def _labels(data_samples: list | None) -> Tensor:
    if not data_samples or any('gt_label' not in sample for sample in data_samples):
        raise ValueError(
            'ClassMeansHook needs a label of every training image, and some have none; let the '
            "pipeline of its dataloader end in dict(type='PackInputs')."
        )
    return torch.cat([sample.gt_label for sample in data_samples])
