"""Which classes the samples of a data set show: counted once, for samplers and class counts."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
from mmengine.logging import print_log
from scipy import sparse
from torch.utils.data import Dataset

from lt_mm.datasets.label_reading import locate, random_numbers_kept, readers_of
from lt_mm.datasets.map_counting import count_maps, first_leaf, show_progress
from lt_mm.datasets.regions import SIZE_BINS, pixels_and_regions
from lt_mm.structures import ClassCounts

BEAT = 1.0
"""Seconds between two messages of rank 0 while it counts."""


@dataclass(frozen=True, eq=False)
class SampleCounts:
    """Which classes each sample of a data set shows, and by how many pixels.

    Args:
        table (csr_array): Shape (N, C), int64. Row i has the pixels of each class in sample i, or a
            one for each label of it.
        unit (str): What the table counts: 'pixels' of segmentation maps, 'images' of labels.
        class_names (tuple[str, ...], optional): C names. Defaults to None.
        name (str): Type of the data set. Defaults to ''.
        regions (np.ndarray, optional): Shape (C, SIZE_BINS), int64: connected regions of each class
            by the bin of their size, see :mod:`~lt_mm.datasets.regions`; of segmentation maps, if
            they were asked for. Defaults to None.
    """

    table: sparse.csr_array = field(repr=False)
    unit: str
    class_names: tuple[str, ...] | None = None
    name: str = ''
    regions: np.ndarray | None = field(default=None, repr=False)

    @property
    def units(self) -> tuple[str, ...]:
        """Units that classes can be counted in, the table's own first."""
        return tuple(dict.fromkeys((self.unit, 'images')))

    def in_unit(self, unit: str) -> sparse.csr_array:
        """The table in another unit.

        Args:
            unit (str): 'images' counts a sample once for each class that it shows; any other is
                the table's own.

        Returns:
            csr_array: Shape (N, C), int64.
        """
        return self.table if unit != 'images' else (self.table > 0).astype(np.int64)

    def class_counts(self, unit: str | None = None) -> ClassCounts:
        """Add up the samples.

        Args:
            unit (str, optional): One of :attr:`units`. Defaults to None, the first of them.

        Returns:
            ClassCounts: Pixels, or images that show the class.

        Raises:
            ValueError: If classes cannot be counted in that unit.
        """
        unit = unit or self.unit
        if unit not in self.units:
            raise ValueError(
                f'unit={unit!r} cannot be counted on this training set: use one of '
                f'{", ".join(self.units)}, or give class_counts'
            )
        return ClassCounts(
            self.in_unit(unit).sum(axis=0).tolist(),
            class_names=self.class_names,
            unit=unit,
            source=f'Counted over the {self.table.shape[0]} training samples of {self.name}.',
            name=self.name,
        )


def count_samples(
    dataset: Dataset,
    cache_dir: str | os.PathLike | None = None,
    num_workers: int = 0,
    with_regions: bool = False,
) -> SampleCounts:
    """Count the classes of every sample; rank 0 does, and the others wait for what it found.

    They wait as long as it takes, whatever the timeout of the process group; an error on rank 0 is
    raised by all.

    Segmentation maps are read in one pass, see :func:`~lt_mm.datasets.map_counting.count_maps`,
    and their counts kept; labels of classification are in memory and counted each time, both under
    a progress bar. A wrapper that only mixes images (``mmseg.MultiImageMixDataset``) is counted as
    what it wraps, and a sample that another one repeats as often.

    Args:
        dataset (Dataset): A data set of mmseg or mmpretrain, or an mmengine wrapper around some.
        cache_dir (str | PathLike, optional): Folder where counts of segmentation maps are kept.
            Defaults to None, nowhere.
        num_workers (int): Processes that read segmentation maps; 0 reads them in this one. Defaults
            to 0.
        with_regions (bool): Whether to count the connected regions of segmentation maps, too, in
            the same pass, which takes longer. Defaults to False.

    Returns:
        SampleCounts: What was found, the same on all ranks.

    Raises:
        TypeError: If the data set does not tell the labels of its samples.
        ValueError: If it is empty, without any label, or holds one that is neither a class nor
            ignored.
    """
    if not is_distributed():
        return _count(dataset, cache_dir, num_workers, with_regions)
    return _from_rank_zero(lambda: _count(dataset, cache_dir, num_workers, with_regions))


