"""A long-tailed classification data set of real images that needs no download."""

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from sklearn.datasets import load_digits

from lt_mm.datasets.long_tail_profile import (
    long_tailed_counts_of_head,
    profile_ratios,
    shuffled_by_class,
)
from lt_mm.registry import DATASETS

SPLITS = ('train', 'tuning', 'test')
NUM_TEST = 40
NUM_TUNING = 20
NUM_HEAD = 114
"""Test, tuning and, at most, training images of a digit; the rarest of the file has 174."""


@DATASETS.register_module()
class DigitsLT(BaseDataset):
    """The 1797 handwritten digits of scikit-learn, with a long-tailed training split.

    Class c is digit c and has int(114 * IF^(-c / 9)) training images: 314 in all at IF = 50, from
    114 zeros to 2 nines. Both held-out splits are balanced: 'tuning', 20 images a digit, to choose
    hyper-parameters on, and 'test', 40 a digit, to report results on. With one ``seed`` no image is
    in two splits, the held-out splits are the same at any imbalance, and a longer tail is a subset
    of a shorter one.

    Images stay as they are in the file, 8 x 8; how large a backbone wants them is for the pipeline
    to say, with ``dict(type='Resize', scale=32)`` first. It needs no ``LoadImageFromFile``, and no
    ``RandomFlip``, since mirrored digits are no digits.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.

    Args:
        split (str): 'train', 'tuning' or 'test'. Defaults to 'train'.
        imbalance_factor (float): IF, training images of digit 0 over those of digit 9; 1 is
            balanced. Above 114 the last digits have none. Defaults to 50.
        profile (str): 'exp', 'step' or 'zipf', see :func:`lt_mm.datasets.profile_ratios`. Defaults
            to 'exp'.
        seed (int): Decides which image goes where. Defaults to 0.
        **kwargs: Further arguments of :class:`mmpretrain.datasets.BaseDataset`, ``pipeline`` above
            all.

    Raises:
        ValueError: If ``split``, ``imbalance_factor`` or ``profile`` is out of its range.
    """

    METAINFO = dict(classes=tuple(f'digit {digit}' for digit in range(10)))

    def __init__(
        self,
        split: str = 'train',
        imbalance_factor: float = 50,
        profile: str = 'exp',
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split={split!r} is unknown: choose one of {SPLITS}.')
        profile_ratios(10, imbalance_factor, profile)
        self.split = split
        self.imbalance_factor = imbalance_factor
        self.profile = profile
        self.seed = seed
        super().__init__(**{'ann_file': '', **kwargs})

    def load_data_list(self) -> list[dict]:
        """Take the images of the split from the file inside scikit-learn.

        Returns:
            list[dict]: For each image 'img', uint8 RGB (8, 8, 3), ink bright on black, 'gt_label',
            and 'digit_index', its place in the file.
        """
        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        images = np.repeat(images[..., None], 3, axis=-1)
        return [
            dict(img=images[i], gt_label=int(digits.target[i]), digit_index=int(i))
            for i in self._indices_of_split(digits.target)
        ]

    def _indices_of_split(self, targets: np.ndarray) -> np.ndarray:
        held_out = NUM_TEST + NUM_TUNING
        counts = long_tailed_counts_of_head(NUM_HEAD, 10, self.imbalance_factor, self.profile)
        start, stops = {
            'test': (0, [NUM_TEST] * 10),
            'tuning': (NUM_TEST, [held_out] * 10),
            'train': (held_out, held_out + counts),
        }[self.split]
        orders = shuffled_by_class(targets, 10, self.seed)
        return np.concatenate(
            [order[start:stop] for order, stop in zip(orders, stops, strict=True)]
        )

    def extra_repr(self) -> list[str]:
        """Lines of ``repr``: split, long tail and seed.

        Returns:
            list[str]: One line for each.
        """
        return [
            f'Split:  \t{self.split}',
            f'Long tail:  \t{self.profile}, {self.imbalance_factor:g}:1',
            f'Seed:  \t{self.seed}',
        ]
