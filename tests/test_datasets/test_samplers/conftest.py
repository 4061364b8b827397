"""Small long-tailed data sets with labels, and with maps on disk."""

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image

import lt_mm.datasets.samplers.long_tail_sampler as base

# Pixels of classes a, b, c in each of six maps of 4 x 5; the rest is ignored.
MAPS = np.array([[20, 0, 0], [18, 2, 0], [0, 0, 0], [10, 5, 0], [12, 0, 3], [20, 0, 0]])


class Labels(BaseDataset):
    """Labels in memory, ints or lists of them."""

    def __init__(self, labels, num_classes):
        self._labels = labels
        classes = [f'class {c}' for c in range(num_classes)]
        super().__init__(metainfo=dict(classes=classes), serialize_data=False)

    def load_data_list(self):
        return [dict(gt_label=label) for label in self._labels]

    def get_cat_ids(self, idx):
        return [self._labels[idx]]


@pytest.fixture(scope='session')
def labels():
    """A function: counts of classes, or ``labels=``, to a data set in a mixed-up order."""

    def make(*counts, labels=None):
        if labels is None:
            mixed = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
            labels = mixed.tolist()
        return Labels(labels, len(counts) or 3)

    return make


@pytest.fixture
def maps(tmp_path):
    """Six images whose maps have the pixels of MAPS."""
    for part in ('img', 'ann'):
        (tmp_path / part).mkdir()
    for i, pixels in enumerate(MAPS):
        row = np.repeat([0, 1, 2, 255], [*pixels, 20 - pixels.sum()]).astype(np.uint8)
        Image.new('RGB', (5, 4)).save(tmp_path / 'img' / f'{i}.jpg')
        Image.fromarray(row.reshape(4, 5)).save(tmp_path / 'ann' / f'{i}.png')
    return BaseSegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=('a', 'b', 'c')),
    )


@pytest.fixture
def on_ranks(monkeypatch):
    """A function: world size and how to make a sampler to one sampler a rank."""

    def make(world_size, maker):
        samplers = []
        for rank in range(world_size):
            monkeypatch.setattr(base, 'get_dist_info', lambda rank=rank: (rank, world_size))
            samplers.append(maker())
        return samplers

    return make
