"""Classification by the nearest class mean."""

import torch
from torch import Tensor
from torch.nn import functional as F

FEATURES = ('un', 'l2n', 'cl2n')
METRICS = ('l2', 'dot')


def normalize_features(features: Tensor, kind: str, centre: Tensor | None = None) -> Tensor:
    """Prepare features for comparison with class means.

    Args:
        features: (N, D).
        kind: 'un' leaves them as they are, 'l2n' makes unit vectors of them, 'cl2n' makes unit
            vectors of their differences from ``centre``.
        centre: (D,), the mean feature of the training set, for 'cl2n'.

    Raises:
        ValueError: for another kind, or 'cl2n' without a centre.
    """
    if kind not in FEATURES:
        raise ValueError(f"the kind of features is {kind!r}; use 'un', 'l2n' or 'cl2n'.")
    if kind == 'un':
        return features
    if kind == 'cl2n':
        if centre is None:
            raise ValueError("features 'cl2n' need a centre; give the mean of the training set.")
        features = features - centre.to(features)
    return F.normalize(features, dim=1)


def nearest_mean_logits(features: Tensor, means: Tensor, metric: str = 'l2') -> Tensor:
    """Score features by how near they are to each class mean.

    Args:
        features: (N, D).
        means: (C, D).
        metric: 'l2' for minus the squared distance, 'dot' for the scalar product divided by D.

    Returns:
        (N, C), the higher the nearer.

    Raises:
        ValueError: for another metric.

    Source: Kang et al., ICLR 2020 (NCM), and its public code.
    """
    if metric == 'l2':
        # Exact differences: with matrix products, close means would be told apart by rounding.
        mode = 'donot_use_mm_for_euclid_dist'
        return -torch.cdist(features, means.to(features), compute_mode=mode).square()
    if metric == 'dot':
        return features @ means.to(features).T / features.shape[1]
    raise ValueError(f"the metric of the nearest class mean is {metric!r}; use 'l2' or 'dot'.")
