"""Targets, weights and divisors that do not fit are refused where broadcasting would take them."""

import pytest
import torch

from lt_mm.functional import (
    logit_adjusted_cross_entropy,
    margin_cross_entropy,
    reduce_loss,
    seesaw_cross_entropy,
    sigmoid_focal_loss,
    smoothed_cross_entropy,
    softmax_focal_loss,
)
from lt_mm.functional.lade import lade_statistics
from lt_mm.models.losses import FocalLoss, GMLLoss, MutualLoss
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts

LOSSES = {
    'LogitAdjustedLoss': {},
    'WeightedCrossEntropyLoss': dict(class_weight=[1.0, 2.0, 3.0]),
    'FocalLoss': {},
    'sigmoid': dict(type='FocalLoss', use_sigmoid=True),
    'binary': dict(type='WeightedCrossEntropyLoss', class_weight=None, use_sigmoid=True),
    'LDAMLoss': {},
    'LabelAwareSmoothingLoss': {},
    'LADELoss': {},
    'SeesawLoss': {},
    'seen': dict(type='SeesawLoss', num_classes=3),
}
SOFTMAX = [name for name in LOSSES if name not in ('sigmoid', 'binary')]


@pytest.fixture(params=LOSSES)
def loss(request):
    return build(request.param)


def build(name):
    loss = MODELS.build({'type': name, **LOSSES[name]})
    loss.set_class_counts(ClassCounts([70, 20, 10]))
    return loss


@pytest.mark.parametrize(
    ('logits', 'labels'),
    [
        ((4, 3), (3,)),
        ((4, 3), (4, 1)),
        ((4, 3), (1,)),
        ((4, 3), ()),
        ((4, 3), (1, 4)),
        ((4, 3), (5,)),
        ((4, 3), (4, 3)),
        ((1, 3), (4,)),
        ((3,), (3,)),
        ((2, 3, 4, 4), (2, 4)),
        ((2, 3, 4, 4), (2, 1, 4, 4)),
        ((2, 3, 4, 4), (1, 4, 4)),
        ((2, 3, 4, 4), (2, 4, 1)),
        ((2, 3, 4, 4), (2, 3, 3)),
        ((2, 3, 4, 4), (2,)),
        ((2, 3, 1, 1), (2, 4, 4)),
    ],
)
def test_shapes(loss, logits, labels):
    for target in (torch.zeros(labels, dtype=torch.int64), torch.ones(labels)):
        if target.shape == logits and target.is_floating_point():
            continue
        with pytest.raises(ValueError, match=f'reached {type(loss).__name__}, '):
            loss(torch.randn(logits), target)


def test_what_is_no_label_and_no_logit(loss):
    for dtype in (torch.bool, torch.int64):
        with pytest.raises(ValueError, match=r'convert them by \.float'):
            loss(torch.randn(4, 3), torch.ones(4, 3, dtype=dtype))
    with pytest.raises(ValueError, match='torch.bool labels of shape'):
        loss(torch.randn(4, 3), torch.ones(4, dtype=torch.bool))
    with pytest.raises(ValueError, match='floating point; give the output of the classifier'):
        loss(torch.ones(4, 3, dtype=torch.int64), torch.ones(4, dtype=torch.int64))


@pytest.mark.parametrize('shape', [(4, 1), (1, 4), (1,), (3,), (4, 4), (5,)])
@pytest.mark.parametrize('reduction', ['mean', 'none', 'sum'])
def test_weights_of_elements(loss, shape, reduction):
    """One of shape (N, 1) would multiply the loss by N."""
    if type(loss).__name__ == 'LADELoss' and reduction != 'mean':
        pytest.skip('its regulariser belongs to a batch')
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ValueError, match='weight of shape .* came with losses of shape'):
        loss(logits, labels, weight=torch.ones(shape), reduction_override=reduction)


def test_divisors(loss):
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ValueError, match='avg_factor has shape'):
        loss(logits, labels, avg_factor=torch.ones(4))
    expected = loss(logits, labels, avg_factor=4)
    assert loss(logits, labels, avg_factor=torch.tensor([4.0])).shape == expected.shape == ()


def test_functions_check_too():
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2])
    values = torch.ones(3)
    for function in (
        softmax_focal_loss,
        sigmoid_focal_loss,
        logit_adjusted_cross_entropy,
        lade_statistics,
        lambda z, y: margin_cross_entropy(z, y, values),
        lambda z, y: smoothed_cross_entropy(z, y, values),
        lambda z, y: seesaw_cross_entropy(z, y, values),
    ):
        for target in (labels, torch.rand(4), torch.rand(3, 3), labels[None]):
            with pytest.raises(ValueError, match='reached'):
                function(logits, target)
    with pytest.raises(ValueError, match='one factor for each element'):
        reduce_loss(torch.ones(4), torch.ones(4, 1))
    with pytest.raises(ValueError, match='one factor for each element'):
        logits = torch.randn(2, 4, 3)
        MutualLoss()(logits, torch.zeros(4, dtype=torch.int64), weight=torch.ones(4, 1))


def test_features_of_gml():
    loss = GMLLoss(3, 4, size=12, min_size=2, widths=(4,))
    loss.set_class_counts(ClassCounts([70, 20, 10]))
    loss.queue.enqueue(torch.randn(6, 4), torch.arange(6) % 3)
    for features, labels in (((4, 4), 3), ((3, 4), 4), ((4, 2, 4), 4)):
        with pytest.raises(ValueError, match=r'features of shape .*GMLLoss.*one label'):
            loss(torch.randn(features), torch.arange(labels) % 3)


@pytest.mark.parametrize('name', SOFTMAX)
@pytest.mark.parametrize(
    'row', [[1, 0, 1], [0, 0, 0], [0.5, 0.2, 0.2], [1.5, -0.5, 0], [float('nan'), 0, 1]]
)
def test_softmaxes_refuse_targets_that_are_no_probabilities(name, row):
    target = torch.tensor([[0.2, 0.3, 0.5], row])
    with pytest.raises(ValueError, match='sum to 1; for several labels .* use_sigmoid=True'):
        build(name)(torch.randn(2, 3), target)
    with pytest.raises(ValueError, match='sum to 1; for several labels .* use_sigmoid=True'):
        build(name)(torch.randn(2, 3, 4), target[:, :, None].repeat(1, 1, 4))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('num_classes', [2, 10, 1000])
def test_rounded_probabilities_pass(dtype, num_classes):
    torch.manual_seed(0)
    loss, logits = FocalLoss(), torch.randn(8, num_classes)
    for target in (
        torch.randn(8, num_classes).softmax(1),
        torch.full((8, num_classes), 1 / num_classes),
        0.9 * torch.eye(num_classes)[torch.randint(num_classes, (8,))] + 0.1 / num_classes,
    ):
        assert loss(logits, target.to(dtype)).isfinite()


@pytest.mark.parametrize('name', ['sigmoid', 'binary'])
@pytest.mark.parametrize('row', [[2, 0, 1], [0, -1, 0], [float('nan'), 0, 1]])
def test_sigmoids_take_numbers_between_zero_and_one(name, row):
    with pytest.raises(ValueError, match='has to be between 0 and 1'):
        build(name)(torch.randn(2, 3), torch.tensor([[0.2, 0.9, 1], row]))


def test_no_element_is_no_fault(loss):
    logits = torch.randn(0, 3, requires_grad=True)
    assert loss(logits, torch.zeros(0, 3)) == 0
