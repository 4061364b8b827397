"""Part of a training set held out by index, to choose settings or weights on what is not learnt."""

import os
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from lt_mm.datasets.class_counting import SampleCounts, count_samples
from lt_mm.functional.checks import check_whole
from lt_mm.registry import DATASETS

PARTS = ('training', 'held_out')


@DATASETS.register_module(name='PartOfDataset')
def part_of_dataset(
    dataset: dict,
    part: str,
    share: float = 0.2,
    seed: int = 0,
    per_class: int | None = None,
    min_pixels: int = 256,
    cache_dir: str | os.PathLike = 'work_dirs/class_counts',
) -> BaseDataset:
    """A data set of mmengine's kind, with some of its samples; the two parts have none in common.

    ``dataset=dict(type='lt_mm.PartOfDataset', part='training', dataset=dict(<the data set>))``. It
    is the data set itself that is returned, not a wrapper, so that counting and sampling see it as
    ever. Its ``held_out_by`` says how it was cut.

    Args:
        dataset: config of the data set.
        part: 'training' or 'held_out'.
        share: of the samples that are held out, drawn by ``seed``; at least one is in each part.
        seed: of the draw.
        per_class: images of each class that are held out, in place of a share; see
            :func:`held_out_by_class`.
        min_pixels: of a class that an image has to show to count for it; of segmentation.
        cache_dir: where counts of segmentation maps are kept, for ``per_class``.

    Raises:
        TypeError: if the data set cannot be cut by index.
        ValueError: if ``part``, ``share`` or ``per_class`` is none of these, there are less than
            two samples, or a class has too few for ``per_class``.
    """
    if part not in PARTS:
        raise ValueError(f'part of PartOfDataset is {part!r}; use {" or ".join(map(repr, PARTS))}.')
    if not 0 < share < 1:
        raise ValueError(f'share of PartOfDataset is {share}, but it must be between 0 and 1.')
    if per_class is not None:
        check_whole('per_class', per_class, 'PartOfDataset', 'the paper has 2 to 10')
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
    if per_class is None:
        held_out = min(max(round(share * size), 1), size - 1)
        order = np.random.default_rng(seed).permutation(size)
        indices = order[:held_out] if part == 'held_out' else order[held_out:]
    else:
        counts = count_samples(whole, cache_dir)
        indices = held_out_by_class(counts, per_class, seed, min_pixels)
        if part == 'training':
            indices = np.setdiff1d(np.arange(size), indices)
    # In the order of the files: samplers shuffle, tables name images in it.
    whole.get_subset_(np.sort(indices).tolist())
    whole.held_out_by = dict(share=share, seed=seed, per_class=per_class)
    return whole


def held_out_by_class(
    counts: SampleCounts, per_class: int, seed: int = 0, min_pixels: int = 256
) -> np.ndarray:
    """Draw ``per_class`` samples of each class that occurs, rarest class first.

    Of images with one label a class gives exactly as many. Of segmentation, where a class may give
    a tenth of its images at most, but one in any case, those that are held out for rarer classes
    count, and an image that is the last of some class is left in the training.

    Args:
        counts: which classes each sample shows.
        per_class: k.
        seed: of the draw.
        min_pixels: of a class that an image has to show to count for it.

    Returns:
        Indices of the samples, int64, by no order.

    Raises:
        ValueError: naming a class that would have no sample left, or none to give.
    """
    generator = np.random.default_rng(seed)
    pixels = counts.unit == 'pixels'
    shows = counts.table.tocsc() > 0
    enough = counts.table.tocsc() >= min_pixels if pixels else shows
    rows = counts.table.tocsr()
    left = np.asarray(shows.sum(axis=0)).ravel()
    sizes = left.copy()
    chosen: set[int] = set()

    def name(c: int) -> str:
        return repr(counts.class_names[c]) if counts.class_names else str(c)

    for c in np.argsort(sizes, kind='stable'):
        if sizes[c] == 0:
            continue
        wanted = min(per_class, max(1, sizes[c] // 10)) if pixels else per_class
        if not pixels and sizes[c] <= wanted:
            raise ValueError(
                f'class {name(c)} has {sizes[c]} images, of which PartOfDataset would hold out '
                f'{wanted} and leave none to learn from; set per_class to {max(sizes[c] - 1, 0)} '
                "or less, or let lt_mm.MetaReweighting draw from the training set, source='drawn'."
            )
        images = enough.indices[enough.indptr[c] : enough.indptr[c + 1]]
        has = sum(int(image) in chosen for image in images)
        for image in generator.permutation(images):
            if has >= wanted:
                break
            own = rows.indices[rows.indptr[image] : rows.indptr[image + 1]]
            if int(image) in chosen or (left[own] < 2).any():
                continue
            chosen.add(int(image))
            left[own] -= 1
            has += 1
        if has == 0:
            raise ValueError(
                f'class {name(c)} has no image to hold out: {sizes[c]} show it, {len(images)} by '
                f'{min_pixels} pixels, and each is the last of some class or too small; lower '
                'min_pixels, or let lt_mm.MetaReweighting draw from the training set, '
                "source='drawn'."
            )
    return np.array(sorted(chosen), dtype=np.int64)
