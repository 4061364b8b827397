"""An ImageClassifier that also learns from the logits of a frozen teacher."""

from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from lt_mm.models.networks.taught_mixin import TaughtMixin
from lt_mm.models.teachers.classification_teacher import ClassificationTeacher
from lt_mm.registry import MODELS


@MODELS.register_module()
class DistilledClassifier(TaughtMixin, ImageClassifier):
    """Any ImageClassifier with one distillation beside the losses of its head.

    For RIDE a student of few experts has a teacher of more: ``loss_kd`` compares the mean logits of
    the one with those of the other, once and not once an expert. Inference is that of an
    ImageClassifier of the same parts, with the same names of weights.

    Args:
        args: those of mmpretrain's ImageClassifier.
        teacher: ``dict(config=..., checkpoint=...)``, see
            :class:`~lt_mm.models.teachers.classification_teacher.ClassificationTeacher`. Its logits
            are those of its test: leave post-compensation out of its config.
        distillation: ``dict(type='lt_mm.KDLoss', temperature=1.5)``: a module that takes the logits
            of the student and those of the teacher.
        kwargs: further ones of ImageClassifier.

    Raises:
        ValueError: in training, if there is no teacher, it was trained on otherwise normalised
            images, or it gives logits of another shape.

    Source: Wang et al., ICLR 2021 (RIDE), knowledge distillation to fewer experts; Hinton et al.,
    2015.
    """

    teacher_class = ClassificationTeacher

    def __init__(self, *args: Any, teacher: dict | None, distillation: dict, **kwargs: Any) -> None:
        super().__init__(*args, teacher=teacher, **kwargs)
        self.distillation = MMPRETRAIN_MODELS.build(distillation)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """The losses of the head, and ``loss_kd``.

        Args:
            inputs: (N, C, H, W).
            data_samples: of the N images.
        """
        if self.teacher is None:
            raise ValueError(
                f'{type(self).__name__} has no teacher; give '
                'teacher=dict(config=..., checkpoint=...), or use an ImageClassifier.'
            )
        feats = self.extract_feat(inputs)
        logits, taught = self.head(feats), self.teacher(inputs).logits
        if taught.shape != logits.shape:
            raise ValueError(
                f'the teacher gives logits of shape {tuple(taught.shape)}, but those of '
                f'{type(self).__name__} have {tuple(logits.shape)}; use a teacher of the same '
                'classes.'
            )
        losses = self.head.loss(feats, data_samples)
        return losses | dict(loss_kd=self.distillation(logits, taught))
