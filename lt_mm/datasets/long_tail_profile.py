"""How many instances each class of an artificially long-tailed data set gets."""

from bisect import bisect_left

import numpy as np

PROFILES = ('exp', 'zipf')


def long_tailed_counts(
    total: int, num_classes: int, imbalance_factor: float, profile: str = 'exp'
) -> np.ndarray:
    """Split ``total`` instances over classes whose counts fall from head to tail.

    Class d gets ``max(1, round(n_0 * r_d))``, with r_d = IF^(-d / (C - 1)) for ``'exp'`` (the rule
    of CIFAR-LT, Cui et al., CVPR 2019) and r_d = (d + 1)^(-s), s = log(IF) / log(C), for
    ``'zipf'``. Both give n_0 / n_(C-1) = IF up to rounding. The integer n_0 is the one whose
    counts sum to ``total`` as nearly as rounding allows.

    Args:
        total (int): Instances wanted over all classes, at least one a class.
        num_classes (int): C, at least 2.
        imbalance_factor (float): IF, count of the first class over that of the last, at least 1.
        profile (str): ``'exp'`` or ``'zipf'``.

    Returns:
        np.ndarray: Instances of each class, int64, shape (C,), never rising.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if profile not in PROFILES:
        raise ValueError(f'profile={profile!r} is unknown: choose one of {PROFILES}.')
    if num_classes < 2:
        raise ValueError(f'num_classes={num_classes} has no tail: give at least 2 classes.')
    if not 1 <= imbalance_factor < np.inf:
        raise ValueError(
            f'imbalance_factor={imbalance_factor} is not a finite ratio >= 1: raise it.'
        )
    if total < num_classes:
        raise ValueError(
            f'total={total} leaves some of the {num_classes} classes empty: raise it to at least '
            f'{num_classes}.'
        )

    rank = np.arange(num_classes)
    if profile == 'exp':
        ratios = imbalance_factor ** (-rank / (num_classes - 1))
    else:
        ratios = (rank + 1.0) ** (-np.log(imbalance_factor) / np.log(num_classes))

    def counts(head: int) -> np.ndarray:
        return np.maximum(1, np.rint(head * ratios)).astype(np.int64)

    heads = range(1, total + 1)
    above = heads[bisect_left(heads, total, key=lambda head: counts(head).sum())]
    best = min((above, max(above - 1, 1)), key=lambda head: abs(counts(head).sum() - total))
    return counts(best)
