"""Losses, heads and samplers go together in configs that mmseg and mmpretrain ship."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

ADE20K = 'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py'
CIFAR10 = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
COUNTS = dict(type='lt_mm.ClassCountsHook')
BALANCED = dict(type='effective_number', beta=0.999)
GML = dict(size=400, min_size=2, widths=(8,))
SEGMENTATION = [
    ('LogitAdjustedLoss', {}, 'GMLFCNHead', dict(contrast=GML), 'RepeatFactorSampler', {}),
    ('LabelAwareSmoothingLoss', {}, 'LongTailHead', dict(base='FCNHead'), 'RareClassSampler', {}),
    ('SeesawLoss', {}, 'CosineFCNHead', {}, None, {}),
    ('LDAMLoss', dict(scale=20.0), 'CosineFCNHead', {}, 'RareClassSampler', dict(min_pixels=1)),
    ('FocalLoss', dict(class_weight=BALANCED), 'mmseg.FCNHead', {}, 'RepeatFactorSampler', {}),
    ('WeightedCrossEntropyLoss', dict(class_weight=BALANCED), 'LongTailHead',
     dict(base='FCNHead', classifier='cosine'), None, {}),
]  # fmt: skip
CLASSIFICATION = [
    ('LogitAdjustedLoss', {}, 'GMLClsHead', dict(contrast=GML), 'ClassBalancedSampler', {}),
    ('LADELoss', {}, 'CosineClsHead', {}, 'ClassAwareSampler', {}),
    ('LabelAwareSmoothingLoss', {}, 'LongTailClsHead',
     dict(alignment=dict(type='lt_mm.LearnableWeightScaling')), 'ClassBalancedSampler',
     dict(q=0.5)),
    ('LDAMLoss', dict(class_weight=BALANCED), 'CosineClsHead', {}, 'ProgressivelyBalancedSampler',
     dict(epochs=1)),
    ('FocalLoss', dict(use_sigmoid=True), 'mmpretrain.LinearClsHead', {}, None, {}),
    ('SeesawLoss', {}, 'LongTailClsHead', dict(classifier='cosine'), 'RepeatFactorSampler', {}),
]  # fmt: skip


def scoped(name):
    return name if '.' in name else f'lt_mm.{name}'


def trained(cfg, loss, sampler, settings, key, head):
    part = cfg.model[key]
    part.update(head[1], type=scoped(head[0]))
    part['loss_decode' if key == 'decode_head' else 'loss'] = dict(loss[1], type=scoped(loss[0]))
    if sampler:
        infinite = key == 'decode_head'
        cfg.train_dataloader.sampler = dict(settings, type=scoped(sampler), infinite=infinite)
    cfg.custom_hooks = [COUNTS]
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    base = 'FCNHead' if key == 'decode_head' else 'LinearClsHead'
    long_tail = '' if '.' in head[0] else 'LongTail'
    assert type(getattr(runner.model, key)).__name__ == long_tail + base
    if sampler:
        assert type(runner.train_dataloader.sampler).__name__ == sampler
    assert all(torch.isfinite(value).all() for value in runner.model.parameters())
    return runner


@pytest.mark.parametrize(
    ('loss', 'loss_settings', 'head', 'head_settings', 'sampler', 'sampler_settings'),
    SEGMENTATION,
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_segmentation(
    small_segmentation, loss, loss_settings, head, head_settings, sampler, sampler_settings
):
    cfg = small_segmentation(Config.fromstring(f'_base_ = {ADE20K!r}', '.py'))
    runner = trained(
        cfg, (loss, loss_settings), sampler, sampler_settings, 'decode_head', (head, head_settings)
    )
    assert runner.message_hub.get_scalar('train/decode.loss_cls').current() >= 0


@pytest.mark.parametrize(
    ('loss', 'loss_settings', 'head', 'head_settings', 'sampler', 'sampler_settings'),
    CLASSIFICATION,
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_classification(
    small_classification, loss, loss_settings, head, head_settings, sampler, sampler_settings
):
    cfg = small_classification(Config.fromstring(f'_base_ = {CIFAR10!r}', '.py'))
    runner = trained(
        cfg, (loss, loss_settings), sampler, sampler_settings, 'head', (head, head_settings)
    )
    assert runner.message_hub.get_scalar('train/loss').current() >= 0
