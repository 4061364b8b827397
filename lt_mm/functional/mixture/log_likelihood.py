"""Class-wise Gaussian-mixture log-likelihood: the GML similarity, exact and in bounded memory."""

import math
import os
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lt_mm.functional.host import to_device
from lt_mm.functional.mixture import streaming
from lt_mm.functional.mixture.streaming import MixtureInputs


def class_log_likelihood(
    queries: Tensor,
    keys: Tensor,
    lengths: Tensor,
    temperature: float | Tensor,
    *,
    valid: Tensor | None = None,
    query_ids: Tensor | None = None,
    key_ids: Tensor | None = None,
    backend: str = 'auto',
    largest: float | None = None,
) -> Tensor:
    """Log of the mean over each class's keys of ``exp(query . key / temperature)``.

    The keys of class 0 come first, then those of class 1, and so on. Similarities are computed
    for a block of queries at a time and once more in the backward pass, so extra memory does
    not grow with the number of queries. Sums are taken in float32 for lower precisions.

    Args:
        queries: (N, D) floating point, L2-normalised for the paper's reading (z_x).
        keys: (K, D) floating point, class-contiguous (the union of all Z_c).
        lengths: (C,) integers that sum to K, the number of key slots of each class. On a GPU the
            host waits to check them; not where they are on the host.
        temperature: tau_g, positive; a 0-d tensor gets a gradient.
        valid: (K,) bool, keys to use. Defaults to all.
        query_ids: (N,) integers, the sample each query comes from.
        key_ids: (K,) integers. With both given, keys of the query's own sample are left out,
            from the sum and from the mean alike.
        backend: 'torch'; 'triton', CUDA kernels whose products take the inputs as they are
            (under autocast: in its dtype) and sum in float32; 'auto' takes Triton on GPUs of
            compute capability 8.0 or more, for inputs up to float32, when it is installed.
        largest: a bound of ``|query . key / temperature|``, 1 / temperature for rows of norm 1,
            where the caller knows it and has checked the temperature. Without it the host waits
            to find both out.

    Returns:
        (N, C) of the queries' dtype promoted to at least float32. A class without a usable key
        has -inf.

    Raises:
        ValueError: if shapes do not fit, the temperature is not positive and finite, only one of
            ``query_ids`` and ``key_ids`` is given, or the backend is unknown or cannot run.

    Source: Suh and Seo, "Long-Tailed Recognition by Mutual Information Maximization between
    Latent Features and Ground-Truth Labels", ICML 2023, eq. 3; ``log s(x|y)``.
    """
    sizes = _check(queries, keys, lengths, valid, query_ids, key_ids)
    device = queries.device
    dtype = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    temperature = _temperature(temperature, dtype, device, checked=largest is not None)
    module = _backend(backend, queries)
    if module is not streaming:
        dtype = torch.promote_types(queries.dtype, keys.dtype)
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
    lengths = to_device(lengths, device)
    classes = torch.repeat_interleave(
        torch.arange(len(lengths), device=device), lengths, output_size=len(keys)
    )
    with torch.autocast(device.type, enabled=False):
        log_counts = _log_usable_counts(classes, len(lengths), valid, query_ids, key_ids)
        log_sums = _ClassLogSums.apply(
            queries.to(dtype),
            keys.to(dtype),
            temperature,
            (classes, lengths, valid, query_ids, key_ids, sizes, largest),
            module,
        )
        log_counts = log_counts.to(log_sums)
        # A class without a usable key is -inf, where log(0) - log(0) would be NaN.
        return (log_sums - log_counts).masked_fill(log_counts == -math.inf, -math.inf).T


