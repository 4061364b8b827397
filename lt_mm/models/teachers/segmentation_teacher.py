"""A trained segmentor that gives features and logits."""

import os

import torch
from mmseg.models.decode_heads import PointHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor, nn

from lt_mm.models.shipped.mean_of_heads import MeanOfHeads
from lt_mm.models.teachers.frozen_network import FrozenNetwork, TeacherOutput


class SegmentationTeacher(FrozenNetwork):
    """Features that a trained segmentor gives its classifier, and its logits.

    Auxiliary heads, losses and the queue of a contrast loss may be missing in the checkpoint, or be
    there in vain. Of a head that gives further logits, such as a DAHead, the first are those that
    it predicts with. A head without ``conv_seg``, such as one of several experts, gives logits
    alone, and so does one that passes it by.

    Args:
        config: see :class:`FrozenNetwork`.
        checkpoint: likewise.

    Raises:
        ValueError: also if the teacher has no head that gives a map of logits.
    """

    registry = MMSEG_MODELS

    def __init__(self, config: str | os.PathLike | dict, checkpoint: str | os.PathLike) -> None:
        super().__init__(config, checkpoint)
        head = getattr(self.model, 'decode_head', None)
        self._head = head[-1] if isinstance(head, nn.ModuleList) else head
        self._captured: Tensor | None = None
        if hasattr(self._head, 'conv_seg'):
            self._head.conv_seg.register_forward_pre_hook(self._capture)
        elif isinstance(self._head, PointHead) or not isinstance(
            self._head, BaseDecodeHead | MeanOfHeads
        ):
            raise self._no_conv_seg()

    @property
    def feature_channels(self) -> int:
        """Width of the features.

        Raises:
            ValueError: if there are none, as the head has no ``conv_seg``.
        """
        if not hasattr(self._head, 'conv_seg'):
            raise self._no_conv_seg()
        return self._head.channels

    @torch.no_grad()
    def __call__(self, inputs: Tensor, needs_features: bool = True) -> TeacherOutput:
        """Maps of features and logits, (N, ., h, w), of preprocessed images (N, 3, H, W).

        Args:
            inputs: the images.
            needs_features: whether logits alone, with None for the features, will not do.

        Raises:
            ValueError: if the head of the teacher gives no map of logits, or passes its
                ``conv_seg`` by where features are needed.
        """
        logits = self.model(self.adapt(inputs), mode='tensor')
        features, self._captured = self._captured, None
        if features is None and needs_features:
            raise ValueError(
                f'the teacher head {type(self._head).__name__} does not use its conv_seg, so it '
                'gives no features; choose a teacher with a per-pixel classifier.'
            )
        logits = logits[0] if isinstance(logits, tuple) else logits
        if not isinstance(logits, Tensor):
            raise ValueError(
                f'the teacher head {type(self._head).__name__} gives a {type(logits).__name__} and '
                'no map of logits; choose a teacher with a per-pixel classifier.'
            )
        return TeacherOutput(features, logits)

    def _no_conv_seg(self) -> ValueError:
        return ValueError(
            f'the teacher head {type(self._head).__name__} has no conv_seg whose input could be '
            'taken as key feature; choose a teacher with a per-pixel classifier.'
        )

    def _capture(self, module: nn.Module, inputs: tuple) -> None:
        self._captured = inputs[0]
