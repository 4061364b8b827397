"""Weigh the experts of a model for a test set, without its labels."""

from collections.abc import Iterator

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, OPTIMIZERS
from mmengine.runner import Runner
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lt_mm.engine.data_config import dataset_with_pipeline
from lt_mm.engine.distributed import unwrapped
from lt_mm.functional import prediction_stability
from lt_mm.registry import HOOKS

SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)


@HOOKS.register_module()
class TestTimeAggregationHook(Hook):
    """Before a test, learn how much each expert is to be trusted on this test set (SADE).

    The network stays as it is. One number an expert is learnt, from equal ones on: the softmax w
    of these numbers is to make the predictions ``softmax(sum over e of w_e z_e)`` for two random
    views of an image as alike as can be, see :func:`lt_mm.functional.prediction_stability`. The
    head then has them in ``expert_weights``, and the test goes on with them; the metrics of the
    test have them as 'aggregation/expert0_weight' and so on. Labels are not looked at, but the
    images are those of the test set: it is a transductive method, to be named as such beside its
    results.

    Saturated probabilities are stable, too, so that large logits attract weight. Give the experts
    logits of one scale, with cosine classifiers of one temperature as in SADE.

    It is for any head with ``expert_logits(feats)`` of (E, N, C, ...) and a buffer
    ``expert_weights`` of (E,). All ranks learn the same weights, as one process would with the
    batches of all of them.

    Args:
        dataloader: a data loader of the test set with random augmentation, which
            is read twice an image. Views of pixels must not move them. Defaults to None: the
            ``test_dataloader`` with ``pipeline``, shuffled.
        max_epochs: passes over the test set at most. Defaults to 5.
        min_weight: stop when a weight is below this. Defaults to 0.05.
        optimizer: optimizer of the E numbers. Defaults to None: SGD with Nesterov
            momentum 0.9, weight decay 5e-4 and the learning rate 0.1 of CIFAR-100-LT; SADE has
            0.025 on ImageNet-LT, that of its training.
        by_epoch: whether the weights are compared with ``min_weight`` after each pass, as in the
            public code, or after each step. Defaults to True.
        pipeline: transforms that make the views, in place of ``dataloader``. Defaults to None:
            those of ``train_dataloader``. SADE has others than in its training.

    Raises:
        ValueError: if ``max_epochs`` or ``min_weight`` is out of its range, or there are both
            ``dataloader`` and ``pipeline``; before a test, if the model has no such head or
            several, the data set takes no pipeline, or logits of pixels would be compared after
            random crops and flips.

    Source: Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic
    Long-Tailed Recognition (SADE), NeurIPS 2022. Its public code rounds the weights to two digits
    before it compares them.
    """

    # After EMAHook (50) has put the averaged weights in place, before LoggerHook (60) writes.
    priority = 55
    # It is no test case of pytest.
    __test__ = False

    def __init__(
        self,
        dataloader: dict | None = None,
        max_epochs: int = 5,
        min_weight: float = 0.05,
        optimizer: dict | None = None,
        by_epoch: bool = True,
        pipeline: list[dict] | None = None,
    ) -> None:
        if max_epochs < 1:
            raise ValueError(
                f'max_epochs of TestTimeAggregationHook is {max_epochs}, but it must be 1 or more; '
                'leave the hook out to weigh all experts alike.'
            )
        if not 0 <= min_weight < 1:
            raise ValueError(
                f'min_weight of TestTimeAggregationHook is {min_weight}, but it must be in [0, 1), '
                'and below one over the number of experts; 0.05 is usual.'
            )
        if dataloader is not None and pipeline is not None:
            raise ValueError(
                'TestTimeAggregationHook has both dataloader and pipeline; give the data set of '
                'dataloader this pipeline, or leave dataloader out.'
            )
        self.dataloader = dataloader
        self.pipeline = pipeline
        self.max_epochs = max_epochs
        self.min_weight = min_weight
        self.by_epoch = by_epoch
        self.optimizer = SGD if optimizer is None else optimizer
        self._weights: list[float] = []

    def before_test_epoch(self, runner: Runner) -> None:
        """Learn the weights, and hand them to the head.

        Args:
            runner: the runner of the test.
        """
        model = unwrapped(runner.model)
        head = self._head(model)
        training = model.training
        model.eval()
        weights = self._learn(model, head, self._loader(runner))
        model.train(training)
        head.expert_weights.copy_(weights)
        self._weights = weights.tolist()
        listed = ', '.join(f'{weight:.3f}' for weight in self._weights)
        runner.logger.info(f'Weights of the experts, learnt from the images of the test: {listed}')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Put the weights beside the metrics of the test.

        Args:
            runner: the runner of the test.
            metrics: what the evaluator found; added to.
        """
        if metrics is not None:
            for expert, weight in enumerate(self._weights):
                key = f'aggregation/expert{expert}_weight'
                metrics[key] = weight
                # What the log line is made of; mmengine has put the other metrics there by now.
                runner.message_hub.update_scalar(f'test/{key}', weight)

    def _learn(self, model: nn.Module, head: nn.Module, loader: DataLoader) -> Tensor:
        scores = nn.Parameter(torch.zeros_like(head.expert_weights))
        optimizer = OPTIMIZERS.build(dict(self.optimizer, params=[scores]))
        batches = track(
            self._epochs(loader),
            'weights of the experts',
            total=self.max_epochs * len(loader),
            disable=not is_main_process(),
        )
        for number, views in enumerate(batches, start=1):
            first, second = (self._logits(model, head, view) for view in views)
            stability = prediction_stability(first, second, scores.softmax(dim=0))
            (gradient,) = torch.autograd.grad(-stability.sum(), scores)
            counted = torch.full_like(gradient[:1], stability.numel())
            total = torch.cat([gradient, counted])
            all_reduce(total)
            scores.grad = total[:-1] / total[-1]
            optimizer.step()
            is_time = not self.by_epoch or number % len(loader) == 0
            if is_time and scores.softmax(dim=0).min() < self.min_weight:
                break
        return scores.detach().softmax(dim=0)

    def _epochs(self, loader: DataLoader) -> Iterator[list]:
        for epoch in range(self.max_epochs):
            if hasattr(loader.sampler, 'set_epoch'):
                loader.sampler.set_epoch(epoch)
            yield from loader

    @torch.no_grad()
    def _logits(self, model: nn.Module, head: nn.Module, view: dict) -> Tensor:
        inputs = model.data_preprocessor(view, training=False)['inputs']
        logits = head.expert_logits(model.extract_feat(inputs))
        if logits.ndim > 3 and self.dataloader is None and self.pipeline is None:
            raise ValueError(
                f'{type(head).__name__} gives logits of pixels, which training pipelines crop and '
                'flip; give TestTimeAggregationHook a pipeline whose random transforms change '
                'colours alone.'
            )
        return logits

    def _loader(self, runner: Runner) -> DataLoader:
        settings = self.dataloader
        if settings is None:
            test, reader = (runner.cfg.get(f'{split}_dataloader') for split in ('test', 'train'))
            if self.pipeline is not None:
                reader = dict(dataset=dict(pipeline=self.pipeline))
            dataset = dataset_with_pipeline(
                type(self).__name__, 'how to augment the test set', test, reader
            )
            sampler = dict(type='DefaultSampler', shuffle=True)
            settings = {**test, 'dataset': dataset, 'sampler': sampler}
        views = _TwoViews(DATASETS.build(settings['dataset']))
        # Without a seed: workers seeded by it would draw the same views in every epoch.
        return Runner.build_dataloader({**settings, 'dataset': views})

    @staticmethod
    def _head(model: nn.Module) -> nn.Module:
        heads = [
            part
            for part in model.modules()
            if hasattr(part, 'expert_logits') and hasattr(part, 'expert_weights')
        ]
        if len(heads) != 1:
            raise ValueError(
                f'TestTimeAggregationHook finds {len(heads)} heads with expert_logits and '
                f'expert_weights in {type(model).__name__}, and needs one; use '
                "head=dict(type='lt_mm.MultiExpertClsHead'), or leave the hook out."
            )
        return heads[0]


class _TwoViews(Dataset):
    """Every sample of a data set, drawn twice."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple:
        return self.dataset[index], self.dataset[index]
