"""Count the classes of a data set: pixels and images of segmentation maps, images of labels."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
from mmcv.transforms import LoadAnnotations as MMCVLoadAnnotations
from mmseg.datasets.transforms import LoadAnnotations
from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from lt_mm.structures import ClassCounts


def count_classes(dataset: Dataset, num_workers: int = 0) -> dict[str, ClassCounts]:
    """Count the samples of each class in one pass, under a progress bar.

    What the training loop sees is counted: a sample that a wrapper repeats counts as often, and
    segmentation maps are read as the data set's own pipeline reads them (``reduce_zero_label``,
    ``label_map``), without its augmentations. Pixels of ``ignore_index`` are left out. A wrapper
    that only mixes images (``mmseg.MultiImageMixDataset``) is counted as what it wraps.

    Args:
        dataset (Dataset): A data set of mmseg or mmpretrain, or an mmengine wrapper around some.
        num_workers (int): Processes that read segmentation maps; 0 reads them in this one. Labels
            of classification are in memory and need none. Defaults to 0.

    Returns:
        dict[str, ClassCounts]: 'pixels' and 'images' (those that show the class) of a segmentation
        data set, 'images' of a classification data set.

    Raises:
        TypeError: If the data set does not tell the labels of its samples.
        ValueError: If the data set is empty, or holds a label that is neither a class nor ignored.
    """
    dataset, name = unwrap_mixing(dataset), type(_first_leaf(dataset)).__name__
    if not hasattr(dataset, 'get_data_info') or not hasattr(dataset, 'metainfo'):
        raise TypeError(
            f'the classes of {name} cannot be counted, because it has no get_data_info and '
            'metainfo as mmengine data sets do: give class_counts as a name, a path or a list'
        )
    if len(dataset) == 0:
        raise ValueError(f'{name} has no sample to count: check its data_root and data_prefix')
    maker = partial(
        ClassCounts,
        class_names=dataset.metainfo.get('classes'),
        source=f'Counted over the {len(dataset)} training samples of {name}.',
        name=name,
    )
    if not has_segmentation_maps(dataset):
        _, labels, num_classes = labels_of_samples(dataset)
        return {'images': maker(np.bincount(labels, minlength=num_classes), unit='images')}
    totals = np.zeros((2, len(dataset.metainfo.get('classes') or ())), dtype=np.int64)
    repeats = map_paths(dataset).values()
    for times, counted in zip(repeats, count_maps(dataset, num_workers), strict=True):
        totals += times * np.stack([counted, counted > 0])
    return {unit: maker(totals[i], unit=unit) for i, unit in enumerate(('pixels', 'images'))}


def has_segmentation_maps(dataset: Dataset) -> bool:
    """Whether the samples of a data set are annotated pixel by pixel.

    Args:
        dataset (Dataset): A data set or a wrapper.

    Returns:
        bool: True if the first sample names a segmentation map.
    """
    dataset = unwrap_mixing(dataset)
    if not hasattr(dataset, 'get_data_info') or len(dataset) == 0:
        return False
    return dataset.get_data_info(0).get('seg_map_path') is not None


def segmentation_key(dataset: Dataset) -> str:
    """Name for the class counts of a segmentation data set, to find them again on disk.

    Args:
        dataset (Dataset): A data set with segmentation maps, or a wrapper.

    Returns:
        str: Type of the data set and a hash of whatever decides its counts: the path of every
        segmentation map and how often it is used, the class names, and how labels are read. What
        the files hold is not looked at.
    """
    dataset = unwrap_mixing(dataset)
    counter = _MapCounter.of(dataset)
    reading = [counter.template.get(key) for key in ('reduce_zero_label', 'label_map')]
    reading += [dataset.metainfo.get('classes'), counter.ignore_index, repr(counter.loader)]
    digest = hashlib.sha256(repr((reading, sorted(map_paths(dataset).items()))).encode())
    return f'{type(_first_leaf(dataset)).__name__}_{digest.hexdigest()[:12]}'


def map_paths(dataset: Dataset) -> Counter[str]:
    """Every segmentation map of a data set, and how often it is used.

    Args:
        dataset (Dataset): A data set with segmentation maps, or a wrapper.

    Returns:
        Counter[str]: Path to number of samples, in the order of their first samples.
    """
    dataset = unwrap_mixing(dataset)
    return Counter(dataset.get_data_info(i)['seg_map_path'] for i in range(len(dataset)))


def count_maps(dataset: Dataset, num_workers: int = 0) -> Iterator[np.ndarray]:
    """Count the pixels of every segmentation map of a data set, under a progress bar.

    Args:
        dataset (Dataset): A data set with segmentation maps, or a wrapper.
        num_workers (int): Processes that read maps; 0 reads them in this one. Defaults to 0.

    Yields:
        np.ndarray: Pixels of each class, shape (C,), int64, in the order of :func:`map_paths`.

    Raises:
        ValueError: If there are no class names, or a map holds a label that is neither a class nor
            ignored.
    """
    dataset = unwrap_mixing(dataset)
    paths, count_file = map_paths(dataset), _MapCounter.of(dataset)
    with ProcessPoolExecutor(num_workers) if num_workers else nullcontext() as pool:
        pixels = pool.map(count_file, paths, chunksize=8) if pool else map(count_file, paths)
        yield from _track(pixels, len(paths))


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
        leaf = _first_leaf(dataset)
        classes = dataset.metainfo.get('classes')
        if not classes:
            raise ValueError(
                f'{type(leaf).__name__} has no class names, so the number of classes is unknown: '
                'give it metainfo=dict(classes=(...)), or the hook a list of class_counts'
            )
        transforms = getattr(getattr(leaf, 'pipeline', None), 'transforms', ())
        own = [t for t in transforms if isinstance(t, MMCVLoadAnnotations)]
        # A copy, because the loader keeps the reduce_zero_label of the first sample it meets.
        loader = (
            deepcopy(own[0])
            if own
            else LoadAnnotations(backend_args=getattr(leaf, 'backend_args', None))
        )
        ignore_index = getattr(leaf, 'ignore_index', 255)
        return cls(dataset.get_data_info(0), loader, len(classes), ignore_index)

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


def labels_of_samples(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, int]:
    """Read the labels of a classification data set from memory, under a progress bar.

    Args:
        dataset (Dataset): A data set whose samples have a 'gt_label', of one class, of several or
            of none, or a wrapper.

    Returns:
        tuple[np.ndarray, np.ndarray, int]: The sample and the class of each label, both of shape
        (L,), int64, a class of a sample being named once; and the number of classes.

    Raises:
        TypeError: If the first sample has no 'gt_label'.
        ValueError: If a label is none of the classes, or no sample has any.
    """
    dataset = unwrap_mixing(dataset)
    if dataset.get_data_info(0).get('gt_label') is None:
        raise TypeError(
            f"the samples of {type(_first_leaf(dataset)).__name__} have neither 'seg_map_path' nor "
            "'gt_label': give class_counts as a name, a path or a list"
        )
    samples = _track(range(len(dataset)), len(dataset))
    labels = [np.unique(dataset.get_data_info(i)['gt_label']) for i in samples]
    owners = np.repeat(np.arange(len(labels)), [len(label) for label in labels])
    flat = np.concatenate(labels).astype(np.int64)
    if len(flat) == 0:
        raise ValueError(
            f'no sample of {type(_first_leaf(dataset)).__name__} has a label: check its ann_file'
        )
    num_classes = len(dataset.metainfo.get('classes') or ()) or int(flat.max()) + 1
    wrong = np.flatnonzero((flat < 0) | (flat >= num_classes))
    if len(wrong):
        info = dataset.get_data_info(int(owners[wrong[0]]))
        raise ValueError(
            f"'{info.get('img_path', 'a sample without img_path')}' has label {flat[wrong[0]]}, "
            f'which is none of the {num_classes} classes: check the annotation file and the class '
            'names of the data set'
        )
    return owners, flat, num_classes


def _track(items: Iterable, total: int) -> Iterable:
    return track(items, 'counting classes', total, console=Console(stderr=True))


def unwrap_mixing(dataset: Dataset) -> Dataset:
    """Look through wrappers that only mix images.

    Args:
        dataset (Dataset): A data set or a wrapper.

    Returns:
        Dataset: The outermost data set that tells the annotation of its samples, if there is one;
        else the innermost.
    """
    while not hasattr(dataset, 'get_data_info') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset


def _first_leaf(dataset: Dataset) -> Dataset:
    """The first data set at the bottom of mmengine's wrappers."""
    while True:
        if hasattr(dataset, 'datasets'):
            dataset = dataset.datasets[0]
        elif hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        elif hasattr(dataset, '_dataset'):  # what num_batch_per_epoch cuts short
            dataset = dataset._dataset
        else:
            return dataset
