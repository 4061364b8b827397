"""Counts of maps are kept on disk, and taken from there only while they hold."""

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import RepeatDataset
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image
from torch.utils.data import Subset

from lt_mm.datasets.class_counting import count_samples
from lt_mm.datasets.count_cache import FileState

ROWS = [[[0, 0, 1]], [[1, 1, 1]], [[255, 255, 255]], [[2, 0, 255]]]
EXPECTED = [[2, 1, 0], [0, 3, 0], [0, 0, 0], [1, 0, 1]]


def paint(folder, i, row):
    Image.fromarray(np.array(row, dtype=np.uint8)).save(folder / 'ann' / f'{i}.png')


def make(folder, data_root=None, **kwargs):
    return BaseSegDataset(
        data_root=str(data_root or folder),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=('a', 'b', 'c')),
        **kwargs,
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'data'
    for part in ('img', 'ann'):
        (folder / part).mkdir(parents=True)
    for i, row in enumerate(ROWS):
        Image.new('RGB', (3, 1)).save(folder / 'img' / f'{i}.jpg')
        paint(folder, i, row)
    return folder


@pytest.fixture
def read(monkeypatch):
    """Names of the maps that were read."""
    names, load = [], LoadAnnotations.transform

    def transform(self, results):
        names.append(Path(results['seg_map_path']).name)
        return load(self, results)

    monkeypatch.setattr(LoadAnnotations, 'transform', transform)
    return names


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'lt_mm.datasets.count_cache.print_log', lambda message, **kwargs: lines.append(message)
    )
    return lines


def counted(dataset, cache_dir, num_workers=0):
    return count_samples(dataset, cache_dir, num_workers).table.toarray().tolist()


@pytest.mark.parametrize('workers', [0, 2])
def test_pixels_of_each_map(folder, tmp_path, workers):
    counts = count_samples(make(folder), tmp_path / 'cache', workers)
    assert counts.table.toarray().tolist() == EXPECTED
    assert counts.table.dtype == np.int64
    assert counts.in_unit('images').toarray().tolist() == [[1, 1, 0], [0, 1, 0], [0] * 3, [1, 0, 1]]
    assert counts.class_counts().counts.tolist() == [3, 4, 1]
    assert counts.class_counts('images').counts.tolist() == [2, 2, 1]


def test_the_second_time_nothing_is_read(folder, tmp_path, read, log):
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert sorted(read) == ['0.png', '1.png', '2.png', '3.png']
    assert 'counted, and kept for other runs as' in log[-1]
    assert [file.suffix for file in (tmp_path / 'cache').iterdir()] == ['.npz']
    read.clear()
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert read == []
    assert 'Class counts of BaseSegDataset: read from' in log[-1]


def test_the_cache_serves_any_order_and_any_wrapper(folder, tmp_path, read):
    counted(make(folder), tmp_path / 'cache')
    read.clear()
    order = [2, 0, 3, 1]
    reordered = Subset(make(folder), order)
    assert counted(reordered, tmp_path / 'cache') == [EXPECTED[i] for i in order]
    assert counted(RepeatDataset(make(folder), 3), tmp_path / 'cache') == EXPECTED * 3
    assert read == []


def test_a_map_used_twice_is_read_once(folder, read):
    assert counted(RepeatDataset(make(folder), 3), None) == EXPECTED * 3
    assert len(read) == 4


