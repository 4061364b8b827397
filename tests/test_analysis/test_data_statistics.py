import numpy as np
import pytest
from scipy import sparse

from lt_mm.analysis.data_statistics import company, prior_shift, rank_correlation, split_statistics
from lt_mm.datasets.class_counting import SampleCounts
from lt_mm.datasets.regions import SIZE_BINS, pixels_and_regions

TABLE = np.array([[50, 0, 3, 0], [40, 20, 0, 0], [0, 60, 2, 0], [10, 0, 1, 0], [30, 1, 0, 0]])


def counted(table=TABLE, **kwargs):
    names = tuple('abcd'[: table.shape[1]])
    return SampleCounts(sparse.csr_array(table), 'pixels', names, **kwargs)


def test_a_split_in_numbers():
    told = split_statistics(counted())
    assert told['samples'] == 5 and told['total'] == TABLE.sum() and told['absent'] == [3]
    assert told['counts'] == [130, 81, 6, 0] and told['images'] == [4, 3, 3, 0]
    assert told['imbalance_factor'] == pytest.approx(130 / 6)
    assert 'regions' not in told


def test_regions_of_a_split():
    labels = np.zeros((40, 80), int)
    labels[5:8, 5:8] = labels[20:24, 50:54] = 1
    labels[30] = -1
    cells = pixels_and_regions(labels, 3)[3:].reshape(3, SIZE_BINS)
    told = split_statistics(counted(TABLE[:, :3], regions=cells))
    # Background above the ignored row, of 2400 - 25 pixels, and below, of 720.
    assert told['regions'] == [2, 2, 0]
    assert told['small_regions'] == [0.5, 1.0, None]
    assert told['region_size'] == [512, 8, None]


def test_company_is_what_is_oftener_beside_a_class_than_elsewhere():
    (row,) = company(counted(), rare=[2, 3], frequent=[0, 1], least=1)
    # a: 2 of 3 images of c, 4 of 5 of all; b: 1 of 3, 3 of 5. Neither is oftener beside c.
    assert row == dict(label=2, images=3, beside=[])
    (row,) = company(counted(), rare=[1], frequent=[2, 0], least=3)
    assert row['beside'] == []
    table = np.array([[9, 1, 0], [9, 1, 5], [9, 0, 5], [0, 0, 5]])
    (row,) = company(counted(table), rare=[1], frequent=[0, 2], least=2)
    assert row['beside'] == [dict(label=0, share=1.0, everywhere=0.75)]
    assert company(counted(table), rare=[1], frequent=[0], least=3) == []


def test_shift_names_the_classes_that_change():
    told = prior_shift([50, 30, 20, 0], [25, 15, 10, 50])
    assert told['total_variation'] == pytest.approx(0.5)
    assert [row['label'] for row in told['most']] == [3, 0, 1, 2]
    assert told['most'][0] == dict(label=3, train=0.0, val=0.5)
    assert prior_shift([5, 5], [1, 1])['most'] == []


def test_rank_correlation_of_what_is_known():
    assert rank_correlation([1, 2, 3, None], [10, 20, 25, 1]) == pytest.approx(1)
    assert rank_correlation([1, 2, float('nan'), 3], [9, 4, 0, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
