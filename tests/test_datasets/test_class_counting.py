import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.runner.runner import _SlicedDataset
from mmseg.datasets import ADE20KDataset, BaseSegDataset, MultiImageMixDataset
from PIL import Image

from lt_mm.datasets.class_counting import count_classes, count_samples, has_segmentation_maps
from lt_mm.datasets.regions import pixels_and_regions

CLASSES = ('sky', 'tree', 'pole')


@pytest.fixture
def maps():
    """Three maps with labels 0-2, 255 ignored; sizes differ, class 2 is in one of them."""
    generator = np.random.default_rng(0)
    maps = [generator.integers(0, 2, size) for size in ((6, 5), (4, 7), (3, 3))]
    maps[1][0, :4] = 2
    maps[2][:] = 0
    maps[0][2, 2] = maps[2][1, 1] = 255
    return maps


def write(folder, maps):
    for part in ('img', 'ann'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for i, seg_map in enumerate(maps):
        Image.new('RGB', (4, 4)).save(folder / 'img' / f'{i}.jpg')
        Image.fromarray(seg_map.astype(np.uint8)).save(folder / 'ann' / f'{i}.png')


def seg_dataset(folder, cls=BaseSegDataset, classes=CLASSES, **kwargs):
    return cls(
        data_root=str(folder),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=classes) if classes else None,
        **kwargs,
    )


def naive(maps, num_classes):
    pixels, images = [0] * num_classes, [0] * num_classes
    for seg_map in maps:
        for label in range(num_classes):
            found = sum(int(value) == label for value in seg_map.flatten())
            pixels[label] += found
            images[label] += found > 0
    return pixels, images


def numbers(counted):
    return tuple(counted[unit].counts.tolist() for unit in ('pixels', 'images'))


@pytest.mark.parametrize('num_workers', [0, 2])
def test_pixels_and_images_are_counted(tmp_path, maps, num_workers, capsys):
    write(tmp_path, maps)
    counted = count_classes(seg_dataset(tmp_path), num_workers)
    assert numbers(counted) == naive(maps, 3)
    assert counted['pixels'].unit == 'pixels'
    assert counted['images'].unit == 'images'
    assert counted['pixels'].class_names == CLASSES
    assert counted['images'].source == 'Counted over the 3 training samples of BaseSegDataset.'
    assert 'counting classes' in capsys.readouterr().err


@pytest.mark.parametrize('num_workers', [0, 1])
def test_regions_are_counted_in_the_same_pass(tmp_path, maps, num_workers):
    write(tmp_path, maps)
    dataset = seg_dataset(tmp_path)
    counted = count_samples(dataset, tmp_path / 'counts', num_workers, with_regions=True)
    assert (counted.table != count_samples(dataset).table).nnz == 0
    each = [pixels_and_regions(np.where(m == 255, -1, m), 3)[3:] for m in maps]
    assert (counted.regions == sum(each).reshape(3, -1)).all() and counted.regions[2].sum() == 1
    # Kept apart from the pixels alone.
    assert count_samples(dataset, tmp_path / 'counts').regions is None
    again = count_samples(dataset, tmp_path / 'counts', with_regions=True)
    assert (again.regions == counted.regions).all()
    assert len(list((tmp_path / 'counts').iterdir())) == 2


def test_lines_tell_how_far_counting_is_without_a_terminal(tmp_path, maps, capsys, monkeypatch):
    monkeypatch.setattr('lt_mm.datasets.map_counting.SECONDS_A_LINE', 0)
    write(tmp_path, maps)
    count_samples(seg_dataset(tmp_path))
    assert 'counting classes: 2 of 3' in capsys.readouterr().err


def test_another_ignore_index(tmp_path, maps):
    for seg_map in maps:
        seg_map[seg_map == 255] = 100
    write(tmp_path, maps)
    assert numbers(count_classes(seg_dataset(tmp_path, ignore_index=100))) == naive(maps, 3)


def test_an_ignored_class_is_not_counted(tmp_path, maps):
    for seg_map in maps:
        seg_map[seg_map == 255] = 1
    write(tmp_path, maps)
    pixels, images = naive(maps, 3)
    pixels[1] = images[1] = 0
    assert numbers(count_classes(seg_dataset(tmp_path, ignore_index=1))) == (pixels, images)


def test_reduce_zero_label(tmp_path, maps):
    write(tmp_path, maps)
    shifted = [np.where(m == 255, 255, m - 1) for m in maps]
    dataset = seg_dataset(tmp_path, reduce_zero_label=True)
    assert numbers(count_classes(dataset)) == naive(shifted, 3)


def test_label_map_of_chosen_classes(tmp_path, maps):
    """Classes given in another order: 'tree' (label 5 on disk, 0 = other) and 'wall' (label 1)."""
    on_disk = [np.select([m == 1, m == 2, m == 255], [5, 1, 0], 30) for m in maps]
    write(tmp_path, on_disk)
    dataset = seg_dataset(tmp_path, ADE20KDataset, ('tree', 'wall'))
    assert dataset.label_map is not None
    wanted = [np.select([m == 1, m == 2], [0, 1], 255) for m in maps]
    counted = count_classes(dataset)
    assert numbers(counted) == naive(wanted, 2)
    assert counted['pixels'].class_names == ('tree', 'wall')


