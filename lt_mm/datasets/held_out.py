"""Part of a training set held out by index, to choose settings on what is not reported."""

from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from lt_mm.registry import DATASETS

PARTS = ('training', 'held_out')


@DATASETS.register_module(name='PartOfDataset')
def part_of_dataset(dataset: dict, part: str, share: float = 0.2, seed: int = 0) -> BaseDataset:
    """A data set of mmengine's kind, with some of its samples; the two parts have none in common.

    ``dataset=dict(type='lt_mm.PartOfDataset', part='training', dataset=dict(<the data set>))``. It
    is the data set itself that is returned, not a wrapper, so that counting and sampling see it as
    ever.

    Args:
        dataset: config of the data set.
        part: 'training' or 'held_out'.
        share: of the samples that are held out, drawn by ``seed``; at least one is in each part.
        seed: of the draw.

    Raises:
        TypeError: if the data set cannot be cut by index.
        ValueError: if ``part`` or ``share`` is none of these, or there are less than two samples.
    """
    if part not in PARTS:
        raise ValueError(f'part of PartOfDataset is {part!r}; use {" or ".join(map(repr, PARTS))}.')
    if not 0 < share < 1:
        raise ValueError(f'share of PartOfDataset is {share}, but it must be between 0 and 1.')
    whole: Any = DATASETS.build(dataset)
    if not hasattr(whole, 'get_subset_'):
        raise TypeError(
            f'{type(whole).__name__} cannot be cut by index, because it is no BaseDataset of '
            'mmengine; give a data set of its own for choosing.'
        )
    whole.full_init()
    size = len(whole)
    if size < 2:
        raise ValueError(
            f'{type(whole).__name__} has {size} samples, of which no part can be held out; give '
            'two or more.'
        )
    held_out = min(max(round(share * size), 1), size - 1)
    order = np.random.default_rng(seed).permutation(size)
    indices = order[:held_out] if part == 'held_out' else order[held_out:]
    # In the order of the files: samplers shuffle, tables name images in it.
    whole.get_subset_(np.sort(indices).tolist())
    return whole
