"""What the long-tail metrics of all tasks share: counts, group means and a row per class."""

import csv
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lt_mm.structures import ClassCounts

MAX_NAMED = 30
WIDTH = 200


def group_means(values: np.ndarray, groups: Mapping[str, Tensor]) -> dict[str, float]:
    """Average per-class numbers over groups of classes.

    Args:
        values (np.ndarray): A number per class, (C,); NaN where a class was not evaluated.
        groups (Mapping[str, Tensor]): Group name to the int64 indices of its classes, such as
            `ClassCounts.groups` returns.

    Returns:
        dict[str, float]: Group name to the mean over its classes that have a number. A group
        without any such class is left out.
    """
    means = {}
    for name, classes in groups.items():
        evaluated = values[classes.numpy()]
        evaluated = evaluated[~np.isnan(evaluated)]
        if evaluated.size:
            means[name] = float(evaluated.mean())
    return means


def training_counts(
    given: ClassCounts | None,
    dataset_meta: Mapping[str, Any] | None,
    num_classes: int | None,
    unit: str,
    owner: str,
) -> ClassCounts | None:
    """Find the class counts of the training set that a metric shall use.

    Args:
        given (ClassCounts, optional): The metric's own argument, which wins.
        dataset_meta (Mapping[str, Any], optional): The metric's ``dataset_meta``, whose
            'class_counts' come second; `ClassCountsHook` puts them there.
        num_classes (int, optional): Number of classes of the evaluated data set; None if it is
            unknown, then any counts will do.
        unit (str): Unit of bare numbers: 'pixels' or 'images'.
        owner (str): What an error calls the metric.

    Returns:
        ClassCounts | None: Counts of that many classes; None where nobody gave any.

    Raises:
        ValueError: If the counts are of another number of classes.
    """
    counts = given
    if counts is None and (dataset_meta or {}).get('class_counts') is not None:
        counts = ClassCounts.of(dataset_meta['class_counts'], unit)
    if counts is not None and num_classes is not None:
        counts.validate(num_classes, f'the data set evaluated by {owner}')
    return counts


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
        missing (Sequence[str]): Names of figures left out, as no class is there to average.
    """
    if absent:
        more = f' and {len(absent) - MAX_NAMED} more' if len(absent) > MAX_NAMED else ''
        log(f'absent from the evaluation: {", ".join(absent[:MAX_NAMED])}{more}')
    if missing:
        log(f'no class to average, left out: {", ".join(missing)}')


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
