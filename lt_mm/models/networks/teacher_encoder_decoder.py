"""EncoderDecoder that learns from the features of a frozen second network."""

from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from mmseg.utils import SampleList
from torch import Tensor

from lt_mm.models.networks.taught_mixin import TaughtMixin
from lt_mm.models.teachers import SegmentationTeacher, check_feature_width
from lt_mm.registry import MODELS


@MODELS.register_module()
class TeacherEncoderDecoder(TaughtMixin, EncoderDecoder):
    """An EncoderDecoder whose GML heads take their keys from a frozen teacher.

    The teacher sees the very batch the student sees, in eval mode; see :class:`TaughtMixin`.

    Args:
        teacher: ``dict(config=..., checkpoint=...)``, see :class:`SegmentationTeacher`.
        args: those of :class:`EncoderDecoder`, with a GML head as ``decode_head``, or a
            :class:`MultiExpertDecodeHead` with GML heads.
        kwargs: likewise.

    Raises:
        ValueError: if the head takes no keys; in training, if the teacher gives features of
            another width than the head's queue, or was trained on otherwise normalised images.

    Source: Suh and Seo, ICML 2023, section 3.3 (teacher-student strategy).
    """

    teacher_class = SegmentationTeacher

    def __init__(self, *args: Any, teacher: dict, **kwargs: Any) -> None:
        super().__init__(*args, teacher=teacher, **kwargs)
        if not getattr(self.decode_head, 'key_channels', None):
            raise ValueError(
                f'decode_head is a {type(self.decode_head).__name__}, which takes no keys from a '
                'teacher; use one of the lt_mm.GML*Head, alone or among several experts.'
            )

    def check_teacher(self, teacher: SegmentationTeacher) -> None:
        """Refuse a teacher that does not suit.

        Raises:
            ValueError: if its features or its images are others than the student's.
        """
        for argument, width in self.decode_head.key_channels.items():
            check_feature_width(teacher.feature_channels, width, f'decode_head.{argument}')
        super().check_teacher(teacher)

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """The student's losses, with keys from the teacher."""
        with self.decode_head.keys_from(self.teacher(inputs)):
            return super().loss(inputs, data_samples)
