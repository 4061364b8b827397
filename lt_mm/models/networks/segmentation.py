"""EncoderDecoders that learn from a frozen second network, or of which only a part is trained."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from mmseg.models.backbones import DDRNet, PIDNet
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.utils import SampleList
from torch import Tensor, nn

from lt_mm.functional import checked_once
from lt_mm.models.networks.frozen_parts import FrozenParts
from lt_mm.models.networks.taught import Taught
from lt_mm.models.teachers import SegmentationTeacher, check_feature_width
from lt_mm.registry import MODELS

_OF_THE_CLASSIFIER = (
    *('conv_seg', 'dropout', 'alignment', 'post_compensation'),
    *('loss_decode', 'contrast', 'distillation'),
)


class _LongTailSegmentor(FrozenParts, Taught):
    """What :class:`LongTailEncoderDecoder` adds to an EncoderDecoder or a cascade of heads."""

    teacher_class = SegmentationTeacher

    def __init__(
        self,
        *args: Any,
        freeze_encoder: bool = False,
        freeze_decode_head: bool = False,
        **kwargs: Any,
    ) -> None:
        # frozen_parts is called before this method goes on.
        self.freeze_decode_head = freeze_decode_head
        if 'key_momentum' in kwargs:
            raise ValueError(
                f'key_momentum of {type(self).__name__} is {kwargs["key_momentum"]}, but there is '
                'a momentum encoder for images alone, in lt_mm.LongTailClassifier; leave it out, '
                'or take keys from a teacher.'
            )
        super().__init__(*args, freeze_encoder=freeze_encoder, **kwargs)
        name = type(self).__name__
        if freeze_decode_head and not freeze_encoder:
            raise ValueError(
                f'freeze_decode_head of {name} needs freeze_encoder=True; set it, or leave '
                'freeze_decode_head out.'
            )
        if freeze_encoder and self.with_auxiliary_head:
            raise ValueError(
                f'the auxiliary head of {name} has nothing to teach, because the encoder is '
                'frozen; set model.auxiliary_head=None.'
            )
        if freeze_decode_head:
            for head in self._heads():
                for parameter in head.parameters(recurse=False):
                    parameter.requires_grad_(False)
        self._check_what_learns()

    def frozen_parts(self) -> Iterator[nn.Module]:
        """Backbone and neck and, where asked for, what precedes the classifier in the heads."""
        yield from super().frozen_parts()
        if not self.freeze_decode_head:
            return
        for head in self._heads():
            if not isinstance(getattr(head, 'conv_seg', None), nn.Module):
                raise ValueError(
                    f'the decode head {type(head).__name__} has no conv_seg, so what precedes its '
                    'classifier is unknown; leave freeze_decode_head out.'
                )
            for name, part in head.named_children():
                if name not in _OF_THE_CLASSIFIER:
                    yield part

    def train(self, mode: bool = True) -> '_LongTailSegmentor':
        """Set the mode of what is not frozen."""
        super().train(mode)
        if isinstance(self.backbone, DDRNet | PIDNet):
            # Its flag alone, not those of its layers, decides which maps the head in training gets.
            self.backbone.training = mode
        return self

    def check_teacher(self, teacher: SegmentationTeacher) -> None:
        """Refuse a teacher that does not suit.

        Raises:
            ValueError: if its features or its images are others than the student's.
        """
        heads = self._heads()
        for index, head in enumerate(heads):
            name = 'decode_head' if len(heads) == 1 else f'decode_head[{index}]'
            for argument, width in getattr(head, 'key_channels', {}).items():
                check_feature_width(teacher.feature_channels, width, f'{name}.{argument}')
        super().check_teacher(teacher)

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """The losses of the heads, with keys and logits from the teacher.

        Args:
            inputs: (N, 3, H, W), preprocessed.
            data_samples: of the N images.
        """
        learning = [head for head in self._heads() if _learns(head)]
        teacher = self.teacher
        with ExitStack() as stack:
            stack.enter_context(checked_once())
            if teacher is not None:
                taught = teacher(inputs, any(map(_takes_keys, learning)))
                for head in learning:
                    stack.enter_context(head.taught_by(taught))
            return super().loss(inputs, data_samples)

    def _heads(self) -> list[nn.Module]:
        return _listed(self.decode_head)

    def _check_what_learns(self) -> None:
        """Refuse a teacher that nobody learns from, and distillations that nobody teaches.

        Raises:
            ValueError: naming the head.
        """
        name, heads = type(self).__name__, self._heads()
        if self.has_teacher and not any(map(_learns, heads)):
            names = ' and '.join(type(head).__name__ for head in heads)
            raise ValueError(
                f'{name} has a teacher, but its decode_head, {names}, takes neither its features '
                'as keys nor its logits; use lt_mm.LongTailHead with a contrast loss that takes '
                "keys, such as contrast=dict(type='lt_mm.GMLLoss'), or with a distillation, or "
                'leave the teacher out.'
            )
        distils = next(filter(_distils, heads), None)
        if distils is not None and not self.has_teacher:
            raise ValueError(
                f'the decode_head {type(distils).__name__} has a distillation, but {name} has no '
                'teacher; set teacher=dict(config=..., checkpoint=...), or leave distillation out.'
            )
        auxiliary = next(filter(_distils, _listed(getattr(self, 'auxiliary_head', None))), None)
        if auxiliary is not None:
            raise ValueError(
                f'the auxiliary head {type(auxiliary).__name__} has a distillation, but the '
                f'teacher of {name} teaches its decode_head alone; leave distillation out there.'
            )


def _listed(heads: nn.Module | None) -> list[nn.Module]:
    if heads is None:
        return []
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def _distils(head: nn.Module) -> bool:
    """Whether a head, or one of several experts, compares its logits with a teacher's."""
    return any(getattr(part, 'distillation', None) is not None for part in head.modules())


