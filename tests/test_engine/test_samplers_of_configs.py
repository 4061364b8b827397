"""Samplers in configs of mmsegmentation and mmpretrain that import nothing for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

DATA = Path(__file__).resolve().parents[1] / 'data'
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
# Pixels of three classes in eight maps of 64 x 64.
MAPS = np.array([[4096, 0, 0]] * 5 + [[3096, 1000, 0]] * 2 + [[3996, 0, 100]])
IMAGES = [6, 2]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function: 'segmentation' or 'classification' to its tiny config on random images."""
    monkeypatch.chdir(tmp_path)

    def load(task):
        rng = np.random.default_rng(0)
        files = {}
        if task == 'segmentation':
            for i, pixels in enumerate(MAPS):
                labels = rng.permutation(np.repeat([0, 1, 2], pixels)).astype(np.uint8)
                files[f'labels/{i}.png'] = labels.reshape(64, 64)
                files[f'images/{i}.png'] = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        else:
            for c, count in enumerate(IMAGES):
                for i in range(count):
                    image = rng.integers(0, 256, (32, 32), dtype=np.uint8)
                    files[f'{c}/{i}.png'] = image
        for name, array in files.items():
            path = tmp_path / 'data' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
        text = (DATA / f'tiny_{task}.py').read_text().replace('DATA', str(tmp_path / 'data'))
        cfg = Config.fromstring(text.replace('SyncBN', 'BN'), '.py')
        cfg.custom_hooks = [dict(type='lt_mm.ClassCountsHook')]
        for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
            cfg.pop(key)
        cfg.update(work_dir=str(tmp_path / 'work_dirs' / 'run'), log_level='ERROR')
        return cfg

    return load


def prior_of(model):
    found = [m for m in model.modules() if hasattr(m, 'require_log_prior')]
    assert len(found) == 1
    return found[0].counts.tolist(), found[0].require_log_prior().exp()


# By hand: what is drawn of the eight maps, up to a factor.
DRAWN = dict(
    ClassBalancedSampler=[1 / 8] * 5 + [1 / 8 + 1 / 2] * 2 + [1 / 8 + 1],
    ClassAwareSampler=[1 / 8] * 5 + [1 / 8 + 1 / 2] * 2 + [1 / 8 + 1],
    ProgressivelyBalancedSampler=[1] * 8,
    RepeatFactorSampler=[1] * 5 + [1.0] * 2 + [2**0.5],
)


@pytest.mark.parametrize('name', [*DRAWN, 'RareClassSampler'])
def test_segmentation(name, config, tmp_path):
    cfg = config('segmentation')
    more = dict(
        ProgressivelyBalancedSampler=dict(epochs=9),
        RepeatFactorSampler=dict(threshold=0.25),
        RareClassSampler=dict(temperature=0.5, min_pixels=500),
    )
    sampler = dict(type=f'lt_mm.{name}', infinite=True, **more.get(name, {}))
    # The data loader's own is changed, as a config that inherits one does.
    cfg.merge_from_dict(dict(train_dataloader=dict(sampler=sampler)))
    cfg.model.decode_head.loss_decode = ADJUSTED
    runner = Runner.from_cfg(cfg)
    runner.train()
    pixels = MAPS.sum(axis=0)
    drawn = DRAWN.get(name)
    if name == 'RareClassSampler':
        scores = np.exp((1 - pixels / pixels.sum()) / 0.5)
        a, b, c = scores / scores.sum()
        drawn = [a / 8] * 5 + [a / 8 + b / 2] * 2 + [a / 8 + c]
    expected = np.array(drawn) @ MAPS
    counts, prior = prior_of(runner.model)
    assert counts == pixels.tolist()
    torch.testing.assert_close(prior, torch.tensor(expected / expected.sum()).float())
    assert len(list((tmp_path / 'work_dirs' / 'class_counts').glob('*.npz'))) == 1


def test_images_as_the_unit(config):
    """The sampler's prior is in the unit of the counts: images that show the class."""
    cfg = config('segmentation')
    cfg.train_dataloader.sampler = dict(type='lt_mm.ClassBalancedSampler', infinite=True)
    cfg.custom_hooks = [dict(type='lt_mm.ClassCountsHook', unit='images')]
    cfg.model.decode_head.loss_decode = ADJUSTED
    runner = Runner.from_cfg(cfg)
    runner.train()
    counts, prior = prior_of(runner.model)
    assert counts == [8, 2, 1]
    expected = np.array(DRAWN['ClassBalancedSampler']) @ (MAPS > 0)
    torch.testing.assert_close(prior, torch.tensor(expected / expected.sum()).float())


@pytest.mark.parametrize('name', ['ClassBalancedSampler', 'ClassAwareSampler'])
def test_classification(name, config):
    pytest.importorskip('mmpretrain')
    cfg = config('classification')
    cfg.train_dataloader.sampler = dict(type=f'lt_mm.{name}')
    cfg.model.head.loss = ADJUSTED
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert prior_of(runner.model)[0] == IMAGES
    torch.testing.assert_close(prior_of(runner.model)[1], torch.tensor([0.5, 0.5]))
