"""Fashion-MNIST-LT: photographs of garments, with a long-tailed training split."""

import os.path as osp

import numpy as np
from mmpretrain.datasets import FashionMNIST
from mmpretrain.datasets.mnist import read_sn3_pascalvincent_tensor

from lt_mm.datasets.digits_lt import DigitsLT
from lt_mm.datasets.long_tail_profile import long_tailed_counts_of_head, shuffled_by_class
from lt_mm.registry import DATASETS

NUM_TUNING = 500
"""Tuning images of a class, taken from its 6000 official training images before the long tail."""


@DATASETS.register_module()
class FashionMNISTLT(DigitsLT):
    """Fashion-MNIST with a long-tailed training split; its 10,000 test images stay as they are.

    500 official training images a class are held out as the balanced split 'tuning', to choose
    hyper-parameters on. Of the n_max left, 5500, class c keeps int(n_max * IF^(-c / 9)) in 'train'.
    With one ``seed`` no image is in two splits, 'tuning' is the same at any imbalance, and a longer
    tail is a subset of a shorter one.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.

    Args:
        data_root (str): Folder of the four IDX files, compressed or not, or the ``root`` that
            torchvision downloaded to, where they lie in ``FashionMNIST/raw``.
        split, imbalance_factor, profile, seed, **kwargs: As for :class:`DigitsLT`; IF is at most
            5500 if no class is to be empty.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If ``split``, ``imbalance_factor`` or ``profile`` is out of its range.
    """

    METAINFO = FashionMNIST.METAINFO

    def load_data_list(self) -> list[dict]:
        """Read the IDX files and keep the images of the split, class by class.

        Returns:
            list[dict]: For each image 'img', uint8 RGB (28, 28, 3), 'gt_label', and 'image_index',
            its place in the official file.
        """
        prefix = 't10k' if self.split == 'test' else 'train'
        images = self._read(f'{prefix}-images-idx3-ubyte')
        labels = self._read(f'{prefix}-labels-idx1-ubyte')
        return [
            dict(
                img=np.repeat(images[i][..., None], 3, axis=-1),
                gt_label=int(labels[i]),
                image_index=int(i),
            )
            for i in self._indices_of_split(labels)
        ]

    def _read(self, name: str) -> np.ndarray:
        root = self.data_root or '.'
        for folder in (root, osp.join(root, 'FashionMNIST', 'raw')):
            for path in (osp.join(folder, name), osp.join(folder, f'{name}.gz')):
                if osp.isfile(path):
                    return read_sn3_pascalvincent_tensor(path).numpy()
        raise FileNotFoundError(
            f'{name} or {name}.gz is neither in {osp.abspath(root)} nor in FashionMNIST/raw in it: '
            'say with data_root where the IDX files of Fashion-MNIST are.'
        )

    def _indices_of_split(self, targets: np.ndarray) -> np.ndarray:
        if self.split == 'test':
            return np.arange(len(targets))
        orders = shuffled_by_class(targets, 10, self.seed)
        if self.split == 'tuning':
            return np.concatenate([order[:NUM_TUNING] for order in orders])
        head = min(map(len, orders)) - NUM_TUNING
        counts = long_tailed_counts_of_head(head, 10, self.imbalance_factor, self.profile)
        kept = [o[NUM_TUNING : NUM_TUNING + n] for o, n in zip(orders, counts, strict=True)]
        return np.concatenate(kept)
