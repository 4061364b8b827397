"""Gaussian-mixture-likelihood training for any decode head that ends in ``cls_seg``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmseg.models.utils import resize
from mmseg.utils import SampleList
from torch import Tensor

from lt_mm.functional import check_finite, check_labels, sample_per_group
from lt_mm.models.heads.cosine_heads import CosineHeadMixin
from lt_mm.models.losses import GMLLoss, with_alpha
from lt_mm.structures import sample_ids


class GMLHeadMixin(CosineHeadMixin):
    """Add L_GML to a head: ``class GMLMyHead(GMLHeadMixin, MyHead): pass``.

    Queries are the features that reach ``cls_seg``, before dropout, at every labelled pixel of
    the feature map. Keys come from a teacher when the segmentor offers one (see
    :class:`TeacherEncoderDecoder`), else from the head's own detached features. Inference is
    that of the classifier alone.

    Args:
        alpha: strength of the logit adjustment of L_GML and of every ``LogitAdjustedLoss`` in
            ``loss_decode`` that does not set its own.
        gml: further arguments of :class:`GMLLoss` (size, min_size, temperature,
            trainable_temperature, alpha, widths, key_channels, loss_weight, backend).
        keys_per_class: most keys taken from one class of one image at a step.
        loss_decode: mmseg's argument. Defaults to a ``LogitAdjustedLoss``.

    Raises:
        ValueError: if the head is binary with a single output channel, or ``keys_per_class`` is
            below 1.

    Attributes:
        fills_queue: whether the losses put their keys into the queue; not where another head fills
            it, as in :class:`MultiExpertDecodeHead`.

    Source: Suh and Seo, ICML 2023, sections 3.3 and 4.8.
    """

    def __init__(
        self,
        *args: Any,
        alpha: float = 1.0,
        gml: dict | None = None,
        keys_per_class: int = 16,
        loss_decode: dict | list | None = None,
        **kwargs: Any,
    ) -> None:
        loss_decode = loss_decode or dict(type='lt_mm.LogitAdjustedLoss')
        super().__init__(*args, loss_decode=with_alpha(loss_decode, alpha, 'loss_decode'), **kwargs)
        if self.out_channels != self.num_classes:
            raise ValueError(
                f'{type(self).__name__} has out_channels={self.out_channels} for '
                f'{self.num_classes} classes; GML needs one output channel a class.'
            )
        if keys_per_class < 1:
            raise ValueError(
                f'keys_per_class of {type(self).__name__} is {keys_per_class}, but it must be at '
                'least 1; the default is 16.'
            )
        self.keys_per_class = keys_per_class
        self.gml = GMLLoss(self.num_classes, self.channels, **{'alpha': alpha, **(gml or {})})
        self.fills_queue = True
        self._features: Tensor | None = None
        self._teacher_features: Tensor | None = None

    @property
    def key_channels(self) -> dict[str, int]:
        """Width of the keys, by the argument that sets it."""
        return {'gml.key_channels': self.gml.queue.features.shape[1]}

    @contextmanager
    def keys_from(self, features: Tensor) -> Iterator[None]:
        """Take the keys of the losses computed inside from these (N, key_channels, h, w) maps."""
        self._teacher_features = features
        try:
            yield
        finally:
            self._teacher_features = None

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Classify each pixel; in training, remember what was classified."""
        if self.training:
            self._features = feat
        return super().cls_seg(feat)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict:
        """The head's own losses and those of :class:`GMLLoss`.

        Raises:
            ValueError: if a label is neither a class nor ``ignore_index``.
            FloatingPointError: if the features that would become queries or keys are not finite.
        """
        labels = self._stack_batch_gt(batch_data_samples)
        owner = type(self).__name__
        check_labels(labels, self.num_classes, owner, self.ignore_index)
        features, self._features = self._features, None
        check_finite(features, owner, 'its features')
        rows = self._labelled_rows(features, labels)
        keys = rows
        if self._teacher_features is not None:
            check_finite(self._teacher_features, owner, "the teacher's features")
            keys = self._labelled_rows(self._teacher_features, labels)
        ids = sample_ids(batch_data_samples).to(labels.device)
        losses = super().loss_by_feat(seg_logits, batch_data_samples)
        if self.fills_queue:
            self._enqueue(*keys, ids)
        queries, query_labels, images = rows
        losses.update(self.gml(queries, query_labels, ids[images]))
        return losses

    def _enqueue(self, rows: Tensor, labels: Tensor, images: Tensor, ids: Tensor) -> None:
        chosen = sample_per_group(images * self.num_classes + labels, self.keys_per_class)
        self.gml.queue.enqueue(rows.detach()[chosen], labels[chosen], ids[images[chosen]])

    def _labelled_rows(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, labels and image indices of all pixels of the map that are labelled."""
        small = resize(labels.float(), size=features.shape[2:], mode='nearest')[:, 0].long()
        pixels = (small != self.ignore_index).flatten().nonzero()[:, 0]
        # index_select copies whole rows, which indexing does not.
        rows = features.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, pixels)
        return rows, small.flatten()[pixels], pixels // small[0].numel()
