"""Counts equal a tally of what the label part of the pipeline yields, or are refused by name."""

import random

import numpy as np
import pytest
from mmcv.transforms import BaseTransform, LoadAnnotations
from mmengine.dataset import BaseDataset, ConcatDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image
from torch.utils.data import ConcatDataset as TorchConcatDataset
from torch.utils.data import Dataset, Subset

from lt_mm.datasets.class_counting import count_samples
from lt_mm.datasets.samplers import ClassBalancedSampler

LOADERS = [dict(type='mmseg.LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'lt_mm.datasets.class_counting.print_log', lambda message, **kwargs: lines.append(message)
    )
    return lines


def write(folder, maps):
    for part in ('img', 'ann'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for i, labels in enumerate(maps):
        labels = np.asarray(labels)
        Image.new('RGB', labels.shape[1::-1], (9, 9, 9)).save(folder / 'img' / f'{i}.jpg')
        if labels.dtype != np.uint16:
            labels = labels.astype(np.uint8)
        Image.fromarray(labels).save(folder / 'ann' / f'{i}.png')
    return folder


def make(folder, pipeline=None, classes=('a', 'b', 'c'), **kwargs):
    dataset = BaseSegDataset(
        data_root=str(folder),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=classes),
        pipeline=[step for step in pipeline or LOADERS if isinstance(step, dict)],
        **kwargs,
    )
    if pipeline:
        built = iter(dataset.pipeline.transforms)
        dataset.pipeline.transforms = [
            next(built) if isinstance(step, dict) else step for step in pipeline
        ]
    return dataset


def counted(dataset, **kwargs):
    return count_samples(dataset, **kwargs).class_counts().counts.tolist()


def tally(dataset, num_classes=3):
    """What training sees: the pixels of what the pipeline yields."""
    total = np.zeros(num_classes, dtype=int)
    for i in range(len(dataset)):
        labels = dataset[i]['gt_seg_map'].ravel()
        total += np.bincount(labels[labels != 255], minlength=num_classes)
    return total.tolist()


MAPS = [[[0, 1], [2, 2]], [[1, 1], [2, 255]], [[2, 2], [2, 0]]]


class Merge(BaseTransform):
    """Class 2 becomes class 1."""

    def transform(self, results):
        labels = results['gt_seg_map']
        results['gt_seg_map'] = np.where(labels == 2, 1, labels)
        return results


class MergeInANewDict(BaseTransform):
    def transform(self, results):
        return {**results, 'gt_seg_map': np.where(results['gt_seg_map'] == 2, 0, 1)}


class BrightAreIgnored(BaseTransform):
    """Needs the picture."""

    def transform(self, results):
        labels = results['gt_seg_map'].copy()
        labels[results['img'].sum(axis=2) < 100] = 1
        results['gt_seg_map'] = labels
        return results


class FieldsDoubled(BaseTransform):
    """Finds the labels by the fields, as transforms of mmseg do."""

    def transform(self, results):
        for key in results.get('seg_fields', []):
            results[key] = 2 - results[key].clip(max=2)
        return results


class OwnLoader(LoadAnnotations):
    def _load_seg_map(self, results):
        results['gt_seg_map'] = np.asarray(Image.open(results['seg_map_path'])) // 100
        results['seg_fields'].append('gt_seg_map')


class OwnReader(BaseTransform):
    """No loader by its class."""

    def transform(self, results):
        results['gt_seg_map'] = np.asarray(Image.open(results['seg_map_path'])) // 100
        return results


def merged(results):
    results['gt_seg_map'] = results['gt_seg_map'] // 2
    return results


@pytest.mark.parametrize(
    'own', [Merge(), MergeInANewDict(), BrightAreIgnored(), FieldsDoubled(), merged]
)
@pytest.mark.parametrize('workers', [0, 1])
def test_transforms_of_a_users_own_take_part(tmp_path, own, workers):
    maps = [[[0, 1], [2, 2]], [[1, 1], [2, 0]], [[2, 2], [2, 0]]]
    plain = make(write(tmp_path, maps))
    dataset = make(tmp_path, [*LOADERS, own])
    expected = tally(dataset)
    assert expected != counted(plain)
    for _ in range(2):
        assert counted(dataset, cache_dir=tmp_path / 'cache', num_workers=workers) == expected
    # Code cannot tell whether it was changed.
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('own', [OwnLoader(with_bbox=False, with_label=False, with_seg=True),
                                 OwnReader()])  # fmt: skip
def test_loaders_of_a_users_own(tmp_path, own):
    labels = np.array([[0, 120, 250, 250]])
    dataset = make(write(tmp_path, [labels]), [LOADERS[0], own])
    assert counted(dataset) == tally(dataset) == [1, 1, 2]


def test_sixteen_bits_read_by_a_loader_of_a_users_own(tmp_path):
    maps = [np.array([[0, 120, 250, 250]], np.uint16) * 100]

    def read(results):
        labels = np.asarray(Image.open(results['seg_map_path'])).astype(int)
        results['gt_seg_map'] = labels // 10000
        return results

    assert counted(make(write(tmp_path, maps), [read])) == [1, 1, 2]


def test_a_transform_between_known_ones_is_tried_where_it_stands(tmp_path):
    """Behind Resize, whose keys it reads; the crop behind it is left out."""

    def needs_resize(results):
        assert results['scale_factor']
        return results

    crop = dict(type='mmseg.RandomCrop', crop_size=(1, 1))
    resize = dict(type='mmseg.Resize', scale=(8, 8))
    dataset = make(write(tmp_path, MAPS), [*LOADERS, resize, needs_resize, crop])
    assert counted(dataset) == [2, 3, 6]


class AtRandom(BaseTransform):
    def transform(self, results):
        labels = results['gt_seg_map']
        results['gt_seg_map'] = (labels + random.randrange(3)) % 3
        return results


class AtRandomByNumpy(AtRandom):
    keeps_labels = False

    def transform(self, results):
        side = np.random.randint(1, 3)
        results['gt_seg_map'] = results['gt_seg_map'][:, :side]
        return results


@pytest.mark.parametrize('own', [AtRandom(), AtRandomByNumpy()])
def test_a_transform_that_changes_labels_at_random_is_named(tmp_path, own):
    dataset = make(write(tmp_path, MAPS), [*LOADERS, own])
    states = random.getstate(), np.random.get_state()[1].tolist()
    with pytest.raises(TypeError, match=f'{type(own).__name__} of BaseSegDataset changes'):
        count_samples(dataset)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    with pytest.raises(TypeError, match=f'{type(own).__name__} of BaseSegDataset changes'):
        ClassBalancedSampler(dataset)
    own.keeps_labels = True
    assert counted(dataset) == [2, 3, 6]


@pytest.mark.parametrize('inner', ['Merge', 'mmseg.LoadAnnotations'])
def test_labels_changed_within_a_random_choice_are_named(tmp_path, inner):
    choice = dict(type='RandomApply', transforms=[dict(type='mmseg.LoadAnnotations')], prob=0.5)
    dataset = make(write(tmp_path, MAPS), [*LOADERS, choice])
    if inner == 'Merge':
        dataset.pipeline.transforms[-1].transforms.transforms = [Merge()]
    with pytest.raises(TypeError, match=f'{inner.split(".")[-1]} within RandomApply'):
        count_samples(dataset)


def test_a_transform_of_pictures_alone_is_no_obstacle(tmp_path):
    def noise(results):
        results['img'] = results['img'] + np.random.rand()
        return results

    dataset = make(write(tmp_path, MAPS), [*LOADERS, noise])
    assert counted(dataset, cache_dir=tmp_path / 'cache') == [2, 3, 6]
    # It is none of those that decide the counts, so these are kept.
    assert (tmp_path / 'cache').exists()


def test_a_transform_that_fails_is_named(tmp_path):
    def broken(results):
        raise RuntimeError('no such tool')

    with pytest.raises(TypeError, match='broken fails on a sample of BaseSegDataset.*no such tool'):
        count_samples(make(write(tmp_path, MAPS), [*LOADERS, broken]))


def test_parts_are_read_each_its_own_way(tmp_path):
    """A has {0, 1} and B {1, 2} with reduce_zero_label: both are of the classes 0 and 1."""
    first = make(write(tmp_path / 'a', [[[0] * 32 + [1] * 32]]))
    second = make(write(tmp_path / 'b', [[[1] * 32 + [2] * 32]]), reduce_zero_label=True)
    both = ConcatDataset([first, second], ignore_keys=['reduce_zero_label'])
    assert counted(both) == tally(both) == [64, 64, 0]
    for _ in range(2):
        assert counted(both, cache_dir=tmp_path / 'cache') == [64, 64, 0]
    turned = ConcatDataset([second, first], ignore_keys=['reduce_zero_label'])
    assert counted(turned, cache_dir=tmp_path / 'cache') == [64, 64, 0]
    assert count_samples(turned).table.toarray().tolist() == [[32, 32, 0]] * 2
    # The same maps, once as they are and once shifted.
    shifted = make(tmp_path / 'a', reduce_zero_label=True)
    mixed = TorchConcatDataset([first, shifted])
    assert counted(mixed, cache_dir=tmp_path / 'cache') == [64, 32, 0]


def test_parts_with_transforms_of_their_own(tmp_path):
    plain, own = make(write(tmp_path, MAPS)), make(tmp_path, [*LOADERS, Merge()])
    both = TorchConcatDataset([plain, own, Subset(own, [0])])
    assert counted(both, num_workers=1) == tally(both) == [2 + 2 + 1, 3 + 9 + 3, 6]


@pytest.mark.parametrize('indices', [[2], [0, 0, 2], np.array([1])])
def test_a_subset_is_counted_alone(tmp_path, indices):
    dataset = make(write(tmp_path, MAPS))
    part = Subset(Subset(dataset, [2, 0, 1]), indices)
    assert counted(part) == tally(part)
    assert ClassBalancedSampler(part, cache_dir=tmp_path / 'c').counts.sum(axis=0).tolist() == (
        tally(part)
    )


def test_a_wrapper_that_hides_which_samples_it_takes_is_named(tmp_path):
    class Half(Dataset):
        def __init__(self, dataset):
            self.dataset = dataset

        def __len__(self):
            return len(self.dataset) // 2

    with pytest.raises(TypeError, match='Half cannot be counted, because it has 1 samples of'):
        count_samples(Half(make(write(tmp_path, MAPS))))


def test_masks_of_zero_and_255_are_pointed_out(tmp_path, log):
    dataset = make(write(tmp_path, [[[0, 0, 255]], [[255, 0, 0]]]), classes=('back', 'object'))
    assert counted(dataset) == [4, 0]
    assert 'class 0 (back) holds all 4 labelled pixels' in log[-1]
    assert 'reduce_zero_label, ignore_index, and whether the maps mark a class with 255' in log[-1]
    log.clear()
    ClassBalancedSampler(dataset, cache_dir=tmp_path / 'cache')
    assert len(log) == 1


def test_a_wrong_reduce_zero_label_is_pointed_out(tmp_path, log):
    folder = write(tmp_path, [[[0, 1, 1]]])
    assert counted(make(folder, classes=('a', 'b'), reduce_zero_label=True)) == [2, 0]
    assert 'holds all 2' in log[-1]
    assert counted(make(folder, classes=('a', 'b'))) == [1, 2]
    assert len(log) == 1


def test_every_label_ignored_is_refused(tmp_path):
    dataset = make(write(tmp_path, [[[255, 255]]]))
    for use in (count_samples, ClassBalancedSampler):
        with pytest.raises(ValueError, match='shows a class.*whether these mark classes with 255'):
            use(dataset)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
@pytest.mark.parametrize('shape', [(4, 3), (1, 4), (1, 1)])
def test_colours_are_refused_by_file_name(tmp_path, mode, shape):
    dataset = make(write(tmp_path, MAPS))
    Image.new(mode, shape).save(tmp_path / 'ann' / '1.png')
    with pytest.raises(ValueError, match=r"1\.png' (has the channels|is read as an array)"):
        count_samples(dataset)


def test_a_palette_is_no_colour(tmp_path):
    dataset = make(write(tmp_path, MAPS))
    image = Image.fromarray(np.array([[0, 2, 2]], np.uint8), mode='P')
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / 'ann' / '0.png')
    assert counted(dataset) == tally(dataset) == [2, 2, 6]
    by_colour = make(
        tmp_path, [LOADERS[0], dict(type='mmseg.LoadAnnotations', imdecode_backend='cv2')]
    )
    with pytest.raises(ValueError, match=r"0\.png' is read as an array of shape \(3, 3\)|channels"):
        count_samples(by_colour)


