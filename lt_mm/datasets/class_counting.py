"""Which classes the samples of a data set show: counted once, for samplers and class counts."""

import os
from dataclasses import dataclass, field

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from scipy import sparse
from torch.utils.data import Dataset

from lt_mm.datasets.map_counting import count_maps, first_leaf, show_progress
from lt_mm.structures import ClassCounts


@dataclass(frozen=True, eq=False)
class SampleCounts:
    """Which classes each sample of a data set shows, and by how many pixels.

    Args:
        table (csr_array): Shape (N, C), int64. Row i has the pixels of each class in sample i, or a
            one for each label of it.
        unit (str): What the table counts: 'pixels' of segmentation maps, 'images' of labels.
        class_names (tuple[str, ...], optional): C names. Defaults to None.
        name (str): Type of the data set. Defaults to ''.
    """

    table: sparse.csr_array = field(repr=False)
    unit: str
    class_names: tuple[str, ...] | None = None
    name: str = ''

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
    dataset: Dataset, cache_dir: str | os.PathLike | None = None, num_workers: int = 0
) -> SampleCounts:
    """Count the classes of every sample; rank 0 does, and the others wait for what it found.

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

    Returns:
        SampleCounts: What was found, the same on all ranks.

    Raises:
        TypeError: If the data set does not tell the labels of its samples.
        ValueError: If it is empty, without any label, or holds one that is neither a class nor
            ignored.
    """
    shared = [_count(dataset, cache_dir, num_workers) if is_main_process() else None]
    broadcast_object_list(shared)
    return shared[0]


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
    dataset = _unwrap_mixing(dataset)
    if not hasattr(dataset, 'get_data_info') or len(dataset) == 0:
        return False
    return dataset.get_data_info(0).get('seg_map_path') is not None


def _count(dataset: Dataset, cache_dir: str | os.PathLike | None, num_workers: int) -> SampleCounts:
    dataset = _unwrap_mixing(dataset)
    name = type(first_leaf(dataset)).__name__
    if not hasattr(dataset, 'get_data_info') or not hasattr(dataset, 'metainfo'):
        raise TypeError(
            f'the classes of {name} cannot be counted, because it has no get_data_info and '
            'metainfo as mmengine data sets do: give the hook class_counts as a name, a path or a '
            "list, and the data loader a sampler of mmengine's own"
        )
    if len(dataset) == 0:
        raise ValueError(f'{name} has no sample to count: check its data_root and data_prefix')
    is_segmentation = has_segmentation_maps(dataset)
    if is_segmentation:
        table = count_maps(dataset, cache_dir, num_workers)
    else:
        table = _count_labels(dataset, name)
    if table.nnz == 0:
        raise ValueError(
            f'no sample of {name} shows a class: check its ann_file, or the ignore_index and '
            'reduce_zero_label of its maps'
        )
    classes = dataset.metainfo.get('classes')
    return SampleCounts(
        table,
        unit='pixels' if is_segmentation else 'images',
        class_names=tuple(classes) if classes else None,
        name=name,
    )


def _count_labels(dataset: Dataset, name: str) -> sparse.csr_array:
    """A one for each class of each sample, (N, C) int64, however often the sample names it."""
    if dataset.get_data_info(0).get('gt_label') is None:
        raise TypeError(
            f"the samples of {name} have neither 'seg_map_path' nor 'gt_label': give class_counts "
            'as a name, a path or a list'
        )
    samples = show_progress(range(len(dataset)), len(dataset))
    labels = [np.unique(dataset.get_data_info(i)['gt_label']) for i in samples]
    owners = np.repeat(np.arange(len(labels)), [len(label) for label in labels])
    flat = np.concatenate(labels).astype(np.int64)
    known = len(dataset.metainfo.get('classes') or ())
    num_classes = known or int(flat.max(initial=0)) + 1
    wrong = np.flatnonzero((flat < 0) | (flat >= num_classes))
    if len(wrong):
        info = dataset.get_data_info(int(owners[wrong[0]]))
        raise ValueError(
            f"'{info.get('img_path', 'a sample without img_path')}' has label {flat[wrong[0]]}, "
            f'which is none of the {num_classes} classes: check the annotation file and the class '
            'names of the data set'
        )
    ones = np.ones(len(flat), dtype=np.int64)
    return sparse.csr_array((ones, (owners, flat)), shape=(len(dataset), num_classes))


def _unwrap_mixing(dataset: Dataset) -> Dataset:
    """The outermost data set that tells the annotation of its samples, if any, else the innermost.

    That looks through wrappers that only mix images.
    """
    while not hasattr(dataset, 'get_data_info') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset
