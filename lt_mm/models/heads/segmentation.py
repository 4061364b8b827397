"""Long-tailed classifiers, alignments and contrast losses on any decode head of mmsegmentation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmseg.models.decode_heads import (
    DDRHead,
    IterativeDecodeHead,
    PIDHead,
    PointHead,
    STDCHead,
)
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from lt_mm.compat import stacked_labels
from lt_mm.functional import (
    check_batch,
    checked_once,
    sample_per_group,
    to_device,
    true_places,
)
from lt_mm.models.heads.longtail import LongTailOptions, is_pixelwise
from lt_mm.models.losses import ContrastBatch, ContrastLoss, LogitLoss
from lt_mm.models.teachers.frozen_network import TeacherOutput
from lt_mm.registry import MODELS
from lt_mm.structures import sample_ids

# Heads of mmsegmentation whose classes are not those of conv_seg at every pixel, and a remedy.
_UNFIT = {
    IterativeDecodeHead: 'classifies by kernels of several stages; give a loss of lt_mm, such as '
    'LogitAdjustedLoss, to the loss_decode of its kernel_generate_head',
    PointHead: 'classifies points by fc_seg; leave it as it is, and put LongTailHead around the '
    'head before it in the cascade',
    STDCHead: 'learns the boundaries of the labels, not the classes of the data set; leave it as '
    'it is, and put LongTailHead around the decode_head',
}
# Heads of mmsegmentation that take maps of one backbone, one of them in eval mode: how many in
# training, and from where.
_MAPS = {DDRHead: (2, 'DDRNet'), PIDHead: (3, 'PIDNet')}


@MODELS.register_module()
class LongTailHead(LongTailOptions):
    """Any decode head that ends in ``cls_seg``, with the options for long tails.

    ``decode_head=dict(type='lt_mm.LongTailHead', base='SegformerHead', ...)`` in place of
    ``dict(type='SegformerHead', ...)``. Logits are changed at the size of the feature map.

    The contrast loss compares the features that reach ``cls_seg``, before dropout, at the labelled
    pixels of the feature map: all of them or, where its memory grows with their square, a sample.
    Keys come from the teacher that the network has (see
    :class:`~lt_mm.models.networks.LongTailEncoderDecoder`), else from the head's own detached
    features. Inference needs neither.

    Args:
        args: those of the base.
        base: name or class of a decode head.
        keys_per_class: most keys, or sampled queries, taken from one class of one image at a step.
        kwargs: see :class:`~lt_mm.models.heads.longtail.LongTailOptions`, and those of the base.

    Raises:
        ValueError: also if the head is binary with a single output channel, does not classify by
            ``cls_seg``, or ``keys_per_class`` is below 1.
        RuntimeError: when called, if its ``forward`` passes ``cls_seg`` by, or its ``cls_seg`` the
            classifier that an option acts on.

    Source: Suh and Seo, ICML 2023, sections 3.3 and 4.8, for the contrast.
    """

    registry = MMSEG_MODELS
    default_temperature = 0.05
    example_base = 'FCNHead'

    def __init__(self, *args: Any, keys_per_class: int = 16, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if keys_per_class < 1:
            raise ValueError(
                f'keys_per_class of {type(self).__name__} is {keys_per_class}, but it must be at '
                'least 1; the default is 16.'
            )
        self.keys_per_class = keys_per_class
        for loss in self._classification_losses():
            if isinstance(loss, LogitLoss) and self.ignore_index is not None:
                loss.ignore_index = self.ignore_index
        self._classified = False
        self._classifier_called = False
        self._classifier().register_forward_pre_hook(self._note_call)
        # Features and logits of each call of cls_seg, while a loss will ask for them.
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._without_graph = False
        self._taught: TeacherOutput | None = None

    @classmethod
    def check_base(cls, base: type) -> None:
        """Refuse a head that does not classify each pixel by ``cls_seg``.

        Raises:
            ValueError: saying why, and what to use.
        """
        told = f'base of {cls.__name__} is {base.__name__}, which'
        if not issubclass(base, BaseDecodeHead):
            raise ValueError(
                f'{told} is no BaseDecodeHead of mmsegmentation and has no classifier of pixels, '
                'as heads of queries have none; choose one that ends in cls_seg.'
            )
        for unfit, reason in _UNFIT.items():
            if issubclass(base, unfit):
                raise ValueError(f'{told} {reason}.')

    def find_classifier(self) -> str:
        """``conv_seg``, as in every BaseDecodeHead unless it takes that away.

        Raises:
            ValueError: if it does, or has one output channel for two classes.
        """
        name, classifier = type(self).__name__, getattr(self, 'conv_seg', None)
        if not isinstance(classifier, nn.Conv2d):
            raise ValueError(
                f'{name} has no conv_seg, because its base does not classify by cls_seg; choose a '
                'head that does, or give this one a loss of lt_mm alone.'
            )
        if self.out_channels != self.num_classes:
            raise ValueError(
                f'{name} has out_channels={self.out_channels} for {self.num_classes} classes, but '
                f'needs one output channel a class; set out_channels={self.num_classes}.'
            )
        return 'conv_seg'

    @contextmanager
    def taught_by(self, teacher: TeacherOutput) -> Iterator[None]:
        """Let the losses computed inside take keys and logits from a teacher's maps."""
        self._taught = teacher
        try:
            yield
        finally:
            self._taught = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the base; what it classified before is forgotten.

        Raises:
            RuntimeError: if the base passes ``cls_seg``, or the classifier that an option acts on,
                and the options with it, by.
            ValueError: if a DDRHead or PIDHead is given maps of another backbone than its own.
        """
        self._check_maps(args[0] if args else None)
        self._classified, self._classifier_called = False, False
        self._seen, self._without_graph = [], False
        try:
            outputs = super().forward(*args, **kwargs)
        except RuntimeError as error:
            # Where a base takes but the weight of its classifier, that may be of another shape.
            if self._passed_by():
                raise self._unused_classifier() from error
            raise
        if not self._classified:
            raise RuntimeError(
                f'{type(self).__name__} gave logits without calling cls_seg, so classifier, '
                'alignment and contrast would do nothing; choose a base that ends in cls_seg, or '
                'give it a loss of lt_mm alone.'
            )
        if self._passed_by():
            raise self._unused_classifier()
        return outputs

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Classify each pixel; in training, remember what was classified."""
        self._classified = True
        logits = self.finish(super().cls_seg(feat), feat)
        if self.training and (self.contrast is not None or self.distillation is not None):
            self._without_graph = not torch.is_grad_enabled()
            self._seen.append((feat, logits))
        return logits

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict:
        """The losses of the base, those of the contrast, and ``loss_kd`` with a distillation.

        Args:
            seg_logits: of the base: (N, C, h, w), or these among others.
            batch_data_samples: of the N images.

        Raises:
            ValueError: if a label is neither a class nor ``ignore_index``.
            RuntimeError: if it is unknown which features or logits are meant, or they are without
                the graph that would train the head.
            FloatingPointError: if the features that would become queries or keys are not finite.
        """
        if self.contrast is None and self.distillation is None:
            return super().loss_by_feat(seg_logits, batch_data_samples)
        labels = stacked_labels(self, batch_data_samples)
        # PIDNet's come with those of the edges.
        labels = labels[0] if isinstance(labels, tuple) else labels
        features, logits = self._take_seen(seg_logits)
        if self._without_graph and torch.is_grad_enabled():
            if self.contrast is not None or not logits.requires_grad:
                raise RuntimeError(
                    f'{type(self).__name__} called cls_seg without gradients, as checkpointing of '
                    'activations does that runs the forward again, so its losses would not train '
                    'what precedes the classifier; checkpoint it with use_reentrant=False, or take '
                    'the decode head out of activation_checkpointing.'
                )
        with checked_once():
            pixels = self._look(labels, features)
            losses = super().loss_by_feat(seg_logits, batch_data_samples)
            if self.contrast is not None:
                ids = to_device(sample_ids(batch_data_samples), labels.device)
                # Labels of the labelled pixels alone have none to ignore.
                with checked_once((self.num_classes, None)):
                    losses.update(self.contrast.contrast(self._batch(features, pixels, ids)))
        if self.distillation is not None:
            taught = taught_logits(self._taught, logits, self.align_corners)
            losses['loss_kd'] = self.distillation_loss(logits, taught)
        return losses

    def __getstate__(self) -> dict:
        # What a step has left is no leaf of a graph, so it could not be copied.
        return {**super().__getstate__(), '_seen': [], '_taught': None}

    def _check_maps(self, maps: Any) -> None:
        for base, (number, backbone) in _MAPS.items():
            several = None if isinstance(maps, Tensor) else len(maps or ())
            if isinstance(self, base) and several != (number if self.training else None):
                raise ValueError(
                    f'{type(self).__name__} takes {number} maps in training and one, a tensor, in '
                    f'eval mode, but its backbone gives {several or "one"} in '
                    f'{"training" if self.training else "eval mode"}; use '
                    f'backbone=dict(type={backbone!r}, ...), or another base.'
                )

    def _note_call(self, module: nn.Module, inputs: tuple) -> None:
        self._classifier_called = True

    def _passed_by(self) -> bool:
        return self._needs_classifier and self._classified and not self._classifier_called

    def _unused_classifier(self) -> RuntimeError:
        return RuntimeError(
            f'{type(self).__name__} uses its classifier {self.classifier_path} 0 times for one '
            'batch, so classifier, alignment and contrast would act on a layer that gives no '
            'logits; choose a base whose cls_seg calls that layer, or leave these options out.'
        )

    def _take_seen(self, seg_logits: Any) -> tuple[Tensor | None, Tensor]:
        """Features and logits of the one call of ``cls_seg``."""
        seen, self._seen = self._seen, []
        if len(seen) == 1:
            features, logits = seen[0]
            # Where a base goes on from cls_seg, its own logits count.
            return features, seg_logits if isinstance(seg_logits, Tensor) else logits
        if self.contrast is None and isinstance(seg_logits, Tensor):
            return None, seg_logits
        wanted = 'features the contrast' if self.contrast is not None else 'logits the distillation'
        when = f'{len(seen)} times for one batch' if self.training else 'in eval mode'
        raise RuntimeError(
            f'{type(self).__name__} called cls_seg {when}, so it is unknown which {wanted} is to '
            'compare; compute losses in training mode, after one forward, or leave it out.'
        )

    def _look(self, labels: Tensor, features: Tensor | None) -> '_PixelsBySize':
        """Check labels (N, 1, H, W) and maps (N, D, h, w); find the labelled pixels of these."""
        finite = {}
        if self.contrast is not None:
            finite['its features'] = features
            if self._taught is not None and self.takes_keys:
                finite["the teacher's features"] = self._taught.features
        maps = [
            _LabelMap.of(labels, size, self.ignore_index)
            for size in dict.fromkeys(map.shape[2:] for map in finite.values())
        ]
        # The one look of a step at its labels.
        numbers = check_batch(
            type(self).__name__,
            labels,
            self.num_classes,
            self.ignore_index,
            finite=finite,
            numbers=[map.numbers(self.keys_per_class, self.num_classes) for map in maps],
        )
        found = zip(maps, numbers, strict=True)
        return {map.labels.shape[1:]: map.pixels(*number) for map, number in found}

    def _batch(self, features: Tensor, of_size: '_PixelsBySize', ids: Tensor) -> ContrastBatch:
        """Queries and keys at the labelled pixels of maps (N, D, h, w)."""
        pixels = of_size[features.shape[2:]]
        taught = self._taught.features if self._taught is not None and self.takes_keys else None
        if self.contrast.pairwise:
            # Keys are those of the queries, pixel by pixel.
            pixels = keyed = pixels.sample(self.keys_per_class, self.num_classes)
            if taught is not None and taught.shape[2:] != features.shape[2:]:
                taught = resize(taught, size=features.shape[2:], mode='bilinear')
        elif not self.takes_keys:
            keyed = pixels.none()
        else:
            keyed = pixels if taught is None else of_size[taught.shape[2:]]
            keyed = keyed.sample(self.keys_per_class, self.num_classes)
        rows = pixels.rows_of(features)
        keys = keyed.rows_of(features if taught is None else taught)
        return ContrastBatch(
            queries=rows[None],
            keys=keys.detach(),
            labels=pixels.labels,
            ids=ids[pixels.images],
            indices=torch.full_like(pixels.labels, -1),
            classifier=_ClassifierOfRows(self.conv_seg),
            key_labels=keyed.labels,
            key_ids=ids[keyed.images],
        )

    def _built_contrast(self, config: dict) -> ContrastLoss:
        loss = super()._built_contrast(config)
        if not loss.for_pixels:
            raise ValueError(
                f'contrast of {type(self).__name__} is a {type(loss).__name__}, which compares '
                'whole images; use lt_mm.GMLLoss, SupConLoss, BCLLoss or PaCoLoss.'
            )
        return loss

    def _classification_losses(self) -> list[nn.Module]:
        losses = self.loss_decode
        return list(losses) if isinstance(losses, nn.ModuleList) else [losses]


