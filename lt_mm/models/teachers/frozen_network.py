"""A trained network of another config, which is never trained and never saved."""

import os
import re
from typing import ClassVar

from mmengine.model import BaseDataPreprocessor
from mmengine.registry import Registry
from torch import Tensor, nn

from lt_mm.checkpoints import load_weights
from lt_mm.models.teachers.teacher_config import teacher_model_config


class FrozenNetwork:
    """A model in eval mode with the weights of a checkpoint, without gradients.

    It is deliberately no ``nn.Module``: as an attribute of one it stays out of the parameters,
    the state dict, ``train()`` and DDP. Its weights are read without running any code that the
    file may bring. A deep copy, as an averaged model takes one, is the network itself.

    Subclasses say what they want of it, and set ``registry``, where its type is looked up, and
    ``training_only``, which matches the start of the names of weights that only training needs:
    they may be missing in the checkpoint, or be there in vain.

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
    training_only: ClassVar[re.Pattern]

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
        for name in [name for name in weights if self.training_only.match(name)]:
            del weights[name]
        try:
            missing, unexpected = self.model.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise _misfit(checkpoint, str(error)) from error
        # Checkpoints older than PyTorch 0.4.1 lack the counter; nothing reads it in eval mode.
        missing = [
            name
            for name in missing
            if not self.training_only.match(name) and not name.endswith('num_batches_tracked')
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
