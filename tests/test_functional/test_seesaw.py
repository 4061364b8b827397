"""Seesaw loss against its definition in Python floats."""

import math

import pytest
import torch
from torch.nn import functional as F

from lt_mm.functional import seesaw_cross_entropy

COUNTS = [500.0, 20.0, 3.0, 80.0]
LOG_COUNTS = torch.tensor(COUNTS, dtype=torch.float64).log()


def naive(logits, label, p, q, eps, sigma=None):
    total = sum(math.exp(z) for z in logits)
    sigma = sigma or [math.exp(z) / total for z in logits]
    denominator = 0.0
    for j, z in enumerate(logits):
        mitigation = (COUNTS[j] / COUNTS[label]) ** p if COUNTS[j] < COUNTS[label] else 1.0
        ratio = sigma[j] / max(sigma[label], eps)
        compensation = ratio**q if ratio > 1 else 1.0
        denominator += math.exp(z) * (1.0 if j == label else mitigation * compensation)
    return math.log(denominator) - logits[label]


@pytest.mark.parametrize(('p', 'q'), [(0.8, 2.0), (0.8, 0.0), (0.0, 2.0), (0.0, 0.0)])
def test_equals_the_definition(p, q):
    logits = 3 * torch.randn(6, 4, 2, dtype=torch.float64)
    target = torch.randint(4, (6, 2))
    target[2, 1] = 255
    result = seesaw_cross_entropy(logits, target, LOG_COUNTS, p, q, ignore_index=255)
    for n in range(6):
        for x in range(2):
            label = int(target[n, x])
            row = logits[n, :, x].tolist()
            expected = 0.0 if label == 255 else naive(row, label, p, q, 0.01)
            assert result[n, x].item() == pytest.approx(expected, rel=1e-9)


def test_without_both_factors_it_is_cross_entropy():
    logits, target = torch.randn(5, 4), torch.randint(4, (5,))
    torch.testing.assert_close(
        seesaw_cross_entropy(logits, target, LOG_COUNTS, 0.0, 0.0),
        F.cross_entropy(logits, target, reduction='none'),
    )


def test_counts_matter_up_to_a_factor_only():
    logits, target = torch.randn(5, 4), torch.randint(4, (5,))
    torch.testing.assert_close(
        seesaw_cross_entropy(logits, target, LOG_COUNTS),
        seesaw_cross_entropy(logits, target, LOG_COUNTS.log_softmax(0)),
    )


def test_equals_mmpretrain():
    seesaw_loss = pytest.importorskip('mmpretrain.models.losses').SeesawLoss(num_classes=4)
    seesaw_loss.cum_samples += torch.tensor(COUNTS)
    logits, target = 3 * torch.randn(9, 4), torch.randint(4, (9,))
    expected = seesaw_loss(logits, target, reduction_override='none')
    torch.testing.assert_close(
        seesaw_cross_entropy(logits, target, seesaw_loss.cum_samples.log()), expected
    )


def test_soft_targets_mix_hard_ones():
    logits = torch.randn(5, 4, 2, dtype=torch.float64)
    soft = torch.rand(5, 4, 2, dtype=torch.float64)
    expected = sum(
        soft[:, c] * seesaw_cross_entropy(logits, torch.full((5, 2), c), LOG_COUNTS)
        for c in range(4)
    )
    torch.testing.assert_close(seesaw_cross_entropy(logits, soft, LOG_COUNTS), expected)


def test_gradient_holds_the_probabilities_of_the_compensation_fixed():
    """Central differences of the definition, with sigma of the logits themselves."""
    logits = 2 * torch.randn(4, dtype=torch.float64)
    variable = logits.clone().requires_grad_()
    seesaw_cross_entropy(variable[None], torch.tensor([1]), LOG_COUNTS).backward()
    sigma = logits.softmax(0).tolist()
    for j in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[j] = 1e-5
        above, below = (
            naive((logits + sign * step).tolist(), 1, 0.8, 2.0, 0.01, sigma) for sign in (1, -1)
        )
        assert variable.grad[j].item() == pytest.approx((above - below) / 2e-5, abs=1e-8)


def test_gradcheck_of_the_mitigation():
    logits = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 255])
    assert torch.autograd.gradcheck(
        lambda z: seesaw_cross_entropy(z, target, LOG_COUNTS, 0.8, 0.0, ignore_index=255), (logits,)
    )


def test_half_precision_hopeless_and_one_class():
    logits = torch.tensor([[6e4, -6e4, 0.0, 1.0]], dtype=torch.float16, requires_grad=True)
    result = seesaw_cross_entropy(logits, torch.tensor([1]), LOG_COUNTS)
    result.sum().backward()
    assert result.dtype == torch.float32 and result.isfinite() and logits.grad.isfinite().all()
    one = seesaw_cross_entropy(torch.randn(2, 1), torch.zeros(2, dtype=torch.int64), torch.zeros(1))
    assert one.tolist() == [0, 0]


def test_logits_of_another_number_of_classes():
    with pytest.raises(ValueError, match='the logits have 3 classes'):
        seesaw_cross_entropy(torch.randn(1, 3), torch.tensor([0]), LOG_COUNTS)
