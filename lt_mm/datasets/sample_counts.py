"""Which classes each sample of a data set shows, and by how many pixels."""

import os
from pathlib import Path

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from scipy import sparse
from torch.utils.data import Dataset

from lt_mm.datasets.class_counting import (
    count_maps,
    has_segmentation_maps,
    labels_of_samples,
    map_paths,
    segmentation_key,
    unwrap_mixing,
)


def counts_of_samples(
    dataset: Dataset, cache_dir: str | os.PathLike, num_workers: int = 0
) -> sparse.csr_array:
    """Count the classes of every sample; rank 0 does, and the others wait for what it found.

    Counts of segmentation maps are cached as ``<cache_dir>/<key>_per_map.npz``. The key covers the
    paths of the maps and how they are read, not what they hold: delete the file after relabelling.

    Args:
        dataset (Dataset): A data set of mmseg or mmpretrain, or an mmengine wrapper around some.
        cache_dir (str | PathLike): Folder of the cache, made if need be.
        num_workers (int): Processes that read segmentation maps; 0 reads them in this one. Defaults
            to 0.

    Returns:
        csr_array: Shape (N, C), int64. Row i has the pixels of each class in sample i, or a one for
        each label of it.

    Raises:
        TypeError: If the data set does not tell the labels of its samples.
        ValueError: If it is empty, without any label, or holds one that is not a class.
    """
    shared = [_counts(dataset, Path(cache_dir), num_workers) if is_main_process() else None]
    broadcast_object_list(shared)
    return shared[0]


def _counts(dataset: Dataset, cache_dir: Path, num_workers: int) -> sparse.csr_array:
    dataset = unwrap_mixing(dataset)
    name = type(dataset).__name__
    if not hasattr(dataset, 'get_data_info') or not hasattr(dataset, 'metainfo'):
        raise TypeError(
            f'the classes of the samples of {name} are unknown, because it has no get_data_info '
            "and metainfo as mmengine data sets do: use one of those, or mmengine's own samplers"
        )
    if len(dataset) == 0:
        raise ValueError(f'{name} has no sample to draw: check its data_root and data_prefix')
    if has_segmentation_maps(dataset):
        counts = _counts_of_maps(dataset, cache_dir, num_workers)
    else:
        samples, labels, num_classes = labels_of_samples(dataset)
        ones = np.ones(len(labels), dtype=np.int64)
        counts = sparse.csr_array((ones, (samples, labels)), shape=(len(dataset), num_classes))
    if counts.nnz == 0:
        raise ValueError(
            f'no sample of {name} shows a class: check its ignore_index and reduce_zero_label'
        )
    return counts


def _counts_of_maps(dataset: Dataset, cache_dir: Path, num_workers: int) -> sparse.csr_array:
    paths = list(map_paths(dataset))
    # The key does not cover the order of the samples, so the cache is in one of its own.
    ordered = sorted(paths)
    cached = cache_dir / f'{segmentation_key(dataset)}_per_map.npz'
    if not cached.is_file():
        found = [sparse.csr_array(row[None]) for row in count_maps(dataset, num_workers)]
        place = {path: i for i, path in enumerate(paths)}
        counts = sparse.vstack([found[place[path]] for path in ordered], format='csr')
        cache_dir.mkdir(parents=True, exist_ok=True)
        # It appears complete or not at all, and numpy adds a suffix to any other name.
        partial = cached.with_name(f'{cached.stem}.{os.getpid()}.part.npz')
        sparse.save_npz(partial, counts)
        partial.replace(cached)
    counts = sparse.csr_array(sparse.load_npz(cached))
    place = {path: i for i, path in enumerate(ordered)}
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return counts[[place[info['seg_map_path']] for info in infos]]
