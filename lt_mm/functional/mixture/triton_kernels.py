"""Triton kernels of the mixture log-likelihood: tiles of query-key products with an epilogue.

All tensors are contiguous: queries (N, D), keys (S, D), bias (S,) float32, temperature 0-d float32,
query_ids (N,) and key_ids (S,) int64. S is a multiple of BLOCK_SLOTS, which is one of GROUP.
"""

# Triton's own way of writing: parameters without types, compile-time constants in capitals.
# ruff: noqa: ANN001, ANN201, ANN202, N803

import triton
import triton.language as tl


@triton.jit
def _similarities(
    queries, keys, bias, query_ids, key_ids, temperature, num_queries, dim,
    rows, slots, BLOCK_CHANNELS: tl.constexpr, HAS_IDS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """(BLOCK_QUERIES, BLOCK_SLOTS) scaled similarities, -inf where there is no usable key."""
    channels = tl.arange(0, BLOCK_CHANNELS)
    here = rows < num_queries
    total = tl.zeros((rows.shape[0], slots.shape[0]), tl.float32)
    for start in range(0, dim, BLOCK_CHANNELS):
        inside = start + channels < dim
        left = tl.load(
            queries + rows[:, None].to(tl.int64) * dim + start + channels[None, :],
            mask=here[:, None] & inside[None, :], other=0.0)  # fmt: skip
        right = tl.load(
            keys + slots[None, :].to(tl.int64) * dim + start + channels[:, None],
            mask=inside[:, None], other=0.0)  # fmt: skip
        total = tl.dot(left, right, total, input_precision=PRECISION)
    total = total / tl.load(temperature) + tl.load(bias + slots)[None, :]
    if HAS_IDS:
        own = tl.load(query_ids + rows, mask=here, other=0)[:, None]
        total = tl.where(own == tl.load(key_ids + slots)[None, :], float('-inf'), total)
    return total


@triton.jit
def group_log_sums(
    queries, keys, bias, query_ids, key_ids, temperature, result, num_queries, dim, num_slots,
    BLOCK_QUERIES: tl.constexpr, BLOCK_SLOTS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
    GROUP: tl.constexpr, HAS_IDS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Log-sum-exp of each group, result (S / GROUP, num_queries)."""
    tiles = num_slots // BLOCK_SLOTS
    rows = tl.program_id(0) // tiles * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    tile = tl.program_id(0) % tiles
    slots = tile * BLOCK_SLOTS + tl.arange(0, BLOCK_SLOTS)
    similarities = _similarities(
        queries, keys, bias, query_ids, key_ids, temperature, num_queries, dim, rows, slots,
        BLOCK_CHANNELS, HAS_IDS, PRECISION)  # fmt: skip
    groups: tl.constexpr = BLOCK_SLOTS // GROUP
    grouped = tl.reshape(similarities, (BLOCK_QUERIES, groups, GROUP))
    peaks = tl.max(grouped, axis=2)
    peaks = tl.where(peaks == float('-inf'), 0.0, peaks)
    sums = tl.sum(tl.exp(grouped - peaks[:, :, None]), axis=2)
    group = tile * groups + tl.arange(0, groups)
    tl.store(
        result + group[None, :].to(tl.int64) * num_queries + rows[:, None],
        tl.log(sums) + peaks, mask=rows[:, None] < num_queries)  # fmt: skip


@triton.jit
def similarity_weights(
    queries, keys, bias, query_ids, key_ids, temperature, classes, log_sums, grad, stride,
    weights, weighted, num_queries, dim, num_slots,
    BLOCK_QUERIES: tl.constexpr, BLOCK_SLOTS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
    GROUP: tl.constexpr, HAS_IDS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradient of each similarity, weights (num_queries, S), and its product with them, summed."""
    tiles = num_slots // BLOCK_SLOTS
    rows = tl.program_id(0) // tiles * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    tile = tl.program_id(0) % tiles
    slots = tile * BLOCK_SLOTS + tl.arange(0, BLOCK_SLOTS)
    similarities = _similarities(
        queries, keys, bias, query_ids, key_ids, temperature, num_queries, dim, rows, slots,
        BLOCK_CHANNELS, HAS_IDS, PRECISION)  # fmt: skip
    groups: tl.constexpr = BLOCK_SLOTS // GROUP
    group_classes = tl.load(classes + tile * groups + tl.arange(0, groups))
    where = group_classes[None, :] * stride + rows[:, None]
    here = rows[:, None] < num_queries
    # Rows beyond the last query get weight exp(-inf) = 0.
    sums = tl.load(log_sums + where, mask=here, other=float('inf'))
    factors = tl.load(grad + where, mask=here, other=0.0)
    grouped = tl.reshape(similarities, (BLOCK_QUERIES, groups, GROUP))
    result = tl.exp(grouped - sums[:, :, None]) * factors[:, :, None]
    result = tl.reshape(result, (BLOCK_QUERIES, BLOCK_SLOTS))
    # Where no key may be used, the weight is 0 and the similarity -inf.
    products = tl.where(result == 0.0, 0.0, result * similarities)
    tl.store(weighted + tl.program_id(0), tl.sum(products))
    tl.store(
        weights + rows[:, None].to(tl.int64) * num_slots + slots[None, :],
        result.to(weights.dtype.element_ty), mask=here)  # fmt: skip
