"""How unequal classes are, and how far two class distributions lie apart."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lt_mm.functional.priors import check_counts


def gini(counts: Tensor | Sequence[float]) -> float:
    """Gini coefficient of class counts: 0 if all are equal, 1 - 1/C if one class has everything.

    Half the mean absolute difference of two classes over the mean count. Source: Gini,
    Variabilita e mutabilita, 1912; for long-tailed recognition, Yang et al., A Survey on
    Long-Tailed Visual Recognition, IJCV 2022.

    Args:
        counts: (C,), zero or more, not all zero.

    Returns:
        From 0 to 1 - 1/C.

    Raises:
        ValueError: if the counts are not valid.
    """
    ordered = check_counts(counts).double().sort().values
    number = len(ordered)
    ranks = torch.arange(1, number + 1, dtype=torch.float64, device=ordered.device)
    return float(((2 * ranks - number - 1) * ordered).sum() / (number * ordered.sum()))


def total_variation(first: Tensor | Sequence[float], second: Tensor | Sequence[float]) -> float:
    """Total variation of two class distributions: the share of samples that would have to move.

    Args:
        first: (C,) counts or probabilities, zero or more, not all zero.
        second: (C,) likewise.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: if the numbers are not valid or of different length.
    """
    p, q = _distributions(first, second)
    return float((p - q).abs().sum() / 2)


def jensen_shannon(first: Tensor | Sequence[float], second: Tensor | Sequence[float]) -> float:
    """Jensen-Shannon divergence of two class distributions, in bits.

    Source: Lin, Divergence Measures Based on the Shannon Entropy, 1991.

    Args:
        first: (C,) counts or probabilities, zero or more, not all zero.
        second: (C,) likewise.

    Returns:
        From 0 (equal) to 1 (no class in common).

    Raises:
        ValueError: if the numbers are not valid or of different length.
    """
    p, q = _distributions(first, second)
    mean = (p + q) / 2

    def entropy(x: Tensor) -> Tensor:
        return -torch.special.xlogy(x, x).sum() / torch.log(x.new_tensor(2))

    # Rounding may leave a tiny negative number.
    return max(0.0, float(entropy(mean) - (entropy(p) + entropy(q)) / 2))


def _distributions(
    first: Tensor | Sequence[float], second: Tensor | Sequence[float]
) -> tuple[Tensor, Tensor]:
    p, q = check_counts(first).double(), check_counts(second).double()
    if p.shape != q.shape:
        raise ValueError(
            f'class distributions of {len(p)} and {len(q)} classes cannot be compared: give two '
            'of the same classes.'
        )
    return p / p.sum(), q / q.sum()
