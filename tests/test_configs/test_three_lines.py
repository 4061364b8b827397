"""Three lines turn an installed config of mmseg or mmpretrain into a GML training."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

README = Path(__file__).resolve().parents[2] / 'README.md'
# What a CPU, tiny images and no network need; nothing of it concerns GML.
SMALL = dict(
    **{'model.pretrained': None, 'model.backbone.depth': 18, 'model.decode_head.in_channels': 512},
    **{'model.auxiliary_head.in_channels': 256, 'data_preprocessor.size': (64, 64)},
    **{'model.data_preprocessor.size': (64, 64), 'train_cfg.max_iters': 2},
    **{'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False},
    **{'train_dataloader.batch_size': 2, 'val_dataloader': None, 'val_evaluator': None},
    **{'val_cfg': None, 'test_dataloader': None, 'test_evaluator': None, 'test_cfg': None},
    **{'train_cfg.val_interval': 10, 'default_hooks.logger.interval': 1},
)


@pytest.fixture
def ade20k(tmp_path):
    """Three random images in ADE20K's folders."""
    rng = np.random.default_rng(0)
    for kind, high, shape in (('images', 256, (64, 64, 3)), ('annotations', 151, (64, 64))):
        folder = tmp_path / 'ade' / kind / 'training'
        folder.mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(high, size=shape, dtype=np.uint8)
            suffix = 'jpg' if kind == 'images' else 'png'
            Image.fromarray(pixels).save(folder / f'ADE_{index}.{suffix}')
    return tmp_path / 'ade'


def test_readme_config_trains_two_iterations(tmp_path, ade20k):
    text = next(
        block for block in re.findall(r'```python\n(.*?)```', README.read_text(), re.S)
        if "_base_ = 'mmseg::" in block)  # fmt: skip
    config = tmp_path / 'mine.py'
    config.write_text(text)
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(SMALL)
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'RandomResize':
            step.scale = (64, 64)
        if step.type == 'RandomCrop':
            step.crop_size = (64, 64)
    cfg.train_dataloader.dataset.data_root = str(ade20k)
    cfg.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(cfg)
    runner.train()
    head = runner.model.decode_head
    assert runner.iter == 2
    assert type(head).__name__ == 'GMLFCNHead'
    assert head.gml.class_counts.counts[0] == 737138625
    assert head.gml.queue.filled.sum() > 0
    assert all(torch.isfinite(value).all() for value in runner.model.parameters())


CLASSIFICATION = """
_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'
model = dict(head=dict(type='lt_mm.GMLClsHead', loss=dict(type='lt_mm.LogitAdjustedLoss')))
custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
"""
# What a CPU and no network need: ten small images instead of the archive, a narrow head.
SMALL_CLASSIFICATION = dict(
    **{'model.head.gml': dict(size=100, min_size=2, widths=(8,)), 'val_dataloader': None},
    **{'val_cfg': None, 'val_evaluator': None, 'test_dataloader': None, 'test_cfg': None},
    **{'test_evaluator': None, 'train_dataloader.num_workers': 0, 'train_dataloader.batch_size': 5},
    **{'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1},
)


def test_mmpretrains_resnet_trains_two_iterations(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(10):
        folder = tmp_path / 'images' / f'class_{index}'
        folder.mkdir(parents=True)
        pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'image.png')
    (tmp_path / 'mine.py').write_text(CLASSIFICATION)
    cfg = Config.fromfile(tmp_path / 'mine.py')
    cfg.merge_from_dict(SMALL_CLASSIFICATION)
    pipeline = [dict(type='LoadImageFromFile'), *cfg.train_dataloader.dataset.pipeline]
    cfg.train_dataloader.dataset = dict(
        type='CustomDataset', data_prefix=str(tmp_path / 'images'), pipeline=pipeline
    )
    cfg.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(cfg)
    runner.train()
    head = runner.model.head
    assert runner.iter == 2 and type(runner.model).__name__ == 'ImageClassifier'
    assert type(head).__name__ == 'GMLClsHead' and type(head.fc).__name__ == 'CosineLinear'
    assert type(head.loss_module).__name__ == 'LogitAdjustedLoss'
    assert head.contrast.class_counts.counts.tolist() == [1] * 10
    assert head.contrast.queue.filled.tolist() == [1] * 10
    assert all(torch.isfinite(value).all() for value in runner.model.parameters())
    assert runner.message_hub.get_scalar('train/loss_gml').current() > 0
