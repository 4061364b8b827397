import dataclasses
import json
import pickle

import pytest
import torch
from mmseg.datasets import ADE20KDataset, CityscapesDataset, COCOStuffDataset

from lt_mm.functional.priors import log_prior
from lt_mm.structures import ClassCounts

# Training images and the pixels of the largest of them. The images of ADE20K differ in size, and
# 2 ** 20 pixels is well above those counted in any class.
DATASETS = {
    'ade20k': (ADE20KDataset, 20210, 2**20),
    'cityscapes': (CityscapesDataset, 2975, 2048 * 1024),
    'cocostuff10k': (COCOStuffDataset, 9000, 640 * 640),
    'cocostuff164k': (COCOStuffDataset, 118287, 640 * 640),
}


def test_all_eight_are_packaged():
    assert ClassCounts.names() == sorted(
        f'{name}_{unit}' for name in DATASETS for unit in ('pixels', 'images')
    )


@pytest.mark.parametrize('name', DATASETS)
def test_packaged_counts_are_possible(name):
    dataset, num_images, largest = DATASETS[name]
    pixels, images = (ClassCounts.load(f'{name}_{unit}') for unit in ('pixels', 'images'))
    assert (pixels.unit, images.unit) == ('pixels', 'images')
    assert (pixels.name, images.name) == (f'{name}_pixels', f'{name}_images')
    for counts in (pixels, images):
        assert counts.class_names == tuple(dataset.METAINFO['classes'])
        assert 'training split' in counts.source
    assert images.counts.max() <= num_images
    assert (pixels.counts >= images.counts).all()
    assert (pixels.counts <= images.counts * largest).all()
    assert pixels.counts.sum() <= num_images * largest


def test_packaged_figures_at_both_ends():
    ade, city = ClassCounts.load('ade20k_pixels'), ClassCounts.load('cityscapes_images')
    assert (ade.class_names[0], ade.counts[0]) == ('wall', 737138625)
    assert (ade.class_names[-1], ade.counts[-1]) == ('flag', 890841)
    assert (city.class_names[0], city.counts[0]) == ('road', 2934)


def test_no_other_line_of_cocostuff10k_can_be_the_unlabelled_one():
    """Leaving out the first of 172 figures is the only way in which all classes fit."""
    kept = ClassCounts.load('cocostuff10k_pixels').counts
    images = ClassCounts.load('cocostuff10k_images').counts
    figures = torch.cat([torch.tensor([297499436]), kept])
    possible = []
    for left_out in range(172):
        rest = torch.cat([figures[:left_out], figures[left_out + 1 :]])
        if (rest <= images * 640 * 640).all():
            possible.append(left_out)
    assert possible == [0, 1]
    # Between these two only 'person' changes: its area per image is a property of COCO.
    other_pixels, other_images = (
        ClassCounts.load(f'cocostuff164k_{unit}').counts[0] for unit in ('pixels', 'images')
    )
    known = other_pixels / other_images
    assert abs(figures[1] / images[0] / known - 1) < 0.05
    assert abs(figures[0] / images[0] / known - 1) > 0.3


def test_counts_are_a_copy_and_the_fields_are_frozen():
    numbers = torch.tensor([3, 0, 9])
    counts = ClassCounts(numbers, ['a', 'b', 'c'], 'pixels', 'here')
    numbers[0] = 7
    assert counts.counts.tolist() == [3, 0, 9]
    assert counts.counts.dtype == torch.int64
    assert counts.class_names == ('a', 'b', 'c')
    with pytest.raises(dataclasses.FrozenInstanceError):
        counts.unit = 'images'


def test_whole_floats_are_counts():
    assert ClassCounts([1.0, 2e9]).counts.tolist() == [1, 2000000000]


