"""Rank 0 counts, however long it takes, and all ranks hear what came of it."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image
from two_ranks import run_on_two_ranks

from lt_mm.datasets.class_counting import count_samples


def make(folder):
    return BaseSegDataset(
        data_root=str(folder),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=('a', 'b')),
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'data'
    for part in ('img', 'ann'):
        (folder / part).mkdir(parents=True)
    for i in range(3):
        Image.new('RGB', (3, 1)).save(folder / 'img' / f'{i}.jpg')
        Image.fromarray(np.array([[0, 1, 1]], np.uint8)).save(folder / 'ann' / f'{i}.png')
    return folder


def slow_maps(rank, folder, seconds, workers):
    """Count in a group whose collectives may take less time than one map does."""
    dist.destroy_process_group()
    store = Path(folder).parent / 'short'
    dist.init_process_group(
        'gloo', f'file://{store}', rank=rank, world_size=2, timeout=timedelta(seconds=3)
    )
    load, read = LoadAnnotations.transform, []

    def transform(self, results):
        read.append(results['seg_map_path'])
        time.sleep(seconds)
        return load(self, results)

    LoadAnnotations.transform = transform
    counts = count_samples(make(folder), num_workers=workers)
    return counts.class_counts().counts.tolist(), len(read)


def test_counting_longer_than_collectives_may_take(folder, tmp_path):
    (tmp_path / 'ranks').mkdir()
    counted = run_on_two_ranks(slow_maps, str(folder), 2.0, 0, folder=tmp_path / 'ranks')
    # Other ranks read nothing.
    assert counted == [([3, 6], 3), ([3, 6], 0)]


def test_counting_workers_beside_the_messages(folder, tmp_path):
    (tmp_path / 'ranks').mkdir()
    counted = run_on_two_ranks(slow_maps, str(folder), 0.0, 2, folder=tmp_path / 'ranks')
    assert [counts for counts, _ in counted] == [[3, 6]] * 2


def errors(rank, folder):
    try:
        count_samples(make(folder))
    except ValueError as error:
        return str(error)
    return 'none'


def test_an_error_on_rank_0_reaches_the_other(folder, tmp_path):
    (folder / 'ann' / '1.png').write_bytes(b'no picture')
    (tmp_path / 'ranks').mkdir()
    first, second = run_on_two_ranks(errors, str(folder), folder=tmp_path / 'ranks')
    assert "1.png' cannot be read by LoadAnnotations" in first
    assert second == f'{first} (on rank 0, which counts the classes)'


SLOW = """
import sys, time
from mmseg.datasets.transforms import LoadAnnotations
from test_counting_two_ranks import count_samples, make
LoadAnnotations.transform = lambda self, results: print('reading', flush=True) or time.sleep(600)
if __name__ == '__main__':
    count_samples(make(sys.argv[1]), num_workers=2)
"""


def test_workers_end_with_a_parent_that_is_killed(folder, tmp_path):
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent)])
    with subprocess.Popen(
        [sys.executable, '-c', SLOW, str(folder)],
        env={**os.environ, 'PYTHONPATH': paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        while parent.stdout.readline().strip() != 'reading':
            assert parent.poll() is None
        parent.kill()
        # The workers hold the pipe as well: it ends with the last of them.
        parent.communicate(timeout=30)
