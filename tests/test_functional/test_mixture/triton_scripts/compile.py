"""Compile the kernels to machine code for every generation of GPUs from 8.0 on; needs no GPU."""

import itertools

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lt_mm.functional.mixture import triton_backend as host
from lt_mm.functional.mixture import triton_kernels as kernels

POINTERS = {
    'bias': '*fp32', 'query_ids': '*i64', 'key_ids': '*i64', 'temperature': '*fp32',
    'classes': '*i64', 'log_sums': '*fp32', 'grad': '*fp32', 'weighted': '*fp32',
    'result': '*fp32', 'stride': 'i32', 'num_queries': 'i32', 'dim': 'i32',
    'num_slots': 'i32'}  # fmt: skip

# KiB that a block may have, by compute capability.
SHARED_MEMORY = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}


def build(kernel, capability, dtype):
    constants = dict(
        BLOCK_QUERIES=host._BLOCK_QUERIES, BLOCK_SLOTS=host._BLOCK_SLOTS,
        BLOCK_CHANNELS=host._BLOCK_BYTES // (4 if dtype == 'fp32' else 2),
        GROUP=host._GROUP, HAS_IDS=True, PRECISION='tf32')  # fmt: skip
    types = {**POINTERS, 'queries': f'*{dtype}', 'keys': f'*{dtype}', 'weights': f'*{dtype}'}
    signature = {name: types.get(name, 'constexpr') for name in kernel.arg_names}
    # As at run time, where Triton finds these divisible by 16.
    aligned = {
        (i,): [['tt.divisibility', 16]]
        for i, name in enumerate(kernel.arg_names)
        if signature[name].startswith('*') or name in ('dim', 'num_slots')
    }
    source = ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget('cuda', capability, 32)
    return triton.compile(source, target=target, options=dict(num_warps=8))


for kernel, capability, dtype in itertools.product(
    (kernels.group_log_sums, kernels.similarity_weights),
    SHARED_MEMORY,
    ('bf16', 'fp32'),
):
    compiled = build(kernel, capability, dtype)
    assert compiled.asm['cubin']
    name = kernel.fn.__name__
    print(name, capability, dtype, f'{compiled.metadata.shared} bytes of shared memory')
    assert compiled.metadata.shared <= SHARED_MEMORY[capability] * 1024
print('all compiled')
