"""DecoupledClsHead: what is trained, what predictions are, and whose checkpoints it shares."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from lt_mm.models.heads import DecoupledClsHeadMixin
from lt_mm.structures import ClassCounts

LWS = dict(type='lt_mm.LearnableWeightScaling')
DISALIGN = dict(type='lt_mm.DisAlign')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(counts=None, **changes):
    cfg = {'type': 'lt_mm.DecoupledClsHead', 'num_classes': 3, 'in_channels': 5} | changes
    head = MODELS.build(copy.deepcopy(cfg))
    head.init_weights()
    for part in head.modules():
        if counts and hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(counts))
    return head.train()


def step(head, features):
    samples = [DataSample().set_gt_label(label) for label in (0, 1, 2, 1)]
    losses = head.loss((features,), samples)
    sum(losses.values()).backward()
    return losses


def trained(head):
    return {name for name, value in head.named_parameters() if value.grad is not None}


OF_DISALIGN = {f'alignment.{name}' for name in ('scale', 'shift')} | {
    f'alignment.confidence.{name}' for name in ('weight', 'bias')
}


@pytest.mark.parametrize(
    'changes, expected',
    [
        (dict(), {'fc.weight', 'fc.bias'}),
        (dict(alignment=LWS), {'fc.weight', 'fc.bias', 'alignment.scale'}),
        (dict(alignment=LWS, freeze_classifier=True), {'alignment.scale'}),
        (dict(alignment=DISALIGN, freeze_classifier=True), OF_DISALIGN),
        (dict(alignment=LWS, classifier='cosine'), {'fc.weight', 'alignment.scale'}),
        (dict(classifier=dict(type='lt_mm.TauNormLinear')), {'fc.weight', 'fc.bias'}),
        (dict(classifier=dict(type='lt_mm.NearestClassMeanLinear')), {'fc.weight', 'fc.bias'}),
        (dict(post_compensation=dict(class_counts=[3, 2, 1])), {'fc.weight', 'fc.bias'}),
    ],
)
def test_gradients_reach_what_is_to_be_trained(changes, expected):
    head, features = build(**changes), torch.randn(4, 5, requires_grad=True)
    losses = step(head, features)
    assert set(losses) == {'loss_cls'} and losses['loss_cls'].isfinite()
    assert trained(head) == expected
    assert features.grad.any()


def test_the_loss_is_plain_cross_entropy_of_the_aligned_logits():
    head, features = build(alignment=LWS), torch.randn(4, 5)
    with torch.no_grad():
        head.alignment.scale.copy_(torch.tensor([1.0, 2.0, 0.5]))
    logits = (features @ head.fc.weight.T + head.fc.bias) * head.alignment.scale
    expected = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 1]))
    torch.testing.assert_close(step(head, features)['loss_cls'], expected)


@pytest.mark.parametrize('alignment', [LWS, DISALIGN])
def test_before_training_it_predicts_as_the_plain_head(alignment):
    plain = MODELS.build(dict(type='LinearClsHead', num_classes=3, in_channels=5)).eval()
    head = build(alignment=alignment, freeze_classifier=True).eval()
    loaded = head.load_state_dict(plain.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert all(name.startswith(('alignment.', 'loss_module.')) for name in loaded.missing_keys)
    features = torch.randn(4, 5)
    torch.testing.assert_close(head((features,)), plain((features,)))


def test_its_checkpoint_fits_the_plain_head():
    tau = build(classifier=dict(type='lt_mm.TauNormLinear', tau=0.5))
    plain = MODELS.build(dict(type='LinearClsHead', num_classes=3, in_channels=5))
    loaded = plain.load_state_dict(tau.state_dict(), strict=False)
    assert not loaded.missing_keys
    assert all(name.startswith('loss_module.') for name in loaded.unexpected_keys)


def test_compensation_of_predictions_and_not_of_losses():
    head, features = build([70, 20, 10], post_compensation=dict()), torch.randn(4, 5)
    plain = features @ head.fc.weight.T + head.fc.bias
    expected = nn.functional.cross_entropy(plain, torch.tensor([0, 1, 2, 1]))
    torch.testing.assert_close(step(head, features)['loss_cls'], expected)
    predicted = torch.stack([one.pred_score for one in head.eval().predict((features,))])
    prior = torch.tensor([0.7, 0.2, 0.1])
    torch.testing.assert_close(predicted, (plain - prior.log()).softmax(1))


def test_initial_weights_are_those_of_each_part():
    head = build(num_classes=50, in_channels=60, alignment=DISALIGN)
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert torch.equal(head.alignment.confidence.weight, torch.full((1, 60), 0.1))
    cosine = build(classifier='cosine')
    torch.testing.assert_close(cosine.fc.weight.norm(dim=1), torch.ones(3))
    assert cosine.fc.temperature == 1 / 30
    assert build(classifier='cosine', temperature=0.5).fc.temperature == 0.5


def test_a_head_of_mmpretrain_with_a_hidden_layer():
    cfg = dict(num_classes=3, in_channels=5, hidden_dim=4)
    plain = MODELS.build(dict(type='VisionTransformerClsHead', **cfg)).eval()
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    head = build(
        type='lt_mm.DecoupledVisionTransformerClsHead',
        alignment=DISALIGN,
        freeze_classifier=True,
        post_compensation=dict(class_counts=[7, 2, 1]),
        **cfg,
    ).eval()
    head.load_state_dict(plain.state_dict(), strict=False)
    features = torch.randn(4, 5)
    expected = plain((features,)) - torch.tensor([0.7, 0.2, 0.1]).log()
    torch.testing.assert_close(head((features,)), expected)
    step(head.train(), features)
    hidden = {'layers.pre_logits.weight', 'layers.pre_logits.bias'}
    assert trained(head) == OF_DISALIGN | hidden


def test_the_mixin_fits_any_head():
    class DecoupledStacked(DecoupledClsHeadMixin, MODELS.get('StackedLinearClsHead')):
        classifier_path = 'layers.1.fc'

    head = DecoupledStacked(
        3, 5, mid_channels=[6], classifier=dict(type='lt_mm.TauNormLinear', tau=1.0)
    )
    features = torch.randn(4, 5)
    unit = nn.functional.normalize(head.layers[1].fc.weight, dim=1)
    expected = head.eval().pre_logits((features,)) @ unit.T
    torch.testing.assert_close(head((features,)), expected)


def test_bad_input():
    with pytest.raises(ValueError, match="classifier of DecoupledClsHead is 'round'; use 'linear'"):
        build(classifier='round')
    with pytest.raises(ValueError, match='freeze_classifier of DecoupledClsHead leaves nothing'):
        build(freeze_classifier=True)
    with pytest.raises(ValueError, match='2 classes but PostCompensation has 3'):
        build(post_compensation=dict(class_counts=[1, 2]))


@pytest.mark.parametrize(
    ('given', 'alpha'),
    [
        ({}, 0.0),
        (dict(alpha=0.3), 0.3),
        (dict(loss=dict(type='lt_mm.LogitAdjustedLoss')), 1.0),
        (dict(loss=dict(type='lt_mm.LogitAdjustedLoss', alpha=0.5)), 0.5),
    ],
)
def test_loss_is_cross_entropy_unless_another_is_given(given, alpha):
    assert build(**given).loss_module.alpha == alpha
