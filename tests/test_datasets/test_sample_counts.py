"""Classes of every sample: counted once, by one rank, in the order of the data set."""

import shutil

import numpy as np
import pytest
from mmengine.dataset import RepeatDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image

from lt_mm.datasets import sample_counts
from lt_mm.datasets.sample_counts import counts_of_samples

ROWS = [[[0, 0, 1]], [[1, 1, 1]], [[255, 255, 255]], [[2, 0, 255]]]
EXPECTED = [[2, 1, 0], [0, 3, 0], [0, 0, 0], [1, 0, 1]]


@pytest.fixture
def dataset(tmp_path):
    for part in ('img', 'ann'):
        (tmp_path / part).mkdir()
    for i, row in enumerate(ROWS):
        Image.new('RGB', (3, 1)).save(tmp_path / 'img' / f'{i}.jpg')
        Image.fromarray(np.array(row, dtype=np.uint8)).save(tmp_path / 'ann' / f'{i}.png')
    return BaseSegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=('a', 'b', 'c')),
    )


@pytest.mark.parametrize('workers', [0, 2])
def test_pixels_of_each_map(dataset, tmp_path, workers):
    counts = counts_of_samples(dataset, tmp_path / 'cache', workers)
    assert counts.toarray().tolist() == EXPECTED
    assert counts.dtype == np.int64


def test_the_cache_serves_any_order_of_the_samples(dataset, tmp_path):
    counts_of_samples(dataset, tmp_path / 'cache')
    assert [file.suffix for file in (tmp_path / 'cache').iterdir()] == ['.npz']
    shutil.rmtree(tmp_path / 'ann')
    reordered = RepeatDataset(dataset, 1)
    order = [2, 0, 3, 1]
    reordered.get_data_info = lambda i: dataset.get_data_info(order[i])
    counts = counts_of_samples(reordered, tmp_path / 'cache')
    assert counts.toarray().tolist() == [EXPECTED[i] for i in order]


def test_a_map_used_twice_is_read_once(dataset, tmp_path, monkeypatch):
    read = []
    counting = sample_counts.count_maps
    monkeypatch.setattr(
        sample_counts, 'count_maps', lambda *args: read.extend(counting(*args)) or iter(read)
    )
    counts = counts_of_samples(RepeatDataset(dataset, 3), tmp_path / 'cache')
    assert counts.toarray().tolist() == EXPECTED * 3
    assert len(read) == 4


def test_other_ranks_read_nothing(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_counts, 'is_main_process', lambda: False)
    monkeypatch.setattr(
        sample_counts, 'broadcast_object_list', lambda data: data.__setitem__(0, 'sent')
    )
    shutil.rmtree(tmp_path / 'ann')
    assert counts_of_samples(dataset, tmp_path / 'cache') == 'sent'


def test_maps_without_any_class(dataset, tmp_path):
    for i in range(4):
        blank = Image.fromarray(np.full((1, 3), 255, dtype=np.uint8))
        blank.save(tmp_path / 'ann' / f'{i}.png')
    with pytest.raises(ValueError, match='no sample of BaseSegDataset shows a class'):
        counts_of_samples(dataset, tmp_path / 'cache')
