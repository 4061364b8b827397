"""Parametric contrastive loss on images."""

import math
from collections.abc import Sequence

import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor

from lt_mm.functional import (
    check_finite,
    check_labels,
    check_number,
    parametric_contrastive_loss,
    reduce_loss,
)
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.layers import LabelledQueue, ProjectionMLP
from lt_mm.models.losses.contrast_loss import ContrastBatch, ContrastLoss
from lt_mm.models.ranks import gather_rows, mean_over_ranks
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts


@MODELS.register_module()
class PaCoLoss(ContrastLoss):
    """L_PaCo: queries against each other, keys, earlier keys and the class centres.

    This loss trains the classifier, whose logits, shifted by the log prior, are the similarities
    to the class centres. It stands in the place of a classification loss: give the head's own one
    the weight 0, as in ``loss=dict(type='lt_mm.LogitAdjustedLoss', loss_weight=0.0)``.

    The keys are embedded by a moving average of the query MLP, which is updated once a call, so
    their features must be as wide as the query's; a momentum encoder should make them. After the
    loss they enter a queue, of which only what was written is compared with. In eval mode neither
    the average nor the queue changes. Queries and keys are those of all ranks, and the mean is
    over the queries of all ranks.

    Args:
        num_classes: C.
        in_channels: width of the query features.
        key_channels: width of the key features. Defaults to ``in_channels``, and cannot differ.
        widths: layers of the MLP after its input.
        size: slots of the queue, 8192 on ImageNet-LT and 1024 on CIFAR in the authors' code.
        temperature: tau of the keys, 0.2 on ImageNet-LT and 0.05 on CIFAR in the authors' code;
            the classifier's logits are not divided by it.
        alpha: weight of a key of the query's class, 0.05 on ImageNet-LT and 0.01 on CIFAR in the
            authors' code.
        beta: weight of the centre of the query's class.
        momentum: share of the old weights in an update of the key MLP, as in MoCo; between 0
            and 1, usually close to 1.
        loss_weight: factor of the loss.
        norm: norm_cfg of a normalisation between the layers, see :class:`ProjectionMLP`;
            ``dict(type='BN1d')`` in the authors' code. Keys are normalised among themselves.

    Raises:
        ValueError: if an argument is out of its range, or ``key_channels`` is not ``in_channels``.

    Source: Cui et al., ICCV 2021, section 3.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        key_channels: int | None = None,
        widths: Sequence[int] = (2048, 128),
        size: int = 8192,
        temperature: float = 0.2,
        alpha: float = 0.05,
        beta: float = 1.0,
        momentum: float = 0.999,
        loss_weight: float = 1.0,
        norm: dict | None = None,
    ) -> None:
        super().__init__()
        for name, value, valid, range_ in (
            ('temperature', temperature, temperature > 0, 'positive; use 0.05 to 0.3'),
            ('alpha', alpha, alpha >= 0, 'zero or more; use 0.01 to 0.05'),
            ('beta', beta, beta > 0, 'positive; use 1'),
            ('momentum', momentum, 0 < momentum < 1, 'between 0 and 1; use 0.99 to 0.9999'),
        ):
            if not (math.isfinite(value) and valid):
                raise ValueError(f'{name} of PaCoLoss is {value}, but it must be {range_}.')
        if key_channels not in (None, in_channels):
            raise ValueError(
                f'key_channels of PaCoLoss is {key_channels} and in_channels {in_channels}, but '
                'one MLP and its moving average embed queries and keys; take the keys from a '
                'momentum encoder, or from a teacher as wide as the student.'
            )
        self.key_channels = in_channels
        self.temperature = temperature
        self.alpha = alpha
        self.beta = beta
        self.loss_weight = check_number('loss_weight', loss_weight, 'PaCoLoss', '1 is usual')
        self.query_mlp = ProjectionMLP(in_channels, widths, norm)
        self.key_mlp = ExponentialMovingAverage(self.query_mlp, momentum=1 - momentum)
        self.queue = LabelledQueue(widths[-1], size)
        self.class_counts = ClassCountsBuffer('PaCoLoss', num_classes)

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take the prior from these counts; the queue stays as it is."""
        self.class_counts.set(class_counts)

    def contrast(self, batch: ContrastBatch) -> dict[str, Tensor]:
        """Mean loss of the queries; 0, with a graph, when there is none.

        Returns:
            ``loss_paco``.

        Raises:
            RuntimeError: if no class counts have been given.
            ValueError: if a label is not a class.
            FloatingPointError: if keys are not finite.
        """
        check_labels(batch.labels, self.class_counts.num_classes, 'PaCoLoss', ignore_index=None)
        log_prior = self.class_counts.require_log_prior()
        labels = batch.labels.repeat(len(batch.queries))
        features = batch.queries.flatten(0, 1)
        queries = self.query_mlp(features)
        everything = gather_rows(queries, labels)
        new_keys = self._embed_keys(batch.keys)
        check_finite(new_keys, 'PaCoLoss', 'its keys')
        keys = gather_rows(new_keys, batch.labels)
        earlier = self.queue.keys()
        loss = parametric_contrastive_loss(
            queries,
            labels,
            torch.cat([everything.rows, keys.rows, earlier.features.to(queries.dtype)]),
            torch.cat([everything.labels, keys.labels, earlier.ids]),
            batch.classifier(features),
            self.temperature,
            log_prior=log_prior,
            alpha=self.alpha,
            beta=self.beta,
            self_indices=everything.own,
        )
        if self.training:
            self.queue.enqueue(new_keys, batch.labels)
        counted = mean_over_ranks(len(loss), loss.device)
        return dict(loss_paco=self.loss_weight * reduce_loss(loss, avg_factor=counted))

    @torch.no_grad()
    def _embed_keys(self, features: Tensor) -> Tensor:
        if self.training:
            self.key_mlp.update_parameters(self.query_mlp)
        return self.key_mlp(features)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'temperature={self.temperature}, alpha={self.alpha}, beta={self.beta}, '
            f'momentum={1 - self.key_mlp.momentum:.6g}, loss_weight={self.loss_weight}'
        )
