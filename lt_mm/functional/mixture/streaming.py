"""The products, exponents and class sums of the mixture log-likelihood in PyTorch."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Similarities held at a time. On a CPU they should stay in the cache between the product and the
# exponent; on a GPU a block has to be large enough to fill it.
_BLOCK_ELEMENTS = {'cpu': 1 << 21, 'cuda': 1 << 25}
# exp() of +-40 and a sum over any realistic number of keys stay inside float32, so below this
# bound no shift has to be found before exponentiating.
_SAFE_EXPONENT = 40.0


class MixtureInputs(NamedTuple):
    """What a backend works on: checked, on one device, queries and keys of one dtype."""

    queries: Tensor
    """(N, D)."""
    keys: Tensor
    """(K, D), class-contiguous."""
    temperature: Tensor
    """0-d, float32 or wider."""
    classes: Tensor
    """(K,) int64, class of each key."""
    lengths: Tensor
    """(C,) int64, keys of each class."""
    valid: Tensor | None
    """(K,) bool."""
    query_ids: Tensor | None
    """(N,) int64."""
    key_ids: Tensor | None
    """(K,) int64."""
    sizes: list[int]
    """The lengths, on the host."""
    largest: float | None
    """A bound of the exponents, where it is known."""

    def mask(self, rows: slice) -> Tensor | None:
        """(K, 1) or (K, n) bool, keys that a block of queries may use; None means all."""
        valid = None if self.valid is None else self.valid[:, None]
        if self.query_ids is None:
            return valid
        others = self.key_ids[:, None] != self.query_ids[None, rows]
        return others if valid is None else others & valid


def log_sums(inputs: MixtureInputs) -> Tensor:
    """(C, N) log of the sum over each class's usable keys of exp(query . key / temperature).

    With keys as rows of the similarities, class sums run over contiguous rows.
    """
    queries, keys, classes = inputs.queries, inputs.keys, inputs.classes
    result = queries.new_empty(len(inputs.lengths), len(queries))
    largest = inputs.largest
    if largest is None:
        largest = _largest_norm(queries) * _largest_norm(keys) / inputs.temperature
    needs_shift = bool(largest > _SAFE_EXPONENT)
    for rows in _blocks(queries, keys):
        similarities = _similarities(inputs, rows)
        if needs_shift:
            result[:, rows] = log_sum_exp_by_class(similarities, classes, inputs.lengths)
        else:
            sums = similarities.new_zeros(len(inputs.lengths), similarities.shape[1])
            result[:, rows] = sums.index_add_(0, classes, similarities.exp_()).log_()
    return result


def gradients(
    inputs: MixtureInputs, log_sums: Tensor, grad: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of queries, keys and temperature, None where not needed.

    Args:
        inputs: those of :func:`log_sums`.
        log_sums: (C, N) its result, with +inf in place of -inf.
        grad: (C, N) gradient of its result.
        needed: which of the three.
    """
    queries, keys, temperature = inputs.queries, inputs.keys, inputs.temperature
    grad_queries = torch.empty_like(queries) if needed[0] else None
    grad_keys = torch.zeros_like(keys) if needed[1] else None
    grad_temperature = torch.zeros_like(temperature) if needed[2] else None
    for rows in _blocks(queries, keys):
        log_weights = _similarities(inputs, rows, minus=log_sums)
        weights = log_weights.exp() if needed[2] else log_weights.exp_()
        weights.mul_(grad[:, rows].index_select(0, inputs.classes))
        if needed[0]:
            grad_queries[rows] = (weights.T @ keys).div_(temperature)
        if needed[1]:
            grad_keys.addmm_(weights, queries[rows])
        if needed[2]:
            # Where no key may be used, the weight is 0 and its logarithm -inf.
            log_weights.masked_fill_(weights == 0, 0.0)
            grad_temperature -= torch.vdot(weights.flatten(), log_weights.flatten())
    if needed[1]:
        grad_keys.div_(temperature)
    if needed[2]:
        # What was taken off the similarities above, of which each class's weights sum to grad.
        grad_temperature -= (grad * log_sums.masked_fill(log_sums == math.inf, 0.0)).sum()
        grad_temperature /= temperature
    return grad_queries, grad_keys, grad_temperature


def log_sum_exp_by_class(rows: Tensor, classes: Tensor, lengths: Tensor) -> Tensor:
    """(C, n) log-sum-exp over the rows of each class, each shifted by its own largest entry.

    Args:
        rows: (R, n), class-contiguous; overwritten.
        classes: (R,) int64, class of each row.
        lengths: (C,) int64, rows of each class.
    """
    # Lengths are checked already; to check them again would make the host wait.
    peaks = torch.segment_reduce(
        rows, 'max', lengths=lengths, axis=0, unsafe=True, initial=-math.inf
    )
    # A class without a usable key would give -inf - -inf.
    peaks.masked_fill_(peaks == -math.inf, 0.0)
    shifted = rows.sub_(peaks.index_select(0, classes)).exp_()
    sums = torch.zeros_like(peaks).index_add_(0, classes, shifted)
    return sums.log_().add_(peaks)


def _similarities(inputs: MixtureInputs, rows: slice, minus: Tensor | None = None) -> Tensor:
    """(K, n) scaled similarities, -inf where a key may not be used.

    ``minus`` (C, N) is taken off them, for each key that of its class.
    """
    queries = (inputs.queries[rows] / inputs.temperature).T
    if minus is None:
        similarities = inputs.keys @ queries
    else:
        similarities = minus[:, rows].neg().index_select(0, inputs.classes)
        similarities.addmm_(inputs.keys, queries)
    mask = inputs.mask(rows)
    return similarities if mask is None else similarities.masked_fill_(~mask, -math.inf)


def _blocks(queries: Tensor, keys: Tensor) -> list[slice]:
    elements = _BLOCK_ELEMENTS.get(queries.device.type, _BLOCK_ELEMENTS['cuda'])
    size = max(1, elements // max(1, len(keys)))
    return [slice(i, min(i + size, len(queries))) for i in range(0, len(queries), size)]


def _largest_norm(rows: Tensor) -> Tensor:
    return rows.norm(dim=1).max() if len(rows) else rows.new_zeros(())
