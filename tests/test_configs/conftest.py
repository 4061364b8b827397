"""What it takes to train installed configs of mmseg and mmpretrain here, in a second."""

from collections.abc import Callable

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

# Configs named 'mmseg::...' are found in the maintained packages once lt_mm is imported.
import lt_mm  # noqa: F401

# What a CPU, tiny images and no network need; nothing of it concerns GML.
SMALL = dict(
    **{'model.pretrained': None, 'model.backbone.depth': 18, 'model.backbone.base_channels': 8},
    **{'model.decode_head.in_channels': 64, 'model.decode_head.channels': 32},
    **{'model.auxiliary_head.in_channels': 32, 'data_preprocessor.size': (64, 64)},
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


@pytest.fixture
def small_segmentation(tmp_path, ade20k) -> Callable[[Config], Config]:
    """Make a config of mmseg for ADE20K train two iterations on random images."""

    def shrink(cfg: Config) -> Config:
        cfg.merge_from_dict(SMALL)
        for step in cfg.train_dataloader.dataset.pipeline:
            if step.type == 'RandomResize':
                step.scale = (64, 64)
            if step.type == 'RandomCrop':
                step.crop_size = (64, 64)
        cfg.train_dataloader.dataset.data_root = str(ade20k)
        cfg.work_dir = str(tmp_path / 'work')
        return cfg

    return shrink


# What a CPU and no network need: ten small images instead of the archive, a narrow network.
SMALL_CLASSIFICATION = dict(
    **{'model.backbone.base_channels': 8, 'model.head.in_channels': 64},
    **{'val_dataloader': None},
    **{'val_cfg': None, 'val_evaluator': None, 'test_dataloader': None, 'test_cfg': None},
    **{'test_evaluator': None, 'train_dataloader.num_workers': 0, 'train_dataloader.batch_size': 5},
    **{'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1},
)


@pytest.fixture
def small_classification(tmp_path) -> Callable[[Config], Config]:
    """Make a config of mmpretrain for CIFAR-10 train two iterations on random images."""
    rng = np.random.default_rng(0)
    for index in range(10):
        folder = tmp_path / 'images' / f'class_{index}'
        folder.mkdir(parents=True)
        pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'image.png')

    def shrink(cfg: Config) -> Config:
        cfg.merge_from_dict(SMALL_CLASSIFICATION)
        pipeline = [dict(type='LoadImageFromFile'), *cfg.train_dataloader.dataset.pipeline]
        cfg.train_dataloader.dataset = dict(
            type='CustomDataset', data_prefix=str(tmp_path / 'images'), pipeline=pipeline
        )
        cfg.work_dir = str(tmp_path / 'work')
        return cfg

    return shrink
