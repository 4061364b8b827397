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
    if loss is sigmoid_focal_loss:
        # Targets that do not sum to 1 are several labels.
        soft = soft / soft.sum(1, keepdim=True)
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


def naive_multi_label(logits, target, gamma, alpha=None, weight=None):
    """Sum over classes, one element at a time."""
    total = 0.0
    for c, (z, t) in enumerate(zip(logits, target)):
        p = 1 / (1 + math.exp(-z))
        a = (0.5 if alpha is None else alpha[c]) * (2 if alpha is None else 1)
        b = 1 if alpha is None else 1 - alpha[c]
        others = [(x, 1 if weight is None else weight[j]) for j, x in enumerate(target) if j != c]
        rest = sum(x for x, _ in others)
        mean = sum(x * w for x, w in others) / rest if rest > 0 else 1
        own = 1 if weight is None else weight[c]
        total -= own * t * a * (1 - p) ** gamma * math.log(p)
        total -= mean * (1 - t) * b * p**gamma * math.log(1 - p)
    return total


@pytest.mark.parametrize('weight', [None, [0.5, 2.0, 4.0]])
@pytest.mark.parametrize('alpha', [None, [0.1, 0.9, 0.3]])
@pytest.mark.parametrize('gamma', [0.0, 1.5])
def test_several_labels_an_element(gamma, alpha, weight):
    targets = [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0.3, 0.2, 0.5], [0.9, 0.4, 0.8]]
    logits = torch.randn(6, 3, dtype=torch.float64)
    given = None if weight is None else torch.tensor(weight)
    found = sigmoid_focal_loss(
        logits, torch.tensor(targets), gamma, alpha, class_weight=given
    ).tolist()
    for z, target, value in zip(logits.tolist(), targets, found):
        assert value == pytest.approx(naive_multi_label(z, target, gamma, alpha, weight), rel=1e-6)


def test_several_labels_are_binary_cross_entropies():
    logits, target = torch.randn(4, 3, 2), torch.randint(2, (4, 3, 2)).float()
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction='none').sum(1)
    torch.testing.assert_close(sigmoid_focal_loss(logits, target, 0.0), expected)


@pytest.mark.parametrize('alpha', [None, 0.3, [0.1, 0.9, 0.4]])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_labels_are_one_hot_targets_and_gradients_agree(gamma, alpha):
    """Of labels, the gradient is computed by hand."""
    logits = (3 * torch.randn(5, 3, 2, dtype=torch.float64)).requires_grad_()
    label = torch.randint(3, (5, 2))
    label[0, 0] = 255
    one_hot = F.one_hot(label % 255, 3).movedim(-1, 1).double()
    kept = label != 255
    one = sigmoid_focal_loss(logits, label, gamma, alpha, 255)
    other = sigmoid_focal_loss(logits, one_hot, gamma, alpha) * kept
    torch.testing.assert_close(one, other)
    factors = torch.rand_like(one)
    gradients = [torch.autograd.grad((loss * factors).sum(), logits)[0] for loss in (one, other)]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradcheck(
        lambda z: sigmoid_focal_loss(z, label, gamma, alpha, 255), (logits,)
    )


@pytest.mark.parametrize('alpha', [None, 0.25])
def test_a_single_logit_is_that_of_label_one(alpha):
    logits, label = torch.randn(4, 1, 3), torch.randint(2, (4, 3))
    label[0, 0] = 255
    one = sigmoid_focal_loss(logits, label, 2.0, alpha, 255)
    other = sigmoid_focal_loss(logits, (label % 255).float().unsqueeze(1), 2.0, alpha)
    torch.testing.assert_close(one, other * (label != 255))
    other = torchvision_focal_loss(logits[:, 0], (label == 1).float(), alpha or -1, 2.0)
    torch.testing.assert_close(one, other * (label != 255))


def saved_bytes(function, *inputs):
    """What autograd keeps for the backward pass, the inputs themselves left out."""
    given, kept = {t.untyped_storage().data_ptr() for t in inputs}, {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function(*inputs)
    assert result.requires_grad
    return sum(kept.values())


def test_memory_of_sigmoids_is_below_that_of_cross_entropy():
    logits, label = torch.randn(2, 50, 8, 8, requires_grad=True), torch.randint(50, (2, 8, 8))
    plain = saved_bytes(lambda z, y: F.cross_entropy(z, y, reduction='none'), logits, label)
    assert plain >= logits.nbytes
    for alpha in (None, 0.25, [0.5] * 50):
        kept = saved_bytes(lambda z, y: sigmoid_focal_loss(z, y, 2.0, alpha), logits, label)
        assert kept < 0.2 * plain