def test_the_loader_of_the_pipeline_is_used(tmp_path, maps):
    """Read by OpenCV as colour pictures or not, the labels are those that training sees."""
    write(tmp_path, maps)
    dataset = seg_dataset(
        tmp_path, pipeline=[dict(type='mmseg.LoadAnnotations', imdecode_backend='cv2')]
    )
    assert numbers(count_classes(dataset)) == naive(maps, 3)
    assert dataset.pipeline.transforms[0].reduce_zero_label is None


def test_wrappers_count_what_training_sees(tmp_path, maps):
    write(tmp_path / 'a', maps)
    write(tmp_path / 'b', maps[:1])
    first, second = seg_dataset(tmp_path / 'a'), seg_dataset(tmp_path / 'b')
    wrapped = RepeatDataset(dict(type='ConcatDataset', datasets=[first, second]), times=3)
    assert numbers(count_classes(wrapped)) == naive((maps + maps[:1]) * 3, 3)
    mixing = MultiImageMixDataset(
        ConcatDataset([first]), pipeline=[dict(type='mmseg.RandomFlip', prob=0.0)]
    )
    assert numbers(count_classes(mixing)) == naive(maps, 3)
    assert has_segmentation_maps(mixing)
    cut = _SlicedDataset(first, 2)
    assert numbers(count_classes(cut)) == naive(maps[:2], 3)
    assert 'BaseSegDataset' in count_classes(cut)['pixels'].source


def test_a_label_beyond_the_classes_names_file_and_label(tmp_path, maps):
    maps[1][0, 0] = 3
    write(tmp_path, maps)
    for num_workers in (0, 1):
        with pytest.raises(ValueError, match=r"1.png' holds label 3 in 1 pixels.*the 3 classes"):
            count_classes(seg_dataset(tmp_path), num_workers)


def test_class_names_are_needed_for_maps(tmp_path, maps):
    write(tmp_path, maps)
    with pytest.raises(ValueError, match='no class names'):
        count_classes(seg_dataset(tmp_path, classes=None))


def test_an_empty_dataset_is_refused(tmp_path):
    write(tmp_path, [])
    with pytest.raises(ValueError, match='no sample to count'):
        count_classes(seg_dataset(tmp_path, serialize_data=False))


class Labels(BaseDataset):
    """A classification data set as those of mmpretrain are."""

    def __init__(self, labels, classes=None):
        self._labels = labels
        super().__init__(metainfo=dict(classes=classes) if classes else None)

    def load_data_list(self):
        return [dict(img_path=f'{i}.jpg', gt_label=label) for i, label in enumerate(self._labels)]

    def get_cat_ids(self, idx):
        return [self.get_data_info(idx)['gt_label']]


def test_labels_are_counted_as_images(capsys):
    counted = count_classes(Labels([2, 0, 0, 0, 2], ('a', 'b', 'c', 'd')))
    assert list(counted) == ['images']
    assert counted['images'].counts.tolist() == [3, 0, 2, 0]
    assert counted['images'].class_names == ('a', 'b', 'c', 'd')
    assert 'counting classes' in capsys.readouterr().err


def test_labels_of_each_sample():
    counted = count_samples(Labels([2, [0, 1, 1], [], 0], ('a', 'b', 'c')))
    expected = [[0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert counted.table.toarray().tolist() == expected
    assert (counted.unit, counted.units, counted.name) == ('images', ('images',), 'Labels')
    assert (counted.in_unit('images') != counted.table).nnz == 0
    with pytest.raises(ValueError, match="unit='pixels' cannot be counted.*one of images"):
        counted.class_counts('pixels')


def test_labels_without_class_names():
    counts = count_classes(Labels([2, 0, 0]))['images']
    assert counts.counts.tolist() == [2, 0, 1]
    assert counts.class_names is None


def test_several_labels_of_an_image_count_once_each():
    counted = count_classes(Labels([[0, 1], [1, 1], []], ('a', 'b')))
    assert counted['images'].counts.tolist() == [1, 2]


def test_labels_under_wrappers_count_as_often_as_they_are_seen():
    classes = ('a', 'b')
    balanced = ClassBalancedDataset(Labels([0] * 8 + [1], classes), oversample_thr=0.9)
    times = balanced.repeat_indices.count(8)
    assert times > 1
    assert count_classes(balanced)['images'].counts[1] == times
    repeated = RepeatDataset(
        dict(type='ConcatDataset', datasets=[Labels([0], classes), Labels([1, 1], classes)]), 2
    )
    assert count_classes(repeated)['images'].counts.tolist() == [2, 4]


@pytest.mark.parametrize('label', [2, -1])
def test_a_wrong_label_names_its_image(label):
    with pytest.raises(ValueError, match=rf"'1.jpg' has label {label}, which is none of the 2"):
        count_classes(Labels([0, label], ('a', 'b')))


def test_datasets_that_tell_no_labels_are_refused():
    with pytest.raises(TypeError, match='list cannot be counted'):
        count_classes([1, 2, 3])
    with pytest.raises(TypeError, match="neither 'seg_map_path' nor 'gt_label'"):
        count_classes(Labels([None], ('a',)))
    assert not has_segmentation_maps([1, 2, 3])
