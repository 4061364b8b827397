"""CIFAR-10-LT and CIFAR-100-LT, cut from the official archives as the literature cuts them."""

import os.path as osp
from typing import Any

import numpy as np
from mmpretrain.datasets import CIFAR10, CIFAR100

from lt_mm.compat import has_intact_archive
from lt_mm.datasets.long_tail_profile import (
    long_tailed_counts_of_head,
    profile_ratios,
    shuffled_by_class,
)
from lt_mm.registry import DATASETS


@DATASETS.register_module()
class CIFAR10LT(CIFAR10):
    """CIFAR-10 with a long-tailed training split; its test split stays whole and balanced.

    Class c keeps n_c = int(n_max * IF^(-c / (C - 1))) training images: frequency falls with the
    label. Which ones is decided as in the public code of LDAM (Cao et al., NeurIPS 2019), so this
    is, image by image, the set that papers report on: 12,406 images at IF = 100 and 13,996 at
    IF = 50.

    Args:
        data_root (str): Folder of ``cifar-10-batches-py``, the extracted official archive.
        split (str): 'train', 'test', or 'development', the images that ``development`` takes out.
            Defaults to 'train'.
        imbalance_factor (float): IF, images of the most frequent class over those of the rarest:
            100 means 100:1. 1 keeps every image. Without effect on the test split. Defaults to 100.
        profile (str): 'exp' as above, or 'step': the first half of the classes keeps every image,
            the rest n_max / IF; or 'zipf', see :func:`lt_mm.datasets.profile_ratios`. Defaults to
            'exp'.
        seed (int): Decides which images are kept; papers use 0. Defaults to 0.
        development (int): Training images of each class that are taken out before the tail is cut
            of the others, as Jamal et al. (CVPR 2020) do with 10. Defaults to 0.
        **kwargs: Further arguments of :class:`mmpretrain.datasets.CIFAR10`: ``pipeline``, and
            ``download=False`` to forbid the download of a missing archive.

    Raises:
        FileNotFoundError: If the archive is missing or damaged and cannot be downloaded.
        ValueError: If ``imbalance_factor``, ``profile`` or ``development`` is out of its range.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        imbalance_factor: float = 100,
        profile: str = 'exp',
        seed: int = 0,
        development: int = 0,
        **kwargs: Any,
    ) -> None:
        # Only to complain now, and of any split, rather than when the data are first needed.
        profile_ratios(2, imbalance_factor, profile)
        self.imbalance_factor = imbalance_factor
        self.profile = profile
        self.seed = seed
        self.development = development
        self.holds_out = split == 'development'
        if development < 0 or (self.holds_out and development == 0):
            raise ValueError(
                f'development of {type(self).__name__} is {development}; give the number of images '
                'a class that is taken out of the training set, such as 10.'
            )
        split = 'train' if self.holds_out else split
        super().__init__(data_root=data_root, split=split, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the archive and keep the long-tailed subset, class by class.

        Returns:
            list[dict]: For each image 'img', uint8 RGB (32, 32, 3), and 'gt_label'.
        """
        samples = self._read_archive()
        if self.split != 'train':
            return samples
        num_classes = len(self.CLASSES)
        orders = shuffled_by_class([s['gt_label'] for s in samples], num_classes, self.seed)
        left = len(samples) // num_classes - self.development
        if left < 1:
            raise ValueError(
                f'development of {type(self).__name__} is {self.development}, of '
                f'{len(samples) // num_classes} images a class, so none is left to learn from; '
                'give less.'
            )
        counts = long_tailed_counts_of_head(left, num_classes, self.imbalance_factor, self.profile)
        if self.holds_out:
            kept = [order[: self.development] for order in orders]
        else:
            orders = [order[self.development :] for order in orders]
            kept = [order[:count] for order, count in zip(orders, counts, strict=True)]
        return [samples[i] for i in np.concatenate(kept)]

    def _read_archive(self) -> list[dict]:
        try:
            return super().load_data_list()
        except Exception as error:
            if has_intact_archive(self):
                raise
            root = osp.abspath(self.data_prefix['root'])
            raise FileNotFoundError(
                f'The data of {type(self).__name__} is missing or damaged in '
                f'{osp.join(root, self.base_folder)}: extract {self.url} in {root}, or say with '
                f'data_root where it is ({type(error).__name__}: {error})'
            ) from error

    def extra_repr(self) -> list[str]:
        """Lines of ``repr`` about the long tail.

        Returns:
            list[str]: Those of the parent class, and the subset if there is one.
        """
        tail = f'Long tail:  \t{self.profile}, {self.imbalance_factor:g}:1, seed {self.seed}'
        return super().extra_repr() + [tail] * (self.split == 'train')


@DATASETS.register_module()
class CIFAR100LT(CIFAR10LT, CIFAR100):
    """CIFAR-100 with a long-tailed training split; its test split stays whole and balanced.

    As :class:`CIFAR10LT`: 10,847 images at IF = 100 and 12,608 at IF = 50. The archive lies in
    ``cifar-100-python``; labels are the 100 fine ones.
    """
