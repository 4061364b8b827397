"""Pixels of each class in the segmentation maps of a data set: each map read once, kept on disk."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from mmcv.transforms import LoadAnnotations as MMCVLoadAnnotations
from mmengine.fileio import LocalBackend, get_file_backend
from mmseg.datasets.transforms import LoadAnnotations
from rich.console import Console
from rich.progress import track
from scipy import sparse
from torch.utils.data import Dataset

from lt_mm.compat import whole_dataset
from lt_mm.datasets.count_cache import CountCache, FileState


def count_maps(
    dataset: Dataset, cache_dir: str | os.PathLike | None = None, num_workers: int = 0
) -> sparse.csr_array:
    """Count the pixels of each class in the segmentation map of every sample.

    A map that several samples share is read once. Maps are read as the data set's own pipeline
    reads them (``reduce_zero_label``, ``label_map``), without its augmentations, and pixels of
    ``ignore_index`` are left out.

    Args:
        dataset (Dataset): A data set of mmseg with class names, or an mmengine wrapper around some.
        cache_dir (str | PathLike, optional): Where counts are kept, see :class:`CountCache`.
            Defaults to None, nowhere.
        num_workers (int): Processes that read maps; 0 reads them in this one. Defaults to 0.

    Returns:
        csr_array: Pixels of each class in each sample, shape (N, C), int64.

    Raises:
        ValueError: If there are no class names, or a map holds a label that is neither a class nor
            ignored.
    """
    counter = _MapCounter.of(dataset)
    used = [dataset.get_data_info(i)['seg_map_path'] for i in range(len(dataset))]
    is_local = counter.is_local
    maps = {path: FileState.of(path, is_local) for path in dict.fromkeys(used)}
    # The rows of the cache are in an order of their own, so that it serves any order of samples.
    paths = sorted(maps, key=lambda path: (maps[path].path, path))

    def count() -> sparse.csr_array:
        return _count(counter, paths, num_workers)

    if cache_dir is None:
        table = count()
    else:
        states = [maps[path] for path in paths]
        name = type(first_leaf(dataset)).__name__
        table = CountCache(cache_dir, name, states, counter.reading, counter.num_classes).get(count)
    place = {path: i for i, path in enumerate(paths)}
    return table[[place[path] for path in used]]


def _count(counter: '_MapCounter', paths: Sequence[str], num_workers: int) -> sparse.csr_array:
    data, indices, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [0]
    with ProcessPoolExecutor(num_workers) if num_workers else nullcontext() as pool:
        counted = pool.map(counter, paths, chunksize=8) if pool else map(counter, paths)
        for pixels in show_progress(counted, len(paths)):
            shown = np.flatnonzero(pixels)
            indices.append(shown)
            data.append(pixels[shown])
            ends.append(ends[-1] + len(shown))
    parts = np.concatenate(data), np.concatenate(indices), np.array(ends)
    return sparse.csr_array(parts, shape=(len(paths), counter.num_classes))


@dataclass
class _MapCounter:
    """Counts the pixels of one segmentation map; small, as every worker is sent a copy.

    The ``label_map`` and ``reduce_zero_label`` of the first sample serve all: a ConcatDataset
    insists on equal meta information, which holds both.
    """

    template: dict
    loader: MMCVLoadAnnotations
    num_classes: int
    ignore_index: int

    @classmethod
    def of(cls, dataset: Dataset) -> '_MapCounter':
        leaf = first_leaf(dataset)
        classes = dataset.metainfo.get('classes')
        if not classes:
            raise ValueError(
                f'{type(leaf).__name__} has no class names, so the number of classes is unknown: '
                'give it metainfo=dict(classes=(...)), or the hook a list of class_counts'
            )
        template = dataset.get_data_info(0)
        transforms = getattr(getattr(leaf, 'pipeline', None), 'transforms', ())
        own = [t for t in transforms if isinstance(t, MMCVLoadAnnotations)]
        # A copy, because the loader keeps the reduce_zero_label of the first sample it meets.
        loader = (
            deepcopy(own[0])
            if own
            else LoadAnnotations(backend_args=getattr(leaf, 'backend_args', None))
        )
        if getattr(loader, 'reduce_zero_label', False) is None:
            loader.reduce_zero_label = template.get('reduce_zero_label')
        ignore_index = getattr(leaf, 'ignore_index', 255)
        return cls(template, loader, len(classes), ignore_index)

    @property
    def reading(self) -> str:
        """Whatever decides the counts of a map beside its content."""
        settings = [self.template.get(key) for key in ('reduce_zero_label', 'label_map')]
        settings += [self.ignore_index, type(self.loader).__qualname__, vars(self.loader)]
        return repr(settings)

    @property
    def is_local(self) -> bool:
        """Whether the maps are files of this machine."""
        backend_args = getattr(self.loader, 'backend_args', None)
        backend = get_file_backend(self.template['seg_map_path'], backend_args=backend_args)
        return isinstance(backend, LocalBackend)

    def __call__(self, path: str) -> np.ndarray:
        """Pixels of each class, shape (C,), int64."""
        info = {**self.template, 'seg_map_path': path, 'seg_fields': []}
        labels = np.asarray(self.loader(info)['gt_seg_map']).ravel()
        labels = labels[labels != self.ignore_index]
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if len(wrong):
            raise ValueError(
                f"'{path}' holds label {wrong[0]} in {len(wrong)} pixels, which is neither one of "
                f'the {self.num_classes} classes nor ignore_index={self.ignore_index}: check '
                'reduce_zero_label, ignore_index and the class names of the data set'
            )
        return np.bincount(labels, minlength=self.num_classes)


def show_progress(items: Iterable, total: int) -> Iterable:
    """Show a progress bar on stderr while samples are counted.

    Args:
        items (Iterable): What is iterated over.
        total (int): How many there are.

    Returns:
        Iterable: The same items.
    """
    return track(items, 'counting classes', total, console=Console(stderr=True))


def first_leaf(dataset: Dataset) -> Dataset:
    """The first data set at the bottom of mmengine's wrappers.

    Args:
        dataset (Dataset): A data set or a wrapper.
    """
    while True:
        if hasattr(dataset, 'datasets'):
            dataset = dataset.datasets[0]
        elif hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        elif whole_dataset(dataset) is not dataset:
            dataset = whole_dataset(dataset)
        else:
            return dataset
