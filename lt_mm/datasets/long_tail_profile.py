"""How many instances each class of an artificially long-tailed data set gets, and which ones."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

PROFILES = ('exp', 'zipf', 'step')


def profile_ratios(num_classes: int, imbalance_factor: float, profile: str = 'exp') -> np.ndarray:
    """How the counts fall from head to tail, as shares of the count of the first class.

    r_d = IF^(-d / (C - 1)) for ``'exp'`` (the rule of CIFAR-LT, Cui et al., CVPR 2019),
    r_d = (d + 1)^(-s), s = log(IF) / log(C), for ``'zipf'``, and for ``'step'`` (Buda et al., 2018)
    1 in the first half of the classes, floor(C / 2), and 1 / IF in the rest.

    Args:
        num_classes (int): C, at least 2.
        imbalance_factor (float): IF, count of the first class over that of the last, at least 1.
        profile (str): ``'exp'``, ``'zipf'`` or ``'step'``.

    Returns:
        np.ndarray: Ratios in (0, 1], float64, shape (C,), never rising.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if profile not in PROFILES:
        raise ValueError(f'profile={profile!r} is unknown: choose one of {PROFILES}.')
    if num_classes < 2:
        raise ValueError(f'num_classes={num_classes} has no tail: give at least 2 classes.')
    if not 1 <= imbalance_factor < np.inf:
        raise ValueError(
            f'imbalance_factor={imbalance_factor} is not a finite ratio >= 1: raise it; it is the '
            'count of the most frequent class over that of the rarest, such as 100.'
        )
    rank = np.arange(num_classes)
    if profile == 'exp':
        return imbalance_factor ** (-rank / (num_classes - 1))
    if profile == 'zipf':
        return (rank + 1.0) ** (-np.log(imbalance_factor) / np.log(num_classes))
    return np.where(rank < num_classes // 2, 1.0, 1 / imbalance_factor)


def long_tailed_counts(
    total: int, num_classes: int, imbalance_factor: float, profile: str = 'exp'
) -> np.ndarray:
    """Split ``total`` instances over classes whose counts fall from head to tail.

    Class d gets ``max(1, round(n_0 * r_d))`` with the r_d of :func:`profile_ratios`, so that
    n_0 / n_(C-1) = IF up to rounding. The integer n_0 is the one whose counts sum to ``total`` as
    nearly as rounding allows.

    Args:
        total (int): Instances wanted over all classes, at least one a class.
        num_classes (int): C, at least 2.
        imbalance_factor (float): IF, count of the first class over that of the last, at least 1.
        profile (str): ``'exp'``, ``'zipf'`` or ``'step'``.

    Returns:
        np.ndarray: Instances of each class, int64, shape (C,), never rising.

    Raises:
        ValueError: If an argument is out of its range.
    """
    ratios = profile_ratios(num_classes, imbalance_factor, profile)
    if total < num_classes:
        raise ValueError(
            f'total={total} leaves some of the {num_classes} classes empty: raise it to at least '
            f'{num_classes}.'
        )

    def counts(head: int) -> np.ndarray:
        return np.maximum(1, np.rint(head * ratios)).astype(np.int64)

    heads = range(1, total + 1)
    above = heads[bisect_left(heads, total, key=lambda head: counts(head).sum())]
    best = min((above, max(above - 1, 1)), key=lambda head: abs(counts(head).sum() - total))
    return counts(best)


def long_tailed_counts_of_head(
    head: int, num_classes: int, imbalance_factor: float, profile: str = 'exp'
) -> np.ndarray:
    """Cut a balanced data set of ``head`` instances a class down to a long tail.

    Class d keeps ``int(head * r_d)`` with the r_d of :func:`profile_ratios`: rounded down, as the
    CIFAR-LT sets that papers report on are. A class keeps none if ``imbalance_factor > head``.

    Args:
        head (int): n_max, instances of the most frequent class.
        num_classes (int): C, at least 2.
        imbalance_factor (float): IF, count of the first class over that of the last, at least 1.
        profile (str): ``'exp'``, ``'zipf'`` or ``'step'``.

    Returns:
        np.ndarray: Instances of each class, int64, shape (C,), never rising.

    Raises:
        ValueError: If an argument is out of its range.
    """
    return (head * profile_ratios(num_classes, imbalance_factor, profile)).astype(np.int64)


def shuffled_by_class(
    labels: Sequence[int] | np.ndarray, num_classes: int, seed: int = 0
) -> list[np.ndarray]:
    """Bring the instances of each class into a random order, to take the first ones of each.

    The classes are shuffled in label order from one stream of numbers, the one that
    ``np.random.seed(seed)`` and ``np.random.shuffle`` give: with seed 0 these are the orders that
    the published CIFAR-LT subsets are cut from (Cao et al., NeurIPS 2019).

    Args:
        labels (Sequence[int] | np.ndarray): Class of each instance, shape (N,).
        num_classes (int): C.
        seed (int): Seed of the stream. Defaults to 0.

    Returns:
        list[np.ndarray]: For each class the indices of all its instances, int64.
    """
    stream = np.random.RandomState(seed)
    labels = np.asarray(labels)
    orders = [np.flatnonzero(labels == label) for label in range(num_classes)]
    for order in orders:
        stream.shuffle(order)
    return orders
