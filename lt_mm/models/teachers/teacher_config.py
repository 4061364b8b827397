"""The model of a config, to be filled with the weights of a checkpoint."""

import copy
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict


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
