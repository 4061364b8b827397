"""A trained segmentor that only gives features."""

from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor, nn


class FrozenTeacher:
    """Features that a trained segmentor gives its classifier; never trained, never saved.

    It is deliberately no ``nn.Module``: as an attribute of one it stays out of the parameters,
    the state dict, ``train()`` and DDP.

    Args:
        config: config file of the teacher (a path, or a name such as
            'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py'), or its ``model`` dict.
        checkpoint: path or URL of its weights.

    Raises:
        FileNotFoundError: if config or checkpoint is a path to nothing.
        ValueError: if the weights do not fit the config, or the teacher has no ``conv_seg``.
    """

    def __init__(self, config: str | dict, checkpoint: str) -> None:
        self.model = MMSEG_MODELS.build(_model_config(config)).eval().requires_grad_(False)
        _load_strictly(self.model, checkpoint)
        head = self.model.decode_head
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
    def __call__(self, inputs: Tensor) -> Tensor:
        """Features (N, feature_channels, h, w) of preprocessed images (N, 3, H, W)."""
        # No submodule of the student, so .to() and .cuda() of the student do not move it.
        if next(self.model.parameters()).device != inputs.device:
            self.model.to(inputs.device)
        self.model(inputs, mode='tensor')
        features, self._captured = self._captured, None
        return features

    def _capture(self, module: nn.Module, inputs: tuple) -> None:
        self._captured = inputs[0]


def _model_config(config: str | dict) -> ConfigDict:
    """The teacher's ``model``, without what would download weights the checkpoint holds."""
    if isinstance(config, dict):
        model = ConfigDict(config)
    elif '::' in config:
        model = Config.fromstring(f'_base_ = {config!r}', '.py').model
    else:
        model = Config.fromfile(config).model
    model.pretrained = None
    if 'backbone' in model:
        model.backbone.init_cfg = None
        model.backbone.pretrained = None
    return model


def _load_strictly(model: nn.Module, checkpoint: str) -> None:
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise FileNotFoundError(
            f'teacher checkpoint {checkpoint!r} does not exist; train the teacher first, or pass '
            'the path or URL of its weights.'
        )
    try:
        load_checkpoint(model, checkpoint, map_location='cpu', strict=True, logger=None)
    except RuntimeError as error:
        raise ValueError(
            f'teacher checkpoint {checkpoint!r} does not fit the teacher config: {error}'
        ) from error
