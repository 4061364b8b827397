"""Focal losses against Python floats and against torchvision."""

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from lt_mm.functional import sigmoid_focal_loss, softmax_focal_loss

TARGET = torch.tensor([[0, 2], [1, 255], [2, 2]])


def naive_softmax(logits, label, gamma):
    p = math.exp(logits[label]) / sum(math.exp(z) for z in logits)
    return -((1 - p) ** gamma) * math.log(p)


def naive_sigmoid(logits, label, gamma, alpha):
    result = 0.0
    for c, z in enumerate(logits):
        p = 1 / (1 + math.exp(-z))
        p_t = p if c == label else 1 - p
        factor = 1.0 if alpha is None else alpha if c == label else 1 - alpha
        result -= factor * (1 - p_t) ** gamma * math.log(p_t)
    return result


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('alpha', ['softmax', None, 0.25])
def test_equals_the_definition(gamma, alpha):
    logits = torch.randn(3, 3, 2, dtype=torch.float64)
    if alpha == 'softmax':
        result = softmax_focal_loss(logits, TARGET, gamma, 255)
    else:
        result = sigmoid_focal_loss(logits, TARGET, gamma, alpha, 255)
    for n in range(3):
        for x in range(2):
            row, label = logits[n, :, x].tolist(), int(TARGET[n, x])
            if label == 255:
                expected = 0.0
            elif alpha == 'softmax':
                expected = naive_softmax(row, label, gamma)
            else:
                expected = naive_sigmoid(row, label, gamma, alpha)
            assert result[n, x].item() == pytest.approx(expected, rel=1e-9)


def test_sigmoid_equals_torchvision():
    logits, target = torch.randn(6, 4), torch.randint(4, (6,))
    expected = torchvision_focal_loss(logits, F.one_hot(target, 4).float(), 0.3, 1.5)
    torch.testing.assert_close(sigmoid_focal_loss(logits, target, 1.5, 0.3), expected.sum(1))


@pytest.mark.parametrize('loss', [softmax_focal_loss, sigmoid_focal_loss])
def test_soft_targets_mix_hard_ones(loss):
    logits = torch.randn(5, 3, 2, dtype=torch.float64)
    soft = torch.rand(5, 3, 2, dtype=torch.float64)
    expected = sum(soft[:, c] * loss(logits, torch.full((5, 2), c), 1.5) for c in range(3))
    torch.testing.assert_close(loss(logits, soft, 1.5), expected)


@pytest.mark.parametrize('loss', [softmax_focal_loss, sigmoid_focal_loss])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_gradcheck(loss, gamma):
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 255])
    assert torch.autograd.gradcheck(lambda z: loss(z, target, gamma, ignore_index=255), (logits,))


@pytest.mark.parametrize('loss', [softmax_focal_loss, sigmoid_focal_loss])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('soft', [False, True])
def test_certain_and_hopeless_half_precision_logits(loss, gamma, soft):
    """At p = 1 the slope of a power below 1 is infinite, and at p = 0 the logarithm is."""
    logits = torch.tensor([[60000.0, -60000.0, 0.0]] * 2, dtype=torch.float16, requires_grad=True)
    target = torch.tensor([0, 1])
    result = loss(logits, F.one_hot(target, 3).half() if soft else target, gamma)
    result.sum().backward()
    assert result.dtype == torch.float32 and result.isfinite().all()
    assert logits.grad.isfinite().all()


def test_one_class():
    target = torch.zeros(2, dtype=torch.int64)
    assert softmax_focal_loss(torch.randn(2, 1), target).tolist() == [0, 0]
    assert sigmoid_focal_loss(torch.zeros(2, 1), target, 0.0).tolist() == pytest.approx(
        [math.log(2)] * 2
    )
