"""The demo data set as mmseg reads it."""

from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmseg.datasets import BaseSegDataset

from lt_mm.datasets.digit_scenes_maker import CLASSES, DigitScenesParameters, make_digit_scenes
from lt_mm.registry import DATASETS


@DATASETS.register_module()
class DigitScenesDataset(BaseSegDataset):
    """Digit scenes: 12 long-tailed classes of real pixels that need no download.

    On disk it looks like ADE20K: ``images/{training,tuning,validation}/*.jpg`` and
    ``annotations/{training,tuning,validation}/*.png``, where 0 is unlabelled and class c is
    stored as c + 1. If ``data_root`` does not exist, it is made when the annotations are first
    loaded, by rank 0 while the others wait; every rank must then load them.

    Args:
        data_root (str): Root folder. Defaults to ``'data/digit_scenes'``.
        make (dict, optional): Arguments of
            :class:`~lt_mm.datasets.digit_scenes_maker.DigitScenesParameters`; a ``data_root`` that
            was made with others is an error. With None, what lies in ``data_root`` is taken as it
            is, and made with default parameters if nothing is there. Defaults to None.
        img_suffix (str): Suffix of images. Defaults to ``'.jpg'``.
        seg_map_suffix (str): Suffix of annotations. Defaults to ``'.png'``.
        reduce_zero_label (bool): Whether label 0 means unlabelled. Defaults to True.
        **kwargs: Further arguments of :class:`mmseg.datasets.BaseSegDataset`, ``data_prefix``
            above all.

    Raises:
        FileExistsError: If ``data_root`` is not what ``make`` asks for.
        ValueError: If a value in ``make`` is out of its range.
    """

    # The command-line tools stop where data is missing, but not for a class that says this.
    makes_itself_when_missing = True

    METAINFO = dict(
        classes=CLASSES,
        palette=[
            [55, 71, 79], [255, 224, 178], [31, 119, 180], [255, 127, 14], [44, 160, 44],
            [214, 39, 40], [148, 103, 189], [140, 86, 75], [227, 119, 194], [127, 127, 127],
            [188, 189, 34], [23, 190, 207],
        ],
    )  # fmt: skip

    def __init__(
        self,
        data_root: str = 'data/digit_scenes',
        make: dict | None = None,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        reduce_zero_label: bool = True,
        **kwargs: Any,
    ) -> None:
        self.parameters = None if make is None else DigitScenesParameters(**make)
        super().__init__(
            data_root=data_root,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Make the data set if it is missing, then list its images.

        Returns:
            list[dict]: See :meth:`mmseg.datasets.BaseSegDataset.load_data_list`.
        """
        if is_main_process():
            try:
                self._make_if_missing()
            finally:
                # Reached after an error too, or the other ranks would wait for ever.
                barrier()
        else:
            barrier()
            # Finds the work of rank 0, unless the disk is not shared between the machines.
            self._make_if_missing()
        return super().load_data_list()

    def _make_if_missing(self) -> None:
        if self.parameters is not None or not Path(self.data_root).exists():
            make_digit_scenes(self.data_root, self.parameters)
