"""Labels of a sample as training gets them: the part of its pipeline that does not draw numbers."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from mmcv.transforms import LoadAnnotations as MMCVLoadAnnotations
from mmengine import fileio
from mmengine.dataset import BaseDataset, ClassBalancedDataset, RepeatDataset
from mmengine.fileio import LocalBackend, get_file_backend
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image, UnidentifiedImageError
from torch.utils.data import ConcatDataset, Dataset, Subset

from lt_mm.compat import whole_dataset

PACKAGES = ('lt_mm', 'mmcv', 'mmengine', 'mmpretrain', 'mmseg')
"""Their transforms change labels only where they read them, or at random."""
PROBES = 8


def locate(dataset: Dataset, index: int, later: tuple = ()) -> tuple[Dataset, int, tuple]:
    """Find a sample of a wrapper in the data set that reads it.

    Args:
        dataset (Dataset): A data set, or a wrapper of torch, mmengine, mmseg or mmpretrain around
            some. Any other that has a ``dataset`` of as many samples is taken for one that only
            mixes them.
        index (int): Of the sample in it.
        later (tuple): Transforms of the wrappers that were looked through. Defaults to ().

    Returns:
        tuple[Dataset, int, tuple]: The innermost data set, the index there, and the transforms of
        wrappers behind its own.

    Raises:
        TypeError: If a wrapper does not tell which samples it takes.
    """
    while True:
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        if isinstance(dataset, Subset):
            dataset, index = dataset.dataset, int(dataset.indices[index])
        elif isinstance(dataset, ConcatDataset):
            part = int(np.searchsorted(dataset.cumulative_sizes, index, side='right'))
            index -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
        elif whole_dataset(dataset) is not dataset:
            dataset = whole_dataset(dataset)
        elif isinstance(dataset, RepeatDataset):
            dataset, index = dataset.dataset, index % len(dataset.dataset)
        elif isinstance(dataset, ClassBalancedDataset):
            dataset, index = dataset.dataset, dataset.repeat_indices[index]
        elif hasattr(dataset, 'dataset') and not isinstance(dataset, BaseDataset):
            if len(dataset) != len(dataset.dataset):
                raise TypeError(
                    f'the classes of {type(dataset).__name__} cannot be counted, because it has '
                    f'{len(dataset)} samples of the {len(dataset.dataset)} that it wraps: wrap '
                    'them with torch.utils.data.Subset or those of mmengine, or give class_counts'
                )
            later = (*(getattr(dataset, 'pipeline', None) or ()), *later)
            dataset = dataset.dataset
        else:
            return dataset, index, later


class LabelReader:
    """Reads the labels of samples of one data set, without its augmentations.

    Loaders of annotations are run, and so are transforms of a user's own that touch the labels,
    whether before or behind: what they yield for the whole image is what is counted. Transforms of
    other kinds are left out. A transform with a true ``keeps_labels`` is left out as well.

    Args:
        leaf (Dataset): The data set, with a ``pipeline`` or without one.
        infos (Sequence[dict]): Some samples of it, on which transforms of a user's own are tried.
        key (str): 'gt_seg_map' or 'gt_label'.
        later (Sequence[Callable]): Transforms behind those of the data set.

    Attributes:
        is_own (bool): Whether transforms of a user's own take part, so that samples with the same
            map may differ.

    Raises:
        TypeError: If a transform changes labels at random or cannot be tried.
    """

    def __init__(
        self, leaf: Dataset, infos: Sequence[dict], key: str, later: Sequence[Callable] = ()
    ) -> None:
        self.key = key
        self.name = type(leaf).__name__
        transforms = [*getattr(getattr(leaf, 'pipeline', None), 'transforms', ()), *later]
        # Copies, because a loader keeps the reduce_zero_label of the first sample that it meets.
        transforms = deepcopy(list(_flat(transforms)))
        for transform in transforms:
            hidden = [inner for inner in _inner(transform) if _loads(inner)]
            if hidden:
                raise TypeError(
                    f'{_name(hidden[0])} within {_name(transform)} of {self.name} may read other '
                    f'labels than those that are counted: {_REMEDY}'
                )
        with random_numbers_kept():
            touching = self._touching(transforms, infos)
            steps = [t for t in transforms if t in touching or _loads(t)]
            if key == 'gt_seg_map' and not any(map(_loads, steps)):
                # A data set read without any loader, or with a user's own.
                if not touching or key not in self._tried(steps, infos[0]):
                    backend_args = getattr(leaf, 'backend_args', None)
                    steps = [LoadAnnotations(backend_args=backend_args), *steps]
            if touching:
                steps = self._with_images(steps, transforms, infos[0])
            self.steps = steps
            self.is_own = bool(touching)
            for loader in steps:
                if getattr(loader, 'reduce_zero_label', False) is None:
                    loader.reduce_zero_label = infos[0].get('reduce_zero_label')
            if touching:
                self._refuse_random(touching, infos)

    def __call__(self, info: dict) -> np.ndarray:
        """Read the labels of a sample.

        Args:
            info (dict): What the data set tells of it.

        Returns:
            np.ndarray: Of any shape, int64.

        Raises:
            FileNotFoundError: If its map is missing.
            ValueError: If its map is damaged, or holds no label of 8 bits in each pixel.
            TypeError: If a transform fails.
        """
        path = info.get('seg_map_path' if self.key == 'gt_seg_map' else 'img_path', 'a sample')
        results = self._start(info)
        for step in self.steps:
            try:
                results = step(results)
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f"'{path}' cannot be read by {_name(step)} ({error}): check the data_prefix of "
                    f'{self.name}'
                ) from error
            except Exception as error:
                what = f'{type(error).__name__}: {error}'
                raise ValueError(
                    f"'{path}' cannot be read by {_name(step)} of {self.name} ({what}): mend the "
                    'file, or leave it out'
                ) from error
            if self.key == 'gt_seg_map' and _loads(step) and not _is_own(step):
                read = np.asarray(results[self.key])
                _check_depth(path, read, getattr(step, 'backend_args', None))
        labels = np.asarray(results[self.key])
        if self.key == 'gt_seg_map' and labels.ndim > 2:
            raise _no_label_a_pixel(path, labels)
        kind = labels.dtype.kind
        if kind not in 'iubf' or (kind == 'f' and (labels != np.floor(labels)).any()):
            raise ValueError(
                f"'{path}' has labels of {labels.dtype} that are no whole numbers: save it as "
                'whole numbers'
            )
        return labels.astype(np.int64)

    @property
    def reading(self) -> str:
        """Whatever decides the labels beside the files, for transforms that are not a user's."""
        return repr([(type(step).__qualname__, vars(step)) for step in self.steps])

    def is_local(self, path: str) -> bool:
        """Whether a map is a file of this machine."""
        backend_args = getattr(self.steps[0], 'backend_args', None)
        return isinstance(get_file_backend(path, backend_args=backend_args), LocalBackend)

    def _start(self, info: dict) -> dict:
        return {**info, 'seg_fields': []} if self.key == 'gt_seg_map' else dict(info)

    def _touching(self, transforms: Sequence[Callable], infos: Sequence[dict]) -> list[Callable]:
        """The transforms of a user's own that touch the labels, each tried on some samples."""
        own = [t for t in transforms if _is_own(t) or any(map(_is_own, _inner(t)))]
        touching = []
        for info in infos if own else ():
            results = self._start(deepcopy(info))
            for transform in transforms[: transforms.index(own[-1]) + 1]:
                for inner in filter(_is_own, _inner(transform)):
                    _, touched = self._watched(inner, deepcopy(results))
                    if touched:
                        raise TypeError(
                            f'{_name(inner)} within {_name(transform)} of {self.name} may change '
                            f'labels at random, so that these cannot be counted: {_REMEDY}'
                        )
                results, touched = self._watched(transform, results)
                if results is None:
                    break
                if touched and _is_own(transform) and transform not in touching:
                    touching.append(transform)
        return touching

    def _watched(self, transform: Callable, results: dict) -> tuple[dict | None, bool]:
        watched = _Watched(results)
        watched.touched = False
        watched.key = self.key
        try:
            after = transform(watched)
        except Exception as error:
            raise TypeError(
                f'{_name(transform)} fails on a sample of {self.name} ({type(error).__name__}: '
                f'{error}), so that its labels cannot be counted: {_REMEDY}'
            ) from error
        touched = watched.touched or after is not watched
        return (None if after is None else dict(after)), touched

    def _tried(self, steps: Sequence[Callable], info: dict) -> dict:
        results = self._start(deepcopy(info))
        for step in deepcopy(list(steps)):
            try:
                results = step(results)
            except KeyError:
                break
        return results

    def _with_images(
        self, steps: list[Callable], transforms: Sequence[Callable], info: dict
    ) -> list[Callable]:
        """The steps, and loaders of images where transforms among the steps need them."""
        results = self._start(deepcopy(info))
        try:
            for step in deepcopy(steps):
                results = step(results)
        except Exception:
            return [t for t in transforms if t in steps or _loads_image(t)]
        return steps

    def _refuse_random(self, touching: Sequence[Callable], infos: Sequence[dict]) -> None:
        for info in infos:
            runs = []
            for seed in (0, 1, 2):
                random.seed(seed)
                np.random.seed(seed)
                torch.manual_seed(seed)
                runs.append(np.unique(self(deepcopy(info)), return_counts=True))
            if any(not all(map(np.array_equal, runs[0], run)) for run in runs[1:]):
                names = ', '.join(map(_name, touching))
                raise TypeError(
                    f'{names} of {self.name} changes labels at random, so that these cannot be '
                    f'counted: {_REMEDY}'
                )


