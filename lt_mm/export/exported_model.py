"""Export of a trained segmentor as a folder that mmsegmentation runs without lt_mm."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from lt_mm.export.inference_config import inference_settings
from lt_mm.export.plain_segmentor import plain_segmentor

# A config is no place for a class, but it can make the modules beside it importable.
_LOOK_BESIDE = """\
import sys

if '{{ fileDirname }}' not in sys.path:
    sys.path.append('{{ fileDirname }}')

"""


@dataclass(frozen=True)
class ExportedModel:
    """A segmentor or classifier that needs no lt_mm.

    Args:
        config: the plain model, and what :func:`inference_settings` keeps.
        checkpoint: ``state_dict`` and ``meta``, of tensors and plain Python types only.
        modules: name to text of Python modules that ``config`` imports and that must come with
            it: none, if mmsegmentation or mmpretrain has all parts of the model.
    """

    config: Config
    checkpoint: dict
    modules: dict[str, str]

    def save(self, folder: str | Path) -> list[Path]:
        """Write config.py, weights.pth and the modules into ``folder``, and return their paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        texts = {'config': (_LOOK_BESIDE if self.modules else '') + self.config.pretty_text}
        texts |= self.modules
        for name, text in texts.items():
            (folder / f'{name}.py').write_text(text, encoding='utf-8')
        torch.save(self.checkpoint, folder / 'weights.pth')
        return [folder / 'weights.pth', *(folder / f'{name}.py' for name in texts)]


def export_segmentor(config: Config, checkpoint: Mapping[str, Any]) -> ExportedModel:
    """Leave of a config and its checkpoint what mmsegmentation needs for the same predictions.

    Args:
        config: config of the training; left as it is.
        checkpoint: with the ``state_dict`` and perhaps the ``meta`` of mmengine's Runner; left as
            it is; :func:`~lt_mm.checkpoints.read_checkpoint` reads it. Of ``meta``, what
            ``dataset_meta`` and ``class_counts`` hold of plain types is kept.

    Raises:
        ValueError: if the model cannot be exported, see :func:`plain_segmentor`, or if the test
            pipeline cannot, see :func:`inference_settings`.
    """
    settings = config.to_dict()
    plain = plain_segmentor(whole_model(settings), trained_weights(checkpoint))
    return packed(*plain, inference_settings(settings), checkpoint)


def whole_model(settings: Mapping) -> dict:
    """The ``model`` of a config with its data preprocessor in it.

    mmengine's Runner looks for the latter beside the model, too; inference of the mm packages does
    not.
    """
    model = dict(settings.get('model') or {})
    model.setdefault('data_preprocessor', settings.get('data_preprocessor'))
    return model


def trained_weights(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The ``state_dict`` of a checkpoint.

    Raises:
        ValueError: if it has none.
    """
    if not isinstance(checkpoint, Mapping) or 'state_dict' not in checkpoint:
        raise ValueError('there is no state_dict; give a checkpoint that the training saved.')
    return checkpoint['state_dict']


def packed(
    model: dict,
    state_dict: dict[str, Tensor],
    modules: dict[str, str],
    settings: dict,
    checkpoint: Mapping[str, Any],
) -> ExportedModel:
    """Put a model that needs no lt_mm together with what is kept of its training.

    Args:
        model: ``model`` of the config to be written.
        state_dict: its weights.
        modules: see :class:`ExportedModel`.
        settings: the rest of the config.
        checkpoint: of the training, whose ``meta`` is kept as :func:`export_segmentor` says.
    """
    if modules:
        custom = settings.get('custom_imports', {'imports': []})
        custom = {**custom, 'imports': [*custom['imports'], *modules]}
        settings = {**settings, 'custom_imports': custom}
    meta = checkpoint.get('meta') or {}
    meta = {name: _plain(meta[name]) for name in ('dataset_meta', 'class_counts') if name in meta}
    return ExportedModel(
        Config({**settings, 'model': model}), dict(meta=meta, state_dict=state_dict), modules
    )


def _plain(value: Any) -> Any:
    """``value`` without what is not of Python's own types, and thus read anywhere."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if _is_plain(item)}
    return value if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))
