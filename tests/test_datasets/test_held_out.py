"""Parts of data sets: disjoint, seeded, and by class without emptying one."""

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from scipy import sparse

from lt_mm.datasets.class_counting import SampleCounts
from lt_mm.datasets.held_out import held_out_by_class, part_of_dataset
from lt_mm.registry import DATASETS


@DATASETS.register_module(force=True)
class HeldOutLabels(BaseDataset):
    def __init__(self, counts=(9, 6, 3)):
        self.labels = np.repeat(np.arange(len(counts)), counts)
        super().__init__(metainfo=dict(classes=('a', 'b', 'c')[: len(counts)]))

    def load_data_list(self):
        return [dict(gt_label=int(c), name=i) for i, c in enumerate(self.labels)]


def names(part, **kwargs):
    dataset = part_of_dataset(dict(type='lt_mm.HeldOutLabels'), part, **kwargs)
    return [dataset.get_data_info(i)['name'] for i in range(len(dataset))]


@pytest.mark.parametrize('kwargs', [dict(share=0.3), dict(per_class=2), dict(share=0.001)])
@pytest.mark.parametrize('seed', [0, 1])
def test_parts_make_up_the_whole(kwargs, seed):
    training, held_out = (names(part, seed=seed, **kwargs) for part in ('training', 'held_out'))
    assert sorted(training + held_out) == list(range(18))
    assert training == sorted(training) and held_out == sorted(held_out) and held_out
    assert held_out == names('held_out', seed=seed, **kwargs)


def test_as_many_of_each_class_drawn_by_the_seed():
    labels = np.repeat([0, 1, 2], [9, 6, 3])
    drawn = [names('held_out', per_class=2, seed=seed) for seed in range(4)]
    assert all(np.bincount(labels[each]).tolist() == [2, 2, 2] for each in drawn)
    assert len({tuple(each) for each in drawn}) > 1


def test_it_says_how_it_was_cut():
    dataset = part_of_dataset(dict(type='lt_mm.HeldOutLabels'), 'training', per_class=1, seed=3)
    assert dataset.held_out_by['per_class'] == 1 and dataset.held_out_by['seed'] == 3


@pytest.mark.parametrize('per_class', [3, 5])
def test_no_class_is_emptied(per_class):
    told = f"class 'c' has 3 images, of which PartOfDataset would hold out {per_class}"
    with pytest.raises(ValueError, match=told):
        names('training', per_class=per_class)


@pytest.mark.parametrize(
    ('kwargs', 'told'),
    [
        (dict(part='test'), "part of PartOfDataset is 'test'"),
        (dict(part='training', share=1.0), 'share of PartOfDataset is 1.0'),
        (dict(part='training', per_class=0), 'per_class'),
        (dict(part='training', per_class=1.5), 'per_class'),
    ],
)
def test_what_is_refused(kwargs, told):
    with pytest.raises(ValueError, match=told):
        part_of_dataset(dict(type='lt_mm.HeldOutLabels'), **kwargs)


def maps(table):
    table = sparse.csr_array(np.asarray(table))
    return SampleCounts(table=table, unit='pixels', class_names=('sky', 'tree', 'pole'))


def test_maps_rarest_class_first():
    generator = np.random.default_rng(0)
    # Sky in all of 60 maps, trees in half, a pole in 12.
    table = np.zeros((60, 3), np.int64)
    table[:, 0], table[:30, 1], table[:12, 2] = 5000, 900, 300
    table = table[generator.permutation(60)]
    chosen = held_out_by_class(maps(table), per_class=5, seed=0)
    shown = (table[chosen] >= 256).sum(axis=0)
    # Of a class of 12 one, of 30 three, for which those of rarer classes count.
    assert shown[2] >= 1 and 3 <= shown[1] <= 5 and shown[0] == 5
    assert held_out_by_class(maps(table), per_class=5, seed=0).tolist() == chosen.tolist()
    left = np.delete(table, chosen, axis=0)
    assert ((left > 0).sum(axis=0) > 0).all()


def test_a_map_that_is_the_last_of_a_class_is_left_in_the_training():
    table = [[5000, 0, 300], [5000, 900, 0], [5000, 900, 0], [5000, 900, 0]]
    with pytest.raises(ValueError, match="class 'pole' has no image to hold out: 1 show it"):
        held_out_by_class(maps(table), per_class=1)
    table += [[5000, 0, 300]]
    chosen = held_out_by_class(maps(table), per_class=1)
    assert set(chosen.tolist()) & {0, 4} and not {0, 4} <= set(chosen.tolist())


def test_small_regions_do_not_count():
    table = [[5000, 900, 20], [5000, 900, 30], [5000, 900, 0]]
    with pytest.raises(ValueError, match='2 show it, 0 by 256 pixels'):
        held_out_by_class(maps(table), per_class=1)
    assert held_out_by_class(maps(table), per_class=1, min_pixels=10).size


def test_a_class_without_a_map_is_none_to_hold_out():
    table = [[5000, 900, 0]] * 3
    assert held_out_by_class(maps(table), per_class=1).size == 1
