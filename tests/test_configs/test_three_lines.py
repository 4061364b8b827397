"""Three lines turn an installed config of mmseg or mmpretrain into a GML training."""

import re
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.models.decode_heads import FCNHead

from lt_mm.models.heads import LongTailClsHead, LongTailHead

README = Path(__file__).resolve().parents[2] / 'README.md'


def test_readme_config_trains_two_iterations(tmp_path, small_segmentation):
    text = next(
        block for block in re.findall(r'```python\n(.*?)```', README.read_text(), re.S)
        if "_base_ = 'mmseg::" in block)  # fmt: skip
    config = tmp_path / 'mine.py'
    config.write_text(text)
    cfg = small_segmentation(Config.fromfile(config))
    runner = Runner.from_cfg(cfg)
    runner.train()
    head = runner.model.decode_head
    assert runner.iter == 2
    assert isinstance(head, LongTailHead) and isinstance(head, FCNHead)
    assert type(head.conv_seg).__name__ == 'CosineConv2d'
    assert head.contrast.class_counts.counts[0] == 737138625
    assert head.contrast.queue.filled.sum() > 0
    assert all(torch.isfinite(value).all() for value in runner.model.parameters())


CLASSIFICATION = """
_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
model = dict(head=dict(type='lt_mm.GMLClsHead', loss=dict(type='lt_mm.LogitAdjustedLoss')))
custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
"""


def test_mmpretrains_resnet_trains_two_iterations(tmp_path, small_classification):
    (tmp_path / 'mine.py').write_text(CLASSIFICATION)
    cfg = small_classification(Config.fromfile(tmp_path / 'mine.py'))
    cfg.model.head.contrast = dict(size=100, min_size=2, widths=(8,))
    runner = Runner.from_cfg(cfg)
    runner.train()
    head = runner.model.head
    assert runner.iter == 2 and type(runner.model).__name__ == 'ImageClassifier'
    assert isinstance(head, LongTailClsHead) and type(head.fc).__name__ == 'CosineLinear'
    assert type(head.loss_module).__name__ == 'LogitAdjustedLoss'
    assert head.contrast.class_counts.counts.tolist() == [1] * 10
    assert head.contrast.queue.filled.tolist() == [1] * 10
    assert all(torch.isfinite(value).all() for value in runner.model.parameters())
    assert runner.message_hub.get_scalar('train/loss_gml').current() > 0
