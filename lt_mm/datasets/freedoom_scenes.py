"""Freedoom scenes as mmseg reads them."""

import json
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset

from lt_mm.datasets.digit_scenes_maker import INFO_FILE
from lt_mm.registry import DATASETS


@DATASETS.register_module()
class FreedoomScenesDataset(BaseSegDataset):
    """Frames of the levels of Freedoom, with one class an object's name and a natural tail.

    ``tools/dataset_converters/freedoom_scenes.py`` makes it. On disk it looks like ADE20K:
    ``images/{training,tuning,validation}/*.jpg`` and
    ``annotations/{training,tuning,validation}/*.png``, where 0 is unlabelled and class c is stored
    as c + 1. The classes are those of ``dataset.json`` in the folder.

    Args:
        data_root (str): Root folder. Defaults to ``'data/freedoom_scenes'``.
        img_suffix (str): Suffix of images. Defaults to ``'.jpg'``.
        seg_map_suffix (str): Suffix of annotations. Defaults to ``'.png'``.
        reduce_zero_label (bool): Whether label 0 means unlabelled. Defaults to True.
        metainfo (dict, optional): Replaces entries such as ``classes``. Defaults to None.
        **kwargs: Further arguments of :class:`mmseg.datasets.BaseSegDataset`, ``data_prefix``
            above all.

    Raises:
        FileNotFoundError: If ``data_root`` has no ``dataset.json``.
    """

    def __init__(
        self,
        data_root: str = 'data/freedoom_scenes',
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        reduce_zero_label: bool = True,
        metainfo: dict | None = None,
        **kwargs: Any,
    ) -> None:
        path = Path(data_root) / INFO_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f'{path} does not exist, which names the classes: make the data set with '
                f'python tools/dataset_converters/freedoom_scenes.py {data_root}.'
            )
        classes = json.loads(path.read_text())['classes']
        super().__init__(
            data_root=data_root,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=reduce_zero_label,
            metainfo={'classes': classes, **(metainfo or {})},
            **kwargs,
        )