class _LabelMap(NamedTuple):
    """Labels at the size of a feature map."""

    labels: Tensor
    """(N, h, w) int64."""
    labelled: Tensor
    """(N, h, w) bool, where they are not to be ignored."""

    @classmethod
    def of(cls, labels: Tensor, size: tuple[int, int], ignore_index: int | None) -> '_LabelMap':
        """(N, 1, H, W) labels at the size (h, w)."""
        small = resize(labels.float(), size=size, mode='nearest')[:, 0].long()
        # No label is negative where nothing is ignored.
        return cls(small, small != (-1 if ignore_index is None else ignore_index))

    def numbers(self, most: int, num_classes: int) -> Tensor:
        """(2,) how many pixels are labelled, and how many :meth:`_LabelledPixels.sample` takes."""
        # All that is no class counts as one more.
        is_class = self.labelled & (self.labels >= 0) & (self.labels < num_classes)
        classes = self.labels.where(is_class, num_classes).flatten(1)
        counts = classes.new_zeros(len(classes), num_classes + 1)
        counts.scatter_add_(1, classes, torch.ones_like(classes))
        sampled = counts[:, :num_classes].clamp(max=most).sum()
        return torch.stack([self.labelled.sum(), sampled])

    def pixels(self, number: int, sampled: int) -> '_LabelledPixels':
        """All that are labelled, of which the host knows :meth:`numbers`."""
        places = true_places(self.labelled.flatten(), number)
        images = places // self.labels[0].numel()
        return _LabelledPixels(self.labels.flatten()[places], places, images, sampled)


