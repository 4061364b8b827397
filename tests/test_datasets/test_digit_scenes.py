import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmseg.utils import register_all_modules

from lt_mm.datasets import (
    DigitScenesDataset,
    DigitScenesParameters,
    digit_scenes,
    make_digit_scenes,
)

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/digit_scenes.py'
MAKE = dict(num_training=10, num_tuning=5, num_validation=5, imbalance_factor=10)
PREFIX = dict(img_path='images/training', seg_map_path='annotations/training')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('digits') / 'scenes'
    make_digit_scenes(root, DigitScenesParameters(**MAKE))
    return root


def build(root, **kwargs):
    return DigitScenesDataset(data_root=str(root), data_prefix=PREFIX, **kwargs)


def test_missing_data_is_made_when_it_is_first_needed(tmp_path):
    root = tmp_path / 'deep' / 'scenes'
    dataset = build(root, make=MAKE, lazy_init=True)
    assert dataset.metainfo['classes'][:3] == ('temple', 'dahlia', 'digit 0')
    assert not root.exists()
    dataset.full_init()
    assert len(dataset) == 10
    assert json.loads((root / 'dataset.json').read_text())['parameters']['num_tuning'] == 5


def test_existing_data_is_checked_only_if_parameters_are_given(root):
    assert len(build(root)) == len(build(root, make=MAKE)) == 10
    with pytest.raises(FileExistsError, match='num_tuning=5 instead of 6'):
        build(root, make={**MAKE, 'num_tuning': 6})


def test_an_unknown_parameter_is_named(tmp_path):
    with pytest.raises(TypeError, match='imbalance'):
        build(tmp_path / 'scenes', make=dict(imbalance=10))


@pytest.mark.parametrize('pipeline', ['train_pipeline', 'test_pipeline'])
def test_base_config_loads_every_split(root, pipeline):
    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIG)
    loader = config[pipeline.replace('pipeline', 'dataloader')]
    loader.dataset.update(data_root=str(root), make=MAKE)
    dataset = DATASETS.build(loader.dataset)
    for sample in dataset:
        height, width = sample['inputs'].shape[1:]
        labels = sample['data_samples'].gt_sem_seg.data
        assert labels.shape == (1, height, width)
        assert max(height, width) <= config.crop_size[0]
        assert set(labels.unique().tolist()) <= {*range(12), 255}


def test_labels_are_those_of_the_file_less_one(root):
    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')
    pipeline = Config.fromfile(CONFIG).test_pipeline
    for sample in build(root, pipeline=pipeline):
        path = sample['data_samples'].seg_map_path
        stored = cv2.imread(path, cv2.IMREAD_UNCHANGED).astype(int)
        loaded = sample['data_samples'].gt_sem_seg.data[0].numpy()
        assert (loaded == np.where(stored == 0, 255, stored - 1)).all()


def test_palette_has_a_distinct_colour_for_each_class(root):
    palette = build(root).metainfo['palette']
    assert len({tuple(colour) for colour in palette}) == 12


def test_other_ranks_wait_for_the_first(tmp_path, monkeypatch):
    root = tmp_path / 'scenes'

    def wait():
        assert not root.exists()
        make_digit_scenes(root, DigitScenesParameters(**MAKE))

    monkeypatch.setattr(digit_scenes, 'is_main_process', lambda: False)
    monkeypatch.setattr(digit_scenes, 'barrier', wait)
    assert len(build(root, make=MAKE)) == 10


def test_the_first_rank_lets_the_others_go_even_if_it_fails(root, monkeypatch):
    reached = []
    monkeypatch.setattr(digit_scenes, 'barrier', lambda: reached.append(True))
    with pytest.raises(FileExistsError):
        build(root, make={**MAKE, 'seed': 1})
    assert reached == [True]


def load_on_rank(rank, root):
    return len(build(root, make=MAKE))


def test_two_ranks_make_the_data_together(two_ranks, tmp_path):
    assert two_ranks(load_on_rank, tmp_path / 'new' / 'scenes') == [10, 10]
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['scenes']
