"""Class-wise Gaussian-mixture log-likelihood: the GML similarity, exact and in bounded memory."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Similarities held at a time. Small enough for the last-level cache to help, large enough for
# the matrix products to dominate.
_CHUNK_ELEMENTS = 1 << 20
# exp() of +-40 and a sum over any realistic number of keys stay inside float32, so below this
# bound no shift has to be found before exponentiating.
_SAFE_EXPONENT = 40.0


def class_log_likelihood(
    queries: Tensor,
    keys: Tensor,
    lengths: Tensor,
    temperature: float | Tensor,
    *,
    valid: Tensor | None = None,
    query_ids: Tensor | None = None,
    key_ids: Tensor | None = None,
) -> Tensor:
    """Log of the mean over each class's keys of ``exp(query . key / temperature)``.

    The keys of class 0 come first, then those of class 1, and so on. Similarities are computed
    for a block of queries at a time and once more in the backward pass, so extra memory does
    not grow with the number of queries. Sums are taken in float32 for lower precisions.

    Args:
        queries: (N, D) floating point, L2-normalised for the paper's reading (z_x).
        keys: (K, D) floating point, class-contiguous (the union of all Z_c).
        lengths: (C,) integers that sum to K, the number of key slots of each class.
        temperature: tau_g, positive; a 0-d tensor gets a gradient.
        valid: (K,) bool, keys to use. Defaults to all.
        query_ids: (N,) integers, the sample each query comes from.
        key_ids: (K,) integers. With both given, keys of the query's own sample are left out,
            from the sum and from the mean alike.

    Returns:
        (N, C) of the queries' dtype promoted to at least float32. A class without a usable key
        has -inf.

    Raises:
        ValueError: if shapes do not fit, the temperature is not positive and finite, or only
            one of ``query_ids`` and ``key_ids`` is given.

    Source: Suh and Seo, "Long-Tailed Recognition by Mutual Information Maximization between
    Latent Features and Ground-Truth Labels", ICML 2023, eq. 3; ``log s(x|y)``.
    """
    _check(queries, keys, lengths, valid, query_ids, key_ids)
    dtype = torch.promote_types(queries.dtype, torch.float32)
    temperature = torch.as_tensor(temperature, dtype=dtype, device=queries.device)
    if temperature.numel() != 1 or not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f'temperature must be one positive finite number, got {temperature.tolist()}; '
            'the usual range is 0.03 to 0.3.'
        )
    lengths = lengths.to(queries.device)
    classes = torch.repeat_interleave(
        torch.arange(len(lengths), device=queries.device), lengths, output_size=len(keys)
    )
    usable = _UsableKeys(valid, query_ids, key_ids)
    with torch.autocast(queries.device.type, enabled=False):
        return _ClassLogLikelihood.apply(
            queries.to(dtype), keys.to(dtype), temperature.reshape(()), classes, lengths, usable
        )


class _UsableKeys(NamedTuple):
    """Which keys each query may use."""

    valid: Tensor | None
    query_ids: Tensor | None
    key_ids: Tensor | None

    def mask(self, rows: slice) -> Tensor | None:
        """(K, 1) or (K, n) bool for a block of queries, None where all keys are usable."""
        valid = None if self.valid is None else self.valid[:, None]
        if self.query_ids is None:
            return valid
        others = self.key_ids[:, None] != self.query_ids[None, rows]
        return others if valid is None else others & valid


class _ClassLogLikelihood(torch.autograd.Function):
    """Blocks of (K, n) similarities: with keys as rows, class sums run over contiguous rows."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        temperature: Tensor,
        classes: Tensor,
        lengths: Tensor,
        usable: _UsableKeys,
    ) -> Tensor:
        num_queries, num_classes = len(queries), len(lengths)
        log_sums = queries.new_empty(num_classes, num_queries)
        log_counts = queries.new_empty(num_classes, num_queries)
        bound = _largest_norm(queries) * _largest_norm(keys) / temperature
        needs_shift = bool(bound > _SAFE_EXPONENT)
        for rows in _blocks(num_queries, len(keys)):
            mask = usable.mask(rows)
            similarities = _similarities(queries[rows], keys, temperature, mask)
            sums = queries.new_zeros(num_classes, similarities.shape[1])
            if needs_shift:
                peaks = torch.segment_reduce(
                    similarities, 'max', lengths=lengths, axis=0, initial=-math.inf
                )
                # A class without a usable key would give -inf - -inf.
                peaks.masked_fill_(peaks == -math.inf, 0.0)
                sums.index_add_(0, classes, similarities.sub_(peaks[classes]).exp_())
                log_sums[:, rows] = sums.log_().add_(peaks)
            else:
                sums.index_add_(0, classes, similarities.exp_())
                log_sums[:, rows] = sums.log_()
            log_counts[:, rows] = _usable_counts(mask, classes, lengths).to(queries).log_()
        ctx.save_for_backward(queries, keys, temperature, classes, log_sums)
        ctx.usable = usable
        # A class without a usable key is -inf, where log(0) - log(0) would be NaN.
        return (log_sums - log_counts).masked_fill(log_counts == -math.inf, -math.inf).T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, temperature, classes, log_sums = ctx.saved_tensors
        grad = grad.T.contiguous()
        # An empty class has weight exp(-inf - inf) = 0 for each of its keys.
        log_sums = log_sums.masked_fill(log_sums == -math.inf, math.inf)
        grad_queries = torch.empty_like(queries)
        grad_keys = torch.zeros_like(keys)
        grad_temperature = torch.zeros_like(temperature)
        for rows in _blocks(len(queries), len(keys)):
            similarities = _similarities(queries[rows], keys, temperature, ctx.usable.mask(rows))
            weights = (similarities - log_sums[:, rows][classes]).exp_()
            weights.mul_(grad[:, rows][classes])
            grad_queries[rows] = weights.T @ keys
            grad_keys.addmm_(weights, queries[rows])
            if ctx.needs_input_grad[2]:
                # A masked pair has weight 0 and similarity -inf.
                weighted = (weights * similarities.masked_fill_(weights == 0, 0.0)).sum()
                grad_temperature -= weighted / temperature
        grads = (grad_queries / temperature, grad_keys / temperature, grad_temperature)
        return (*grads, None, None, None)


