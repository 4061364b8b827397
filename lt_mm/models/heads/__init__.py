"""Heads of both tasks with long-tailed classifiers and losses."""

from importlib.util import find_spec

from lt_mm.models.shipped.mean_of_heads import MeanOfHeads

from . import presets
from .experts_segmentation import MultiExpertDecodeHead
from .longtail import LongTailOptions, preset
from .segmentation import LongTailHead

__all__ = [
    'LongTailHead',
    'LongTailOptions',
    'MeanOfHeads',
    'MultiExpertDecodeHead',
    'preset',
    'presets',
]

if find_spec('mmpretrain') is not None:
    from .classification import LongTailClsHead
    from .experts_classification import MultiExpertClsHead
    from .reslt import ResLTClsHead
    from .routed import RoutedClsHead

    __all__ += ['LongTailClsHead', 'MultiExpertClsHead', 'ResLTClsHead', 'RoutedClsHead']
