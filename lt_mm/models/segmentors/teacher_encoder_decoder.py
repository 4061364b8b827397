"""EncoderDecoder that learns from the features of a frozen second network."""

from typing import Any

from mmengine.model import ImgDataPreprocessor
from mmseg.models.segmentors import EncoderDecoder
from mmseg.utils import SampleList
from torch import Tensor

from lt_mm.models.decode_heads import GMLHeadMixin
from lt_mm.models.segmentors.frozen_teacher import FrozenTeacher
from lt_mm.registry import MODELS


@MODELS.register_module()
class TeacherEncoderDecoder(EncoderDecoder):
    """An EncoderDecoder whose GML head takes its keys from a frozen teacher.

    The teacher sees the very batch the student sees, in eval mode. It is in no checkpoint, no
    optimizer and no DDP bucket. It is loaded when training initialises the weights, so inference
    needs neither its memory nor its file.

    Args:
        teacher: ``dict(config=..., checkpoint=...)``, see :class:`FrozenTeacher`.
        args: those of :class:`EncoderDecoder`, with a GML head as ``decode_head``.
        kwargs: likewise.

    Raises:
        ValueError: if the head takes no keys; in training, if the teacher gives features of
            another width than the head's queue, or was trained on otherwise normalised images.

    Source: Suh and Seo, ICML 2023, section 3.3 (teacher-student strategy).
    """

    def __init__(self, *args: Any, teacher: dict, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.decode_head, GMLHeadMixin):
            raise ValueError(
                f'decode_head is a {type(self.decode_head).__name__}, which takes no keys from a '
                'teacher; use one of the lt_mm.GML*Head.'
            )
        self._teacher_cfg = teacher
        self._teacher: FrozenTeacher | None = None

    @property
    def teacher(self) -> FrozenTeacher:
        """The teacher, loaded at the first use."""
        if self._teacher is None:
            teacher = FrozenTeacher(**self._teacher_cfg)
            self._check_feature_width(teacher)
            self._check_preprocessing(teacher)
            self._teacher = teacher
        return self._teacher

    def init_weights(self) -> None:
        """Initialise the student, and find out now whether the teacher is there and fits."""
        super().init_weights()
        _ = self.teacher

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """The student's losses, with keys from the teacher."""
        with self.decode_head.keys_from(self.teacher(inputs)):
            return super().loss(inputs, data_samples)

    def _check_feature_width(self, teacher: FrozenTeacher) -> None:
        expected = self.decode_head.gml.queue.features.shape[1]
        if teacher.feature_channels != expected:
            raise ValueError(
                f'the teacher gives features of {teacher.feature_channels} channels, but the '
                f'queue of the head has {expected}; set '
                f'decode_head.gml.key_channels={teacher.feature_channels}.'
            )

    def _check_preprocessing(self, teacher: FrozenTeacher) -> None:
        ours, theirs = self.data_preprocessor, teacher.model.data_preprocessor
        # A teacher whose config names no preprocessor says nothing about its images.
        if not (isinstance(ours, ImgDataPreprocessor) and isinstance(theirs, ImgDataPreprocessor)):
            return
        for name, mine, other in zip(
            ('mean', 'std', 'swapping of red and blue'),
            _normalisation(ours),
            _normalisation(theirs),
            strict=True,
        ):
            if mine != other:
                raise ValueError(
                    f'{name} of the data_preprocessor is {mine} for the student and {other} for '
                    'the teacher; they share the batch, so use the same.'
                )


def _normalisation(preprocessor: ImgDataPreprocessor) -> tuple[list | None, list | None, bool]:
    """Mean, standard deviation and whether the channel order is reversed."""
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    return (
        None if mean is None else mean.flatten().tolist(),
        None if std is None else std.flatten().tolist(),
        # mmengine keeps this one, on which mmseg's own subclass builds, under no public name.
        preprocessor._channel_conversion,
    )
