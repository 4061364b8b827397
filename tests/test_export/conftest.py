"""Tiny segmentors of lt_mm with random weights."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmseg.registry import MODELS

from lt_mm.structures import ClassCounts

CLASSES = ('sky', 'road', 'sign', 'pole')
FOUR_LEVELS = dict(in_channels=[4, 8, 16, 32], in_index=[0, 1, 2, 3])
HEADS = {
    'FCNHead': dict(in_channels=32, in_index=3, num_convs=1, concat_input=False),
    'DepthwiseSeparableASPPHead': dict(
        in_channels=32, in_index=3, dilations=(1, 2), c1_in_channels=4, c1_channels=4
    ),
    'UPerHead': dict(**FOUR_LEVELS, pool_scales=(1, 2)),
    'SegformerHead': FOUR_LEVELS,
}
GML = dict(size=400, min_size=2, widths=(8, 6))
LOSS = dict(type='lt_mm.LogitAdjustedLoss')
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


def _config(kind, classifier, head, **changes):
    common = dict(channels=8, num_classes=4, norm_cfg=dict(type='BN'), loss_decode=LOSS)
    decode_head = dict(type=f'lt_mm.{kind}{head}', classifier=classifier, **common, **HEADS[head])
    if kind == 'GML':
        decode_head.update(alpha=0.2, contrast=GML, keys_per_class=4)
    model = dict(
        type='EncoderDecoder',
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            base_channels=4,
            stem_channels=4,
            norm_cfg=dict(type='BN'),
            init_cfg=dict(type='Pretrained', checkpoint='absent.pth'),
        ),
        decode_head=decode_head,
        auxiliary_head=dict(type='lt_mm.CosineFCNHead', **common, **HEADS['FCNHead']),
        test_cfg=dict(mode='whole'),
    )
    if head == 'UPerHead':
        model['auxiliary_head'] = [model['auxiliary_head']]
        if kind == 'GML':
            model.update(
                type='lt_mm.LongTailEncoderDecoder', teacher=dict(config='a', checkpoint='b')
            )
    settings = dict(
        default_scope='mmseg',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3),
        custom_imports=dict(imports=['lt_mm', 'mmseg.models']),
        custom_hooks=[dict(type='lt_mm.ClassCountsHook')],
        model=model,
        test_pipeline=PIPELINE,
    )
    return Config({**settings, **changes})


def _trained(cfg, seed=0):
    """A model of ``cfg`` with random weights and statistics, and what a Runner saves of it."""
    torch.manual_seed(seed)
    model = MODELS.build({**deepcopy(cfg.model), 'data_preprocessor': cfg.data_preprocessor})
    for part in model.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([50, 30, 15, 5]))
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    # Sets the statistics of the normalisation layers.
    model.train()(torch.randn(8, 3, 64, 64), mode='tensor')
    palette = np.arange(12).reshape(4, 3).tolist()
    checkpoint = dict(
        meta=dict(
            dataset_meta=dict(classes=CLASSES, palette=palette, label_map={0: np.int64(1)}),
            class_counts=[50, 30, 15, 5],
            cfg=cfg.pretty_text,
        ),
        state_dict=model.state_dict(),
        message_hub=dict(log_scalars={'train/loss': HistoryBuffer([1.0], [1])}),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1).state_dict(),
    )
    model.cfg = cfg
    return model.eval(), checkpoint


@pytest.fixture(scope='session')
def config():
    """A function: ('GML' or 'Cosine', classifier, head of mmseg) to a config of four classes."""
    return _config


@pytest.fixture(scope='session')
def trained():
    """A function: config to its model, and what mmengine's Runner saves of it."""
    return _trained