@pytest.mark.parametrize('value', [256, 300, 65535])
def test_sixteen_bits_that_would_wrap_are_refused_by_file_name(tmp_path, value):
    maps = [np.array([[0, 1, 2]], np.uint16), np.array([[0, value, 2]], np.uint16)]
    with pytest.raises(ValueError, match=rf"1\.png' holds label {value}, which mmseg would read"):
        count_samples(make(write(tmp_path, maps)))


@pytest.mark.parametrize('value', [0.5, np.nan, -1.0, 300.0])
def test_floats_that_are_no_labels_are_refused_by_file_name(tmp_path, value):
    dataset = make(write(tmp_path, [[[0, 1, 2]]]), seg_map_suffix='.tif')
    Image.fromarray(np.array([[0, value, 2]], np.float32)).save(tmp_path / 'ann' / '0.tif')
    with pytest.raises(ValueError, match=rf"0\.tif' holds label {value}, which mmseg would read"):
        count_samples(dataset)
    Image.fromarray(np.array([[0, 1, 2]], np.float32)).save(tmp_path / 'ann' / '0.tif')
    assert counted(dataset) == tally(dataset) == [1, 1, 1]


def test_sixteen_bits_of_small_labels_are_right(tmp_path):
    dataset = make(write(tmp_path, [np.array([[0, 1, 2, 255]], np.uint16)]))
    assert counted(dataset) == tally(dataset) == [1, 1, 1]


