"""ProjectionMLP: layers, activation and normalisation."""

import pytest
import torch

from lt_mm.models.layers import ProjectionMLP


def test_is_two_linear_layers_with_relu_and_a_norm_of_one():
    mlp = ProjectionMLP(3, (5, 4))
    features = torch.randn(6, 3)
    first, _, second = mlp.layers
    hidden = (features @ first.weight.T + first.bias).clamp(min=0)
    raw = hidden @ second.weight.T + second.bias
    torch.testing.assert_close(mlp(features), raw / raw.norm(dim=1, keepdim=True))


def test_normalises_in_float32_under_autocast():
    mlp = ProjectionMLP(3, (4,))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result = mlp(torch.randn(6, 3))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.norm(dim=1), torch.ones(6))


def test_no_rows_and_no_layers():
    assert ProjectionMLP(3, (5, 4))(torch.zeros(0, 3)).shape == (0, 4)
    with pytest.raises(ValueError, match='at least one layer'):
        ProjectionMLP(3, ())