def _from_rank_zero(count: Callable[[], SampleCounts]) -> SampleCounts:
    """What rank 0 counts, on all ranks, which may wait for it longer than collectives may take."""
    state = _Counting()
    if is_main_process():
        thread = threading.Thread(target=state.run, args=(count,), daemon=True)
        thread.start()
    while True:
        if is_main_process():
            thread.join(BEAT)
        # One message a moment keeps each collective short.
        shared = [state.told() if is_main_process() else None]
        broadcast_object_list(shared)
        if not is_main_process():
            state.take(shared[0])
        if shared[0]['is_done']:
            break
    if state.own_error is not None:
        raise state.own_error
    if state.error:
        kind, text = state.error
        raise _KINDS.get(kind, RuntimeError)(f'{text} (on rank 0, which counts the classes)')
    return state.found


class _Counting:
    """How far counting has come, and what came of it."""

    def __init__(self) -> None:
        self.is_done = False
        self.found: SampleCounts | None = None
        self.error: tuple[str, str] | None = None
        self.own_error: BaseException | None = None

    def run(self, count: Callable[[], SampleCounts]) -> None:
        try:
            self.found = count()
        except BaseException as error:
            self.own_error = error
            self.error = type(error).__name__, str(error)
        self.is_done = True

    def told(self) -> dict:
        if not self.is_done:
            return dict(is_done=False)
        return dict(is_done=True, found=self.found, error=self.error)

    def take(self, told: dict) -> None:
        vars(self).update(told)


_KINDS = {kind.__name__: kind for kind in (TypeError, ValueError, FileNotFoundError)}


def count_classes(dataset: Dataset, num_workers: int = 0) -> dict[str, ClassCounts]:
    """Count the samples of each class.

    Args:
        dataset (Dataset): As of :func:`count_samples`.
        num_workers (int): As of :func:`count_samples`.

    Returns:
        dict[str, ClassCounts]: 'pixels' and 'images' (those that show the class) of a segmentation
        data set, 'images' of a classification data set.

    Raises:
        TypeError: As of :func:`count_samples`.
        ValueError: As of :func:`count_samples`.
    """
    counted = count_samples(dataset, num_workers=num_workers)
    return {unit: counted.class_counts(unit) for unit in counted.units}


def has_segmentation_maps(dataset: Dataset) -> bool:
    """Whether the samples of a data set are annotated pixel by pixel.

    Args:
        dataset (Dataset): A data set or a wrapper.

    Returns:
        bool: True if the first sample names a segmentation map.
    """
    if not hasattr(dataset, '__len__') or len(dataset) == 0:
        return False
    leaf, index, _ = locate(dataset, 0)
    if not hasattr(leaf, 'get_data_info'):
        return False
    return leaf.get_data_info(index).get('seg_map_path') is not None


