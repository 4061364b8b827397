"""Experts that are asked one after another, until a router is content."""

import math
from collections.abc import Callable
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn import functional as F

from lt_mm.functional import reduce_loss, routing_targets, running_means
from lt_mm.models.heads.experts_classification import MultiExpertClsHead
from lt_mm.models.layers import ExpertRouters
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import MODELS


@MODELS.register_module()
class RoutedClsHead(MultiExpertClsHead):
    """The second stage of RIDE: frozen experts, and E - 1 routers that are trained.

    The one loss, ``loss_routing``, is the mean over routers and over the images of all ranks of a
    binary cross-entropy: router e is to say where experts 0 to e are wrong together and more of
    them would be right. The experts' ``loss`` and ``interplay`` are those of the first stage; they
    are kept for its checkpoint and not used.

    Predictions hold ``num_experts``, (1,): how many experts each image has asked, which the metric
    ``lt_mm.ExpertUsage`` averages. Only :class:`LongTailClassifier` leaves the other experts
    uncomputed; in a plain ImageClassifier the head has the features of all.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        args: further ones of :class:`MultiExpertClsHead`.
        routers: further arguments of :class:`~lt_mm.models.layers.ExpertRouters`: ``top_k``,
            ``hidden_channels`` and ``share_output``.
        pos_weight: weight of the images that want more experts, which are few; 100 in RIDE's
            configs, 20 in its code.
        threshold: probability above which one more expert is asked.
        kwargs: further ones of :class:`MultiExpertClsHead`. ``expert_predictions`` is not for
            experts of which some are not asked, ``distillation`` not for experts that are frozen.

    Raises:
        ValueError: if there are fewer than two experts, a setting is out of its range, or one of
            these two is set; in training, if labels are soft.

    Source: Wang et al., ICLR 2021 (RIDE), expert assignment, and its public code.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *args: Any,
        routers: dict | None = None,
        pos_weight: float = 100.0,
        threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, *args, **kwargs)
        self.routers = ExpertRouters(self.num_experts, in_channels, **(routers or {}))
        self.pos_weight = pos_weight
        self.threshold = threshold
        self._check_arguments()
        self.experts.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> 'RoutedClsHead':
        """Set the mode of the routers; experts are as in a test, post-compensation included."""
        super().train(mode)
        self.experts.eval()
        return self

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Mean logits of the experts that each image asks, (N, C)."""
        features = self.pre_logits(feats)
        return self.route(lambda expert, rows: features[rows, expert], len(features))[0]

    def route(
        self, features_of: Callable[[int, Tensor], Tensor], num_images: int
    ) -> tuple[Tensor, Tensor]:
        """Ask experts in their order, of fewer and fewer images.

        Args:
            features_of: takes an expert and the (n,) rows of the images that ask it, and gives
                (n, D).
            num_images: N.

        Returns:
            (N, C) means of the logits of the experts asked, weighted by ``expert_weights``, and
            (N,) int64, how many these are.
        """
        weights = self.expert_weights
        rows = torch.arange(num_images, device=weights.device)
        used = torch.ones_like(rows)
        features = features_of(0, rows)
        total = weights[0] * self.experts[0]((features,))
        shares = weights.cumsum(0)
        for expert in range(1, self.num_experts):
            said = total[rows] / shares[expert - 1]
            wanted = self.routers(expert - 1, features, said).sigmoid() > self.threshold
            rows = rows[wanted]
            if len(rows) == 0:
                break
            features = features_of(expert, rows)
            own = weights[expert] * self.experts[expert]((features,))
            total = total.index_add(0, rows, own.to(total.dtype))
            used[rows] += 1
        return total / shares[used - 1, None], used

    def loss(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """The loss of the routers.

        Args:
            feats: features of each stage; the last is (N, E, D).
            data_samples: with hard labels.
            kwargs: not used.

        Raises:
            ValueError: if a label is not a class, or labels are soft.
        """
        labels = self.experts[0].targets(data_samples)
        if labels.ndim > 1:
            raise ValueError(
                'RoutedClsHead learns which predictions are wrong and needs hard labels; take '
                'Mixup, CutMix and the like out of train_cfg.'
            )
        with torch.no_grad():
            features = self.pre_logits(feats).detach()
            means = running_means(self.expert_logits(feats), self.expert_weights)
            targets = routing_targets(means, labels)
        scores = torch.stack(
            [
                self.routers(expert, features[:, expert], means[expert])
                for expert in range(self.num_experts - 1)
            ]
        ).float()
        loss = F.binary_cross_entropy_with_logits(
            scores, targets.float(), pos_weight=scores.new_tensor(self.pos_weight), reduction='none'
        )
        images = mean_over_ranks(len(labels), scores.device)
        return dict(loss_routing=reduce_loss(loss.mean(0), avg_factor=images))

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Scores, labels and the number of experts asked.

        Args:
            feats: features of each stage; the last is (N, E, D).
            data_samples: N to be filled in. Defaults to new ones.
        """
        features = self.pre_logits(feats)
        routed = self.route(lambda expert, rows: features[rows, expert], len(features))
        return self.predictions(*routed, data_samples)

    def predictions(
        self, logits: Tensor, used: Tensor, data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Fill in data samples with what :meth:`route` gives."""
        samples = self.labelled(logits, data_samples)
        for sample, number in zip(samples, used, strict=True):
            sample.set_field(number[None], 'num_experts', dtype=Tensor)
        return samples

    def _check_arguments(self) -> None:
        top_k = self.routers.top_k
        for wrong, argument, value, remedy in (
            (
                self.num_experts < 2,
                'number of experts',
                self.num_experts,
                'give two or more to choose',
            ),
            (not 1 <= top_k <= self.num_classes, 'top_k', top_k, 'give 1 to num_classes'),
            (
                not 0 < self.pos_weight < math.inf,
                'pos_weight',
                self.pos_weight,
                'give a positive and finite one',
            ),
            (not 0 <= self.threshold < 1, 'threshold', self.threshold, 'give one in [0, 1)'),
            (self.expert_predictions, 'expert_predictions', True, 'evaluate the first stage'),
            (
                self.distillation is not None,
                'distillation',
                type(self.distillation).__name__,
                'the experts are frozen, so set it to None',
            ),
        ):
            if wrong:
                raise ValueError(f'{argument} of RoutedClsHead is {value}; {remedy}.')