def _learns(head: nn.Module) -> bool:
    """Whether a head has a use for a teacher."""
    return _distils(head) or _takes_keys(head)


def _takes_keys(head: nn.Module) -> bool:
    """Whether a head, or one of several experts, compares with the features of a teacher."""
    return bool(getattr(head, 'takes_keys', False))


@MODELS.register_module()
class LongTailEncoderDecoder(_LongTailSegmentor, EncoderDecoder):
    """An EncoderDecoder with a teacher, or in the second stage of decoupled training.

    It has the weights of an EncoderDecoder of the same parts, and predicts as that does.

    Args:
        args: those of mmsegmentation's EncoderDecoder, with a
            :class:`~lt_mm.models.heads.LongTailHead` or several in a
            :class:`~lt_mm.models.heads.MultiExpertDecodeHead` as ``decode_head``, where there is a
            teacher.
        teacher: ``dict(config=..., checkpoint=...)``, see :class:`SegmentationTeacher`. It sees
            the very batch the student sees, in eval mode, and gives keys to contrast losses and
            logits to distillations. ``dict()`` for one that an earlier stage gives.
        freeze_encoder: whether backbone and neck are frozen.
        freeze_decode_head: whether all of the decode head that comes before its classifier,
            ``conv_seg``, is frozen too.
        frozen_batch_norm: 'eval' or 'statistics', see :class:`FrozenParts`.
        kwargs: further ones of EncoderDecoder.

    Raises:
        ValueError: if the head learns nothing from a teacher, or has a distillation without one;
            if an auxiliary head has a distillation; if the decode head is to be frozen
            without the encoder, or has no ``conv_seg``; if there is an auxiliary head, which a
            frozen encoder cannot learn from; for another policy, or one that nothing frozen could
            follow. In training, if the teacher gives features of another width than the head's
            queue, or was trained on otherwise normalised images.

    Source: Suh and Seo, ICML 2023, section 3.3 (teacher-student strategy); Kang et al., ICLR 2020;
    Zhang et al., CVPR 2021.
    """


@MODELS.register_module()
class LongTailCascadeEncoderDecoder(_LongTailSegmentor, CascadeEncoderDecoder):
    """:class:`LongTailEncoderDecoder` for a cascade of decode heads, such as those of OCRNet.

    Every head that has a contrast or a distillation learns from the teacher.

    Args:
        args: those of mmsegmentation's CascadeEncoderDecoder.
        teacher: as there.
        freeze_encoder: as there.
        freeze_decode_head: as there, of all heads.
        frozen_batch_norm: as there.
        kwargs: further ones of CascadeEncoderDecoder.

    Raises:
        ValueError: as there.
    """
