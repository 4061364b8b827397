"""DisAlign's formula in Python floats, in both forms and for maps."""

import pytest
import torch

from lt_mm.functional import align_logits


def naive(z, sigma, alpha, beta, form):
    if form == 'paper':
        return sigma * (alpha * z + beta) + (1 - sigma) * z
    return (1 + sigma * alpha) * z + sigma * beta


@pytest.mark.parametrize('form', ['paper', 'code'])
@pytest.mark.parametrize('place', [(), (2, 3)])
def test_formula(form, place):
    torch.manual_seed(0)
    logits = torch.randn(4, 5, *place).double()
    sigma = torch.rand(4, 1, *place).double()
    alpha, beta = torch.randn(2, 5).double()
    aligned = align_logits(logits, sigma, alpha, beta, form)
    assert aligned.shape == logits.shape
    for index in torch.cartesian_prod(*map(torch.arange, logits.shape)).tolist():
        n, c, *at = index
        expected = naive(
            logits[tuple(index)].item(),
            sigma[(n, 0, *at)].item(),
            alpha[c].item(),
            beta[c].item(),
            form,
        )
        assert aligned[tuple(index)].item() == pytest.approx(expected, rel=1e-12)


def test_the_forms_differ_by_one_in_the_scale():
    torch.manual_seed(0)
    logits, sigma, alpha, beta = torch.randn(3, 4), torch.rand(3, 1), torch.randn(4), torch.randn(4)
    code = align_logits(logits, sigma, alpha, beta, 'code')
    torch.testing.assert_close(align_logits(logits, sigma, alpha + 1, beta, 'paper'), code)


def test_gradients():
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3), torch.rand(2, 1), torch.randn(3), torch.randn(3)]
    inputs = [one.double().requires_grad_() for one in inputs]
    for form in ('paper', 'code'):
        assert torch.autograd.gradcheck(lambda *given: align_logits(*given, form), inputs)


def test_bad_input():
    z, sigma = torch.zeros(2, 3), torch.zeros(2, 1)
    with pytest.raises(ValueError, match="alignment is 'book'; use 'paper' or 'code'"):
        align_logits(z, sigma, torch.ones(3), torch.ones(3), 'book')
    with pytest.raises(ValueError, match='the logits have 3 classes'):
        align_logits(z, sigma, torch.ones(4), torch.ones(3))
