"""Long-tailed data sets: for mmsegmentation always, for mmpretrain where it is installed."""

from importlib.util import find_spec

from lt_mm.datasets.digit_scenes import DigitScenesDataset
from lt_mm.datasets.digit_scenes_maker import DigitScenesParameters, make_digit_scenes
from lt_mm.datasets.freedoom_scenes import FreedoomScenesDataset
from lt_mm.datasets.held_out import part_of_dataset
from lt_mm.datasets.long_tail_profile import (
    long_tailed_counts,
    long_tailed_counts_of_head,
    profile_ratios,
    shuffled_by_class,
)

__all__ = [
    'DigitScenesDataset',
    'DigitScenesParameters',
    'FreedoomScenesDataset',
    'long_tailed_counts',
    'long_tailed_counts_of_head',
    'make_digit_scenes',
    'part_of_dataset',
    'profile_ratios',
    'shuffled_by_class',
]

if find_spec('mmpretrain') is not None:
    from lt_mm.datasets.cifar_lt import CIFAR10LT, CIFAR100LT
    from lt_mm.datasets.digits_lt import DigitsLT
    from lt_mm.datasets.fashion_mnist_lt import FashionMNISTLT
    from lt_mm.datasets.inaturalist import INaturalist2017, INaturalist2018
    from lt_mm.datasets.label_lists import ImageNetLT, LabelListDataset, PlacesLT

    __all__ += [
        'CIFAR100LT',
        'CIFAR10LT',
        'DigitsLT',
        'FashionMNISTLT',
        'INaturalist2017',
        'INaturalist2018',
        'ImageNetLT',
        'LabelListDataset',
        'PlacesLT',
    ]
