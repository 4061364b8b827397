"""The third expert of SADE: LogitAdjustedLoss with a backward prior."""

import pytest
import torch
from torch.nn import functional as F

from lt_mm.models.losses import LogitAdjustedLoss
from lt_mm.structures import ClassCounts

COUNTS = ClassCounts([2, 7, 1])
PRIOR = torch.tensor([0.2, 0.7, 0.1])
# Class 1 is first and class 2 last; the middle one keeps its place.
REVERSED = torch.tensor([0.2, 0.1, 0.7])


def make(**options):
    loss = LogitAdjustedLoss(**options)
    loss.set_class_counts(COUNTS)
    return loss


@pytest.mark.parametrize('alpha', [0.0, 1.0, 0.3])
def test_both_tasks(alpha):
    shift = alpha * PRIOR.log() - 2 * REVERSED.log()
    loss = make(alpha=alpha, backward=2.0, temperature=0.5, loss_weight=3.0)
    logits, target = torch.randn(6, 3), torch.randint(3, (6,))
    expected = 3 * F.cross_entropy(logits / 0.5 + shift, target)
    torch.testing.assert_close(loss(logits, target), expected)
    soft = F.one_hot(target, 3).float()
    torch.testing.assert_close(loss(logits, soft), expected)
    pixels, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    labels[0] = 255
    expected = 3 * F.cross_entropy(pixels / 0.5 + shift[:, None, None], labels, ignore_index=255)
    torch.testing.assert_close(loss(pixels, labels, ignore_index=255), expected)


def test_zero_is_the_loss_without_it():
    logits, target = torch.randn(6, 3), torch.randint(3, (6,))
    assert make(backward=0.0)(logits, target) == make()(logits, target)
    assert 'backward' not in repr(make()) and 'backward=2' in repr(make(backward=2))


def test_the_prior_of_the_sampler_is_the_one_reversed():
    loss = LogitAdjustedLoss(alpha=0.0, backward=1.0)
    loss.set_class_counts(COUNTS.with_prior([0.5, 0.3, 0.2]))
    shift = -torch.tensor([0.2, 0.3, 0.5]).log()
    logits, target = torch.randn(6, 3), torch.randint(3, (6,))
    torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits + shift, target))


def test_a_class_without_samples_keeps_it_finite():
    loss = LogitAdjustedLoss(backward=2.0)
    loss.set_class_counts(ClassCounts([10**9, 0, 1]))
    assert loss(torch.zeros(3, 3), torch.arange(3)).isfinite()


def test_missing_counts_and_a_bad_factor():
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        LogitAdjustedLoss(alpha=0.0, backward=2.0)(torch.randn(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match='backward of LogitAdjustedLoss is nan'):
        LogitAdjustedLoss(backward=float('nan'))
