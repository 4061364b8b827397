import numpy as np
import pytest

from lt_mm.datasets.regions import SIZE_BINS, label_regions, pixels_and_regions, size_bin


def flooded(labels):
    """(class, pixels) of every region, by filling one after the other."""
    height, width = labels.shape
    seen, found = set(), []
    for start in np.ndindex(height, width):
        if start in seen or labels[start] < 0:
            continue
        region, todo = set(), [start]
        while todo:
            y, x = todo.pop()
            if not (0 <= y < height and 0 <= x < width) or (y, x) in region:
                continue
            if labels[y, x] != labels[start]:
                continue
            region.add((y, x))
            todo += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        seen |= region
        found.append((int(labels[start]), frozenset(region)))
    return found


@pytest.mark.parametrize('seed', range(4))
def test_regions_are_those_of_a_flood_fill(seed):
    labels = np.random.default_rng(seed).integers(-1, 4, size=(9, 13))
    regions, classes = label_regions(labels)
    assert (regions == 0).sum() == (labels < 0).sum()
    ours = {
        (int(classes[r - 1]), frozenset(zip(*map(list, np.nonzero(regions == r)), strict=True)))
        for r in range(1, len(classes) + 1)
    }
    assert ours == set(flooded(labels))

    counted = pixels_and_regions(labels, 5)
    assert counted[:5].tolist() == [int((labels == c).sum()) for c in range(5)]
    sizes = np.zeros((5, SIZE_BINS), int)
    for c, region in flooded(labels):
        sizes[c, len(region).bit_length() - 1] += 1
    assert (counted[5:].reshape(5, SIZE_BINS) == sizes).all()


def test_a_map_of_nothing_has_no_region():
    regions, classes = label_regions(np.full((3, 4), -1))
    assert not regions.any() and len(classes) == 0
    assert not pixels_and_regions(np.full((3, 4), -1), 2).any()


def test_bins_of_sizes_are_exact():
    areas = [1, 2, 3, 4, 1023, 1024, 2**30 - 1, 2**30]
    assert size_bin(np.array(areas)).tolist() == [a.bit_length() - 1 for a in areas]
