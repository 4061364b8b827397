"""What the class counts of a data set tell: imbalance, absent classes, company, shift of prior."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor

from lt_mm.datasets.class_counting import SampleCounts
from lt_mm.functional.imbalance import gini, jensen_shannon, total_variation

SMALL_REGION = 10
"""Regions below 2^10 = 32 x 32 pixels are small, as COCO says of objects."""


def split_statistics(counted: SampleCounts) -> dict[str, Any]:
    """Describe the classes of one split.

    Args:
        counted: of the split, of C classes.

    Returns:
        ``samples``, ``unit``, ``total`` (pixels or images), ``imbalance_factor``, ``gini``,
        ``absent`` (indices of classes), and lists of C numbers: ``counts``, ``images`` (in how many
        each class occurs) and, where they were counted, ``regions``, ``small_regions`` (the share
        below 32 x 32 pixels, None without any) and ``region_size`` (pixels: the lower end of the
        power of two that the median region is in).
    """
    counts = counted.class_counts()
    numbers = counts.counts
    result = dict(
        samples=counted.table.shape[0],
        unit=counted.unit,
        total=int(numbers.sum()),
        imbalance_factor=counts.imbalance_factor,
        gini=gini(numbers),
        absent=(numbers == 0).nonzero().flatten().tolist(),
        counts=numbers.tolist(),
        images=counted.in_unit('images').sum(axis=0).tolist(),
    )
    if counted.regions is not None:
        regions = counted.regions.sum(axis=1)
        small = counted.regions[:, :SMALL_REGION].sum(axis=1)
        median = (counted.regions.cumsum(axis=1) * 2 < regions[:, None]).sum(axis=1)
        result['regions'] = regions.tolist()
        result['small_regions'] = [
            float(s / n) if n else None for s, n in zip(small, regions, strict=True)
        ]
        result['region_size'] = [
            int(2 ** int(k)) if n else None for k, n in zip(median, regions, strict=True)
        ]
    return result


def company(
    counted: SampleCounts,
    rare: Sequence[int],
    frequent: Sequence[int],
    most: int = 3,
    least: int = 5,
) -> list[dict[str, Any]]:
    """In which company of frequent classes rare classes occur.

    Args:
        counted: of one split.
        rare: classes to look at.
        frequent: classes that may stand beside them.
        most: of these, how many to name of each rare one.
        least: images that a rare class has to be in; of fewer, company may be chance.

    Returns:
        For each rare class that occurs so often, the one with the most telling company first:
        ``label``, ``images``, and ``beside``: of the frequent classes that are oftener beside it
        than elsewhere, the largest difference first, ``label``, ``share`` of the rare class's
        images that show it, and ``everywhere``, the share of all images that do.
    """
    shown = (counted.table > 0).astype(np.int64)
    images, number = shown.sum(axis=0), shown.shape[0]
    frequent = np.asarray(frequent, dtype=np.int64)
    everywhere = images[frequent] / number
    rows = []
    for c in rare:
        if images[c] < least:
            continue
        with_it = shown[:, [c]].toarray()[:, 0] > 0
        share = np.asarray(shown[with_it].sum(axis=0))[frequent] / images[c]
        more = share - everywhere
        order = [i for i in np.argsort(-more, kind='stable') if more[i] > 0 and frequent[i] != c]
        beside = [
            dict(label=int(frequent[i]), share=float(share[i]), everywhere=float(everywhere[i]))
            for i in order[:most]
        ]
        rows.append(dict(label=int(c), images=int(images[c]), beside=beside))

    def difference(row: dict) -> float:
        return max((one['share'] - one['everywhere'] for one in row['beside']), default=0.0)

    return sorted(rows, key=difference, reverse=True)


def prior_shift(train: Sequence[int], val: Sequence[int], most: int = 10) -> dict[str, Any]:
    """How far the classes of two splits are from the same frequencies.

    Args:
        train: counts of the C classes, not all 0.
        val: likewise.
        most: how many classes to name.

    Returns:
        ``total_variation``, ``jensen_shannon`` (bits), and ``most``: of the classes whose share
        changes by the most, ``label`` and its shares ``train`` and ``val``.
    """
    p, q = (np.asarray(counts, np.float64) / np.sum(counts) for counts in (train, val))
    order = np.argsort(-np.abs(p - q), kind='stable')[:most]
    return dict(
        total_variation=total_variation(train, val),
        jensen_shannon=jensen_shannon(train, val),
        most=[
            dict(label=int(c), train=float(p[c]), val=float(q[c])) for c in order if p[c] != q[c]
        ],
    )


def rank_correlation(first: Sequence[float | None], second: Sequence[float | None]) -> float | None:
    """Spearman's rank correlation of what is known of both.

    Args:
        first: numbers of C classes; None or NaN is unknown.
        second: likewise.

    Returns:
        From -1 to 1; None of fewer than three classes, or where all have the same number.
    """
    pairs = np.array([first, second], dtype=np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < 3 or (pairs == pairs[:, :1]).all(axis=1).any():
        return None
    return float(spearmanr(*pairs).statistic)


def group_of_classes(groups: Mapping[str, Tensor], num_classes: int) -> list[str]:
    """Name of the group of each class, '' of one in none.

    Args:
        groups: as ``ClassGroups.split`` returns.
        num_classes: C.
    """
    names = [''] * num_classes
    for name, classes in groups.items():
        for c in classes.tolist():
            names[c] = name
    return names
