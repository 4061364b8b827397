"""logit_adjusted_cross_entropy against loops, and the reductions both mm packages ask for."""

import math

import pytest
import torch

from lt_mm.functional import logit_adjusted_cross_entropy, reduce_loss

LOG_PRIOR = torch.tensor([0.7, 0.2, 0.1]).log()


def naive(logits, label, alpha):
    """-log softmax of one adjusted row, in Python floats."""
    adjusted = [z + alpha * p for z, p in zip(logits, LOG_PRIOR.double().tolist(), strict=True)]
    return math.log(sum(math.exp(z) for z in adjusted)) - adjusted[label]


@pytest.mark.parametrize('alpha', [0.0, 0.2, 1.0])
def test_equals_eq_7(alpha):
    logits = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    target = torch.randint(3, (5, 2, 2))
    target[0, 0, 0] = 255
    result = logit_adjusted_cross_entropy(logits, target, LOG_PRIOR, alpha, ignore_index=255)
    for n, y, x in torch.cartesian_prod(torch.arange(5), torch.arange(2), torch.arange(2)):
        label = int(target[n, y, x])
        expected = 0.0 if label == 255 else naive(logits[n, :, y, x].tolist(), label, alpha)
        assert result[n, y, x].item() == pytest.approx(expected, rel=1e-6)


def test_soft_targets_mix_hard_ones():
    logits = torch.randn(4, 3, dtype=torch.float64)
    soft = torch.tensor([[0.25, 0.0, 0.75]] * 4, dtype=torch.float64)
    first = logit_adjusted_cross_entropy(logits, torch.zeros(4, dtype=torch.long), LOG_PRIOR)
    third = logit_adjusted_cross_entropy(logits, torch.full((4,), 2), LOG_PRIOR)
    torch.testing.assert_close(
        logit_adjusted_cross_entropy(logits, soft, LOG_PRIOR), 0.25 * first + 0.75 * third
    )


def test_gradcheck():
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 255])
    assert torch.autograd.gradcheck(
        lambda z: logit_adjusted_cross_entropy(z, target, LOG_PRIOR, 0.5, 255), (logits,)
    )


def test_half_precision_logits_give_a_float32_loss():
    logits = torch.tensor([[60000.0, -60000.0, 0.0]], dtype=torch.float16)
    result = logit_adjusted_cross_entropy(logits, torch.tensor([1]), LOG_PRIOR)
    assert result.dtype == torch.float32 and result.isfinite().all()


def test_reductions():
    loss = torch.tensor([1.0, 2.0, 0.0])
    assert reduce_loss(loss) == 1.0
    assert reduce_loss(loss, avg_factor=6.0) == 0.5
    assert reduce_loss(loss, avg_factor=0.5) == 6.0
    assert reduce_loss(loss, reduction='sum') == 3.0
    assert reduce_loss(loss, torch.tensor([0.0, 2.0, 1.0]), 'none').tolist() == [0.0, 4.0, 0.0]
    with pytest.raises(ValueError, match="use 'none', 'sum' or 'mean'"):
        reduce_loss(loss, reduction='average')


def test_mean_over_nothing_is_a_zero_with_a_graph():
    logits = torch.randn(2, 3, requires_grad=True)
    target = torch.full((2,), 255)
    loss = logit_adjusted_cross_entropy(logits, target, LOG_PRIOR, 1.0, 255)
    total = reduce_loss(loss, avg_factor=(target != 255).sum())
    total.backward()
    assert total == 0 and (logits.grad == 0).all()
