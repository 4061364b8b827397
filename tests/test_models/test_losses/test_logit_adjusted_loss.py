"""LogitAdjustedLoss as mmsegmentation and as mmpretrain call it."""

import pytest
import torch
from mmengine.registry import init_default_scope
from torch.nn import functional as F

from lt_mm.models.losses import LogitAdjustedLoss
from lt_mm.structures import ClassCounts

PRIOR = torch.tensor([0.7, 0.2, 0.1])


def make(**kwargs):
    loss = LogitAdjustedLoss(**kwargs)
    loss.set_class_counts(ClassCounts([7, 2, 1]))
    return loss


@pytest.mark.parametrize('scope', ['mmseg', 'mmpretrain'])
def test_builds_under_both_scopes_without_custom_imports(scope):
    init_default_scope(scope)
    registry = pytest.importorskip(f'{scope}.registry').MODELS
    assert isinstance(registry.build(dict(type='lt_mm.LogitAdjustedLoss')), LogitAdjustedLoss)


def test_mmseg_call():
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    target[0] = 255
    expected = F.cross_entropy(
        logits / 0.5 + 0.3 * PRIOR.log()[:, None, None], target, ignore_index=255
    )
    loss = make(alpha=0.3, temperature=0.5, loss_weight=2.0)
    torch.testing.assert_close(loss(logits, target, weight=None, ignore_index=255), 2 * expected)
    weight = torch.zeros(2, 4, 4)
    weight[1, 0, 0] = 16.0
    one = F.cross_entropy(
        logits[1:, :, :1, :1] / 0.5 + 0.3 * PRIOR.log()[:, None, None], target[1:, :1, :1]
    )
    torch.testing.assert_close(loss(logits, target, weight=weight, ignore_index=255), 2 * one)


def test_mmpretrain_call_with_hard_and_soft_targets():
    logits, target = torch.randn(5, 3), torch.randint(3, (5,))
    loss = make()
    hard = loss(logits, target, avg_factor=5)
    torch.testing.assert_close(hard, F.cross_entropy(logits + PRIOR.log(), target))
    torch.testing.assert_close(loss(logits, F.one_hot(target, 3).float(), avg_factor=5), hard)
    assert loss(logits, target, reduction_override='none').shape == (5,)


def test_alpha_zero_is_cross_entropy_and_needs_no_counts():
    logits, target = torch.randn(5, 3), torch.randint(3, (5,))
    torch.testing.assert_close(
        LogitAdjustedLoss(alpha=0.0)(logits, target), F.cross_entropy(logits, target)
    )


def test_all_ignored_is_zero_with_a_graph():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = make()(logits, torch.full((1, 2, 2), 255), ignore_index=255)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_a_class_without_samples_keeps_the_loss_finite():
    loss = LogitAdjustedLoss()
    loss.set_class_counts(ClassCounts([10**9, 0, 1]))
    assert loss(torch.zeros(1, 3), torch.tensor([1])).isfinite()


def test_checkpoint_restores_the_prior():
    fresh = LogitAdjustedLoss()
    fresh.load_state_dict(make().state_dict())
    logits, target = torch.randn(5, 3), torch.randint(3, (5,))
    torch.testing.assert_close(fresh(logits, target), make()(logits, target))


def test_missing_counts_and_bad_temperature():
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        LogitAdjustedLoss()(torch.randn(5, 3), torch.randint(3, (5,)))
    with pytest.raises(ValueError, match='temperature of LogitAdjustedLoss is 0'):
        LogitAdjustedLoss(temperature=0)