class Part(NamedTuple):
    """Samples that are read alike."""

    reader: LabelReader
    leaf: Dataset
    template: dict
    """What the data set tells of the first one."""


def readers_of(
    dataset: Dataset, key: str
) -> tuple[dict[tuple, Part], list[tuple[tuple, Dataset, int]]]:
    """Find out how each sample of a data set is read.

    Args:
        dataset (Dataset): A data set or a wrapper.
        key (str): 'gt_seg_map' or 'gt_label'.

    Returns:
        tuple[dict, list]: The parts by a key each, and of every sample the key of its part, the
        data set that has it and the index there.

    Raises:
        TypeError: If the labels of a part cannot be read as training reads them.
    """
    located, parts = [], {}
    for row in range(len(dataset)):
        leaf, index, later = locate(dataset, row)
        part = id(leaf), *map(id, later)
        parts.setdefault(part, (leaf, later, []))[2].append(index)
        located.append((part, leaf, index))
    readers = {}
    for part, (leaf, later, indices) in parts.items():
        picked = np.unique(np.linspace(0, len(indices) - 1, PROBES).astype(int))
        infos = [leaf.get_data_info(indices[i]) for i in picked]
        name = 'seg_map_path' if key == 'gt_seg_map' else 'gt_label'
        if any(info.get(name) is None for info in infos):
            raise TypeError(
                f"the samples of {type(leaf).__name__} have neither 'seg_map_path' nor 'gt_label': "
                'give class_counts as a name, a path or a list'
            )
        readers[part] = Part(LabelReader(leaf, infos, key, later), leaf, infos[0])
    return readers, located


