"""Long-tailed data sets that are published as text lists over the images of a larger one."""

import os.path as osp
from typing import Any

import numpy as np
from mmengine.fileio import LocalBackend, exists, get_file_backend
from mmpretrain.datasets import CustomDataset, ImageNet

from lt_mm.registry import DATASETS


class LabelListDataset(CustomDataset):
    """Images named by the lines ``path label`` of a text file, checked while it is read.

    A subclass sets ``METAINFO['classes']``, the class names, ``list_source``, where the lists come
    from, and ``needs_every_class``, whether a list that leaves a class out is the wrong one.

    Args:
        ann_file (str): The list, relative to ``data_root`` unless absolute. The label is what
            follows the last blank of a line, so paths may hold blanks.
        data_root (str): Root folder. Defaults to ''.
        data_prefix (str | dict): Folder that the paths of the list start from, relative to
            ``data_root``. Defaults to '', ``data_root`` itself.
        **kwargs: Further arguments of :class:`mmpretrain.datasets.CustomDataset`: ``pipeline``, or
            ``classes`` to give class names, in label order, as a list or a file with one a line.

    Raises:
        FileNotFoundError: If the list, or the first image of it, does not exist.
        ValueError: If a line is not ``path label``, a label is out of range, or the number of
            classes or of class names is not that of the data set.
    """

    list_source = ''
    needs_every_class = False

    def __init__(
        self, ann_file: str, data_root: str = '', data_prefix: str | dict = '', **kwargs: Any
    ) -> None:
        if not ann_file:
            raise ValueError(
                f'{type(self).__name__} has no ann_file, without which it would be every image of '
                f'the folder: give the path of a list ({self.list_source}).'
            )
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the list.

        Returns:
            list[dict]: For each image 'img_path', joined with the prefix, and 'gt_label'.
        """
        name, expected = type(self).__name__, len(self.METAINFO['classes'])
        if not exists(self.ann_file):
            raise FileNotFoundError(
                f'The list of {name} is missing, {osp.abspath(self.ann_file)} does not exist: put '
                f'it there ({self.list_source}), or say with ann_file where it is.'
            )
        data_list = self._read_annotations()
        if len(self.CLASSES) != expected:
            raise ValueError(
                f'{name} has {expected} classes, but {len(self.CLASSES)} class names were given: '
                'correct classes, or use mmpretrain.CustomDataset for other classes.'
            )
        if self.with_label:
            self._check_labels(data_list)
        self._check_first_image(data_list)
        return data_list

    def _read_annotations(self) -> list[dict]:
        try:
            return super().load_data_list()
        except ValueError as error:
            raise ValueError(
                f"{self.ann_file} is not a list of lines 'path label' ({error}): check that it is "
                f'a list of {type(self).__name__} ({self.list_source}).'
            ) from error

    def _check_labels(self, data_list: list[dict]) -> None:
        name, num_classes = type(self).__name__, len(self.CLASSES)
        labels = np.array([sample['gt_label'] for sample in data_list], dtype=np.int64)
        wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if len(wrong):
            raise ValueError(
                f"{self.ann_file} gives '{data_list[wrong[0]]['img_path']}' the label "
                f'{labels[wrong[0]]}, but {name} has labels 0 to {num_classes - 1}: check that it '
                'is the list of this data set.'
            )
        found = len(np.unique(labels))
        if found == 0 or (self.needs_every_class and found < num_classes):
            raise ValueError(
                f'{self.ann_file} lists images of {found} classes, but {name} has {num_classes}: '
                'take the complete public list, or mmpretrain.CustomDataset for a part of it.'
            )

    def _check_first_image(self, data_list: list[dict]) -> None:
        path = data_list[0]['img_path'] if data_list else ''
        if not isinstance(get_file_backend(path), LocalBackend) or exists(path):
            return
        raise FileNotFoundError(
            f'The images of {type(self).__name__} are missing, {osp.abspath(path)}, the first one '
            f'in {self.ann_file}, does not exist: put them there, or say with data_prefix which '
            'folder the paths of the list start from.'
        )


@DATASETS.register_module()
class ImageNetLT(LabelListDataset):
    """ImageNet-LT (Liu et al., CVPR 2019): 115,846 training images of the 1000 ImageNet classes.

    1280 images for the most frequent class, 5 for the rarest; 20 a class in the validation list,
    50 in the test list. Labels are in the order of the WordNet ids, as mmpretrain's class names;
    for lists that number the classes otherwise (by frequency, for example) give ``classes`` too.
    Arguments and errors are those of :class:`LabelListDataset`.
    """

    METAINFO = ImageNet.METAINFO
    list_source = 'ImageNet_LT_{train,val,test}.txt, see docs/datasets.md'
    needs_every_class = True


@DATASETS.register_module()
class PlacesLT(LabelListDataset):
    """Places-LT (Liu et al., CVPR 2019): 62,500 training images of the 365 classes of Places365.

    4980 images for the most frequent class, 5 for the rarest. Class names are the numbers of the
    classes unless ``classes`` is given. Arguments and errors are those of
    :class:`LabelListDataset`.
    """

    METAINFO = dict(classes=tuple(map(str, range(365))))
    list_source = 'Places_LT_{train,val,test}.txt, see docs/datasets.md'
    needs_every_class = True
