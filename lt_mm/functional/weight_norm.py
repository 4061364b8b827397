"""Classifier weights whose norms are evened out."""

import torch
from torch import Tensor


def tau_normalize(weight: Tensor, tau: float) -> Tensor:
    """Divide the weight of each class by the tau-th power of its norm.

    Args:
        weight: (C, D, ...), one class a row.
        tau: 0 leaves the weight as it is, 1 gives unit vectors.

    Returns:
        Of the shape of ``weight``; a weight of zeros stays so.

    Source: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition,
    ICLR 2020 (tau-normalised classifier).
    """
    norms = weight.flatten(1).norm(dim=1).clamp(min=torch.finfo(weight.dtype).tiny ** 0.5)
    return weight / norms.pow(tau).reshape(-1, *(1,) * (weight.ndim - 1))