@pytest.mark.parametrize('content', [b'', b'no picture', 'half'])
@pytest.mark.parametrize('workers', [0, 1])
def test_a_damaged_map_is_named(tmp_path, content, workers):
    generator = np.random.default_rng(0)
    dataset = make(write(tmp_path, [generator.integers(0, 3, (64, 64)) for _ in range(2)]))
    path = tmp_path / 'ann' / '1.png'
    path.write_bytes(path.read_bytes()[:300] if content == 'half' else content)
    with pytest.raises(ValueError, match=r"1\.png' cannot be read by LoadAnnotations of BaseSeg"):
        count_samples(dataset, num_workers=workers)


def test_a_missing_map_is_named_with_its_data_set(tmp_path):
    dataset = make(write(tmp_path, MAPS))
    len(dataset)
    (tmp_path / 'ann' / '1.png').unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.png' cannot be read.*data_prefix of BaseSeg"):
        count_samples(dataset)


def test_an_empty_folder_is_named(tmp_path):
    write(tmp_path, [])
    with pytest.raises(ValueError, match=rf'none was found in {tmp_path}/img and {tmp_path}/ann'):
        count_samples(make(tmp_path, serialize_data=False))


class Labels(BaseDataset):
    def __init__(self, labels, classes=None, pipeline=()):
        self._labels = labels
        super().__init__(metainfo=dict(classes=classes) if classes else None)
        self.pipeline.transforms = list(pipeline)

    def load_data_list(self):
        return [dict(img_path=f'{i}.jpg', gt_label=label) for i, label in enumerate(self._labels)]


