"""The private names that lt_mm uses are there, and mean what it takes them to mean."""

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import ImgDataPreprocessor
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmpretrain.models import ClsDataPreprocessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from lt_mm import compat


@pytest.mark.parametrize('kind', ['BatchNorm1d', 'BatchNorm2d', 'BatchNorm3d', 'SyncBatchNorm'])
def test_batch_normalisation(kind):
    assert compat.is_batch_norm(getattr(nn, kind)(2))
    assert not compat.is_batch_norm(nn.GroupNorm(1, 2))


@pytest.mark.parametrize('kind', [ImgDataPreprocessor, ClsDataPreprocessor])
def test_swapped_channels(kind):
    swapping = {ImgDataPreprocessor: 'bgr_to_rgb', ClsDataPreprocessor: 'to_rgb'}[kind]
    assert compat.swaps_channels(kind(**{swapping: True})) is True
    assert compat.swaps_channels(kind()) is False
    assert compat.swaps_channels(nn.Identity()) is None


def test_labels_of_a_decode_head():
    config = dict(type='FCNHead', in_channels=2, channels=2, num_classes=2, num_convs=0)
    head = MODELS.build(dict(config, concat_input=False))
    maps = torch.arange(8).reshape(2, 1, 2, 2)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in maps]
    assert torch.equal(compat.stacked_labels(head, samples), maps)


class Three(BaseDataset):
    METAINFO = dict(classes=('a', 'b'))

    def load_data_list(self):
        return [{}, {}, {}]


def test_a_data_set_cut_short_is_found():
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = dict(dataset=Three(), batch_size=1, num_batch_per_epoch=2, sampler=sampler)
    cut = Runner.build_dataloader(loader).dataset
    assert len(cut) == 2 and len(compat.whole_dataset(cut)) == 3
    assert compat.whole_dataset(Three()).__class__ is Three


def test_classes_are_named():
    dataset = Three()
    compat.name_classes(dataset, ('c', 'd'))
    assert dataset.metainfo['classes'] == ('c', 'd')