def test_equality_is_of_counts_names_and_unit():
    counts = ClassCounts([1, 2], ['a', 'b'], 'pixels', 'here')
    assert counts == ClassCounts([1, 2], ['a', 'b'], 'pixels', 'there')
    assert counts != ClassCounts([1, 3], ['a', 'b'], 'pixels', 'here')
    assert counts != ClassCounts([1, 2, 3], unit='pixels')
    assert counts != ClassCounts([1, 2], ['a', 'c'], 'pixels')
    assert counts != ClassCounts([1, 2], ['a', 'b'], 'images')
    assert counts != [1, 2]
    assert pickle.loads(pickle.dumps(counts)) == counts


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(counts=[1, -1]), 'class 1 has -1'),
        (dict(counts=[1, 0.5]), 'whole numbers'),
        (dict(counts=[]), 'at least one class'),
        (dict(counts=[0, 0]), 'zero for all'),
        (dict(counts=[1, 2], class_names=['a']), '1 class names were given for 2 class counts'),
        (dict(counts=[1, 2], class_names='ab'), 'list of strings'),
        (dict(counts=[1, 2], class_names=[1, 2]), 'list of strings'),
        (dict(counts=[1, 2], unit='boxes'), 'use one of pixels, images, instances'),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassCounts(**arguments)


def test_derived_numbers():
    counts = ClassCounts([50, 0, 5])
    assert counts.num_classes == 3
    assert counts.imbalance_factor == 10
    assert torch.equal(counts.log_prior(), log_prior([50, 0, 5]))


def test_validate_names_the_counts_and_their_user():
    counts = ClassCounts.load('ade20k_pixels')
    counts.validate(150)
    with pytest.raises(
        ValueError, match=r"class counts 'ade20k_pixels' have 150 classes but the head has 19: use"
    ):
        counts.validate(19, 'the head')


@pytest.mark.parametrize('names', [None, ['wall', 'wall', 'Straße "5"']])
def test_saved_counts_are_loaded_again(tmp_path, names):
    counts = ClassCounts([2**40, 0, 1], names, 'instances', 'by hand', 'mine')
    path = tmp_path / 'folder' / 'counts.json'
    counts.save(path)
    for loaded in (ClassCounts.load(path), ClassCounts.load(str(path))):
        assert loaded == counts
        assert (loaded.source, loaded.name) == ('by hand', 'mine')
    assert [file.name for file in path.parent.iterdir()] == ['counts.json']
    # One class a line, and a line for the name that is meant to be there twice.
    lines = path.read_text(encoding='utf-8').splitlines()
    assert len(lines) == 3 + 7 + (names is not None)


def test_of_takes_whatever_a_config_holds(tmp_path):
    counts = ClassCounts([4, 5], unit='pixels')
    counts.save(tmp_path / 'counts.json')
    assert ClassCounts.of(counts) is counts
    assert ClassCounts.of(str(tmp_path / 'counts.json')) == counts
    assert ClassCounts.of('ade20k_images') == ClassCounts.load('ade20k_images')
    for numbers in ([4, 5], (4, 5), torch.tensor([4, 5])):
        assert ClassCounts.of(numbers, unit='pixels') == counts


def test_unknown_name_lists_the_packaged_ones():
    with pytest.raises(FileNotFoundError, match="'ade20k' are neither.*ade20k_images, ade20k_pi"):
        ClassCounts.load('ade20k')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"name": "x", ', 'Expecting'),
        ('[1, 2]', 'it lacks name, unit, source, classes'),
        (json.dumps(dict(name='', unit='pixels', source='')), 'it lacks classes'),
        (json.dumps(dict(name='', unit='pixels', source='', classes={'a': 1})), 'pairs'),
        (json.dumps(dict(name='', unit='pixels', source='', classes=[['a', -1]])), 'has -1'),
        (json.dumps(dict(name='', unit='pixels', source='', classes=[['a', 'b']])), 'number'),
        (json.dumps(dict(name='', unit='km', source='', classes=[['a', 1]])), "'km' is unknown"),
        (b'\xff\xfe\x00', 'decode'),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / 'damaged.json'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"damaged.json' does not hold class .*{message}"):
        ClassCounts.load(path)
