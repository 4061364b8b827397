import json

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from lt_mm.datasets import INaturalist2017, INaturalist2018
from lt_mm.datasets.class_counting import count_classes
from lt_mm.registry import DATASETS

YEARS = [(INaturalist2018, 8142, 'train_val2018'), (INaturalist2017, 5089, 'train_val_images')]
LABELS = [7, 3, 7, 5000]


def content(num_classes, folder, labels=LABELS):
    """What an official annotation file holds; ids of images are no indices, as in 2018."""
    files = [f'{folder}/Aves/Cardinalis cardinalis/{i}.jpg' for i in range(len(labels))]
    return dict(
        info=dict(year=2018),
        images=[
            dict(id=100 + i, file_name=file, width=8, height=6) for i, file in enumerate(files)
        ],
        categories=[dict(id=i, name=f'species {i}') for i in reversed(range(num_classes))],
        annotations=[
            dict(id=i, image_id=100 + i, category_id=label) for i, label in enumerate(labels)
        ],
    )


def write(root, annotations, name='train.json', image=True):
    (root / name).write_text(json.dumps(annotations))
    if image:
        path = root / annotations['images'][0]['file_name']
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((6, 8, 3), np.uint8))
    return dict(data_root=str(root), ann_file=name)


@pytest.mark.parametrize('cls, num_classes, folder', YEARS)
def test_official_json_from_a_config_to_a_packed_image(tmp_path, cls, num_classes, folder):
    init_default_scope('mmpretrain')
    cfg = write(tmp_path, content(num_classes, folder))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    dataset = DATASETS.build(dict(type=f'lt_mm.{cls.__name__}', pipeline=pipeline, **cfg))
    assert isinstance(dataset, cls) and dataset.get_gt_labels().tolist() == LABELS
    assert dataset.metainfo['classes'] == tuple(f'species {i}' for i in range(num_classes))
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 6, 8)
    assert sample['data_samples'].img_path == str(
        tmp_path / folder / 'Aves/Cardinalis cardinalis/0.jpg'
    )
    counts = count_classes(dataset)['images'].counts
    assert (counts[7], counts[3], counts[5000], counts.sum()) == (2, 1, 1, 4)
    assert len(counts) == num_classes


@pytest.mark.parametrize('cls, num_classes, folder', YEARS)
def test_text_list_says_the_same_as_the_json(tmp_path, cls, num_classes, folder):
    official = cls(**write(tmp_path, content(num_classes, folder)))
    lines = [
        f'{info["file_name"]} {label}'
        for info, label in zip(content(num_classes, folder)['images'], LABELS, strict=True)
    ]
    (tmp_path / 'list.txt').write_text('\n'.join(lines) + '\n')
    listed = cls(data_root=str(tmp_path), ann_file='list.txt')
    for i in range(4):
        assert listed.get_data_info(i) == official.get_data_info(i)
    assert len(listed) == 4 and len(listed.metainfo['classes']) == num_classes


def test_annotations_are_matched_by_image_id(tmp_path):
    annotations = content(8142, 'train_val2018')
    annotations['annotations'][1:] = annotations['annotations'][:0:-1]
    dataset = INaturalist2018(**write(tmp_path, annotations))
    found = {
        info['img_path'][-5:]: info['gt_label'] for info in map(dataset.get_data_info, range(4))
    }
    assert found == {'0.jpg': 7, '1.jpg': 3, '2.jpg': 7, '3.jpg': 5000}


def test_given_class_names_stay(tmp_path):
    names = [f'name {i}' for i in range(8142)]
    dataset = INaturalist2018(**write(tmp_path, content(8142, 'a')), classes=names)
    assert dataset.metainfo['classes'] == tuple(names)


def test_the_file_of_another_year_is_refused(tmp_path):
    cfg = write(tmp_path, content(5089, 'train_val_images'), image=False)
    with pytest.raises(ValueError, match='5089 categories, but INaturalist2018 has 8142'):
        INaturalist2018(**cfg)


def test_a_label_out_of_range_is_named(tmp_path):
    cfg = write(tmp_path, content(5089, 'a', labels=[3, 6000]), image=False)
    with pytest.raises(ValueError, match="1.jpg' the label 6000.*labels 0 to 5088"):
        INaturalist2017(**cfg)


def test_test_images_have_no_labels(tmp_path):
    annotations = content(8142, 'test2018')
    for key in ('annotations', 'categories'):
        del annotations[key]
    cfg = write(tmp_path, annotations)
    with pytest.raises(ValueError, match='holds no annotations'):
        INaturalist2018(**cfg)
    dataset = INaturalist2018(**cfg, with_label=False)
    assert len(dataset) == 4 and 'gt_label' not in dataset.get_data_info(0)


@pytest.mark.parametrize(
    'text', ['{"images": [', '[]', '{"annotations": []}', '{"images": [{"id": 1}]}']
)
def test_another_json_is_refused(tmp_path, text):
    (tmp_path / 'train.json').write_text(text)
    with pytest.raises(ValueError, match='is not an annotation file of INaturalist2018'):
        INaturalist2018(ann_file='train.json', data_root=str(tmp_path))


def test_an_annotation_of_no_image_is_refused(tmp_path):
    annotations = content(8142, 'a')
    annotations['annotations'][2]['image_id'] = 9
    with pytest.raises(ValueError, match='KeyError: 9'):
        INaturalist2018(**write(tmp_path, annotations, image=False))


def test_missing_images_are_told(tmp_path):
    cfg = write(tmp_path, content(8142, 'train_val2018'), image=False)
    with pytest.raises(FileNotFoundError, match='train_val2018/Aves/Cardinalis cardinalis/0.jpg'):
        INaturalist2018(**cfg)