def test_labels_of_images_are_read_through_transforms():
    def halved(results):
        results['gt_label'] = results['gt_label'] // 2
        return results

    assert counted(Labels([0, 1, 2, 3, 3], 'ab', [halved])) == [2, 3]
    assert counted(Subset(Labels([0, 1, 1, 0, 0], 'ab'), [1, 2])) == [0, 2]

    def drawn(results):
        results['gt_label'] = random.randrange(2)
        return results

    with pytest.raises(TypeError, match='drawn of Labels changes labels at random'):
        count_samples(Labels([0, 1] * 8, 'ab', [drawn]))


@pytest.mark.parametrize('label', ['1', 0.5, np.nan])
def test_labels_of_images_that_are_no_whole_numbers_are_refused(label):
    with pytest.raises(ValueError, match=r"'1\.jpg' has labels of .* that are no whole numbers"):
        count_samples(Labels([0, label], 'ab'))
    assert counted(Labels([0, 1.0], 'ab')) == [1, 1]


def test_labels_of_one_class_are_pointed_out(log):
    assert counted(Labels([1, 1], ('a', 'b'))) == [0, 2]
    assert 'class 1 (b) holds all 2 labelled images, and 1 others none' in log[-1]


def test_labels_from_one_without_class_names_are_pointed_out(log):
    assert counted(Labels([1, 2, 3])) == [0, 1, 1, 1]
    assert 'labels begin at 1, and without class names 4 classes are counted' in log[-1]
    log.clear()
    assert counted(Labels([0, 1, 2])) == [1, 1, 1]
    assert log == []
