"""class_weight and average of the losses, and weights that are switched on late."""

import warnings

import pytest
import torch
from mmengine.config import ConfigDict
from torch.nn import functional as F

from lt_mm.functional import effective_number_weights, inverse_power_weights
from lt_mm.models.losses import FocalLoss, LDAMLoss, WeightedCrossEntropyLoss
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts

COUNTS = [700, 200, 100]
CASES = [
    (dict(type='effective_number', beta=0.99), effective_number_weights(COUNTS, 0.99)),
    (ConfigDict(type='effective_number'), effective_number_weights(COUNTS, 0.9999)),
    (dict(type='inverse', power=0.7), inverse_power_weights(COUNTS, 0.7)),
    ([3.0, 0.5, 7.0], torch.tensor([3.0, 0.5, 7.0])),
]


def weighted(class_weight, **kwargs):
    loss = WeightedCrossEntropyLoss(class_weight, **kwargs)
    loss.set_class_counts(ClassCounts(COUNTS))
    return loss


@pytest.mark.parametrize(('class_weight', 'expected'), CASES)
def test_both_averages(class_weight, expected):
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    target[0, :2] = 255
    total = F.cross_entropy(logits, target, expected, ignore_index=255, reduction='sum')
    by_weights = F.cross_entropy(logits, target, expected, ignore_index=255)
    torch.testing.assert_close(weighted(class_weight)(logits, target, ignore_index=255), total / 24)
    loss = weighted(class_weight, average='weights')
    torch.testing.assert_close(loss(logits, target, ignore_index=255), by_weights)


@pytest.mark.parametrize(('class_weight', 'expected'), CASES)
def test_soft_targets_are_those_of_torch(class_weight, expected):
    logits, target = torch.randn(8, 3), torch.rand(8, 3).softmax(1)
    total = F.cross_entropy(logits, target, expected, reduction='sum')
    torch.testing.assert_close(weighted(class_weight)(logits, target, avg_factor=8), total / 8)
    by_weights = weighted(class_weight, average='weights')(logits, target, avg_factor=8)
    torch.testing.assert_close(by_weights, total / (target * expected).sum())


def test_a_given_average_counts_elements():
    """mmpretrain's heads give the number of images, whatever the loss divides by."""
    logits, target = torch.randn(8, 3), torch.randint(3, (8,))
    loss = weighted([3.0, 0.5, 7.0], average='weights')
    torch.testing.assert_close(loss(logits, target, avg_factor=8), loss(logits, target))
    torch.testing.assert_close(loss(logits, target, avg_factor=16), loss(logits, target) / 2)


def test_only_elements_of_no_weight():
    logits = torch.randn(3, 3, requires_grad=True)
    for average in ('elements', 'weights'):
        loss = weighted([0.0, 1.0, 1.0], average=average)(logits, torch.zeros(3, dtype=torch.int64))
        loss.backward()
        assert loss == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize('kind', [FocalLoss, LDAMLoss])
def test_focal_and_ldam_are_multiplied(kind):
    """The weight does not enter the probability that a focal loss is focused by."""
    logits, target = torch.randn(8, 3), torch.randint(3, (8,))
    plain, balanced = kind(), kind(class_weight=dict(type='inverse'))
    for loss in (plain, balanced):
        loss.set_class_counts(ClassCounts(COUNTS))
    expected = inverse_power_weights(COUNTS)[target] * plain(
        logits, target, reduction_override='none'
    )
    torch.testing.assert_close(balanced(logits, target, reduction_override='none'), expected)


def test_deferred_weights():
    loss, logits, target = weighted(dict(type='inverse')), torch.randn(8, 3), torch.randint(3, (8,))
    weights = loss.class_weights
    on = loss(logits, target)
    weights.set_deferred(False)
    torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, target))
    resumed = weighted(dict(type='inverse'))
    resumed.load_state_dict(loss.state_dict())
    assert resumed(logits, target) == loss(logits, target)
    weights.set_deferred(True)
    assert loss(logits, target) == on != resumed(logits, target)


def test_only_losses_with_class_weights_are_deferred():
    def deferred(loss):
        return [part for part in loss.modules() if hasattr(part, 'set_deferred')]

    assert len(deferred(FocalLoss(class_weight=dict(type='effective_number')))) == 1
    assert not deferred(FocalLoss()) and not deferred(WeightedCrossEntropyLoss(None))


def test_without_weights_it_is_cross_entropy():
    logits, target = torch.randn(8, 3), torch.randint(3, (8,))
    torch.testing.assert_close(
        WeightedCrossEntropyLoss(None, average='weights')(logits, target),
        F.cross_entropy(logits, target),
    )


def test_weights_of_pixels_that_do_nothing_say_so():
    loss = FocalLoss(class_weight=dict(type='effective_number'))
    with pytest.warns(UserWarning, match=r'of FocalLoss weighs all classes alike.*1000000 samples'):
        loss.set_class_counts(ClassCounts([10**9, 0, 10**6], unit='pixels'))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loss.set_class_counts(ClassCounts([10**9, 0, 10**6], unit='pixels'))
        loss.set_class_counts(ClassCounts([10**9, 0, 10**3], unit='pixels'))
        loss.set_class_counts(ClassCounts([10**9, 10**9]))


@pytest.mark.parametrize(
    'class_weight',
    [
        'inverse',
        dict(power=1),
        dict(type='inverse', beta=1),
        dict(type='square'),
        [1, -1],
        [1, float('nan')],
        [[1, 2]],
        3,
    ],
)
def test_bad_class_weight(class_weight):
    with pytest.raises(ValueError, match='class_weight of FocalLoss is'):
        FocalLoss(class_weight=class_weight)


def test_bad_numbers():
    with pytest.raises(ValueError, match='beta of effective-number weights is 1'):
        FocalLoss(class_weight=dict(type='effective_number', beta=1))
    with pytest.raises(ValueError, match="average of FocalLoss is 'all'"):
        FocalLoss(average='all')
    with pytest.raises(ValueError, match='has weights of 2 classes, but the logits have 3'):
        weighted([1.0, 2.0])(torch.randn(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='lt_mm.WeightedCrossEntropyLoss'),
        dict(type='lt_mm.LDAMLoss', max_margin=0.0),
        dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0),
    ],
    ids=lambda loss: loss['type'],
)
@pytest.mark.parametrize(('average', 'expected'), [('elements', 0.139), ('weights', 0.693)])
@pytest.mark.parametrize('avg_factor', [None, 2])
def test_two_samples_of_a_class_of_little_weight(loss, average, expected, avg_factor):
    """LDAM-DRW, RIDE and GRW are published with the mean over weights."""
    loss = MODELS.build(dict(loss, class_weight=[0.2, 1.8], average=average))
    loss.set_class_counts(ClassCounts([9, 1]))
    value = loss(torch.zeros(2, 2), torch.tensor([0, 0]), avg_factor=avg_factor)
    assert value.item() == pytest.approx(expected, abs=5e-4)
