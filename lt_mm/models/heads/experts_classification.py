"""Several classifiers, each on its own features of the same images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleList
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from lt_mm.functional import aggregate_logits, check_finite, checked_once
from lt_mm.models.heads.classification import LongTailClsHead, training_accuracies
from lt_mm.models.heads.experts import expert_configs
from lt_mm.models.heads.longtail import distillation_loss
from lt_mm.models.losses import ExpertLoss
from lt_mm.registry import MODELS


@MODELS.register_module()
class MultiExpertClsHead(BaseModule):
    """E classifiers with a loss each, an exchange between them, and the mean of their logits.

    The logged losses are ``expert0.loss_cls`` and so on, and those of ``interplay`` beside them;
    the training minimises their sum. The prediction is the mean of the logits, weighted by the
    buffer ``expert_weights``, (E,), which is 1/E until an aggregation at test time changes it.

    ``lt_mm.MultiExpertResNet`` and the neck ``lt_mm.ExpertGlobalAveragePooling`` give the features.

    In a config, ``head=dict(type='lt_mm.MultiExpertClsHead', experts=[dict()] * 3, ...)``.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        experts: configs of E heads, of :class:`LongTailClsHead` unless they have another type.
            Their arguments come before the common ones; ``dict()`` has no other than these.
        interplay: config of an :class:`~lt_mm.models.losses.ExpertLoss` such as
            ``dict(type='lt_mm.MutualLoss')``.
        post_compensation: arguments of :class:`~lt_mm.models.layers.PostCompensation` for the
            predictions of every expert, and so for their mean. For experts of which some are
            logit-adjusted already, give it to the others alone.
        distillation: ``dict(type='lt_mm.KDLoss')`` compares the mean logits with those of the
            teacher that the network has, once and not once an expert.
        expert_predictions: whether predictions hold ``expert_scores``, (E, C), the softmax of each
            expert; ``lt_mm.ExpertAccuracy`` evaluates them.
        topk: ranks of the accuracies in training.
        cal_acc: whether to log the accuracy of the mean logits in training.
        common: arguments of all experts, such as ``classifier`` or ``loss``.

    Raises:
        ValueError: if ``experts`` is no list of configs, there is no expert or an interplay of one,
            an expert is no plain :class:`LongTailClsHead` of C classes, or predictions would be
            compensated twice; when called with other features than (N, E, D).
        FloatingPointError: in training, if logits are not finite, with the first expert whose they
            are.

    Source: Wang et al., ICLR 2021 (RIDE); Park et al., "Mutual Learning for Long-Tailed
    Recognition", WACV 2023.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        experts: Sequence[dict] = (),
        interplay: dict | None = None,
        post_compensation: dict | None = None,
        distillation: dict | None = None,
        expert_predictions: bool = False,
        topk: int | tuple[int, ...] = (1,),
        cal_acc: bool = False,
        **common: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _refuse_old_arguments(name, dict(common, post_compensation=post_compensation))
        sizes = dict(type='lt_mm.LongTailClsHead', num_classes=num_classes, in_channels=in_channels)
        compensated = post_compensation is not None
        configs = expert_configs(experts, {**sizes, **common}, interplay, compensated, name)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.num_experts = len(experts)
        self.expert_predictions = expert_predictions
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        self.cal_acc = cal_acc
        self.model_alpha = common.get('alpha')
        shared = dict(post_compensation=post_compensation) if compensated else {}
        self.experts = ModuleList(MMPRETRAIN_MODELS.build({**c, **shared}) for c in configs)
        for index, expert in enumerate(self.experts):
            _check_expert(expert, num_classes, f'expert{index} of {name}')
        self.interplay: ExpertLoss | None = None
        if interplay is not None:
            self.interplay = MMPRETRAIN_MODELS.build(interplay)
        self.distillation: nn.Module | None = None
        if distillation is not None:
            self.distillation = MMPRETRAIN_MODELS.build(distillation)
        self.register_buffer('expert_weights', torch.full((len(experts),), 1 / len(experts)))

    # For LongTailClassifier: experts contrast nothing.
    num_query_views = 0
    takes_keys = False
    contrast = None

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """(N, E, D), the features that the experts see.

        Raises:
            ValueError: if the last features are of another shape.
        """
        wanted = (self.num_experts, self.in_channels)
        if feats[-1].ndim != 3 or feats[-1].shape[1:] != wanted:
            raise ValueError(
                f'features of shape {tuple(feats[-1].shape)} reached {type(self).__name__}, but it '
                f'has {wanted[0]} experts and in_channels={wanted[1]} and needs '
                f'(N, {wanted[0]}, {wanted[1]}); take lt_mm.MultiExpertResNet of as many experts '
                'and the neck lt_mm.ExpertGlobalAveragePooling, or correct the head.'
            )
        return feats[-1]

    def expert_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """(E, N, C) logits; in eval mode compensated, where that is asked for."""
        features = self.pre_logits(feats).unbind(1)
        pairs = zip(self.experts, features, strict=True)
        return torch.stack([expert((feature,)) for expert, feature in pairs])

    def aggregate(self, logits: Tensor) -> Tensor:
        """Mean over experts of (E, N, C) logits by ``expert_weights``: (N, C)."""
        return aggregate_logits(logits, self.expert_weights)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Mean logits, (N, C)."""
        return self.aggregate(self.expert_logits(feats))

    def loss(
        self,
        feats: tuple[Tensor, ...],
        data_samples: list[DataSample],
        teacher_logits: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """All losses of a batch.

        Args:
            feats: features of each stage; the last, (N, E, D), is classified.
            data_samples: with hard labels or, after Mixup and the like, soft ones.
            teacher_logits: (N, C), for the distillation.
            kwargs: further arguments of the experts' losses.

        Raises:
            ValueError: if a label is not a class.
            FloatingPointError: if logits are not finite.
        """
        logits = self.expert_logits(feats)
        with checked_once():
            losses = self.losses_of(logits, self.experts[0].targets(data_samples), **kwargs)
        if self.distillation is not None:
            mean, name = self.aggregate(logits), type(self).__name__
            losses['loss_kd'] = distillation_loss(self.distillation, mean, teacher_logits, name)
        return losses

    def losses_of(self, logits: Tensor, targets: Tensor, **kwargs: Any) -> dict[str, Tensor]:
        """Losses of (E, N, C) logits against (N,) labels or (N, C) soft ones, by their keys."""
        self._check_finite(logits)
        losses = {}
        for index, (expert, own) in enumerate(zip(self.experts, logits, strict=True)):
            own_losses = expert.classification_loss(own, targets, **kwargs)
            losses |= {f'expert{index}.{key}': value for key, value in own_losses.items()}
        if self.interplay is not None:
            losses |= self.interplay(logits, targets)
        if self.cal_acc:
            mean = self.aggregate(logits.detach())
            losses |= training_accuracies(mean, targets, self.topk, type(self).__name__)
        return losses

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Scores and labels of the mean logits and, where asked for, each expert's scores.

        Args:
            feats: features of each stage; the last is (N, E, D).
            data_samples: N to be filled in. Defaults to new ones.
        """
        logits = self.expert_logits(feats)
        mean = self.aggregate(logits)
        samples = self.labelled(mean, data_samples)
        if self.expert_predictions:
            of_samples = logits.to(mean.dtype).softmax(2).transpose(0, 1)
            for sample, of_experts in zip(samples, of_samples, strict=True):
                sample.set_field(of_experts, 'expert_scores', dtype=Tensor)
        return samples

    @staticmethod
    def labelled(
        logits: Tensor, data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Data samples with the scores and labels of (N, C) logits; new ones where none are."""
        samples = data_samples or [None] * len(logits)
        samples = [DataSample() if sample is None else sample for sample in samples]
        for sample, score in zip(samples, logits.softmax(1), strict=True):
            sample.set_pred_score(score).set_pred_label(score.argmax(0, keepdim=True))
        return samples

    def _check_finite(self, logits: Tensor) -> None:
        # One look at all of them, since each look waits for the device.
        if logits.isfinite().all():
            return
        for index, own in enumerate(logits):
            name = f'the logits of expert {index}'
            check_finite(own, type(self).__name__, name, 'the mean of all would be spoilt')


def _check_expert(expert: nn.Module, num_classes: int, name: str) -> None:
    """Refuse a head of which a loss or logits would be missing.

    Raises:
        ValueError: saying what to use.
    """
    told = f'{name} is a {type(expert).__name__}'
    if not isinstance(expert, LongTailClsHead) or type(expert).loss is not LongTailClsHead.loss:
        raise ValueError(
            f"{told}, but experts are lt_mm.LongTailClsHead; give base='{type(expert).__name__}' "
            'in place of type, where that is a head of one linear classifier.'
        )
    if expert.contrast is not None or expert.distillation is not None:
        raise ValueError(
            f'{told} with a contrast or a distillation, but experts have losses of their logits '
            'alone; leave contrast out, and give the distillation beside experts.'
        )
    if expert.num_classes != num_classes:
        raise ValueError(
            f'{name} has num_classes={expert.num_classes}, but all need {num_classes}, to be '
            'averaged; give num_classes beside experts alone.'
        )


def _refuse_old_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Say how what experts do not share is written now.

    Raises:
        TypeError: if an argument is of an earlier version.
    """
    if 'num_experts' in arguments:
        raise TypeError(
            f'{name} does not know num_experts any more: give experts=[dict()] * '
            f'{arguments["num_experts"]!r}, a config for each expert.'
        )
    for argument in ('loss', 'post_compensation'):
        if isinstance(arguments.get(argument), list | tuple):
            raise TypeError(
                f'{argument} of {name} is a list; give each expert its own: '
                f'experts=[dict({argument}=...), ...].'
            )
