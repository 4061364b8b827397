"""Tiny segmentors, with teachers and without, and batches for them."""

import copy

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

COUNTS = [70, 20, 10]
NORM = dict(type='BN')
HEAD = dict(
    type='FCNHead', in_channels=8, in_index=1, channels=6, num_convs=1, concat_input=False,
    num_classes=3, norm_cfg=NORM,
)  # fmt: skip
BACKBONE = dict(
    type='ResNetV1c', depth=18, num_stages=2, out_indices=(0, 1), stem_channels=4,
    base_channels=4, strides=(1, 1), dilations=(1, 1), norm_cfg=NORM,
)  # fmt: skip
TEACHER = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[1.0, 2, 3], std=[4.0, 5, 6], bgr_to_rgb=True
    ),
    backbone=BACKBONE,
    decode_head=HEAD,
)
GML = dict(size=30, min_size=2, widths=(5,))
GML_HEAD = dict(HEAD, type='lt_mm.GMLFCNHead', contrast=GML)
KD = dict(type='lt_mm.KDLoss', temperature=2.0)
KD_HEAD = dict(HEAD, type='lt_mm.LongTailHead', base='FCNHead', distillation=KD)


def changed(cfg, **changes):
    """A copy with other values."""
    return copy.deepcopy({**cfg, **changes})


def saved(cfg, path):
    """Path of the weights of a new model of this config."""
    model = MODELS.build(copy.deepcopy(cfg))
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def student(checkpoint=None, config=TEACHER, counts=COUNTS, **changes):
    """A LongTailEncoderDecoder in training mode, with a teacher if there is a checkpoint."""
    cfg = dict(TEACHER, type='lt_mm.LongTailEncoderDecoder', decode_head=GML_HEAD)
    if checkpoint is not None:
        cfg['teacher'] = dict(config=config, checkpoint=checkpoint)
    model = MODELS.build(changed(cfg, **changes))
    if counts is not None:
        set_class_counts(model, ClassCounts(counts))
    return model.train()


def batch(size=32, labels=None):
    """Two images and their data samples."""
    labels = torch.randint(3, (2, 1, size, size)) if labels is None else labels
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=one), metainfo=dict(img_path=f'{index}.png'))
        for index, one in enumerate(labels)
    ]
    return torch.randn(2, 3, size, size), samples


def step(model, data):
    """Losses of a step, after its backward pass."""
    losses = model.loss(*data)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return losses