def test_one_data_set_by_relative_and_absolute_paths(folder, tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    counted(make(folder, 'data'), tmp_path / 'cache')
    read.clear()
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert read == []


def test_two_data_sets_of_the_same_relative_path(folder, tmp_path, monkeypatch, read):
    """As two projects have them whose work dirs are in one folder."""
    other = tmp_path / 'other' / 'data'
    shutil.copytree(folder, other, copy_function=shutil.copy2)
    paint(other, 0, [[2, 2, 2]])
    times = ((folder / 'ann' / '0.png').stat().st_mtime_ns,) * 2
    os.utime(other / 'ann' / '0.png', ns=times)
    monkeypatch.chdir(tmp_path)
    assert counted(make(folder, 'data'), tmp_path / 'cache') == EXPECTED
    monkeypatch.chdir(tmp_path / 'other')
    assert counted(make(folder, 'data'), tmp_path / 'cache') == [[0, 0, 3], *EXPECTED[1:]]


@pytest.mark.parametrize('same', ['size', 'time'])
def test_a_map_made_anew_is_counted_anew(folder, tmp_path, log, same):
    path = folder / 'ann' / '1.png'
    counted(make(folder), tmp_path / 'cache')
    before = path.stat()
    if same == 'size':
        paint(folder, 1, [[0, 0, 0]])
        assert path.stat().st_size == before.st_size
        os.utime(path, ns=(before.st_mtime_ns + 1,) * 2)
        expected = [3, 0, 0]
    else:
        paint(folder, 1, [[0, 0, 2, 2, 1]])
        assert path.stat().st_size != before.st_size
        os.utime(path, ns=(before.st_mtime_ns,) * 2)
        expected = [2, 1, 2]
    assert counted(make(folder), tmp_path / 'cache')[1] == expected
    assert 'maps have changed since' in log[-2]
    # The file that no longer holds is replaced.
    assert len(list((tmp_path / 'cache').iterdir())) == 1


@pytest.mark.parametrize('times', ['kept by utime', 'of one tick of the clock'])
def test_labels_written_in_place_with_size_and_time_kept(
    folder, tmp_path, log, read, times, monkeypatch
):
    """As by ``cp --preserve``, or on a file system whose clock stands still for two seconds."""
    path = folder / 'ann' / '1.png'
    before = path.stat()
    if times == 'of one tick of the clock':

        def still(name):
            state = os.stat(name)
            tick = {f'st_{which}_ns': before.st_mtime_ns for which in ('mtime', 'ctime')}
            return SimpleNamespace(st_mode=state.st_mode, st_size=state.st_size, **tick)

        clock = SimpleNamespace(path=os.path, stat=still)
        monkeypatch.setattr('lt_mm.datasets.count_cache.os', clock)
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    read.clear()
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert read == []
    paint(folder, 1, [[0, 0, 0]])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert counted(make(folder), tmp_path / 'cache')[1] == [3, 0, 0]
    assert 'maps have changed since' in log[-2]


def test_the_content_of_settled_maps_is_not_read(folder, tmp_path, read, monkeypatch):
    now = time.time_ns() + 10 * 10**9
    later = SimpleNamespace(time_ns=lambda: now)
    monkeypatch.setattr('lt_mm.datasets.count_cache.time', later)
    monkeypatch.setattr(FileState, 'content', lambda state: pytest.fail('was read'))
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    read.clear()
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert read == []


@pytest.mark.parametrize('kind', ['folder', 'pipe'])
def test_a_map_that_is_no_file_is_named(folder, tmp_path, kind):
    dataset = make(folder)
    len(dataset)
    path = folder / 'ann' / '2.png'
    path.unlink()
    path.mkdir() if kind == 'folder' else os.mkfifo(path)
    for cache_dir in (None, tmp_path / 'cache'):
        with pytest.raises(ValueError, match=rf"2\.png' is no file but a {kind}"):
            counted(dataset, cache_dir)


@pytest.mark.parametrize(
    'change', [dict(reduce_zero_label=True), dict(ignore_index=1), dict(indices=2)]
)
def test_another_way_of_reading_is_counted_by_itself(folder, tmp_path, change):
    paint(folder, 2, [[1, 1, 1]])
    paint(folder, 3, [[2, 0, 1]])
    datasets = make(folder), make(folder, **change)
    plain, other = (counted(dataset, None) for dataset in datasets)
    assert plain != other
    for _ in range(2):
        for dataset, expected in zip(datasets, (plain, other), strict=True):
            assert counted(dataset, tmp_path / 'cache') == expected
    assert len(list((tmp_path / 'cache').iterdir())) == 2


def test_what_a_loader_remembers_of_a_sample_changes_nothing(folder, tmp_path, read):
    counted(make(folder, pipeline=[dict(type='mmseg.LoadAnnotations')]), tmp_path / 'cache')
    again = make(folder, pipeline=[dict(type='mmseg.LoadAnnotations')])
    again[0]
    read.clear()
    assert counted(again, tmp_path / 'cache') == EXPECTED
    assert read == []


def spoil(path, how):
    if how == 'cut':
        path.write_bytes(path.read_bytes()[:-40])
    elif how == 'bits':
        content = bytearray(path.read_bytes())
        content[len(content) // 4] ^= 0xFF
        path.write_bytes(content)
    elif how == 'text':
        path.write_text('{"unit": "pixels"}')
    elif how == 'empty':
        path.write_bytes(b'')
    elif how == 'other arrays':
        np.savez(path, features=np.zeros(3))
    elif how == 'pickle':
        np.savez(path, fingerprint=np.array([dict()], dtype=object))
    else:
        with np.load(path) as file:
            arrays = dict(file)
        if how == 'fewer maps':
            arrays['indptr'] = arrays['indptr'][:-1]
        elif how == 'no such class':
            arrays['indices'] = arrays['indices'] + 1
        elif how == 'foreign map':
            arrays['recent'] = np.array([99])
        elif how == 'negative':
            arrays['data'] = -arrays['data']
        else:
            arrays['data'] = arrays['data'] / 2
        np.savez(path, **arrays)


SPOILT = (
    'cut', 'bits', 'text', 'empty', 'other arrays', 'pickle', 'fewer maps', 'no such class',
    'negative', 'fractions', 'foreign map',
)  # fmt: skip


@pytest.mark.parametrize('how', SPOILT)
def test_a_damaged_or_foreign_file_is_made_anew(folder, tmp_path, read, log, how):
    counted(make(folder), tmp_path / 'cache')
    (path,) = (tmp_path / 'cache').iterdir()
    spoil(path, how)
    read.clear()
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert len(read) == 4
    assert 'is no file of counts' in log[-2]
    read.clear()
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert read == []


def test_where_nothing_can_be_written_counts_are_not_kept(folder, tmp_path, log, monkeypatch):
    (tmp_path / 'file').write_text('no folder')
    assert counted(make(folder), tmp_path / 'file') == EXPECTED
    assert 'counted, but not kept for other runs' in log[-1]
    assert counted(make(folder), tmp_path / 'file' / 'below') == EXPECTED

    def full(path, **arrays):
        Path(path).write_bytes(b'part')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('lt_mm.datasets.count_cache.np.savez_compressed', full)
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert 'No space left on device' in log[-1]
    assert list((tmp_path / 'cache').iterdir()) == []


def test_a_folder_in_the_place_of_the_file(folder, tmp_path, log):
    counted(make(folder), tmp_path / 'cache')
    (path,) = (tmp_path / 'cache').iterdir()
    path.unlink()
    path.mkdir()
    assert counted(make(folder), tmp_path / 'cache') == EXPECTED
    assert 'counted, but not kept' in log[-1]


def test_a_missing_map_is_named_by_who_reads_it(folder, tmp_path):
    counted(make(folder), tmp_path / 'cache')
    dataset = make(folder)
    (folder / 'ann' / '2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2\.png'):
        counted(dataset, tmp_path / 'cache')


def test_maps_without_any_class(folder, tmp_path):
    for i in range(4):
        paint(folder, i, [[255, 255, 255]])
    for _ in range(2):
        with pytest.raises(ValueError, match='no sample of BaseSegDataset shows a class'):
            count_samples(make(folder), tmp_path / 'cache')
