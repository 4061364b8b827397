"""Long-tailed data sets."""

from lt_mm.datasets.digit_scenes import DigitScenesDataset
from lt_mm.datasets.digit_scenes_maker import DigitScenesParameters, make_digit_scenes
from lt_mm.datasets.long_tail_profile import long_tailed_counts

__all__ = [
    'DigitScenesDataset',
    'DigitScenesParameters',
    'long_tailed_counts',
    'make_digit_scenes',
]
