import pickle
import urllib.request
from hashlib import md5
from urllib.error import URLError

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.datasets import CIFAR10, CIFAR100

from lt_mm.datasets import CIFAR10LT, CIFAR100LT
from lt_mm.datasets.class_counting import count_classes
from lt_mm.datasets.long_tail_profile import long_tailed_counts_of_head
from lt_mm.registry import DATASETS

PER_CLASS = 40


def write_batch(path, labels, key, rng):
    """A batch as in the official archives: rows of 3072 bytes, red plane first."""
    data = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    path.write_bytes(pickle.dumps({'data': data, key: list(map(int, labels))}))
    return [path.name, md5(path.read_bytes()).hexdigest()], data


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Tiny archives of both data sets, with checksums that the classes know."""
    rng = np.random.default_rng(0)
    images = {}
    for cls, batches, key in ((CIFAR10LT, 5, 'labels'), (CIFAR100LT, 1, 'fine_labels')):
        num_classes = len(cls.METAINFO['classes'])
        folder = tmp_path / cls.base_folder
        folder.mkdir()
        labels = rng.permutation(np.repeat(np.arange(num_classes), PER_CLASS))
        parts = [(old[0], part) for old, part in zip(cls.train_list, np.split(labels, batches))]
        written = [write_batch(folder / name, part, key, rng) for name, part in parts]
        test = write_batch(folder / cls.test_list[0][0], np.arange(num_classes), key, rng)
        monkeypatch.setattr(cls, 'train_list', [entry for entry, _ in written])
        monkeypatch.setattr(cls, 'test_list', [test[0]])
        images[cls] = np.concatenate([data for _, data in written]), labels, test[1]
    return tmp_path, images


def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError('no route to host')

    monkeypatch.setattr(urllib.request, 'urlopen', refuse)


def naive_indices(labels, num_classes, imbalance_factor, seed=0):
    """The public code of LDAM, restated."""
    state = np.random.get_state()
    np.random.seed(seed)
    most = len(labels) / num_classes
    kept = []
    for c in range(num_classes):
        indices = np.where(labels == c)[0]
        np.random.shuffle(indices)
        kept.extend(indices[: int(most * (1 / imbalance_factor) ** (c / (num_classes - 1.0)))])
    np.random.set_state(state)
    return kept


@pytest.mark.parametrize('cls', [CIFAR10LT, CIFAR100LT])
@pytest.mark.parametrize('seed', [0, 7])
def test_training_images_are_those_of_the_public_code(archive, cls, seed):
    root, images = archive
    data, labels, _ = images[cls]
    num_classes = len(cls.METAINFO['classes'])
    dataset = cls(data_root=str(root), imbalance_factor=20, seed=seed, download=False)
    expected = naive_indices(labels, num_classes, 20, seed)
    assert dataset.get_gt_labels().tolist() == labels[expected].tolist()
    for i in (0, len(expected) // 2, len(expected) - 1):
        info = dataset.get_data_info(i)
        rgb = data[expected[i]].reshape(3, 32, 32).transpose(1, 2, 0)
        assert info['img'].dtype == np.uint8 and (info['img'] == rgb).all()


def fake_list(monkeypatch, cls, parent, labels):
    monkeypatch.setattr(
        parent, 'load_data_list', lambda self: [dict(gt_label=int(label)) for label in labels]
    )
    return lambda **kwargs: cls(data_root='nowhere', **kwargs)


@pytest.mark.parametrize(
    'cls, imbalance_factor, images',
    [
        (CIFAR10LT, 50, 13_996),
        (CIFAR10LT, 100, 12_406),
        (CIFAR10LT, 1, 50_000),
        (CIFAR100LT, 50, 12_608),
        (CIFAR100LT, 100, 10_847),
    ],
)
def test_full_size_sets_have_the_published_number_of_images(
    monkeypatch, cls, imbalance_factor, images
):
    num_classes = len(cls.METAINFO['classes'])
    labels = np.random.default_rng(0).permutation(np.arange(50_000) % num_classes)
    make = fake_list(monkeypatch, cls, CIFAR10, labels)
    dataset = make(imbalance_factor=imbalance_factor, serialize_data=False)
    found = np.bincount([sample['gt_label'] for sample in dataset.data_list])
    assert found.sum() == len(dataset) == images
    assert found[0] == 50_000 // num_classes
    assert found[0] / found[-1] == imbalance_factor
    assert (np.diff(found) <= 0).all()


def test_step_profile(archive):
    dataset = CIFAR10LT(data_root=str(archive[0]), imbalance_factor=10, profile='step')
    assert np.bincount(dataset.get_gt_labels()).tolist() == [40] * 5 + [4] * 5
    assert 'step, 10:1, seed 0' in repr(dataset)


def test_test_split_stays_whole_and_in_order(archive):
    root, images = archive
    dataset = CIFAR100LT(data_root=str(root), split='test', imbalance_factor=100)
    assert dataset.get_gt_labels().tolist() == list(range(100))
    rgb = images[CIFAR100LT][2][3].reshape(3, 32, 32).transpose(1, 2, 0)
    assert (dataset.get_data_info(3)['img'] == rgb).all()
    assert 'Long tail' not in repr(dataset)


def test_no_imbalance_keeps_every_image(archive):
    dataset = CIFAR10LT(data_root=str(archive[0]), imbalance_factor=1)
    assert np.bincount(dataset.get_gt_labels()).tolist() == [PER_CLASS] * 10
    assert len({dataset.get_data_info(i)['img'].tobytes() for i in range(len(dataset))}) == 400


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(imbalance_factor=0.01), 'imbalance_factor=0.01'),
        (dict(profile='linear'), "profile='linear'"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_read(split, wrong, message):
    with pytest.raises(ValueError, match=message):
        CIFAR100LT(data_root='nowhere', split=split, lazy_init=True, **wrong)


@pytest.mark.parametrize('download', [True, False])
def test_missing_archive_is_told_in_one_sentence(tmp_path, monkeypatch, download):
    no_network(monkeypatch)
    with pytest.raises(FileNotFoundError) as caught:
        CIFAR100LT(data_root=str(tmp_path / 'data'), download=download)
    text = str(caught.value)
    assert 'CIFAR100LT' in text and str(tmp_path / 'data' / 'cifar-100-python') in text
    assert CIFAR100.url in text and 'data_root' in text and '\n' not in text


def test_damaged_archive_is_not_read(archive):
    root, _ = archive
    with open(root / 'cifar-10-batches-py' / 'data_batch_3', 'ab') as file:
        file.write(b'!')
    with pytest.raises(FileNotFoundError, match='CIFAR10LT is missing or damaged'):
        CIFAR10LT(data_root=str(root), download=False)


def test_other_errors_stay_what_they_are(archive, monkeypatch):
    monkeypatch.setattr(pickle, 'loads', lambda *args, **kwargs: {'data': np.zeros((1, 3072))})
    with pytest.raises(KeyError, match='fine_labels'):
        CIFAR100LT(data_root=str(archive[0]))


def test_from_a_config_through_the_pipeline_and_the_counting(archive):
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(
        dict(
            type='lt_mm.CIFAR10LT',
            data_root=str(archive[0]),
            imbalance_factor=10,
            pipeline=[dict(type='RandomCrop', crop_size=32, padding=4), dict(type='PackInputs')],
        )
    )
    assert dataset[5]['inputs'].shape == (3, 32, 32)
    assert dataset[5]['data_samples'].gt_label.tolist() == [0] == dataset.get_cat_ids(5)
    counts = count_classes(dataset)['images']
    assert counts.counts.tolist() == np.bincount(dataset.get_gt_labels()).tolist()
    assert counts.class_names == CIFAR10.METAINFO['classes'] and counts.imbalance_factor == 10


@pytest.mark.parametrize('cls', [CIFAR10LT, CIFAR100LT])
def test_a_development_set_is_taken_out_before_the_tail_is_cut(archive, cls):
    root, _ = archive
    num_classes = len(cls.METAINFO['classes'])
    settings = dict(data_root=str(root), imbalance_factor=5, development=10, pipeline=[])
    training, held_out = cls(**settings), cls(split='development', **settings)
    assert np.bincount(held_out.get_gt_labels()).tolist() == [10] * num_classes
    counts = [int(30 * 5 ** (-c / (num_classes - 1))) for c in range(num_classes)]
    assert np.bincount(training.get_gt_labels()).tolist() == counts
    images = [
        {dataset.get_data_info(i)['img'].tobytes() for i in range(len(dataset))}
        for dataset in (training, held_out)
    ]
    assert not images[0] & images[1]
    # However long the tail.
    other = cls(split='development', **{**settings, 'imbalance_factor': 2})
    assert images[1] == {other.get_data_info(i)['img'].tobytes() for i in range(len(other))}


@pytest.mark.parametrize(
    ('num_classes', 'imbalance_factor', 'total', 'rarest'),
    [(10, 100, 12380, 49), (10, 200, 11177, 24), (100, 100, 10626, 4), (100, 200, 9304, 2)],
)
def test_counts_of_the_paper_with_a_development_set(num_classes, imbalance_factor, total, rarest):
    # Those of the public code of Jamal et al., with 10 images a class taken out.
    counts = long_tailed_counts_of_head(50000 // num_classes - 10, num_classes, imbalance_factor)
    assert (counts.sum(), counts[-1]) == (total, rarest)


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        (dict(development=-1), 'development of CIFAR10LT is -1'),
        (dict(split='development'), 'development of CIFAR10LT is 0'),
        (dict(development=PER_CLASS), f'of {PER_CLASS} images a class, so none is left'),
    ],
)
def test_development_sets_that_cannot_be(archive, settings, told):
    with pytest.raises(ValueError, match=told):
        CIFAR10LT(data_root=str(archive[0]), pipeline=[], **settings)
