"""The Gaussian-mixture-likelihood loss with its queue and its two embeddings."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lt_mm.functional import (
    check_number,
    check_temperature,
    class_log_likelihood,
    logit_adjusted_cross_entropy,
    read_numbers,
    reduce_loss,
    true_places,
)
from lt_mm.models.alpha import LogitAdjusted
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.layers import ClassQueue, ProjectionMLP
from lt_mm.models.losses.contrast_loss import (
    ContrastBatch,
    ContrastLoss,
    check_rows,
    refuse_unknown,
)
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts


@MODELS.register_module()
class GMLLoss(LogitAdjusted, ContrastLoss):
    """L_GML: cross-entropy on class log-likelihoods under mixtures centred on queued features.

    The queue holds raw key features; they are embedded anew at every step, so the key MLP
    learns and nothing in the queue grows stale when a frozen teacher made it. The loss serves
    pixels and images alike: it takes rows. Means are over the rows of all ranks.

    A trainable temperature has a term of its own, which moves nothing else: with features
    detached, and with the keys of the query's own sample left out, which would draw it towards
    zero. ``loss_weight`` multiplies it, too, as in the public code. Its logarithm is the parameter
    ``log_temperature``; exempt it from weight decay with
    ``optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'log_temperature': dict(decay_mult=0)}))``.

    Args:
        num_classes: C.
        in_channels: width of the query features.
        key_channels: width of the key features. Defaults to ``in_channels``.
        size: k, slots of the queue.
        min_size: k_m, slots of the rarest class.
        mixture_temperature: tau_g of eq. 3, its first value where it is trainable.
        trainable_temperature: whether tau_g is learnt.
        alpha: strength of the logit adjustment, alpha of eq. 11. Defaults to that of the head,
            else 1.
        widths: layers of the query and of the key MLP after their input.
        loss_weight: factor of L_GML (beta in Table A.1) and of the term of the temperature.
        backend: of :func:`lt_mm.functional.class_log_likelihood`.
        norm: norm_cfg of a normalisation in the MLPs, see :class:`ProjectionMLP`; the public code,
            which is of images, has ``dict(type='BN1d')``. Of pixels, it is over pixels.
        unknown: none; ``temperature`` of earlier versions is told its name.

    Raises:
        TypeError: for such an argument.
        ValueError: if the temperature is not positive and finite, or alpha is not finite.

    Attributes:
        fills_queue: whether keys are put into the queue; not where it is that of another loss.

    Source: Suh and Seo, ICML 2023, eqs. 3, 5, 8 and 11; section 3.3, "Trainable Temperature".
    """

    pairwise = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        key_channels: int | None = None,
        size: int = 8192,
        min_size: int = 27,
        mixture_temperature: float = 0.07,
        trainable_temperature: bool = False,
        alpha: float | None = None,
        widths: Sequence[int] = (512, 256),
        loss_weight: float = 1.0,
        backend: str = 'auto',
        norm: dict | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        refuse_unknown(GMLLoss, unknown)
        check_temperature(
            mixture_temperature, 'of the mixture of GMLLoss', 'the usual range is 0.03 to 0.3'
        )
        key_channels = in_channels if key_channels is None else key_channels
        self.set_alpha(alpha)
        self.key_channels = key_channels
        self.fills_queue = True
        self.loss_weight = check_number('loss_weight', loss_weight, 'GMLLoss', '1 is usual')
        self.backend = backend
        self._temperature = mixture_temperature
        self.register_parameter(
            'log_temperature',
            nn.Parameter(torch.tensor(math.log(mixture_temperature)))
            if trainable_temperature
            else None,
        )
        self.query_mlp = ProjectionMLP(in_channels, widths, norm)
        self.key_mlp = ProjectionMLP(key_channels, widths, norm)
        self.queue = ClassQueue(num_classes, key_channels, size, min_size)
        self.class_counts = ClassCountsBuffer('GMLLoss', num_classes)

    @property
    def takes_keys(self) -> bool:
        """Whether its queue is filled by itself and not by another loss that shares it."""
        return self.fills_queue

    @property
    def temperature(self) -> float | Tensor:
        """tau_g as it is now; a 0-d tensor with a gradient where it is trainable."""
        return self._temperature if self.log_temperature is None else self.log_temperature.exp()

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take the prior and the queue lengths from these counts."""
        self.class_counts.set(class_counts)
        self.queue.set_class_counts(class_counts)

    def contrast(self, batch: ContrastBatch) -> dict[str, Tensor]:
        """Queue the keys, then compare the queries with what the queue holds.

        Args:
            batch: of one view or more; keys of width ``key_channels``.

        Returns:
            See :meth:`forward`.

        Raises:
            RuntimeError: if no class counts have been given.
            ValueError: if the keys have another width, or a trainable temperature finds a sample
                unknown.
        """
        if self.fills_queue:
            self.queue.enqueue(batch.keys, *batch.of_keys())
        views = len(batch.queries)
        return self(
            batch.queries.flatten(0, 1), batch.labels.repeat(views), batch.ids.repeat(views)
        )

    def forward(
        self, features: Tensor, labels: Tensor, ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Mean losses of the queries whose class has a key; 0, with a graph, when none has.

        Args:
            features: (N, in_channels) of the student.
            labels: (N,) class indices, none ignored.
            ids: (N,) integers, the sample each query comes from, as given to the queue; needed
                for a trainable temperature.

        Returns:
            ``loss_gml``, and for the log ``gml_queue_filled``, the part of the queue that holds a
            key; with a trainable temperature also ``loss_gml_temperature`` and, for the log,
            ``gml_temperature``.

        Raises:
            RuntimeError: if no class counts have been given.
            ValueError: if there is not one label for each row, or a trainable temperature finds a
                query or a key of unknown sample.
        """
        check_rows(features, labels, 'GMLLoss')
        queue, temperature = self.queue, self.temperature
        trainable = self.log_temperature is not None
        has_key = queue.filled[labels] > 0
        numbers = [queue.filled, has_key.sum()]
        if trainable:
            known, is_nameless = self._known(has_key, labels, ids)
            numbers += [known.sum(), is_nameless, temperature]
        # All that the host has to know, at once: each time it would wait for the device.
        filled, (num_queries,), *rest = read_numbers(*numbers)
        if trainable:
            (num_known,), (nameless,), (on_host,) = rest
            self._check_trainable(on_host, bool(nameless))
        else:
            on_host = temperature
        if num_queries < len(labels):
            rows = true_places(has_key, num_queries)
            features, labels = features.index_select(0, rows), labels[rows]
            ids, known = (ids[rows], known[rows]) if trainable else (None, None)
        keys = queue.keys(sum(filled))
        queries, centres = self.query_mlp(features), self.key_mlp(keys.features)
        # Rows have norm 1, but for rounding.
        options = dict(backend=self.backend, largest=(1 + 1e-6) / on_host)
        lengths = torch.tensor(filled)
        log_likelihood = class_log_likelihood(
            queries, centres, lengths, temperature.detach() if trainable else temperature, **options
        )
        losses = dict(
            loss_gml=self.loss_weight * self._cross_entropy(log_likelihood, labels),
            gml_queue_filled=queue.filled.sum() / queue.size,
        )
        if trainable:
            # As a function of tau_g alone, without the keys of each query's own sample.
            log_likelihood = class_log_likelihood(
                queries.detach(),
                centres.detach(),
                lengths,
                temperature,
                query_ids=ids,
                key_ids=keys.ids,
                **options,
            )
            rows = true_places(known, num_known)
            loss = self._cross_entropy(log_likelihood.index_select(0, rows), labels[rows])
            losses['loss_gml_temperature'] = self.loss_weight * loss
            losses['gml_temperature'] = temperature.detach()
        return losses

    def _known(self, has_key: Tensor, labels: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Which queries have a key of their class that is not of their own sample.

        Args:
            has_key: (N,) bool, which have a key of their class at all.
            labels: (N,).
            ids: (N,).

        Returns:
            (N,) bool, and whether a query or a key is of unknown sample, 0-d bool.
        """
        if ids is None:
            return has_key, has_key.new_ones(())
        queue = self.queue
        classes, written = queue.written()
        nameless = (has_key & (ids < 0)).any() | (written & (queue.ids < 0)).any()
        # The keys of a class are all of one sample if the smallest and the largest id are its own.
        bounds = []
        for reduce, none in (('amin', torch.iinfo(torch.int64).max), ('amax', -1)):
            found = torch.full_like(queue.filled, none)
            found.scatter_reduce_(0, classes, queue.ids.where(written, none), reduce)
            bounds.append(found[labels] == ids)
        return has_key & ~(bounds[0] & bounds[1]), nameless

    def _check_trainable(self, temperature: float, nameless: bool) -> None:
        if nameless:
            raise ValueError(
                'a trainable temperature must know the sample of every query and key, and some '
                "have none; keep 'img_path' in meta_keys of the packing transform, or set "
                'trainable_temperature=False.'
            )
        check_temperature(
            temperature, 'of the mixture of GMLLoss, as it was learnt,', 'lower its learning rate'
        )

    def _cross_entropy(self, log_likelihood: Tensor, labels: Tensor) -> Tensor:
        loss = logit_adjusted_cross_entropy(
            log_likelihood, labels, self.class_counts.require_log_prior(), self.alpha
        )
        return reduce_loss(loss, avg_factor=mean_over_ranks(len(labels), loss.device))

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return (
            f'temperature={float(self.temperature):.4g}, '
            f'trainable_temperature={self.log_temperature is not None}, alpha={self.alpha}, '
            f'loss_weight={self.loss_weight}'
        )
