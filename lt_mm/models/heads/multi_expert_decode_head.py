"""Several decode heads, each with its own loss and prior, that learn together."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

import torch
from mmseg.models.utils import resize
from mmseg.utils import SampleList, add_prefix
from torch import Tensor, nn

from lt_mm.functional import check_finite, check_labels
from lt_mm.models.heads.alike_heads import check_alike
from lt_mm.models.heads.gml_head_mixin import GMLHeadMixin
from lt_mm.models.heads.mean_of_heads import MeanOfHeads
from lt_mm.models.heads.shared_queue import use_one_queue
from lt_mm.models.layers import PostCompensation
from lt_mm.registry import MODELS


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
            alone: ``dict(type='lt_mm.DecoupledFCNHead', post_compensation=dict())``.
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
        predict_with: int | None = None,
        **common: Any,
    ) -> None:
        if not experts:
            raise ValueError(
                'MultiExpertDecodeHead has no experts; give the configs of two decode heads or '
                'more.'
            )
        super().__init__(expert_configs(experts, common))
        check_alike(self.experts)
        if interplay is not None and len(experts) == 1:
            raise ValueError(
                f'interplay of MultiExpertDecodeHead is {interplay["type"]!r}, but there is one '
                'expert; give another one, or leave interplay out.'
            )
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
            use_one_queue(self.experts)
        self.post_compensation: PostCompensation | None = None
        if post_compensation is not None:
            for index, expert in enumerate(self.experts):
                if getattr(expert, 'post_compensation', None) is not None:
                    raise ValueError(
                        f'expert{index} and MultiExpertDecodeHead both have a post_compensation, '
                        'which would correct twice; leave one of them out.'
                    )
            self.post_compensation = PostCompensation(self.num_classes, **post_compensation)

    @property
    def key_channels(self) -> dict[str, int]:
        """Width of the keys of each GML expert, by the argument that sets it."""
        return {
            f'experts[{index}].{argument}': width
            for index, expert in self._gml_experts()
            for argument, width in expert.key_channels.items()
        }

    @contextmanager
    def keys_from(self, features: Tensor) -> Iterator[None]:
        """Let all GML experts take keys from these features, as :class:`GMLHeadMixin` does."""
        with ExitStack() as stack:
            for _, expert in self._gml_experts():
                stack.enter_context(expert.keys_from(features))
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
        check_labels(labels, self.num_classes, type(self).__name__, self.ignore_index)
        maps = super().expert_maps(inputs)
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

    def _gml_experts(self) -> list[tuple[int, GMLHeadMixin]]:
        return [(i, one) for i, one in enumerate(self.experts) if isinstance(one, GMLHeadMixin)]

    def _name_the_spoilt(self, maps: list[Tensor]) -> None:
        for index, logits in enumerate(maps):
            name = f'the logits of expert{index} ({type(self.experts[index]).__name__})'
            check_finite(logits, type(self).__name__, name, 'the mean of all would be spoilt')


def expert_configs(experts: Sequence[Mapping], common: Mapping[str, Any]) -> list[dict]:
    """Configs of the experts with the arguments that they have in common.

    Args:
        experts: their own arguments, which come first.
        common: of all.
    """
    return [deepcopy({**common, **expert}) for expert in experts]