_REMEDY = (
    'give ClassCountsHook(class_counts=...), or the transform an attribute keeps_labels = True if '
    'it leaves the classes as they are'
)


class _Watched(dict):
    """Results of a pipeline that notice whether their labels are read or written."""

    touched = False
    key = ''

    def _see(self, key: object) -> None:
        self.touched |= key in (self.key, 'seg_fields')

    def __getitem__(self, key: object) -> object:
        self._see(key)
        return super().__getitem__(key)

    def __setitem__(self, key: object, value: object) -> None:
        self._see(key)
        super().__setitem__(key, value)

    def __iter__(self) -> Iterator:
        self.touched = True
        return super().__iter__()

    def get(self, key: object, *default: object) -> object:
        self._see(key)
        return super().get(key, *default)

    def pop(self, key: object, *default: object) -> object:
        self._see(key)
        return super().pop(key, *default)

    def setdefault(self, key: object, *default: object) -> object:
        self._see(key)
        return super().setdefault(key, *default)

    def update(self, *others: object, **more: object) -> None:
        for key in dict(*others, **more):
            self._see(key)
        super().update(*others, **more)

    def _all(self) -> None:
        self.touched = True

    def items(self) -> object:
        self._all()
        return super().items()

    def values(self) -> object:
        self._all()
        return super().values()

    def copy(self) -> dict:
        self._all()
        return super().copy()


