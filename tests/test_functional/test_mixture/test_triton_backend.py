"""The CUDA kernels against the PyTorch path: interpreted on the CPU, compiled without a GPU.

Triton chooses between interpreting and compiling when it is imported, so each runs in a process
of its own.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(find_spec('triton') is None, reason='Triton is not installed')
SCRIPTS = Path(__file__).parent / 'triton_scripts'


def run(script, **environment):
    result = subprocess.run(
        [sys.executable, SCRIPTS / script],
        env={**os.environ, 'OMP_NUM_THREADS': '1', **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_interpreted_kernels_equal_the_pytorch_path():
    assert 'all equal' in run('interpret.py', TRITON_INTERPRET='1')


@pytest.mark.slow
def test_kernels_compile_for_ampere_hopper_and_blackwell():
    assert 'all compiled' in run('compile.py')


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU')
def test_forced_where_it_cannot_run():
    from lt_mm.functional import class_log_likelihood

    with pytest.raises(ValueError, match="backend 'triton' cannot take torch.float32 on cpu"):
        class_log_likelihood(
            torch.ones(1, 2), torch.ones(1, 2), torch.tensor([1]), 0.1, backend='triton'
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_equals_the_pytorch_path_on_a_gpu(dtype):
    from lt_mm.functional import class_log_likelihood

    torch.manual_seed(0)
    lengths = torch.randint(0, 60, (150,), device='cuda')
    rows = [torch.randn(n, 256, device='cuda') for n in (3000, int(lengths.sum()))]
    rows = [torch.nn.functional.normalize(r, dim=1).to(dtype) for r in rows]
    factors = torch.randn(3000, 150, device='cuda')
    found = {}
    for backend in ('torch', 'triton'):
        inputs = [r.clone().requires_grad_() for r in (*rows, torch.tensor(0.07, device='cuda'))]
        result = class_log_likelihood(*inputs[:2], lengths, inputs[2], backend=backend)
        torch.where(result.isinf(), 0.0, result * factors).sum().backward()
        found[backend] = (result.detach(), *(x.grad.float() for x in inputs))
    tolerance = 1e-3 if dtype == torch.float32 else 2e-2
    for mine, other in zip(found['triton'], found['torch'], strict=True):
        size = other[other.isfinite()].abs().max().item()
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance * size)


def test_unknown_backend():
    from lt_mm.functional import class_log_likelihood

    with pytest.raises(ValueError, match="use 'auto', 'torch' or 'triton'"):
        class_log_likelihood(
            torch.ones(1, 2), torch.ones(1, 2), torch.tensor([1]), 0.1, backend='cuda'
        )
