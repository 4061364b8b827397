import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from mmengine.registry import init_default_scope
from sklearn.datasets import load_digits

from lt_mm.datasets import DigitsLT
from lt_mm.datasets.class_counting import count_classes
from lt_mm.registry import DATASETS


def places(dataset):
    return [dataset.get_data_info(i)['digit_index'] for i in range(len(dataset))]


@pytest.mark.parametrize('imbalance_factor', [1, 10, 50, 100])
def test_training_counts_are_the_formula(imbalance_factor):
    dataset = DigitsLT(imbalance_factor=imbalance_factor)
    naive = [int(114 * imbalance_factor ** (-c / 9)) for c in range(10)]
    assert np.bincount(dataset.get_gt_labels()).tolist() == naive


def test_default_is_fifty_to_one():
    counts = count_classes(DigitsLT())['images'].counts.tolist()
    assert counts == [114, 73, 47, 30, 20, 12, 8, 5, 3, 2]


def test_step_profile():
    dataset = DigitsLT(imbalance_factor=10, profile='step')
    assert np.bincount(dataset.get_gt_labels()).tolist() == [114] * 5 + [11] * 5


@pytest.mark.parametrize('split, per_class', [('tuning', 20), ('test', 40)])
def test_held_out_splits_are_balanced_and_do_not_know_the_tail(split, per_class):
    dataset = DigitsLT(split, imbalance_factor=100)
    assert np.bincount(dataset.get_gt_labels()).tolist() == [per_class] * 10
    assert places(dataset) == places(DigitsLT(split, imbalance_factor=1, profile='step'))


@pytest.mark.parametrize('seed', [0, 1])
def test_no_image_is_in_two_splits(seed):
    found = [places(DigitsLT(split, 1, seed=seed)) for split in ('train', 'tuning', 'test')]
    flat = sum(found, [])
    assert len(set(flat)) == len(flat) == 10 * (114 + 20 + 40)


def test_a_longer_tail_is_a_subset():
    assert set(places(DigitsLT(imbalance_factor=100))) < set(places(DigitsLT(imbalance_factor=10)))


def test_seed_decides_which_images():
    assert places(DigitsLT(seed=1)) == places(DigitsLT(seed=1)) != places(DigitsLT(seed=2))
    assert set(places(DigitsLT('test', seed=1))) != set(places(DigitsLT('test', seed=2)))


def test_images_are_those_of_the_file():
    digits, dataset = load_digits(), DigitsLT('tuning')
    for i in (0, 77, 199):
        info = dataset.get_data_info(i)
        original = digits.images[info['digit_index']]
        assert info['gt_label'] == digits.target[info['digit_index']]
        assert info['img'].dtype == np.uint8 and info['img'].shape == (8, 8, 3)
        for channel in range(3):
            np.testing.assert_allclose(info['img'][..., channel] / 255, original / 16, atol=0.002)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_serialization_changes_nothing_and_samples_are_copies(serialize_data):
    dataset = DigitsLT(serialize_data=serialize_data)
    assert dataset.get_cat_ids(0) == [0] and dataset.get_cat_ids(-1) == [9]
    dataset.get_data_info(0)['img'][:] = 255
    assert dataset.get_data_info(0)['img'].min() == 0


def test_from_a_config_through_the_pipeline_and_wrappers():
    init_default_scope('mmpretrain')
    cfg = dict(
        type='lt_mm.DigitsLT',
        pipeline=[
            dict(type='Resize', scale=32, interpolation='bicubic'),
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='PackInputs'),
        ],
    )
    dataset = DATASETS.build(cfg)
    sample = dataset[len(dataset) - 1]
    assert (
        sample['inputs'].shape == (3, 32, 32) and sample['inputs'].dtype.is_floating_point is False
    )
    assert sample['data_samples'].gt_label.tolist() == [9]
    assert dataset.metainfo['classes'][9] == 'digit 9' and 'exp, 50:1' in repr(dataset)
    both = ConcatDataset([DATASETS.build(dict(cfg, split=split)) for split in ('train', 'tuning')])
    assert len(both) == 314 + 200


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(split='val'), "split='val'"),
        (dict(imbalance_factor=0), 'imbalance_factor=0'),
        (dict(split='test', profile='flat'), "profile='flat'"),
    ],
)
def test_bad_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        DigitsLT(**wrong)
