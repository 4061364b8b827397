"""Tau-normalised weights, row by row."""

import math

import pytest
import torch

from lt_mm.functional import tau_normalize


@pytest.mark.parametrize('tau', [0.0, 0.4, 1.0, 2.0, -0.5])
@pytest.mark.parametrize('kernel', [(), (1, 1)])
def test_formula(tau, kernel):
    torch.manual_seed(0)
    weight = torch.randn(6, 4, *kernel).double() * torch.logspace(-2, 2, 6).double().reshape(
        -1, 1, *kernel
    )
    normalized = tau_normalize(weight, tau)
    assert normalized.shape == weight.shape
    for row, got in zip(weight.flatten(1).tolist(), normalized.flatten(1).tolist(), strict=True):
        norm = math.sqrt(sum(w * w for w in row))
        assert got == pytest.approx([w / norm**tau for w in row], rel=1e-12)


@pytest.mark.parametrize('tau', [0.0, 0.7, 2.0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_a_class_without_weight_stays_so(tau, dtype):
    weight = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=dtype)
    normalized = tau_normalize(weight, tau)
    assert normalized[0].tolist() == [0, 0]
    assert normalized[1].norm().item() == pytest.approx(5 ** (1 - tau), rel=1e-2)
