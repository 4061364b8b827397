"""A trained segmentor that gives features and logits."""

import os

import torch
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor, nn

from lt_mm.models.teachers.frozen_network import FrozenNetwork, TeacherOutput


class SegmentationTeacher(FrozenNetwork):
    """Features that a trained segmentor gives its classifier, and its logits.

    Auxiliary heads, losses and the queue of a contrast loss may be missing in the checkpoint, or be
    there in vain. Of a head that gives further logits, such as a DAHead, the first are those that
    it predicts with.

    Args:
        config: see :class:`FrozenNetwork`.
        checkpoint: likewise.

    Raises:
        ValueError: also if the teacher has no ``conv_seg``.
    """

    registry = MMSEG_MODELS

    def __init__(self, config: str | os.PathLike | dict, checkpoint: str | os.PathLike) -> None:
        super().__init__(config, checkpoint)
        head = getattr(self.model, 'decode_head', None)
        self._head = head[-1] if isinstance(head, nn.ModuleList) else head
        if not hasattr(self._head, 'conv_seg'):
            raise ValueError(
                f'the teacher head {type(self._head).__name__} has no conv_seg whose input could '
                'be taken as key feature; choose a teacher with a per-pixel classifier.'
            )
        self._captured: Tensor | None = None
        self._head.conv_seg.register_forward_pre_hook(self._capture)

    @property
    def feature_channels(self) -> int:
        """Width of the features."""
        return self._head.channels

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> TeacherOutput:
        """Maps of features and logits, (N, ., h, w), of preprocessed images (N, 3, H, W).

        Raises:
            ValueError: if the head of the teacher passes its ``conv_seg`` by.
        """
        logits = self.model(self.adapt(inputs), mode='tensor')
        features, self._captured = self._captured, None
        if features is None:
            raise ValueError(
                f'the teacher head {type(self._head).__name__} does not use its conv_seg, so it '
                'gives no features; choose a teacher with a per-pixel classifier.'
            )
        return TeacherOutput(features, logits[0] if isinstance(logits, tuple) else logits)

    def _capture(self, module: nn.Module, inputs: tuple) -> None:
        self._captured = inputs[0]
