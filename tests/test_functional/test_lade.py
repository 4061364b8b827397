"""LADE's regulariser against loops over Python floats."""

import math

import pytest
import torch

from lt_mm.functional import lade_regularizer, lade_statistics

PRIOR = [0.6, 0.3, 0.08, 0.02]
LOG_PRIOR = torch.tensor(PRIOR, dtype=torch.float64).log()


def naive(rows, labels, penalty):
    """-sum_c pi_c (T_p - T_q - lambda T_q^2), with T_p and T_q as the authors' code has them."""
    result = 0.0
    for c, prior in enumerate(PRIOR):
        own = [row[c] for row, label in zip(rows, labels, strict=True) if label == c]
        first = sum(own) / len(own) if own else 0.0
        spread = sum(math.exp(row[c] - math.log(prior) + math.log(1 / 4)) for row in rows)
        second = math.log(spread) - math.log(len(rows))
        result -= prior * (first - second - penalty * second**2)
    return result


def regularizer(logits, target, penalty=0.1, ignore_index=-100):
    return lade_regularizer(lade_statistics(logits, target, ignore_index)[None], LOG_PRIOR, penalty)


@pytest.mark.parametrize('penalty', [0.0, 0.1, 0.5])
def test_images(penalty):
    logits = torch.randn(7, 4, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 0])
    assert regularizer(logits, labels, penalty).item() == pytest.approx(
        naive(logits.tolist(), labels.tolist(), penalty), rel=1e-9
    )


def test_pixels_without_the_ignored_ones():
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    target = torch.randint(4, (2, 3, 3))
    target[0, 1], target[1, 2, 2] = 255, 255
    rows, labels = [], []
    for n in range(2):
        for y in range(3):
            for x in range(3):
                if target[n, y, x] != 255:
                    rows.append(logits[n, :, y, x].tolist())
                    labels.append(int(target[n, y, x]))
    assert regularizer(logits, target, ignore_index=255).item() == pytest.approx(
        naive(rows, labels, 0.1), rel=1e-9
    )


def test_soft_targets_that_are_hard():
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 3, 3, 1, 0])
    soft = torch.eye(4)[labels]
    torch.testing.assert_close(regularizer(logits, soft), regularizer(logits, labels))


def test_parts_of_a_batch_make_the_batch():
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 3, 3, 1, 0])
    parts = torch.stack(
        [lade_statistics(logits[part], labels[part]) for part in (slice(0, 4), slice(4, 6), [])]
    )
    torch.testing.assert_close(lade_regularizer(parts, LOG_PRIOR, 0.1), regularizer(logits, labels))


def test_gradcheck():
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 1, 3, 255])
    assert torch.autograd.gradcheck(lambda z: regularizer(z, target, 0.1, 255), (logits,))
    soft = torch.rand(5, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: regularizer(z, soft), (logits,))


@pytest.mark.parametrize('count', [0, 3])
def test_no_element_is_a_zero_with_a_graph(count):
    logits = torch.randn(count, 4, requires_grad=True)
    result = regularizer(logits, torch.full((count,), 255), ignore_index=255)
    result.backward()
    assert result == 0 and (logits.grad == 0).all()


def test_large_half_precision_logits():
    logits = torch.tensor([[600.0, -600.0, 0.0, 1.0]], dtype=torch.float16)
    result = regularizer(logits, torch.tensor([1]))
    assert result.dtype == torch.float32 and result.isfinite()


def test_logits_of_another_number_of_classes():
    with pytest.raises(ValueError, match=r'log_prior has shape \(4,\).* 3 classes'):
        regularizer(torch.randn(2, 3), torch.tensor([0, 1]))
