"""The products, exponents and class sums of the mixture log-likelihood as CUDA kernels.

Keys are laid out in groups of ``_GROUP`` slots that hold keys of one class, the last group of a
class padded. Each kernel is a tiled product of queries and keys with an epilogue on the tile while
it is in registers: forward, the log-sum-exp of every group, which PyTorch then adds up to classes;
backward, the weight of every key, which two ordinary matrix products then turn into gradients.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from lt_mm.functional.mixture.streaming import MixtureInputs, log_sum_exp_by_class
from lt_mm.functional.mixture.triton_kernels import group_log_sums, similarity_weights

_GROUP = 16
_BLOCK_QUERIES = 128
_BLOCK_SLOTS = 128
# Of a row, loaded at a time: tiles of two stages fit the shared memory of consumer cards too.
_BLOCK_BYTES = 128
# Weights, in the precision of the keys, held at a time in the backward pass; the log sums of
# groups in the forward pass are a sixteenth of it.
_CHUNK_ELEMENTS = 1 << 25


class _Slots(NamedTuple):
    """Keys in padded groups."""

    keys: Tensor
    """(S, D), S a multiple of ``_BLOCK_SLOTS``."""
    bias: Tensor
    """(S,) float32, 0 where a usable key is, else -inf."""
    ids: Tensor | None
    """(S,) int64."""
    classes: Tensor
    """(G,) int64, class of each group; the last ones hold nothing and have class 0."""
    lengths: Tensor
    """(C,) int64, groups of each class."""
    of_keys: Tensor
    """(K,) int64, slot of each key."""
    num_groups: int
    """Sum of the lengths."""


def log_sums(inputs: MixtureInputs) -> Tensor:
    """(C, N) float32; see :func:`lt_mm.functional.mixture.streaming.log_sums`."""
    slots = _slots(inputs)
    num_queries, num_groups = len(inputs.queries), slots.num_groups
    result = slots.bias.new_empty(len(inputs.lengths), num_queries)
    for rows in _chunks(num_queries, len(slots.keys) // _GROUP):
        partial = slots.bias.new_empty(len(slots.classes), rows.stop - rows.start)
        _launch(group_log_sums, inputs, slots, rows, (partial,))
        result[:, rows] = log_sum_exp_by_class(
            partial[:num_groups], slots.classes[:num_groups], slots.lengths
        )
    return result


def gradients(
    inputs: MixtureInputs, log_sums: Tensor, grad: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """See :func:`lt_mm.functional.mixture.streaming.gradients`."""
    slots = _slots(inputs)
    queries, temperature = inputs.queries, inputs.temperature
    # Half precision holds the weights; scaled so, they neither overflow nor vanish with the loss.
    scale = grad.abs().amax().clamp(min=torch.finfo(grad.dtype).tiny) if grad.numel() else 1.0
    grad = grad / scale
    grad_queries = torch.zeros_like(queries, dtype=torch.float32)
    grad_slots = torch.zeros_like(slots.keys, dtype=torch.float32)
    grad_temperature = torch.zeros_like(temperature)
    for rows in _chunks(len(queries), len(slots.keys)):
        weights = queries.new_empty(rows.stop - rows.start, len(slots.keys))
        weighted = slots.bias.new_empty(_num_programs(rows, slots))
        arguments = (slots.classes, log_sums[:, rows], grad[:, rows], grad.stride(0))
        _launch(similarity_weights, inputs, slots, rows, (*arguments, weights, weighted))
        if needed[0]:
            grad_queries[rows] = (weights @ slots.keys).float()
        if needed[1]:
            grad_slots += weights.T @ queries[rows]
        grad_temperature -= weighted.sum()
    scale = scale / temperature
    return (
        (grad_queries * scale).to(queries) if needed[0] else None,
        (grad_slots[slots.of_keys] * scale).to(queries) if needed[1] else None,
        grad_temperature * scale if needed[2] else None,
    )


def _slots(inputs: MixtureInputs) -> _Slots:
    keys, lengths, classes = inputs.keys, inputs.lengths, inputs.classes
    groups = (lengths + _GROUP - 1) // _GROUP
    group_starts = groups.cumsum(0) - groups
    key_starts = lengths.cumsum(0) - lengths
    ranks = torch.arange(len(keys), device=keys.device) - key_starts[classes]
    of_keys = group_starts[classes] * _GROUP + ranks
    num_groups = sum(-(-size // _GROUP) for size in inputs.sizes)
    size = math.ceil(num_groups * _GROUP / _BLOCK_SLOTS) * _BLOCK_SLOTS
    bias = torch.full((size,), -math.inf, device=keys.device)
    of_valid = bias.new_zeros(len(keys))
    if inputs.valid is not None:
        of_valid.masked_fill_(~inputs.valid, -math.inf)
    bias[of_keys] = of_valid
    padded = keys.new_zeros(size, keys.shape[1])
    padded[of_keys] = keys
    group_classes = lengths.new_zeros(size // _GROUP)
    group_classes[:num_groups] = torch.repeat_interleave(groups, output_size=num_groups)
    ids = None
    if inputs.key_ids is not None:
        ids = inputs.key_ids.new_zeros(size)
        ids[of_keys] = inputs.key_ids
    return _Slots(padded, bias, ids, group_classes, groups, of_keys, num_groups)


def _launch(
    kernel: triton.JITFunction, inputs: MixtureInputs, slots: _Slots, rows: slice, others: tuple
) -> None:
    """Run a kernel on a chunk of queries; ``others`` are its own arguments, in order."""
    if len(slots.keys) == 0:
        return
    queries = inputs.queries[rows].contiguous()
    has_ids = inputs.query_ids is not None
    # The kernels never read the ids when there are none.
    query_ids = inputs.query_ids[rows].contiguous() if has_ids else slots.classes
    # Triton launches on the current device, which need not be that of the tensors.
    with torch.cuda.device_of(queries):
        kernel[(_num_programs(rows, slots),)](
            queries,
            slots.keys,
            slots.bias,
            query_ids,
            slots.ids if has_ids else slots.classes,
            inputs.temperature.float(),
            *others,
            len(queries),
            queries.shape[1],
            len(slots.keys),
            BLOCK_QUERIES=_BLOCK_QUERIES,
            BLOCK_SLOTS=_BLOCK_SLOTS,
            BLOCK_CHANNELS=_BLOCK_BYTES // queries.element_size(),
            GROUP=_GROUP,
            HAS_IDS=has_ids,
            PRECISION='tf32' if torch.backends.cuda.matmul.allow_tf32 else 'ieee',
            num_warps=8,
        )


def _num_programs(rows: slice, slots: _Slots) -> int:
    return triton.cdiv(rows.stop - rows.start, _BLOCK_QUERIES) * (len(slots.keys) // _BLOCK_SLOTS)


def _chunks(num_queries: int, row_elements: int) -> list[slice]:
    size = max(_BLOCK_QUERIES, _CHUNK_ELEMENTS // max(1, row_elements))
    return [slice(i, min(i + size, num_queries)) for i in range(0, num_queries, size)]
