"""A trained segmentor that only gives features."""

import copy
import os
import re
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor, nn

from lt_mm.models.segmentors.safe_checkpoint import load_weights

# Parts of a segmentor, and of the heads of this package, that give nothing to the features.
_TRAINING_ONLY = re.compile(r'(auxiliary_head|decode_head(\.\d+)?\.(gml|loss_decode))\.')


class FrozenTeacher:
    """Features that a trained segmentor gives its classifier; never trained, never saved.

    It is deliberately no ``nn.Module``: as an attribute of one it stays out of the parameters,
    the state dict, ``train()`` and DDP. Its weights are read without running any code that the
    file may bring. A deep copy, as an averaged model takes one, is the teacher itself.

    Args:
        config: config file of the teacher (a path, or a name such as
            'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py'), or its content, or its ``model``
            dict.
        checkpoint: path or URL of its weights. What only training needs (auxiliary heads, losses,
            the queue of a GML head) may be missing there, or be there in vain.

    Raises:
        FileNotFoundError: if config or checkpoint is a path to nothing.
        ConnectionError: if the checkpoint cannot be downloaded.
        ValueError: if the config has no model, the checkpoint is damaged or could run code, the
            weights do not fit the config, or the teacher has no ``conv_seg``.
    """

    def __init__(self, config: str | os.PathLike | dict, checkpoint: str | os.PathLike) -> None:
        self.model = MMSEG_MODELS.build(_model_config(config)).eval().requires_grad_(False)
        _load_strictly(self.model, checkpoint)
        head = getattr(self.model, 'decode_head', None)
        self._head = head[-1] if isinstance(head, nn.ModuleList) else head
        if not hasattr(self._head, 'conv_seg'):
            raise ValueError(
                f'the teacher head {type(self._head).__name__} has no conv_seg whose input could '
                'be taken as key feature; choose a teacher with a per-pixel classifier.'
            )
        self._captured: Tensor | None = None
        self._head.conv_seg.register_forward_pre_hook(self._capture)

    def __deepcopy__(self, memo: dict) -> 'FrozenTeacher':
        return self

    @property
    def feature_channels(self) -> int:
        """Width of the features."""
        return self._head.channels

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Features (N, feature_channels, h, w) of preprocessed images (N, 3, H, W).

        Raises:
            ValueError: if the head of the teacher passes its ``conv_seg`` by.
        """
        # No submodule of the student, so .to() and .cuda() of the student do not move it.
        if next(self.model.parameters()).device != inputs.device:
            self.model.to(inputs.device)
        self.model(inputs, mode='tensor')
        features, self._captured = self._captured, None
        if features is None:
            raise ValueError(
                f'the teacher head {type(self._head).__name__} does not use its conv_seg, so it '
                'gives no features; choose a teacher with a per-pixel classifier.'
            )
        return features

    def _capture(self, module: nn.Module, inputs: tuple) -> None:
        self._captured = inputs[0]


def _model_config(config: str | os.PathLike | dict) -> ConfigDict:
    """The teacher's ``model``, without what would download weights the checkpoint holds."""
    content = _config_content(config)
    model = content.get('model', content if isinstance(config, dict) else None)
    if not isinstance(model, dict) or 'type' not in model:
        described = f'with the keys {sorted(content)}' if isinstance(config, dict) else config
        raise ValueError(
            f'teacher config {described} has no model; pass the config that the teacher was '
            'trained with.'
        )
    model.pretrained = None
    if 'auxiliary_head' in model:
        model.auxiliary_head = None
    if 'backbone' in model:
        model.backbone.init_cfg = None
        model.backbone.pretrained = None
    return model


def _config_content(config: str | os.PathLike | dict) -> Any:
    if isinstance(config, dict):
        return ConfigDict(copy.deepcopy(config))
    config = os.fspath(config)
    is_name = '::' in config
    try:
        if is_name:
            return Config.fromstring(f'_base_ = {config!r}', '.py')
        return Config.fromfile(Path(config).expanduser())
    except FileNotFoundError as error:
        remedy = 'look at the names of configs in that package' if is_name else 'check the path'
        raise FileNotFoundError(
            f'teacher config {config!r} does not exist ({error}); {remedy}, or pass the model dict.'
        ) from error


def _load_strictly(model: nn.Module, checkpoint: str | os.PathLike) -> None:
    weights = load_weights(checkpoint)
    for name in [name for name in weights if _TRAINING_ONLY.match(name)]:
        del weights[name]
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _misfit(checkpoint, str(error)) from error
    # Checkpoints older than PyTorch 0.4.1 lack the counter; nothing reads it in eval mode.
    missing = [
        name
        for name in missing
        if not _TRAINING_ONLY.match(name) and not name.endswith('num_batches_tracked')
    ]
    faults = [
        f'{len(names)} {fault}: {", ".join(names[:5])}{", ..." if len(names) > 5 else ""}'
        for fault, names in (('missing from it', missing), ('unknown to the model', unexpected))
        if names
    ]
    if faults:
        raise _misfit(checkpoint, '; '.join(faults))


def _misfit(checkpoint: str | os.PathLike, fault: str) -> ValueError:
    return ValueError(
        f'teacher checkpoint {str(checkpoint)!r} does not fit the teacher config ({fault}); give '
        'the config that this checkpoint was trained with.'
    )
