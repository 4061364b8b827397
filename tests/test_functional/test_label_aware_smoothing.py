"""Label-aware smoothing against eqs. 3, 7, 9 and 12 of MiSLAS, written out."""

import math

import pytest
import torch

from lt_mm.functional import label_aware_smoothing, smoothed_cross_entropy

COUNTS = [500, 120, 30, 5]
SMOOTHING = torch.tensor([0.4, 0.3, 0.2, 0.1])


def related(n, shape, head, tail, power):
    """f(N_y) of eqs. 3.a, 3.b, 3.c and 7, of one count."""
    t = (n - 5) / (500 - 5)
    if shape == 'concave':
        return tail + (head - tail) * math.sin(math.pi * (n - 5) / (2 * (500 - 5)))
    if shape == 'linear':
        return tail + (head - tail) * (n - 5) / (500 - 5)
    if shape == 'convex':
        angle = 3 * math.pi / 2 + math.pi * (n - 5) / (2 * (500 - 5))
        return head + (head - tail) * math.sin(angle)
    return tail + (head - tail) * t**power


@pytest.mark.parametrize('shape', ['concave', 'linear', 'convex', 'exponential'])
@pytest.mark.parametrize('power', [0.5, 3.0])
def test_shapes(shape, power):
    result = label_aware_smoothing(COUNTS, 0.4, 0.1, shape, power)
    expected = [related(n, shape, 0.4, 0.1, power) for n in COUNTS]
    assert result.tolist() == pytest.approx(expected, rel=1e-6)
    assert result[0].item() == pytest.approx(0.4) and result[3].item() == pytest.approx(0.1)


def test_shapes_lie_as_figure_8_draws_them():
    concave, linear, convex = (
        label_aware_smoothing(COUNTS, 0.4, 0.1, shape)[1:3]
        for shape in ('concave', 'linear', 'convex')
    )
    assert (concave > linear).all() and (linear > convex).all()


@pytest.mark.parametrize('shape', ['concave', 'linear', 'convex', 'exponential'])
def test_equal_counts_have_no_head(shape):
    assert label_aware_smoothing([7, 7, 7], 0.4, 0.1, shape).tolist() == pytest.approx([0.1] * 3)
    assert label_aware_smoothing([7], 0.4, 0.1, shape).tolist() == pytest.approx([0.1])


def test_an_absent_class_is_one_of_the_rarest():
    result = label_aware_smoothing([*COUNTS, 0], 0.4, 0.1)
    torch.testing.assert_close(result[:4], label_aware_smoothing(COUNTS, 0.4, 0.1))
    assert result[4] == result[3]


def naive(logits, label, share):
    """Eq. 8 with q of eq. 9, or of the authors' code."""
    total = sum(math.exp(z) for z in logits)
    epsilon, k = SMOOTHING[label].item(), len(logits)
    result = 0.0
    for i, z in enumerate(logits):
        if share == 'others':
            q = 1 - epsilon if i == label else epsilon / (k - 1)
        else:
            q = (1 - epsilon) * (i == label) + epsilon / k
        result -= q * math.log(math.exp(z) / total)
    return result


@pytest.mark.parametrize('share', ['others', 'all'])
def test_equals_eq_9(share):
    logits = torch.randn(3, 4, 2, dtype=torch.float64)
    target = torch.tensor([[0, 3], [1, 255], [2, 2]])
    result = smoothed_cross_entropy(logits, target, SMOOTHING, share, 255)
    for n in range(3):
        for x in range(2):
            label = int(target[n, x])
            expected = 0.0 if label == 255 else naive(logits[n, :, x].tolist(), label, share)
            assert result[n, x].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('share', ['others', 'all'])
def test_soft_targets_mix_hard_ones(share):
    logits = torch.randn(5, 4, 3, dtype=torch.float64)
    soft = torch.rand(5, 4, 3, dtype=torch.float64)
    expected = sum(
        soft[:, c] * smoothed_cross_entropy(logits, torch.full((5, 3), c), SMOOTHING, share)
        for c in range(4)
    )
    torch.testing.assert_close(smoothed_cross_entropy(logits, soft, SMOOTHING, share), expected)


def test_optimum_of_free_logits_is_eq_12():
    """w_y x - w_i x = log((K - 1)(1 - eps_y) / eps_y), the same for every i but y."""
    logits = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        loss = smoothed_cross_entropy(logits, torch.arange(4), SMOOTHING).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    for y in range(4):
        epsilon = SMOOTHING[y].item()
        others = [i for i in range(4) if i != y]
        gap = logits[y, y] - logits[y, others]
        assert gap.tolist() == pytest.approx([math.log(3 * (1 - epsilon) / epsilon)] * 3, abs=1e-5)
        assert logits[y].softmax(0)[y].item() == pytest.approx(1 - epsilon, abs=1e-6)


def test_optimum_of_the_authors_code_keeps_more_for_the_label():
    """Mass over all K leaves 1 - eps + eps / K with the label, so confidence ends higher."""
    q = torch.full((4, 4), 0.0, dtype=torch.float64)
    for y, epsilon in enumerate(SMOOTHING.double()):
        q[y] = epsilon / 4
        q[y, y] += 1 - epsilon
    logits = q.log().requires_grad_()
    smoothed_cross_entropy(logits, torch.arange(4), SMOOTHING, 'all').sum().backward()
    assert logits.grad.abs().max() < 1e-7


@pytest.mark.parametrize('share', ['others', 'all'])
def test_gradcheck(share):
    logits = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 3, 255])
    assert torch.autograd.gradcheck(
        lambda z: smoothed_cross_entropy(z, target, SMOOTHING, share, 255), (logits,)
    )


@pytest.mark.parametrize('share', ['others', 'all'])
def test_one_class_has_nothing_to_give_away_to(share):
    for target in (torch.zeros(3, dtype=torch.int64), torch.ones(3, 1)):
        loss = smoothed_cross_entropy(torch.randn(3, 1), target, torch.tensor([0.3]), share)
        assert loss.tolist() == [0, 0, 0]


def test_half_precision_logits_give_a_float32_loss():
    logits = torch.tensor([[60000.0, -60000.0, 0.0, 1.0]], dtype=torch.float16)
    result = smoothed_cross_entropy(logits, torch.tensor([1]), SMOOTHING)
    assert result.dtype == torch.float32 and result.isfinite().all()


def test_bad_arguments():
    for arguments, message in (
        (dict(head=1.0), 'head of label-aware smoothing is 1.0'),
        (dict(tail=-0.1), 'tail of label-aware smoothing is -0.1'),
        (dict(shape='sine'), "shape of label-aware smoothing is 'sine'; use one of concave"),
        (dict(shape='exponential', power=0), 'power of label-aware smoothing is 0'),
    ):
        with pytest.raises(ValueError, match=message):
            label_aware_smoothing(COUNTS, **arguments)
    with pytest.raises(ValueError, match="share of label-aware smoothing is 'half'"):
        smoothed_cross_entropy(torch.randn(1, 4), torch.tensor([0]), SMOOTHING, 'half')
    with pytest.raises(ValueError, match='the logits have 3 classes'):
        smoothed_cross_entropy(torch.randn(1, 3), torch.tensor([0]), SMOOTHING)
