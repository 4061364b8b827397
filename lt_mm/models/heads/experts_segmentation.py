"""Several decode heads, each with its own loss and prior, that learn together."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.utils import SampleList, add_prefix
from torch import Tensor, nn

from lt_mm.functional import check_finite, check_labels, checked_once
from lt_mm.models.heads.experts import expert_configs
from lt_mm.models.heads.longtail import distillation_loss
from lt_mm.models.heads.segmentation import LongTailHead, taught_logits
from lt_mm.models.layers import PostCompensation
from lt_mm.models.losses import GMLLoss
from lt_mm.models.shipped.mean_of_heads import MeanOfHeads
from lt_mm.models.teachers.frozen_network import TeacherOutput
from lt_mm.registry import MODELS

_ALIKE = ('num_classes', 'out_channels', 'align_corners', 'ignore_index')


@MODELS.register_module()
class MultiExpertDecodeHead(MeanOfHeads):
    """A decode head that consists of E decode heads on the same features.

    Every expert has its own losses, logged as ``expert0.loss_ce`` and so on, which are summed. An
    interplay loss compares the experts at every pixel of their maps of logits, the largest one
    where they differ, with the labels that are nearest. At every labelled pixel it would point the
    same way (cosine of the gradients 0.98 on smooth random logits) at 40 times the memory and 70
    times the time (MutualLoss, three experts, 150 classes, maps of 64, labels of 512, on a CPU).
    Predictions are of the weighted mean of the logits.

    In mmsegmentation, a base config with one head becomes one of several by
    ``decode_head=dict(type='lt_mm.MultiExpertDecodeHead', experts=[dict(type='FCNHead')] * 3)``.

    Args:
        experts: configs of decode heads of mmsegmentation or lt_mm whose ``forward`` gives one map
            of logits. Their arguments come before the common ones.
        interplay: config of a loss between experts, such as ``dict(type='lt_mm.MutualLoss')``.
        share_queue: whether GML experts share one queue, that of the first of them. It is filled
            once a step, by the teacher's keys or, without one, by those of the first GML expert,
            whose ``keys_per_class`` counts.
        post_compensation: arguments of :class:`~lt_mm.models.layers.PostCompensation`, which acts
            on the logits of every expert, and thus on their mean, in eval mode; ``dict()`` for its
            defaults. For experts of which some are logit-adjusted already, give it to the others
            alone: ``dict(type='lt_mm.LongTailHead', base='FCNHead', post_compensation=dict())``.
        distillation: ``dict(type='lt_mm.KDLoss')`` compares the mean logits with those of the
            teacher that the network has, once and not once an expert.
        predict_with: the expert, from 0, that alone predicts; None for the weighted mean of all.
        common: arguments of all experts, such as ``num_classes``, ``channels`` or ``loss_decode``.

    Attributes:
        expert_weights: (E,) buffer in the checkpoint, 1 / E each until something sets it.

    Raises:
        ValueError: if there is no expert, or one with interplay; if experts differ in classes,
            ``align_corners`` or ``ignore_index``, have one output channel for two classes, or are
            no heads of one map; if GML experts cannot share a queue; if predictions would be
            compensated twice; or if ``predict_with`` is no expert.

    Source: Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic
    Long-Tailed Recognition (SADE), NeurIPS 2022, for experts of several priors; Park et al., Mutual
    Learning for Long-Tailed Recognition, WACV 2023.
    """

    def __init__(
        self,
        experts: Sequence[dict],
        interplay: dict | None = None,
        share_queue: bool = False,
        post_compensation: dict | None = None,
        distillation: dict | None = None,
        predict_with: int | None = None,
        **common: Any,
    ) -> None:
        name = type(self).__name__
        compensated = post_compensation is not None
        super().__init__(expert_configs(experts, common, interplay, compensated, name))
        _check_alike(self.experts)
        self.model_alpha = common.get('alpha')
        if predict_with is not None and not 0 <= predict_with < len(experts):
            raise ValueError(
                f'predict_with of MultiExpertDecodeHead is {predict_with}, but its experts are 0 '
                f'to {len(experts) - 1}; None predicts by all of them.'
            )
        self.ignore_index = self.experts[0].ignore_index
        self.predict_with = predict_with
        self.interplay: nn.Module | None = None
        if interplay is not None:
            self.interplay = MODELS.build(interplay)
        if share_queue:
            _use_one_queue(self.experts)
        self.distillation: nn.Module | None = None
        if distillation is not None:
            self.distillation = MODELS.build(distillation)
        self._taught: TeacherOutput | None = None
        self.post_compensation: PostCompensation | None = None
        if compensated:
            self.post_compensation = PostCompensation(self.num_classes, **post_compensation)

    @property
    def takes_keys(self) -> bool:
        """Whether a contrast loss of an expert compares with keys."""
        return bool(self.key_channels)

    @property
    def key_channels(self) -> dict[str, int]:
        """Width of the keys that experts take, by the argument that sets it."""
        return {
            f'experts[{index}].{argument}': width
            for index, expert in enumerate(self.experts)
            if isinstance(expert, LongTailHead)
            for argument, width in expert.key_channels.items()
        }

    @contextmanager
    def taught_by(self, teacher: TeacherOutput) -> Iterator[None]:
        """Let all experts, and the distillation, learn from a teacher's maps."""
        self._taught = teacher
        with ExitStack() as stack:
            stack.callback(setattr, self, '_taught', None)
            for expert in self.experts:
                if isinstance(expert, LongTailHead):
                    stack.enter_context(expert.taught_by(teacher))
            yield

    def expert_maps(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Logits of every expert, each (N, C, h, w) of its own size; in eval mode compensated."""
        return [self._compensated(one) for one in super().expert_maps(inputs)]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits (N, C, h, w): the weighted mean, or those of the expert that predicts alone."""
        if self.predict_with is None:
            return super().forward(inputs)
        return self._compensated(self.experts[self.predict_with](inputs))

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: dict | None
    ) -> dict[str, Tensor]:
        """Losses of every expert, with the prefix ``expert<i>.``, and those between experts.

        Args:
            inputs: features of each level, (N, D, h, w).
            batch_data_samples: with ``gt_sem_seg`` of (1, H, W).
            train_cfg: not used.

        Raises:
            ValueError: if a label is neither a class nor ``ignore_index``.
            RuntimeError: if a loss needs class counts and has none.
            FloatingPointError: if logits of an expert are not finite; it names the expert.
        """
        labels = torch.stack([sample.gt_sem_seg.data for sample in batch_data_samples])
        with checked_once():
            check_labels(labels, self.num_classes, type(self).__name__, self.ignore_index)
            return self._losses(super().expert_maps(inputs), labels, batch_data_samples)

    def _losses(
        self, maps: list[Tensor], labels: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        for index, logits in enumerate(maps):
            if not isinstance(logits, Tensor):
                raise _of_several_maps(index, self.experts[index])
        # One look at all of them, since each look waits for the device.
        if not torch.stack([logits.isfinite().all() for logits in maps]).all():
            self._name_the_spoilt(maps)
        losses = {}
        for index, (expert, logits) in enumerate(zip(self.experts, maps, strict=True)):
            own = expert.loss_by_feat(logits, batch_data_samples)
            losses.update(add_prefix(own, f'expert{index}'))
        if self.interplay is not None:
            logits = torch.stack(self.of_one_size(maps))
            nearest = resize(labels.float(), size=logits.shape[3:], mode='nearest')[:, 0].long()
            losses.update(self.interplay(logits, nearest, ignore_index=self.ignore_index))
        if self.distillation is not None:
            weighted = zip(self.expert_weights, self.of_one_size(maps), strict=True)
            mean = sum(weight * one for weight, one in weighted)
            taught = taught_logits(self._taught, mean, self.align_corners)
            losses['loss_kd'] = distillation_loss(
                self.distillation, mean, taught, type(self).__name__
            )
        return losses

    def predict(
        self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict | None
    ) -> Tensor:
        """The logits of :meth:`forward` at the size of the images, (N, C, H, W).

        Raises:
            FloatingPointError: if a logit is NaN; it names the expert.
        """
        logits = super().predict(inputs, batch_img_metas, test_cfg)
        if logits.isnan().any():
            self._name_the_spoilt(super().expert_maps(inputs))
        return logits

    def _compensated(self, logits: Tensor) -> Tensor:
        return logits if self.post_compensation is None else self.post_compensation(logits)

    def _name_the_spoilt(self, maps: list[Tensor]) -> None:
        for index, logits in enumerate(maps):
            name = f'the logits of expert{index} ({type(self.experts[index]).__name__})'
            check_finite(logits, type(self).__name__, name, 'the mean of all would be spoilt')


def _check_alike(experts: Sequence[nn.Module]) -> None:
    """Refuse heads whose maps of logits cannot be averaged.

    Raises:
        ValueError: naming the expert.
    """
    for index, expert in enumerate(experts):
        kind = type(expert)
        methods = ('loss', 'predict')
        if not isinstance(expert, BaseDecodeHead) or any(
            getattr(kind, method) is not getattr(BaseDecodeHead, method) for method in methods
        ):
            raise _of_several_maps(index, expert)
        for name in _ALIKE:
            first, other = getattr(experts[0], name), getattr(expert, name)
            if other != first:
                raise ValueError(
                    f'{name} is {first} for expert0 and {other} for expert{index}, but must be the '
                    f'same for all; give {name} beside experts instead of in them.'
                )
    if experts[0].out_channels != experts[0].num_classes:
        raise ValueError(
            f'the experts have out_channels={experts[0].out_channels} for '
            f'{experts[0].num_classes} classes, but MultiExpertDecodeHead needs one output channel '
            'a class.'
        )


def _of_several_maps(index: int, expert: nn.Module) -> ValueError:
    return ValueError(
        f'expert{index} is a {type(expert).__name__}, which gives more than one map of logits; '
        'choose a head that trains and predicts as BaseDecodeHead of mmsegmentation does.'
    )


def _use_one_queue(experts: Sequence[nn.Module]) -> None:
    """Give all GML losses of some heads the queue of the first one, which alone fills it.

    The keys are those of a teacher or, without one, the first GML head's own features; each head
    embeds them by a key MLP of its own. The first GML head has to compute its losses first.

    Raises:
        ValueError: if there are fewer than two GML losses, or their queues would differ in size.
    """
    losses = {
        f'expert{i}': one.contrast
        for i, one in enumerate(experts)
        if isinstance(one, LongTailHead) and isinstance(one.contrast, GMLLoss)
    }
    if len(losses) < 2:
        raise ValueError(
            f'share_queue needs two GML experts or more, but there are {len(losses)} among '
            f'{len(experts)}; leave it out, or give experts a contrast=dict(type="lt_mm.GMLLoss").'
        )
    (owner, first), *others = losses.items()
    queue = first.queue
    for name, loss in others:
        other = loss.queue
        alike = (other.size, other.min_size) == (queue.size, queue.min_size)
        if not alike or other.features.shape != queue.features.shape:
            raise ValueError(
                f'share_queue needs queues alike, but {owner} has {queue} and {name} '
                f'{other}; give their contrast the same size, min_size and key_channels.'
            )
        loss.queue = queue
        loss.fills_queue = False