def _similarities(
    queries: Tensor, keys: Tensor, temperature: Tensor, mask: Tensor | None
) -> Tensor:
    """(K, n) scaled similarities, -inf where a key may not be used."""
    similarities = keys @ (queries / temperature).T
    return similarities if mask is None else similarities.masked_fill_(~mask, -math.inf)


def _usable_counts(mask: Tensor | None, classes: Tensor, lengths: Tensor) -> Tensor:
    """(C, 1) or (C, n) number of keys each class contributes."""
    if mask is None:
        return lengths[:, None]
    counts = torch.zeros(len(lengths), mask.shape[1], dtype=torch.int32, device=mask.device)
    return counts.index_add_(0, classes, mask.int())


def _blocks(num_queries: int, num_keys: int) -> list[slice]:
    size = max(1, _CHUNK_ELEMENTS // max(1, num_keys))
    return [slice(i, min(i + size, num_queries)) for i in range(0, num_queries, size)]


def _largest_norm(rows: Tensor) -> Tensor:
    return rows.norm(dim=1).max() if len(rows) else rows.new_zeros(())


def _check(
    queries: Tensor,
    keys: Tensor,
    lengths: Tensor,
    valid: Tensor | None,
    query_ids: Tensor | None,
    key_ids: Tensor | None,
) -> None:
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1]:
        raise ValueError(
            f'queries {tuple(queries.shape)} and keys {tuple(keys.shape)} must be (N, D) and '
            '(K, D) with the same D.'
        )
    if lengths.ndim != 1 or int(lengths.sum()) != len(keys):
        raise ValueError(
            f'lengths of shape {tuple(lengths.shape)} sum to {int(lengths.sum())}, but there '
            f'are {len(keys)} keys; pass the number of keys of each class.'
        )
    if (query_ids is None) != (key_ids is None):
        raise ValueError('query_ids and key_ids must be given together, or neither of them.')
    for name, tensor, size in (
        ('valid', valid, len(keys)),
        ('key_ids', key_ids, len(keys)),
        ('query_ids', query_ids, len(queries)),
    ):
        if tensor is not None and tensor.shape != (size,):
            raise ValueError(
                f'{name} has shape {tuple(tensor.shape)}, expected ({size},): one per '
                f'{"query" if name == "query_ids" else "key"}.'
            )