def _count(
    dataset: Dataset,
    cache_dir: str | os.PathLike | None,
    num_workers: int,
    with_regions: bool = False,
) -> SampleCounts:
    leaf = first_leaf(dataset)
    name = type(leaf).__name__
    if not hasattr(leaf, 'get_data_info') or not hasattr(leaf, 'metainfo'):
        raise TypeError(
            f'the classes of {name} cannot be counted, because it has no get_data_info and '
            'metainfo as mmengine data sets do: give the hook class_counts as a name, a path or a '
            "list, and the data loader a sampler of mmengine's own"
        )
    if len(dataset) == 0:
        raise ValueError(
            f'{name} has no sample to count, because none was found{_folders(leaf)}: check its '
            'data_root, data_prefix, ann_file and the suffixes of its files'
        )
    names = tuple(getattr(dataset, 'metainfo', leaf.metainfo).get('classes') or ())
    is_segmentation = has_segmentation_maps(dataset)
    regions = None
    if is_segmentation:
        if not names:
            raise ValueError(
                f'{name} has no class names, so the number of classes is unknown: '
                'give it metainfo=dict(classes=(...)), or the hook a list of class_counts'
            )
        if with_regions:
            columns = len(names) * (1 + SIZE_BINS)
            both = count_maps(
                dataset, len(names), cache_dir, num_workers, pixels_and_regions, columns
            )
            table = both[:, : len(names)]
            regions = both[:, len(names) :].sum(axis=0).reshape(len(names), SIZE_BINS)
        else:
            table = count_maps(dataset, len(names), cache_dir, num_workers)
    else:
        table = _count_labels(dataset, name, len(names))
    if table.nnz == 0:
        raise ValueError(
            f'no sample of {name} shows a class: check its ann_file, or the ignore_index and '
            'reduce_zero_label of its maps, or whether these mark classes with '
            f'{getattr(leaf, "ignore_index", 255)}'
        )
    unit = 'pixels' if is_segmentation else 'images'
    _warn(name, table.sum(axis=0), names, unit)
    return SampleCounts(table, unit, names or None, name, regions)


def _folders(leaf: Dataset) -> str:
    """Where a data set has looked, as far as it tells."""
    prefix = getattr(leaf, 'data_prefix', None)
    folders = [str(path) for path in prefix.values()] if isinstance(prefix, dict) else []
    places = [*folders, getattr(leaf, 'ann_file', None)]
    places = [os.path.abspath(place) for place in places if place]
    return f' in {" and ".join(places)}' if places else ''


def _warn(name: str, counts: np.ndarray, names: tuple[str, ...], unit: str) -> None:
    """Point out what counts look like when labels are not those that were meant."""
    shown = np.flatnonzero(counts)
    if len(counts) > 1 and len(shown) == 1:
        c = int(shown[0])
        title = f'{c} ({names[c]})' if names else f'{c}'
        cure = (
            'check reduce_zero_label, ignore_index, and whether the maps mark a class with 255'
            if unit == 'pixels'
            else 'check the annotation file and the class names'
        )
        print_log(
            f'Class counts of {name}: class {title} holds all {int(counts[c]):,} labelled {unit}, '
            f'and {len(counts) - 1} others none: {cure}',
            logger='current',
            level=logging.WARNING,
        )


def _count_labels(dataset: Dataset, name: str, known: int) -> sparse.csr_array:
    """A one for each class of each sample, (N, C) int64, however often the sample names it."""
    readers, located = readers_of(dataset, 'gt_label')

    def labels_of(part: tuple, leaf: Dataset, index: int) -> np.ndarray:
        return np.unique(readers[part].reader(leaf.get_data_info(index)))

    with random_numbers_kept():
        labels = [labels_of(*sample) for sample in show_progress(located, len(located))]
    owners = np.repeat(np.arange(len(labels)), [len(label) for label in labels])
    flat = np.concatenate(labels).astype(np.int64)
    num_classes = known or int(flat.max(initial=0)) + 1
    wrong = np.flatnonzero((flat < 0) | (flat >= num_classes))
    if len(wrong):
        _, leaf, index = located[int(owners[wrong[0]])]
        path = leaf.get_data_info(index).get('img_path', 'a sample without img_path')
        raise ValueError(
            f"'{path}' has label {flat[wrong[0]]}, which is none of the {num_classes} classes: "
            'check the annotation file and the class names of the data set'
        )
    if not known and len(flat) and flat.min() > 0:
        print_log(
            f'Class counts of {name}: labels begin at {flat.min()}, and without class names '
            f'{num_classes} classes are counted, of which the first have no sample: number labels '
            'from 0, or give metainfo=dict(classes=(...))',
            logger='current',
            level=logging.WARNING,
        )
    ones = np.ones(len(flat), dtype=np.int64)
    return sparse.csr_array((ones, (owners, flat)), shape=(len(dataset), num_classes))