def _flat(transforms: Sequence[Callable]) -> Iterator[Callable]:
    for transform in transforms:
        if type(transform).__name__ == 'Compose' and hasattr(transform, 'transforms'):
            yield from _flat(transform.transforms)
        else:
            yield transform


def _inner(transform: Callable) -> list[Callable]:
    """Transforms that another one runs, perhaps at random or on other keys."""
    inner = getattr(transform, 'transforms', None) or ()
    inner = getattr(inner, 'transforms', inner)
    found = []
    for one in inner if isinstance(inner, list | tuple) else ():
        for each in _flat(one) if isinstance(one, list | tuple) else _flat([one]):
            found += [each, *_inner(each)]
    return found


def _is_own(transform: Callable) -> bool:
    module = getattr(transform, '__module__', None) or type(transform).__module__
    return module.split('.')[0] not in PACKAGES and not getattr(transform, 'keeps_labels', False)


def _loads(transform: Callable) -> bool:
    return isinstance(transform, MMCVLoadAnnotations) or (
        'Annotation' in type(transform).__name__ and not _is_own(transform)
    )


def _loads_image(transform: Callable) -> bool:
    name = type(transform).__name__
    return name.startswith('Load') and not _loads(transform)


def _name(transform: Callable) -> str:
    return getattr(transform, '__name__', type(transform).__name__)


def _no_label_a_pixel(path: str, labels: np.ndarray) -> ValueError:
    return ValueError(
        f"'{path}' is read as an array of shape {labels.shape}, but one label a pixel is wanted: "
        "save it with one channel, read palettes with imdecode_backend='pillow', or decode its "
        'colours in a loader of your own'
    )


def _check_depth(path: str, labels: np.ndarray, backend_args: dict | None) -> None:
    """Refuse what mmseg's loaders, which make 8 bits of all labels, would make something else of.

    Raises:
        ValueError: If a label is no whole number of 8 bits, or there are several channels.
    """
    backend = get_file_backend(path, backend_args=backend_args)
    is_local = isinstance(backend, LocalBackend)
    source = path if is_local else BytesIO(fileio.get(path, backend_args=backend_args))
    try:
        with Image.open(source) as image:
            if len(image.getbands()) > 1:
                raise ValueError(
                    f"'{path}' has the channels {', '.join(image.getbands())}, but one label a "
                    'pixel is wanted: save it with one channel, or decode its colours in a loader '
                    'of your own'
                )
            if labels.size != image.width * image.height:
                raise _no_label_a_pixel(path, labels)
            if image.mode not in ('1', 'L', 'P'):
                values = np.asarray(image)
                with np.errstate(invalid='ignore'):
                    wrong = np.unique(values[values != values.astype(np.uint8)])
                    kept = wrong.astype(np.uint8)
                if wrong.size > 0:
                    worst = 0 if wrong[0] < 0 else -1
                    raise ValueError(
                        f"'{path}' holds label {wrong[worst]}, which mmseg would read as "
                        f'{kept[worst]}, as it keeps 8 bits: save labels from 0 to 255, or read '
                        'them with a loader of your own'
                    )
    except UnidentifiedImageError:
        # The loader has read it with a backend of another kind.
        return


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Leave the generators of Python, numpy and torch as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
