"""Contrastive losses of labelled rows: plain (SupCon) and with averaged classes (BCL)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Comparison(NamedTuple):
    """Every query against every key."""

    logits: Tensor
    """(N, K) similarity over temperature in float32 or wider; the lowest number of the dtype where
    the key is the query itself, so that its exponential is 0."""
    positive: Tensor
    """(N, K) bool: the key has the query's label and is not the query itself."""


def compare(
    queries: Tensor,
    labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    temperature: float,
    self_indices: Tensor | None = None,
) -> Comparison:
    """Compare queries with keys, each query but with itself.

    Args:
        queries: (N, D) floating point.
        labels: (N,) int64 classes.
        keys: (K, D) floating point.
        key_labels: (K,) int64 classes.
        temperature: positive and finite.
        self_indices: (N,) int64, which of the keys each query is. None: it is none of them.

    Raises:
        ValueError: if shapes do not fit, or the temperature is not positive and finite.
    """
    _check(queries, labels, keys, key_labels, temperature, self_indices)
    dtype = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        logits = queries.to(dtype) @ keys.to(dtype).T / temperature
    positive = labels[:, None] == key_labels
    if self_indices is not None:
        own = self_indices[:, None]
        positive = positive.scatter(1, own, False)
        # Not -inf: a query that is the only key would have a gradient of NaN.
        logits = logits.scatter(1, own, torch.finfo(dtype).min)
    return Comparison(logits, positive)


def supervised_contrastive_loss(
    queries: Tensor,
    labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    temperature: float,
    *,
    self_indices: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``-mean over positives p of log(exp(s_p) / sum_k exp(s_k))``, ``s = q . k / temperature``.

    The positives are the keys of the query's class, the sum is over all keys; the query itself is
    in neither.

    Args:
        queries: (N, D) floating point, L2-normalised for the paper's reading (z_i, the anchors).
        labels: (N,) int64 classes.
        keys: (K, D) floating point (A(i) and i itself).
        key_labels: (K,) int64 classes.
        temperature: tau, positive.
        self_indices: (N,) int64, which of the keys each query is. None: it is none of them.

    Returns:
        (N,) losses of the queries' dtype promoted to at least float32, 0 for a query without a
        positive; (N,) bool, whether it has one. A mean counts only those that have.

    Raises:
        ValueError: if shapes do not fit, or the temperature is not positive and finite.

    Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, eq. 2 (L_out).
    """
    logits, positive = compare(queries, labels, keys, key_labels, temperature, self_indices)
    return _mean_over_positives(logits, positive, logits.logsumexp(dim=1))


def balanced_contrastive_loss(
    queries: Tensor,
    labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    temperature: float,
    *,
    prototypes: Tensor | None = None,
    self_indices: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`supervised_contrastive_loss` whose denominator is a sum of class means.

    ``sum_k exp(s_k)`` becomes ``sum_c mean over the keys k of class c of exp(s_k)`` (class
    averaging), in which a class weighs the same however many keys it has. One prototype a class
    is a further key of it, and a positive of its queries (class complement), so that every class
    is in every denominator and every query has a positive. A class without a key is left out.

    Args:
        queries: (N, D) floating point, L2-normalised for the paper's reading.
        labels: (N,) int64 classes.
        keys: (K, D) floating point.
        key_labels: (K,) int64 classes.
        temperature: tau, positive.
        prototypes: (C, D) floating point, one for each class. None leaves the complement out.
        self_indices: (N,) int64, which of the keys each query is. None: it is none of them.

    Returns:
        (N,) losses of the queries' dtype promoted to at least float32, 0 for a query without a
        positive; (N,) bool, whether it has one.

    Raises:
        ValueError: if shapes do not fit, or the temperature is not positive and finite.

    Source: Zhu et al., "Balanced Contrastive Learning for Long-Tailed Visual Recognition",
    CVPR 2022, L_BCL.
    """
    if prototypes is not None:
        classes = torch.arange(len(prototypes), device=key_labels.device)
        key_labels = torch.cat([key_labels, classes])
        keys = torch.cat([keys, prototypes.to(torch.promote_types(keys.dtype, prototypes.dtype))])
    logits, positive = compare(queries, labels, keys, key_labels, temperature, self_indices)
    # (N, K) keys of the class of each key, without the query itself.
    ordered = key_labels.sort().values
    sizes = torch.searchsorted(ordered, key_labels, right=True)
    sizes = (sizes - torch.searchsorted(ordered, key_labels)).expand_as(positive)
    if self_indices is not None:
        sizes = sizes - positive.long()
    weighted = logits - sizes.to(logits).log()
    return _mean_over_positives(logits, positive, weighted.logsumexp(dim=1))


def _mean_over_positives(
    logits: Tensor, positive: Tensor, log_denominator: Tensor
) -> tuple[Tensor, Tensor]:
    count = positive.sum(dim=1)
    attraction = logits.masked_fill(~positive, 0).sum(dim=1) / count.clamp(min=1)
    has_positive = count > 0
    return torch.where(has_positive, log_denominator - attraction, 0), has_positive


def _check(
    queries: Tensor,
    labels: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    temperature: float,
    self_indices: Tensor | None,
) -> None:
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1]:
        raise ValueError(
            f'queries {tuple(queries.shape)} and keys {tuple(keys.shape)} must be (N, D) and '
            '(K, D) with the same D.'
        )
    for name, tensor, size in (
        ('labels', labels, len(queries)),
        ('key_labels', key_labels, len(keys)),
        ('self_indices', self_indices, len(queries)),
    ):
        if tensor is not None and tensor.shape != (size,):
            raise ValueError(
                f'{name} has shape {tuple(tensor.shape)}, expected ({size},): one per '
                f'{"key" if name == "key_labels" else "query"}.'
            )
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f'temperature must be one positive finite number, got {temperature}; the usual range '
            'is 0.03 to 0.3.'
        )
