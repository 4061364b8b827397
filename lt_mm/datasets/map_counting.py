"""Pixels of each class in the segmentation maps of a data set: each map read once, kept on disk."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy import sparse
from torch.utils.data import Dataset

from lt_mm.datasets.count_cache import CountCache, FileState
from lt_mm.datasets.label_reading import (
    LabelReader,
    locate,
    random_numbers_kept,
    readers_of,
)

SECONDS_A_LINE = 30.0
"""How often a line tells how far counting is, where no progress bar can be seen."""


def count_maps(
    dataset: Dataset,
    num_classes: int,
    cache_dir: str | os.PathLike | None = None,
    num_workers: int = 0,
    measure: Callable[[np.ndarray, int], np.ndarray] | None = None,
    columns: int | None = None,
) -> sparse.csr_array:
    """Count the pixels of each class in the segmentation map of every sample.

    A map that several samples share is read once. Maps are read part by part, each as its own
    pipeline reads them (``reduce_zero_label``, ``label_map``, transforms of a user's own that
    change labels), without augmentations; see :class:`~lt_mm.datasets.label_reading.LabelReader`.
    Pixels of ``ignore_index`` are left out.

    Args:
        dataset (Dataset): A data set of mmseg, or a wrapper around some.
        num_classes (int): C.
        cache_dir (str | PathLike, optional): Where counts are kept, see :class:`CountCache`. Those
            that a transform of a user's own takes part in are not. Defaults to None, nowhere.
        num_workers (int): Processes that read maps; 0 reads them in this one. Defaults to 0.
        measure (Callable, optional): What to count instead: a function of a module, which is given
            the labels (H, W), int64, -1 where they are ignored, and C, and returns ``columns``
            numbers of 0 or more. Defaults to None, the pixels of each class.
        columns (int, optional): How many numbers ``measure`` returns. Defaults to None, C.

    Returns:
        csr_array: Pixels of each class in each sample, shape (N, C), int64; or (N, columns).

    Raises:
        TypeError: If the labels of a part cannot be read as training reads them.
        ValueError: If a map is damaged, or holds a label that is neither a class nor ignored.
    """
    columns = columns or num_classes
    counters, jobs = _jobs(dataset, num_classes, measure)
    # What is shared has the same key. A user's own transform may look at more than the map.
    keys = [
        (reading, info['seg_map_path'], row if counters[reading].reader.is_own else None)
        for row, (reading, info) in enumerate(jobs)
    ]
    states = {
        key: FileState.of(key[1], counters[key[0]].reader.is_local(key[1]))
        for key in dict.fromkeys(keys)
    }
    infos = dict(zip(keys, (info for _, info in jobs), strict=True))
    # The rows of the cache are in an order of their own, so that it serves any order of samples.
    rows = sorted(states, key=lambda key: (states[key].path, key[0], key[1], key[2] or 0))

    def count() -> sparse.csr_array:
        return _count(counters, [(key[0], infos[key]) for key in rows], num_workers, columns)

    is_own = any(counter.reader.is_own for counter in counters.values())
    if cache_dir is None or is_own:
        table = count()
    else:
        name = type(first_leaf(dataset)).__name__
        readings = [key[0] for key in rows] if len(counters) > 1 else [*counters]
        of_rows = [states[key] for key in rows]
        if measure is not None:
            readings = [measure.__qualname__, *readings]
        table = CountCache(cache_dir, name, of_rows, repr(readings), columns).get(count)
    place = {key: row for row, key in enumerate(rows)}
    return table[[place[key] for key in keys]]


def _jobs(
    dataset: Dataset, num_classes: int, measure: Callable | None
) -> tuple[dict[str, '_MapCounter'], list[tuple[str, dict]]]:
    """How each kind of part is counted, and the part and the map of every sample."""
    readers, located = readers_of(dataset, 'gt_seg_map')
    counters, reading_of = {}, {}
    for part, (reader, leaf, template) in readers.items():
        ignore_index = getattr(leaf, 'ignore_index', 255)
        counter = _MapCounter(reader, num_classes, ignore_index, template, measure)
        # Parts that are read alike share their maps, unless a user's own transforms are asked.
        reading = f'{part}' if reader.is_own else counter.reading
        counters.setdefault(reading, counter)
        reading_of[part] = reading
    jobs = []
    for part, leaf, index in located:
        reading = reading_of[part]
        info = leaf.get_data_info(index)
        if not counters[reading].reader.is_own:
            info = {'seg_map_path': info['seg_map_path']}
        jobs.append((reading, info))
    return counters, jobs


def _count(
    counters: dict[str, '_MapCounter'],
    jobs: Sequence[tuple[str, dict]],
    num_workers: int,
    columns: int,
) -> sparse.csr_array:
    data, indices, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [0]
    workers = (
        ProcessPoolExecutor(num_workers, initializer=_begin_work, initargs=(counters, os.getpid()))
        if num_workers
        else nullcontext()
    )
    with random_numbers_kept(), workers as pool:
        if pool:
            counted = pool.map(_work, jobs, chunksize=8)
        else:
            counted = (counters[reading](info) for reading, info in jobs)
        for pixels in show_progress(counted, len(jobs)):
            shown = np.flatnonzero(pixels)
            indices.append(shown)
            data.append(pixels[shown])
            ends.append(ends[-1] + len(shown))
    parts = np.concatenate(data), np.concatenate(indices), np.array(ends)
    return sparse.csr_array(parts, shape=(len(jobs), columns))


_of_worker: dict[str, '_MapCounter'] = {}


def _begin_work(counters: dict[str, '_MapCounter'], parent: int) -> None:
    """Take over the counters, and end with the process that started this one."""
    _of_worker.update(counters)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # A parent that is killed tells nobody, and its children would wait for work for ever, with
    # whatever they inherited of it, such as the port of rank 0. A forked child is told by the
    # number alone, as its siblings keep the pipe open; a server that forks has another number.
    is_child = os.getppid() == parent
    starter = multiprocessing.parent_process()
    while starter.is_alive() and not (is_child and os.getppid() != parent):
        time.sleep(0.5)
    os._exit(1)


def _work(job: tuple[str, dict]) -> np.ndarray:
    return _of_worker[job[0]](job[1])


@dataclass
class _MapCounter:
    """Counts the pixels of one segmentation map."""

    reader: LabelReader
    num_classes: int
    ignore_index: int
    template: dict
    measure: Callable[[np.ndarray, int], np.ndarray] | None = None

    @property
    def reading(self) -> str:
        """Whatever decides the counts of a map beside its content."""
        settings = [self.template.get(key) for key in ('reduce_zero_label', 'label_map')]
        return repr([*settings, self.ignore_index, self.reader.reading])

    def __call__(self, info: dict) -> np.ndarray:
        """Pixels of each class, shape (C,), int64, or what is measured instead."""
        image = self.reader(info if self.reader.is_own else {**self.template, **info})
        ignored = image == self.ignore_index
        labels = image[~ignored]
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if len(wrong):
            raise ValueError(
                f"'{info['seg_map_path']}' holds label {wrong[0]} in {len(wrong)} pixels, which is "
                f'neither one of the {self.num_classes} classes nor '
                f'ignore_index={self.ignore_index}: check reduce_zero_label, ignore_index and the '
                'class names of the data set'
            )
        if self.measure is not None:
            return self.measure(np.where(ignored, -1, image), self.num_classes)
        return np.bincount(labels, minlength=self.num_classes)


def show_progress(items: Iterable, total: int) -> Iterable:
    """Show on stderr how far counting is: a bar or, without a terminal, a line now and then.

    Args:
        items (Iterable): What is iterated over.
        total (int): How many there are.

    Returns:
        Iterable: The same items.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        items = _with_lines(items, total, console)
    return track(items, 'counting classes', total, console=console)


def _with_lines(items: Iterable, total: int, console: Console) -> Iterator:
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said >= SECONDS_A_LINE:
            said = time.monotonic()
            console.print(f'counting classes: {done:,} of {total:,}', highlight=False)
        yield item


def first_leaf(dataset: Dataset) -> Dataset:
    """The data set at the bottom of wrappers that reads the first sample, or the first there is.

    Args:
        dataset (Dataset): A data set or a wrapper.
    """
    while len(dataset) == 0 and (hasattr(dataset, 'datasets') or hasattr(dataset, 'dataset')):
        dataset = dataset.datasets[0] if hasattr(dataset, 'datasets') else dataset.dataset
    return locate(dataset, 0)[0] if len(dataset) else dataset
