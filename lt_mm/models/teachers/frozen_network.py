"""A trained network of another config, which is never trained and never saved."""

import copy
import os
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import Registry
from torch import Tensor, nn

from lt_mm.checkpoints import TRAINING_ONLY, load_weights
from lt_mm.compat import swaps_channels


class TeacherOutput(NamedTuple):
    """What a teacher says of a batch."""

    features: Tensor | None
    """(N, D, ...), what its classifier is given; None where none is wanted and known."""
    logits: Tensor
    """(N, C, ...)."""


class FrozenNetwork:
    """A model in eval mode with the weights of a checkpoint, without gradients.

    It is deliberately no ``nn.Module``: as an attribute of one it stays out of the parameters,
    the state dict, ``train()`` and DDP. Its weights are read without running any code that the
    file may bring. A deep copy, as an averaged model takes one, is the network itself.

    Subclasses say what they want of it, and set ``registry``, where its type is looked up. Weights
    that only training needs, such as those of losses and auxiliary heads, may be missing in the
    checkpoint, or be there in vain.

    Args:
        config: config file of the network (a path, or a name such as
            'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py' or
            'mmpretrain::resnet/resnet50_8xb32_in1k.py'), or its content, or its ``model`` dict.
        checkpoint: path or URL of its weights.

    Raises:
        FileNotFoundError: if config or checkpoint is a path to nothing.
        ConnectionError: if the checkpoint cannot be downloaded.
        ValueError: if the config has no model, the checkpoint is damaged or could run code, or the
            weights do not fit the config.
    """

    registry: ClassVar[Registry]

    def __init__(self, config: str | os.PathLike | dict, checkpoint: str | os.PathLike) -> None:
        model = teacher_model_config(config)
        self._says_preprocessing = model.get('data_preprocessor') is not None
        self.model: nn.Module = self.registry.build(model).eval().requires_grad_(False)
        self._load_strictly(checkpoint)

    def __deepcopy__(self, memo: dict) -> 'FrozenNetwork':
        return self

    @property
    def preprocessor(self) -> BaseDataPreprocessor | None:
        """What prepares its images; None if its config says nothing of that."""
        return self.model.data_preprocessor if self._says_preprocessing else None

    def adapt(self, inputs: Tensor) -> Tensor:
        """The images in the network's precision, after moving the network to their device."""
        # No submodule of the student, so .to() and .cuda() of the student do not move it.
        weight = next(self.model.parameters())
        if weight.device != inputs.device:
            self.model.to(inputs.device)
        return inputs.to(weight.dtype)

    def _load_strictly(self, checkpoint: str | os.PathLike) -> None:
        weights = load_weights(checkpoint)
        for name in [name for name in weights if TRAINING_ONLY.match(name)]:
            del weights[name]
        try:
            missing, unexpected = self.model.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise _misfit(checkpoint, str(error)) from error
        # Checkpoints older than PyTorch 0.4.1 lack the counter; nothing reads it in eval mode.
        missing = [
            name
            for name in missing
            if not TRAINING_ONLY.match(name) and not name.endswith('num_batches_tracked')
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


def teacher_model_config(config: str | os.PathLike | dict) -> ConfigDict:
    """The ``model`` of a config, without what would download weights or serves training alone.

    The ``data_preprocessor`` beside a model, where mmpretrain's configs have it, goes into it, as
    a Runner does it.

    Args:
        config: see :class:`FrozenNetwork`; it is not changed.

    Raises:
        FileNotFoundError: if there is no such file or name.
        ValueError: if the config has no model.
    """
    content = _content(config)
    model = content.get('model', content if isinstance(config, dict) else None)
    if not isinstance(model, dict) or 'type' not in model:
        described = f'with the keys {sorted(content)}' if isinstance(config, dict) else config
        raise ValueError(
            f'teacher config {described} has no model; pass the config that the teacher was '
            'trained with.'
        )
    if content.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', content.data_preprocessor)
    for part in ('pretrained', 'auxiliary_head', 'key_momentum'):
        if part in model:
            model[part] = None
    backbone = model.get('backbone') or {}
    for part in ('init_cfg', 'pretrained'):
        if part in backbone:
            backbone[part] = None
    return model


def _content(config: str | os.PathLike | dict) -> Any:
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


def check_feature_width(width: int, expected: int, argument: str) -> None:
    """Refuse a teacher whose features are no keys for the student's head.

    Args:
        width: channels of the teacher's features.
        expected: channels of the keys of the head.
        argument: what sets them in a config.

    Raises:
        ValueError: if they differ.
    """
    if width != expected:
        raise ValueError(
            f'the teacher gives features of {width} channels, but the keys of the '
            f'head have {expected}; set {argument}={width}.'
        )


def check_preprocessing(
    student: BaseDataPreprocessor, teacher: BaseDataPreprocessor | None
) -> None:
    """Refuse a teacher that was trained on otherwise normalised images.

    A student and a teacher that do not normalise images at all, or of which nothing is known,
    pass.

    Raises:
        ValueError: if mean, standard deviation or order of the channels differ.
    """
    ours, theirs = _normalisation(student), _normalisation(teacher)
    if ours is None or theirs is None:
        return
    for name, mine in ours.items():
        if mine != theirs[name]:
            raise ValueError(
                f'{name} of the data_preprocessor is {mine} for the student and {theirs[name]} '
                'for the teacher; they share the batch, so use the same.'
            )


def _normalisation(preprocessor: BaseDataPreprocessor | None) -> dict | None:
    """What is done to the values of an image; None where that is not known."""
    swaps = swaps_channels(preprocessor)
    if swaps is None:
        return None
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    return {
        'mean': None if mean is None else mean.flatten().tolist(),
        'std': None if std is None else std.flatten().tolist(),
        'swapping of red and blue': swaps,
    }
