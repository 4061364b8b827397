"""Weights of classes in a loss, from their counts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lt_mm.functional.priors import check_counts


def effective_number_weights(counts: Tensor | Sequence[float], beta: float = 0.9999) -> Tensor:
    """Weights inverse to the effective number of samples, ``(1 - beta^n_c) / (1 - beta)``.

    ``beta=0`` weighs all classes alike; towards 1 the weights become ``1 / n_c``. Where all counts
    are far above ``1 / (1 - beta)``, as those of pixels are, the weights hardly differ. A class
    without a sample has the weight 0; the others have the mean 1.

    Source: Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019.

    Args:
        counts (Tensor | Sequence[float]): n_c, samples of each class, shape (C,).
        beta (float): At least 0 and below 1; 0.9 to 0.9999 in the paper. Defaults to 0.9999.

    Returns:
        Tensor: Weights, shape (C,), float32.

    Raises:
        ValueError: If the counts are not valid, or ``beta`` is out of its range.
    """
    if not 0 <= beta < 1:
        raise ValueError(
            f'beta of effective-number weights is {beta}, but it must be at least 0 and below 1; '
            'use 0.9 to 0.9999'
        )
    if beta == 0:
        return _normalised(counts, torch.ones_like)
    log_beta = torch.tensor(beta, dtype=torch.float64).log()
    return _normalised(counts, lambda n: -1 / torch.expm1(n * log_beta.to(n.device)))


def inverse_power_weights(counts: Tensor | Sequence[float], power: float = 1.0) -> Tensor:
    """Weights ``n_c ** -power``: generalised re-weighting (GRW).

    ``power=0`` weighs all classes alike, 0.5 by the inverse square root, 1 by the inverse
    frequency. A class without a sample has the weight 0; the others have the mean 1.

    Source: Zhang et al., "Distribution alignment", CVPR 2021; rho is ``power``.

    Args:
        counts (Tensor | Sequence[float]): n_c, samples of each class, shape (C,).
        power (float): rho, finite and zero or more. Defaults to 1.

    Returns:
        Tensor: Weights, shape (C,), float32.

    Raises:
        ValueError: If the counts are not valid, or ``power`` is out of its range.
    """
    if not 0 <= power < float('inf'):
        raise ValueError(
            f'power of inverse-power weights is {power}, but it must be finite and zero or more; '
            'use 0.2 to 1.2'
        )
    # Relative to the largest count, so that no power of a count of pixels underflows.
    return _normalised(counts, lambda n: (n.max() / n) ** power)


def _normalised(counts: Tensor | Sequence[float], weigh: Callable[[Tensor], Tensor]) -> Tensor:
    counts = check_counts(counts)
    weights = torch.where(counts > 0, weigh(counts.clamp(min=1)), 0.0)
    return (weights * ((counts > 0).sum() / weights.sum())).float()
