import cv2
import numpy as np
import pytest
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.registry import init_default_scope

from lt_mm.datasets import ImageNetLT, LabelListDataset, PlacesLT
from lt_mm.datasets.class_counting import count_classes
from lt_mm.registry import DATASETS

PLACES = [f'train/place {label}/{i}.jpg {label}' for label in range(365) for i in range(2)]
IMAGENET = [f'train/n{label:08d}/n{label:08d}_1.JPEG {label}' for label in range(1000)]


def make(root, lines, name='list.txt', image=True):
    """A list, and the first image of it."""
    (root / name).write_text('\n'.join(lines) + '\n')
    if image:
        path = root / lines[0].rsplit(' ', 1)[0]
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((6, 4, 3), 7, np.uint8))
    return dict(data_root=str(root), ann_file=name)


def test_places_from_a_config_to_a_packed_image(tmp_path):
    init_default_scope('mmpretrain')
    cfg = dict(type='lt_mm.PlacesLT', **make(tmp_path, PLACES))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    dataset = DATASETS.build(dict(cfg, pipeline=pipeline))
    assert len(dataset) == 730
    assert dataset.get_gt_labels().tolist() == np.repeat(np.arange(365), 2).tolist()
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 6, 4)
    assert sample['data_samples'].img_path == str(tmp_path / 'train/place 0/0.jpg')
    counts = count_classes(dataset)['images']
    assert counts.counts.tolist() == [2] * 365 and counts.class_names[364] == '364'


def test_imagenet_has_the_names_of_mmpretrain(tmp_path):
    dataset = ImageNetLT(**make(tmp_path, IMAGENET))
    assert len(dataset) == 1000
    assert dataset.metainfo['classes'][0].startswith('tench')
    assert dataset.get_cat_ids(999) == [999]


def test_images_may_lie_under_a_prefix_and_the_list_elsewhere(tmp_path):
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'images').mkdir()
    make(tmp_path / 'images', PLACES)
    make(tmp_path / 'lists', PLACES, 'test.txt', image=False)
    dataset = PlacesLT(
        ann_file=str(tmp_path / 'lists/test.txt'), data_root=str(tmp_path), data_prefix='images'
    )
    assert dataset.get_data_info(3)['img_path'] == str(tmp_path / 'images/train/place 1/1.jpg')


def test_class_names_may_be_given(tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('\n'.join(f'scene {i}' for i in range(365)))
    cfg = make(tmp_path, PLACES)
    assert PlacesLT(**cfg, classes=str(names)).metainfo['classes'][7] == 'scene 7'
    with pytest.raises(ValueError, match='PlacesLT has 365 classes, but 2 class names'):
        PlacesLT(**cfg, classes=['a', 'b'])


def test_missing_list_is_told_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        ImageNetLT(ann_file='no.txt', data_root=str(tmp_path))
    text = str(caught.value)
    assert 'ImageNetLT' in text and f'{tmp_path / "no.txt"} does not exist' in text
    assert 'ann_file' in text and 'docs/datasets.md' in text and '\n' not in text


def test_missing_images_are_told_when_the_list_is_read(tmp_path):
    cfg = make(tmp_path, PLACES, image=False)
    with pytest.raises(FileNotFoundError) as caught:
        PlacesLT(**cfg)
    text = str(caught.value)
    assert str(tmp_path / 'train/place 0/0.jpg') in text and 'data_prefix' in text
    PlacesLT(**cfg, lazy_init=True)


def test_remote_images_are_not_looked_for(tmp_path):
    class Shelf(BaseStorageBackend):
        get = get_text = None

        def join_path(self, *parts):
            return '/'.join(parts)

    register_backend('shelf_of_this_test', Shelf, prefixes='shelf', force=True)
    make(tmp_path, PLACES, image=False)
    dataset = PlacesLT(ann_file=str(tmp_path / 'list.txt'), data_prefix='shelf://places')
    assert dataset.get_data_info(0)['img_path'] == 'shelf://places/train/place 0/0.jpg'


@pytest.mark.parametrize('ann_file', ['', None])
def test_a_folder_is_not_taken_for_a_list(tmp_path, ann_file):
    with pytest.raises(ValueError, match='ImageNetLT has no ann_file'):
        ImageNetLT(ann_file=ann_file, data_root=str(tmp_path))


@pytest.mark.parametrize(
    'lines, message',
    [
        (IMAGENET, r"n00000365_1.JPEG' the label 365, but PlacesLT has labels 0 to 364"),
        (['a.jpg -1', *PLACES], 'the label -1'),
        (PLACES[:20], 'lists images of 10 classes, but PlacesLT has 365'),
        (['a.jpg', *PLACES], "not a list of lines 'path label'"),
        (['a.jpg airfield', *PLACES], "not a list of lines 'path label'.*airfield"),
        ([*PLACES, ''], "not a list of lines 'path label'"),
    ],
)
def test_another_list_is_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        PlacesLT(**make(tmp_path, lines, image=False))


def test_an_empty_list_is_refused(tmp_path):
    class AnyList(LabelListDataset):
        METAINFO = dict(classes=('a', 'b'))

    (tmp_path / 'list.txt').touch()
    with pytest.raises(ValueError, match='images of 0 classes, but AnyList has 2'):
        AnyList(ann_file='list.txt', data_root=str(tmp_path))
