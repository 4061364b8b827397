"""A trained classifier that gives features and logits."""

import os

import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor

from lt_mm.models.teachers.frozen_network import FrozenNetwork, TeacherOutput


class ClassificationTeacher(FrozenNetwork):
    """Features and logits of any classifier of mmpretrain.

    Args:
        config: see :class:`FrozenNetwork`.
        checkpoint: likewise.

    Raises:
        ValueError: also if the teacher has no head with ``pre_logits``.
    """

    registry = MMPRETRAIN_MODELS

    def __init__(self, config: str | os.PathLike | dict, checkpoint: str | os.PathLike) -> None:
        super().__init__(config, checkpoint)
        head = getattr(self.model, 'head', None)
        if not hasattr(head, 'pre_logits'):
            described = 'no head' if head is None else f'the head {type(head).__name__}'
            raise ValueError(
                f'the teacher {type(self.model).__name__} has {described}, which gives no '
                'pre_logits to be taken as key features; choose a classifier of mmpretrain.'
            )

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> TeacherOutput:
        """Features and logits, in float32 at least, of preprocessed images (N, 3, H, W)."""
        stages = self.model.extract_feat(self.adapt(inputs))
        outputs = (self.model.head.pre_logits(stages), self.model.head(stages))
        return TeacherOutput(
            *(output.to(torch.promote_types(output.dtype, torch.float32)) for output in outputs)
        )
