"""Interpreted kernels against the PyTorch path; needs TRITON_INTERPRET=1."""

import itertools

import torch
from torch.nn import functional as F

from lt_mm.functional import class_log_likelihood
from lt_mm.functional.mixture import triton_backend

# Small tiles and chunks, so that several of each come about.
triton_backend._BLOCK_QUERIES = 16
triton_backend._BLOCK_SLOTS = 32
triton_backend._BLOCK_BYTES = 64
triton_backend._CHUNK_ELEMENTS = 1 << 11


def values_and_gradients(backend, num_queries, lengths, dim, temperature, dtype, masks):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor(lengths)
    num_keys = int(lengths.sum())
    queries = F.normalize(torch.randn(num_queries, dim, generator=generator), dim=1).to(dtype)
    keys = F.normalize(torch.randn(num_keys, dim, generator=generator), dim=1).to(dtype)
    valid = torch.rand(num_keys, generator=generator) < 0.7 if 'valid' in masks else None
    query_ids = key_ids = None
    if 'ids' in masks:
        query_ids = torch.randint(0, 5, (num_queries,), generator=generator)
        key_ids = torch.randint(0, 5, (num_keys,), generator=generator)
    temperature = torch.tensor(temperature, requires_grad=True)
    queries.requires_grad_()
    keys.requires_grad_()
    result = class_log_likelihood(
        queries, keys, lengths, temperature,
        valid=valid, query_ids=query_ids, key_ids=key_ids, backend=backend)  # fmt: skip
    factors = torch.randn(result.shape, generator=generator)
    # Loss scales as large as those of mixed precision must not overflow half precision.
    torch.where(result.isinf(), 0.0, result * factors * 1e4).sum().backward()
    return result.detach(), queries.grad, keys.grad, temperature.grad


SHAPES = [(37, (3, 0, 21, 16, 33, 1), 20), (16, (32,), 16), (50, (1, 1, 1), 5), (3, (0, 0), 4),
          (0, (3, 4), 8)]  # fmt: skip
# The interpreter has no bfloat16.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 5e-3}
for shape, temperature, masks in itertools.product(SHAPES, (0.5, 0.003), ((), ('valid', 'ids'))):
    for dtype, tolerance in TOLERANCES.items():
        found = values_and_gradients('triton', *shape, temperature, dtype, masks)
        expected = values_and_gradients('torch', *shape, temperature, dtype, masks)
        assert torch.equal(found[0].isinf(), expected[0].isinf())
        torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)
        for mine, other in zip(found[1:], expected[1:], strict=True):
            size = other.float().abs().max().item() if other.numel() else 0.0
            torch.testing.assert_close(
                mine.float(), other.float(), rtol=tolerance, atol=tolerance * size + 1e-6
            )
print('all equal')
