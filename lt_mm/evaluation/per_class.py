"""What the long-tail metrics of all tasks share: counts and groups, means, a row per class."""

import csv
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lt_mm.structures import ClassCounts, ClassGroups
from lt_mm.structures.class_groups import refuse_old_arguments

MAX_NAMED = 30
WIDTH = 200


class TrainingClasses:
    """The counts and the groups that a metric is given, or finds in what it is told of the data.

    Args:
        owner (str): What errors call the metric.
        unit (str): Unit of bare numbers, 'pixels' or 'images', which also decides the usual groups.
        groups (ClassGroups | Mapping[str, Any], optional): The metric's own argument.
        class_counts (str | PathLike | Sequence[int] | ClassCounts, optional): The metric's own
            argument; it wins over what the data tell.
        arguments (Mapping[str, Any]): Further arguments of the metric, among which old ones are
            refused.

    Raises:
        TypeError: If one of the further arguments has a successor.
        ValueError: If the groups or the counts are not valid.
    """

    def __init__(
        self,
        owner: str,
        unit: str,
        groups: ClassGroups | Mapping[str, Any] | None = None,
        class_counts: str | os.PathLike | Sequence[int] | ClassCounts | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        refuse_old_arguments(owner, arguments or {})
        self.owner = owner
        self.unit = unit
        self.groups = ClassGroups.of(groups, unit)
        self.class_counts = None if class_counts is None else ClassCounts.of(class_counts, unit)
        self._warned = False

    def refuse_names(self, taken: Sequence[str]) -> None:
        """Refuse groups whose names would make figures of the metric be overwritten.

        Args:
            taken (Sequence[str]): Names that no group may have.

        Raises:
            ValueError: If a group has one of them.
        """
        for name in self.groups.names:
            if name in taken:
                raise ValueError(
                    f'groups of {self.owner} have one called {name!r}, which is the name of a '
                    'figure of all classes: give it another name'
                )

    def counts(
        self, dataset_meta: Mapping[str, Any] | None, num_classes: int | None
    ) -> ClassCounts | None:
        """Find the class counts of the training set.

        Args:
            dataset_meta (Mapping[str, Any], optional): The metric's ``dataset_meta``, whose
                'class_counts' come second; `ClassCountsHook` puts them there.
            num_classes (int, optional): Number of classes of the evaluated data set; None if it is
                unknown, then any counts will do.

        Returns:
            ClassCounts | None: Counts of that many classes; None where nobody gave any.

        Raises:
            ValueError: If the counts are of other classes, or another number of them. The same
                names in another order are put in order.
        """
        counts = self.class_counts
        if counts is None and (dataset_meta or {}).get('class_counts') is not None:
            counts = ClassCounts.of(dataset_meta['class_counts'], self.unit)
        if counts is not None:
            names = (dataset_meta or {}).get('classes')
            counts = counts.in_order_of(names, f'the data set evaluated by {self.owner}')
        if counts is not None and num_classes is not None:
            counts.validate(num_classes, f'the data set evaluated by {self.owner}')
        return counts

    def split(
        self, counts: ClassCounts | None, num_classes: int, warn: bool = True
    ) -> dict[str, Tensor]:
        """Put the classes into groups.

        Args:
            counts (ClassCounts, optional): What :meth:`counts` returned.
            num_classes (int): Number of classes of the evaluated data set.
            warn (bool): Whether to say, once, if there are no groups. Defaults to True.

        Returns:
            dict[str, Tensor]: Name of each group to the indices of its classes; all are empty
            where the groups follow from counts and nobody gave any.

        Raises:
            ValueError: If the groups do not fit the number of classes.
        """
        if counts is not None or not self.groups.needs_counts:
            return self.groups.split(counts, num_classes)
        if warn and not self._warned:
            self._warned = True
            *others, last = self.groups.names
            names = f'{", ".join(others)} and {last}' if others else last
            log(
                f'{self.owner} knows no class counts and leaves {names} out: give it class_counts, '
                'or add the hook lt_mm.ClassCountsHook.',
                logging.WARNING,
            )
        return {name: torch.zeros(0, dtype=torch.int64) for name in self.groups.names}


def check_names_of_figures(metrics: Sequence[BaseMetric]) -> None:
    """Refuse metrics whose figures have the same names, before an evaluation ends over them.

    mmengine finds out when the images are evaluated. Known are the metrics of this package, those
    that they extend or take the place of, and classes derived from one of them that compute the
    same figures; others are left to mmengine.

    Args:
        metrics (Sequence[BaseMetric]): Metrics of one evaluator.

    Raises:
        ValueError: If two of them meet.
    """
    for first, second in combinations(metrics, 2):
        common = [name for name in _figures(first) if name in _figures(second)]
        if common and first.prefix == second.prefix:
            names = [type(metric).__name__ for metric in (first, second)]
            figure = '/'.join(filter(None, (first.prefix, common[0])))
            raise ValueError(
                f'{names[0]} and {names[1]} in one evaluator give figures of the same names, such '
                f"as '{figure}': leave out {names[0]}, or give one a prefix of its own, such as "
                "prefix='plain'"
            )


def _figures(metric: BaseMetric) -> Sequence[str]:
    """Figures that a metric gives for certain, without prefix; none of an unknown one."""
    # Written to files, not computed.
    if getattr(metric, 'format_only', False):
        return ()
    own = getattr(metric, 'certain_figures', None)
    if own is not None:
        return own
    kind = next(cls for cls in type(metric).__mro__ if 'compute_metrics' in vars(cls))
    known = f'{kind.__module__.partition(".")[0]}.{kind.__name__}'
    if known == 'mmpretrain.Accuracy' and len(metric.thrs) == 1:
        return [f'top{k}' for k in metric.topk]
    return ['aAcc'] if known == 'mmseg.IoUMetric' else ()


def group_means(values: np.ndarray, groups: Mapping[str, Tensor]) -> dict[str, float]:
    """Average per-class numbers over groups of classes.

    Args:
        values (np.ndarray): A number per class, (C,); NaN where a class was not evaluated.
        groups (Mapping[str, Tensor]): Group name to the int64 indices of its classes, such as
            `ClassGroups.split` returns.

    Returns:
        dict[str, float]: Group name to the mean over its classes that have a number; NaN of a
        group without any such class.
    """
    means = {}
    for name, classes in groups.items():
        evaluated = values[classes.numpy()]
        evaluated = evaluated[~np.isnan(evaluated)]
        means[name] = float(evaluated.mean()) if evaluated.size else math.nan
    return means


def log(message: str, level: int = logging.INFO) -> None:
    """Write a line to the log of the running experiment.

    Args:
        message (str): The line.
        level (int): Level of the logging package. Defaults to ``logging.INFO``.
    """
    print_log(message, logger='current', level=level)


def log_left_out(absent: Sequence[str], missing: Sequence[str]) -> None:
    """Say which classes and which figures an evaluation has no number for.

    Args:
        absent (Sequence[str]): Names of classes without a labelled sample; the first 30 are named.
        missing (Sequence[str]): Names of figures that are NaN, as no class is there to average.
    """
    if absent:
        more = f' and {len(absent) - MAX_NAMED} more' if len(absent) > MAX_NAMED else ''
        log(f'absent from the evaluation: {", ".join(absent[:MAX_NAMED])}{more}')
    if missing:
        log(f'no class to average, not a number: {", ".join(missing)}')


def class_rows(
    names: Sequence[str],
    groups: Mapping[str, Tensor],
    counts: ClassCounts | None,
    percents: Sequence[np.ndarray],
    samples: Sequence[Iterable],
) -> list[tuple]:
    """Lay out the figures of every class.

    Args:
        names (Sequence[str]): The C class names.
        groups (Mapping[str, Tensor]): Group name to the indices of its classes.
        counts (ClassCounts, optional): Training counts.
        percents (Sequence[np.ndarray]): Columns of percentages, each (C,); NaN is unknown.
        samples (Sequence[Iterable]): Columns of whole numbers, each (C,).

    Returns:
        list[tuple]: A row per class: name, group, count, the percentages with four decimals, the
        whole numbers. What is unknown is ''.
    """
    group_of = {c: group for group, classes in groups.items() for c in classes.tolist()}
    return [
        (
            name,
            group_of.get(c, ''),
            '' if counts is None else int(counts.counts[c]),
            *('' if np.isnan(column[c]) else f'{column[c]:.4f}' for column in percents),
            *(int(column[c]) for column in samples),
        )
        for c, name in enumerate(names)
    ]


def write_csv(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[tuple]) -> None:
    """Write a table, making its folder if need be.

    Args:
        path (str | PathLike): Where to write.
        columns (Sequence[str]): Head of the table.
        rows (Iterable[tuple]): Its rows.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)


def table_text(columns: Sequence[str], rows: Iterable[tuple]) -> str:
    """Draw a table with the characters of any log file.

    Args:
        columns (Sequence[str]): Head of the table.
        rows (Iterable[tuple]): Its rows; the first two columns stand to the left.

    Returns:
        str: Lines of text.
    """
    table = Table(box=box.ASCII2)
    for index, column in enumerate(columns):
        table.add_column(column, justify='left' if index < 2 else 'right', no_wrap=True)
    for row in rows:
        table.add_row(*map(str, row))
    # Class names may hold what rich would read as markup or as an emoji.
    console = Console(file=StringIO(), width=WIDTH, markup=False, emoji=False, highlight=False)
    console.print(table)
    return console.file.getvalue()
