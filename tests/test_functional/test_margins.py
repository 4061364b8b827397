"""LDAM's margins and the cross-entropy with them, against Python floats."""

import math

import pytest
import torch

from lt_mm.functional import ldam_margins, margin_cross_entropy

MARGINS = torch.tensor([1.0, 2.0, 4.0])


def naive(logits, label):
    shifted = [z - MARGINS[c].item() * (c == label) for c, z in enumerate(logits)]
    return math.log(sum(math.exp(z) for z in shifted)) - shifted[label]


def test_margins_fall_with_the_fourth_root_of_the_count():
    raw = [n**-0.25 for n in (5000, 81, 16)]
    expected = [0.5 * value / max(raw) for value in raw]
    assert ldam_margins([5000, 81, 16]).tolist() == pytest.approx(expected, rel=1e-6)
    assert ldam_margins([81, 16], 0.3).tolist() == pytest.approx([0.2, 0.3], rel=1e-6)


def test_absent_one_and_many():
    assert ldam_margins([81, 0, 16]).tolist() == pytest.approx([1 / 3, 0, 0.5])
    assert ldam_margins([9]).tolist() == [0.5]
    assert ldam_margins([10**12, 10**12]).tolist() == [0.5, 0.5]


def test_equals_the_definition():
    logits = torch.randn(4, 3, 2, dtype=torch.float64)
    target = torch.tensor([[0, 1], [2, 2], [255, 1], [1, 255]])
    result = margin_cross_entropy(logits, target, MARGINS, 255)
    for n in range(4):
        for x in range(2):
            label = int(target[n, x])
            expected = 0.0 if label == 255 else naive(logits[n, :, x].tolist(), label)
            assert result[n, x].item() == pytest.approx(expected, rel=1e-6)


def test_soft_targets_mix_hard_ones():
    logits = torch.randn(5, 3, 2, dtype=torch.float64)
    soft = torch.rand(5, 3, 2, dtype=torch.float64)
    expected = sum(
        soft[:, c] * margin_cross_entropy(logits, torch.full((5, 2), c), MARGINS) for c in range(3)
    )
    torch.testing.assert_close(margin_cross_entropy(logits, soft, MARGINS), expected)


@pytest.mark.parametrize('soft', [False, True])
def test_gradcheck(soft):
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.rand(4, 3) if soft else torch.tensor([0, 1, 2, 255])
    assert torch.autograd.gradcheck(
        lambda z: margin_cross_entropy(z, target, MARGINS, 255), (logits,)
    )


def test_half_precision_logits_give_a_float32_loss_and_stay_as_they_are():
    logits = torch.tensor([[60000.0, -60000.0, 0.0]], dtype=torch.float16)
    before = logits.clone()
    result = margin_cross_entropy(logits, torch.tensor([1]), MARGINS)
    assert result.dtype == torch.float32 and result.isfinite().all()
    assert torch.equal(logits, before)
    logits = torch.randn(2, 3)
    before = logits.clone()
    margin_cross_entropy(logits, torch.tensor([1, 2]), MARGINS)
    assert torch.equal(logits, before)


def test_bad_arguments():
    with pytest.raises(ValueError, match='max_margin of LDAM is -1'):
        ldam_margins([1, 2], -1)
    with pytest.raises(ValueError, match=r'margins has shape \(3,\).* 4 classes'):
        margin_cross_entropy(torch.randn(1, 4), torch.tensor([0]), MARGINS)