class _LabelledPixels(NamedTuple):
    """Pixels of the maps of a batch that take part in a contrast."""

    labels: Tensor
    """(M,) int64 classes."""
    pixels: Tensor
    """(M,) int64 places in the flattened (N, h, w)."""
    images: Tensor
    """(M,) int64, which of the N images."""
    sampled: int
    """How many a sample has."""

    def sample(self, most: int, num_classes: int) -> '_LabelledPixels':
        """At most so many of each class of each image, at random."""
        groups = self.images * num_classes + self.labels
        chosen = sample_per_group(groups, most, size=self.sampled)
        return _LabelledPixels(*(part[chosen] for part in self[:3]), self.sampled)

    def none(self) -> '_LabelledPixels':
        """No pixel."""
        return _LabelledPixels(*(part[:0] for part in self[:3]), 0)

    def rows_of(self, maps: Tensor) -> Tensor:
        """(M, D) features of (N, D, h, w) maps."""
        # index_select copies whole rows, which indexing does not.
        return maps.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, self.pixels)


_PixelsBySize = dict[tuple[int, int], _LabelledPixels]


class _ClassifierOfRows:
    """The classifier of pixels for (M, D) rows.

    Raises:
        ValueError: when used, if it does not classify each pixel by itself.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer

    @property
    def layer(self) -> nn.Module:
        """Of maps."""
        if not is_pixelwise(self._layer):
            raise ValueError(
                f'the contrast loss compares pixels with the weights of their classifier, which is '
                f'{self._layer}; choose a base that has a convolution of kernel size 1 and one '
                'group there, or lt_mm.GMLLoss, which does not need them.'
            )
        return self._layer

    @property
    def weight(self) -> Tensor:
        """(C, D)."""
        return self.layer.weight.flatten(1)

    def __call__(self, rows: Tensor) -> Tensor:
        """(M, C) logits."""
        return self.layer(rows[:, :, None, None])[:, :, 0, 0]


def taught_logits(
    teacher: TeacherOutput | None, logits: Tensor, align_corners: bool
) -> Tensor | None:
    """Logits of a teacher at the size of a student's; None where there is no teacher.

    Args:
        teacher: what it says of the batch.
        logits: (N, C, h, w) of the student.
        align_corners: of the student's head.
    """
    if teacher is None or teacher.logits.shape[2:] == logits.shape[2:]:
        return teacher and teacher.logits
    size = logits.shape[2:]
    return resize(teacher.logits, size=size, mode='bilinear', align_corners=align_corners)
