import gzip

import numpy as np
import pytest

from lt_mm.datasets import FashionMNISTLT


def write_idx(path, array, compress):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, '>i4').tobytes()
    if compress:
        path = path.with_name(path.name + '.gz')
    with (gzip.open if compress else open)(path, 'wb') as file:
        file.write(header + array.tobytes())


def write_files(folder, compress):
    folder.mkdir(parents=True)
    for prefix, per_class in (('train', 700), ('t10k', 3)):
        labels = np.tile(np.arange(10, dtype=np.uint8), per_class)
        images = np.zeros((len(labels), 2, 2), np.uint8)
        images[:, 0, 0], images[:, 1, 1] = labels, np.arange(len(labels)) % 251
        write_idx(folder / f'{prefix}-images-idx3-ubyte', images, compress)
        write_idx(folder / f'{prefix}-labels-idx1-ubyte', labels, compress)


@pytest.fixture(scope='module', params=['idx.gz', 'torchvision'])
def root(request, tmp_path_factory):
    root = tmp_path_factory.mktemp('fashion')
    zipped = request.param == 'idx.gz'
    write_files(root / 'files' if zipped else root / 'files/FashionMNIST/raw', zipped)
    return str(root / 'files')


def samples(root, split='train', imbalance_factor=1, **kwargs):
    dataset = FashionMNISTLT(
        data_root=root, split=split, imbalance_factor=imbalance_factor, **kwargs
    )
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def places(*args, **kwargs):
    return [sample['image_index'] for sample in samples(*args, **kwargs)]


@pytest.mark.parametrize('imbalance_factor', [1, 10, 50, 100, 200])
def test_training_counts_are_the_formula(root, imbalance_factor):
    labels = [sample['gt_label'] for sample in samples(root, 'train', imbalance_factor)]
    naive = [int(200 * imbalance_factor ** (-c / 9)) for c in range(10)]
    assert np.bincount(labels, minlength=10).tolist() == naive


def test_held_out_splits_are_balanced_and_no_image_is_in_two(root):
    train, tuning = places(root), places(root, 'tuning')
    assert len(set(train + tuning)) == len(train) + len(tuning) == 7000
    assert tuning == places(root, 'tuning', 100)
    labels = [sample['gt_label'] for sample in samples(root, 'tuning')]
    assert np.bincount(labels).tolist() == [500] * 10
    assert places(root, 'test') == list(range(30))


def test_longer_tail_is_a_subset_and_seed_decides(root):
    assert set(places(root, imbalance_factor=100)) < set(places(root, imbalance_factor=10))
    assert places(root, seed=1) == places(root, seed=1) != places(root, seed=2)


@pytest.mark.parametrize('split', ['train', 'tuning', 'test'])
def test_images_and_labels_are_those_of_the_file(root, split):
    for sample in samples(root, split, 100)[::50]:
        image, index = sample['img'], sample['image_index']
        assert image.dtype == np.uint8 and image.shape == (2, 2, 3)
        assert sample['gt_label'] == index % 10
        assert (image[0, 0] == index % 10).all() and (image[1, 1] == index % 251).all()


def test_missing_files_and_unknown_splits_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='train-images-idx3-ubyte.*data_root'):
        FashionMNISTLT(data_root=str(tmp_path))
    with pytest.raises(ValueError, match="split='val'"):
        FashionMNISTLT(data_root=str(tmp_path), split='val')
