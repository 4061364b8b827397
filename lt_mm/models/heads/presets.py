"""Heads under names of their own: a few defaults on a head of both tasks."""

from importlib.util import find_spec

from lt_mm.models.heads.longtail import preset
from lt_mm.models.heads.segmentation import LongTailHead

_BASES = 'FCN PSP ASPP DepthwiseSeparableASPP UPer Segformer'.split()
_ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
_GML = dict(type='lt_mm.GMLLoss')
# Section 4.2 and Table A.1 of Suh and Seo, ICML 2023, for ImageNet-LT.
_GML_OF_IMAGES = dict(type='lt_mm.GMLLoss', size=16384, min_size=2, widths=(2048, 1024))

for _base in _BASES:
    preset(f'Cosine{_base}Head', LongTailHead, base=f'{_base}Head', classifier='cosine')
    preset(
        f'GML{_base}Head',
        LongTailHead,
        base=f'{_base}Head',
        classifier='cosine',
        contrast=_GML,
        loss_decode=_ADJUSTED,
    )

if find_spec('mmpretrain') is not None:
    from lt_mm.models.heads.classification import LongTailClsHead

    preset('CosineClsHead', LongTailClsHead, classifier='cosine', loss=_ADJUSTED)
    preset(
        'GMLClsHead',
        LongTailClsHead,
        classifier='cosine',
        loss=_ADJUSTED,
        contrast=_GML_OF_IMAGES,
    )
