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


def test_a_normalisation_comes_before_each_relu_and_not_after_the_last_layer():
    mlp = ProjectionMLP(3, (5, 6, 4), norm=dict(type='BN1d')).double()
    first, norm, _, second, other, _, last = mlp.layers
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(other.bias)
    rows = features = torch.randn(7, 3).double()
    for linear, batch_norm in ((first, norm), (second, other)):
        rows = rows @ linear.weight.T + linear.bias
        centred = rows - rows.mean(0)
        spread = (centred**2).mean(0) + batch_norm.eps
        rows = (centred / spread.sqrt() * batch_norm.weight + batch_norm.bias).clamp(min=0)
    rows = rows @ last.weight.T + last.bias
    torch.testing.assert_close(mlp(features), rows / rows.norm(dim=1, keepdim=True))
    torch.testing.assert_close(
        norm.running_mean, 0.1 * (features @ first.weight.T + first.bias).mean(0)
    )
    assert torch.autograd.gradcheck(mlp, features.requires_grad_())


def test_without_a_norm_parameters_keep_their_names_and_their_draws():
    torch.manual_seed(0)
    plain = ProjectionMLP(3, (5, 4))
    torch.manual_seed(0)
    expected = [torch.nn.Linear(3, 5), torch.nn.Linear(5, 4)]
    assert list(plain.state_dict()) == [
        f'layers.{i}.{n}' for i in (0, 2) for n in ('weight', 'bias')
    ]
    assert all(
        torch.equal(plain.layers[place].weight, layer.weight)
        for place, layer in zip((0, 2), expected, strict=True)
    )


@pytest.mark.parametrize('rows', [0, 1])
def test_too_few_rows_for_statistics(rows):
    mlp = ProjectionMLP(3, (5, 4), norm=dict(type='BN1d'))
    features = torch.randn(rows, 3)
    before = [buffer.clone() for buffer in mlp.buffers()]
    result = mlp(features)
    assert result.shape == (rows, 4) and result.isfinite().all()
    assert all(torch.equal(*pair) for pair in zip(before, mlp.buffers(), strict=True))
    result.sum().backward()
    assert all(parameter.grad is not None for parameter in mlp.parameters())
    torch.testing.assert_close(mlp.eval()(features), result)


@pytest.mark.parametrize('norm', [dict(type='BN1d'), dict(type='SyncBN'), dict(type='LN')])
def test_norms_of_rows(norm):
    mlp = ProjectionMLP(3, (5, 4), norm=norm).eval()
    assert mlp(torch.randn(2, 3)).shape == (2, 4)


@pytest.mark.parametrize(
    'norm', [dict(type='BN'), dict(type='BN2d'), dict(type='XY'), dict(), 'BN1d']
)
def test_norms_that_are_not_of_rows(norm):
    with pytest.raises(ValueError, match=r"norm of a ProjectionMLP is .*use dict\(type='BN1d'\)"):
        ProjectionMLP(3, (5, 4), norm=norm)


def test_a_norm_needs_a_place():
    with pytest.raises(ValueError, match='stands between layers and widths is'):
        ProjectionMLP(3, (4,), norm=dict(type='BN1d'))


def test_fresh_prototypes_are_kept_apart_by_a_norm():
    """1000 classes as BCL embeds the rows of a cosine classifier."""
    torch.manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(1000, 2048), dim=1)
    for norm, expected in ((None, 0.89), (dict(type='BN1d'), 0.32)):
        embedded = ProjectionMLP(2048, (2048, 1024), norm)(centres)
        cosine = (embedded.sum(0).square().sum() - 1000) / (1000 * 999)
        assert cosine.item() == pytest.approx(expected, abs=0.02)