class _ClassLogSums(torch.autograd.Function):
    """(C, N) log sums; what the backward pass needs of size N x K, it computes again."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        temperature: Tensor,
        others: tuple,
        module: ModuleType,
    ) -> Tensor:
        inputs = MixtureInputs(queries, keys, temperature, *others)
        log_sums = module.log_sums(inputs)
        ctx.save_for_backward(queries, keys, temperature, log_sums)
        ctx.others, ctx.module = others, module
        return log_sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, temperature, log_sums = ctx.saved_tensors
        inputs = MixtureInputs(queries, keys, temperature, *ctx.others)
        # A class without a usable key has weight exp(-inf - inf) = 0 for each of its keys.
        log_sums = log_sums.masked_fill(log_sums == -math.inf, math.inf)
        needed = ctx.needs_input_grad[:3]
        return (*ctx.module.gradients(inputs, log_sums, grad.contiguous(), needed), None, None)


def _temperature(
    temperature: float | Tensor, dtype: torch.dtype, device: torch.device, checked: bool
) -> Tensor:
    """0-d, on the device."""
    given = temperature
    if not isinstance(given, Tensor):
        given = torch.tensor(given, dtype=dtype)
        # Unlike a copy from the host, filling does not make it wait.
        temperature = torch.full((), temperature, dtype=dtype, device=device)
    if given.numel() != 1 or not (checked or 0 < float(given.detach()) < math.inf):
        raise ValueError(
            f'temperature must be one positive finite number, got {given.tolist()}; the usual '
            'range is 0.03 to 0.3.'
        )
    return temperature.to(device, dtype).reshape(())


def _backend(name: str, queries: Tensor) -> ModuleType:
    """The module that computes, by name."""
    if name not in ('auto', 'torch', 'triton'):
        raise ValueError(f"backend is {name!r}; use 'auto', 'torch' or 'triton'.")
    capable = (
        queries.is_cuda
        and torch.cuda.get_device_capability(queries.device) >= (8, 0)
        or os.environ.get('TRITON_INTERPRET') == '1'
    )
    capable = capable and queries.dtype != torch.float64 and find_spec('triton') is not None
    if name == 'triton' and not capable:
        raise ValueError(
            f"backend 'triton' cannot take {queries.dtype} on {queries.device}: it needs Triton, "
            "float32 or less, and a GPU of compute capability 8.0 or more; use 'auto' or 'torch'."
        )
    if name == 'triton' or (name == 'auto' and capable and queries.is_cuda):
        from lt_mm.functional.mixture import triton_backend

        return triton_backend
    return streaming


def _log_usable_counts(
    classes: Tensor,
    num_classes: int,
    valid: Tensor | None,
    query_ids: Tensor | None,
    key_ids: Tensor | None,
) -> Tensor:
    """(C, 1) or (C, N) log of the number of keys that each class has for each query."""
    usable = torch.ones_like(classes) if valid is None else valid.long()
    counts = classes.new_zeros(num_classes).index_add_(0, classes, usable)
    if query_ids is None:
        return counts[:, None].double().log()
    # Each sample is counted where its first query is. Without the others the table would be
    # smaller, but its size unknown to the host.
    samples = query_ids.sort().values
    own = classes.new_zeros(len(samples), num_classes)
    if len(samples):
        nearest = torch.searchsorted(samples, key_ids).clamp_(max=len(samples) - 1)
        usable = usable * (samples[nearest] == key_ids)
        own.view(-1).index_add_(0, nearest * num_classes + classes, usable)
    others = own.neg_().add_(counts)[torch.searchsorted(samples, query_ids)]
    return others.T.double().log()


def _check(
    queries: Tensor,
    keys: Tensor,
    lengths: Tensor,
    valid: Tensor | None,
    query_ids: Tensor | None,
    key_ids: Tensor | None,
) -> list[int]:
    """The lengths as numbers, if all fits."""
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1]:
        raise ValueError(
            f'queries {tuple(queries.shape)} and keys {tuple(keys.shape)} must be (N, D) and '
            '(K, D) with the same D.'
        )
    sizes = lengths.flatten().tolist()
    if lengths.ndim != 1 or sum(sizes) != len(keys):
        raise ValueError(
            f'lengths of shape {tuple(lengths.shape)} sum to {sum(sizes)}, but there are '
            f'{len(keys)} keys; pass the number of keys of each class.'
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
    return sizes
