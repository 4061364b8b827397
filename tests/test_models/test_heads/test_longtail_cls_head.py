"""LongTailClsHead and its presets: losses and predictions restated, what is trained, bad input."""

import copy
import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn import functional as F

from lt_mm.models.layers import CosineLinear
from lt_mm.structures import ClassCounts

COUNTS = [60, 25, 15]
LABELS = [0, 1, 2, 1]
LWS = dict(type='lt_mm.LearnableWeightScaling')
DISALIGN = dict(type='lt_mm.DisAlign')
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(counts=COUNTS, **changes):
    cfg = {'type': 'lt_mm.LongTailClsHead', 'num_classes': 3, 'in_channels': 5} | changes
    head = MODELS.build(copy.deepcopy(cfg))
    head.init_weights()
    for part in head.modules():
        if counts and hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(counts))
    return head.train()


def cosine(**changes):
    return build(type='lt_mm.CosineClsHead', **changes)


def samples(labels=LABELS, scores=None):
    made = [DataSample().set_gt_label(int(label)) for label in labels]
    for sample, score in zip(made, [] if scores is None else scores):
        sample.set_gt_score(score)
    return made


def loss_of(head, features, labels=LABELS, scores=None):
    return head.loss((features,), samples(labels, scores))['loss_cls']


def scores_of(head, features):
    return torch.stack([sample.pred_score for sample in head.eval().predict((features,))])


def trained(head):
    return {name for name, value in head.named_parameters() if value.grad is not None}


def naive(head, features, targets, alpha):
    """Mean of -sum_c t_c log softmax(logit_c + alpha log p_c), in Python floats."""
    total = 0.0
    weights = head.fc.weight.tolist()
    for row, target in zip(features.tolist(), targets.tolist(), strict=True):
        logits = []
        for c, weight in enumerate(weights):
            logit = sum(a * b for a, b in zip(row, weight, strict=True))
            if isinstance(head.fc, CosineLinear):
                logit *= 30 / (math.hypot(*row) * math.hypot(*weight))
            else:
                logit += head.fc.bias[c].item()
            logits.append(logit + alpha * math.log(COUNTS[c] / 100))
        top = max(logits)
        log_sum = top + math.log(sum(math.exp(logit - top) for logit in logits))
        total -= sum(t * (logit - log_sum) for t, logit in zip(target, logits, strict=True))
    return total / len(features)


@pytest.mark.parametrize('classifier', ['cosine', 'linear'])
@pytest.mark.parametrize('alpha', [1.0, 0.3, 0.0])
@pytest.mark.parametrize('soft', [False, True])
def test_loss_is_eq_7(classifier, alpha, soft):
    head = cosine(classifier=classifier, alpha=alpha).double()
    assert isinstance(head.fc, CosineLinear if classifier == 'cosine' else nn.Linear)
    features, labels = torch.randn(4, 5).double(), torch.tensor(LABELS)
    scores = torch.rand(4, 3).softmax(1).double() if soft else None
    losses = head.loss((torch.zeros(4, 9), features), samples(labels, scores))
    targets = scores if soft else F.one_hot(labels, 3)
    assert set(losses) == {'loss_cls'}
    # The prior of the counts is kept in float32.
    expected = naive(head, features, targets, alpha)
    assert losses['loss_cls'].item() == pytest.approx(expected, rel=1e-6)


def test_predictions_are_without_the_prior():
    head, features = cosine(classifier_temperature=0.5), torch.randn(4, 5)
    expected = (F.normalize(features) @ F.normalize(head.fc.weight).T / 0.5).softmax(1)
    torch.testing.assert_close(scores_of(head, features), expected)


def test_loss_of_mmpretrain_and_of_a_module():
    features, loss = torch.randn(4, 5), dict(type='CrossEntropyLoss', loss_weight=2.0)
    plain = build(loss=loss, alpha=0.0)
    expected = 2 * F.cross_entropy(plain((features,)), torch.tensor(LABELS))
    torch.testing.assert_close(loss_of(plain, features), expected)
    with pytest.warns(UserWarning, match='alpha=1.0 of LongTailLinearClsHead does not act on its '):
        build(loss=loss, alpha=1.0)
    module = MODELS.build(loss)
    head = MODELS.build(dict(type='lt_mm.CosineClsHead', num_classes=3, in_channels=5, loss=module))
    assert head.loss_module is module


@pytest.mark.parametrize(
    ('given', 'alpha'),
    [
        ({}, 0.0),
        (dict(alpha=0.3), 0.3),
        (dict(alpha=0.0), 0.0),
        (dict(loss=ADJUSTED), 1.0),
        (dict(loss=ADJUSTED, alpha=0.2), 0.2),
        (dict(loss=ADJUSTED, alpha=0.0), 0.0),
        (dict(loss=dict(ADJUSTED, alpha=0.5), alpha=0.2), 0.5),
        (dict(type='lt_mm.CosineClsHead'), 1.0),
        (dict(type='lt_mm.CosineClsHead', alpha=0.0), 0.0),
        (dict(type='lt_mm.CosineClsHead', loss=dict(ADJUSTED, loss_weight=0.05)), 1.0),
    ],
)
def test_loss_is_cross_entropy_unless_another_or_an_alpha_is_given(given, alpha):
    assert build(**given).loss_module.alpha == alpha


def test_a_loss_is_left_to_itself_where_the_head_sets_no_alpha(recwarn):
    cosine(loss=dict(type='lt_mm.LDAMLoss', scale=30.0))
    assert not [warning for warning in recwarn if 'alpha' in str(warning.message)]


def test_accuracy_where_asked_for():
    head, features, labels = cosine(cal_acc=True, topk=(1, 2)), torch.randn(8, 5), LABELS * 2
    losses = head.loss((features,), samples(labels))
    right = (head((features,)).argmax(1) == torch.tensor(labels)).float().mean() * 100
    assert losses['accuracy_top-1'].item() == pytest.approx(right.item())
    assert losses['accuracy_top-2'] >= losses['accuracy_top-1']
    assert 'accuracy_top-2' in cosine(cal_acc=True, topk=2).loss((features,), samples(labels))
    with pytest.raises(ValueError, match='cal_acc of LongTailLinearClsHead has no meaning for so'):
        head.loss((features,), samples(labels, torch.rand(8, 3).softmax(1)))


@pytest.mark.parametrize('label', [3, -1, -100, 255])
def test_a_label_that_is_no_class(label):
    message = f'label {label} reached LongTailLinearClsHead, which has 3 classes and ignores noth'
    with pytest.raises(ValueError, match=message):
        loss_of(build(), torch.randn(2, 5), [0, label])
    # A fault is no reason to look less closely at the next batch.
    with pytest.raises(ValueError, match=message):
        loss_of(build(), torch.randn(2, 5), [0, label])


def test_counts_missing_or_of_other_classes():
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        loss_of(cosine(counts=None), torch.randn(1, 5), [0])
    with pytest.raises(ValueError, match='classes'):
        loss_of(cosine(counts=[1, 2]), torch.randn(1, 5), [0])


def test_a_class_without_images_gives_finite_numbers():
    head = cosine(counts=[9, 1, 0])
    loss = loss_of(head, torch.randn(2, 5), [0, 2])
    loss.backward()
    assert loss.isfinite() and head.fc.weight.grad.isfinite().all()


@pytest.mark.parametrize('classifier', ['cosine', 'linear'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_gives_a_float32_loss(classifier, dtype):
    head, features = cosine(classifier=classifier), torch.randn(4, 5)
    exact = loss_of(head, features)
    with torch.autocast('cpu', dtype=dtype):
        loss = loss_of(head, features.to(dtype))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)


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
        (dict(classifier='tau_normalized'), {'fc.weight', 'fc.bias'}),
        (dict(classifier='class_means'), {'fc.weight', 'fc.bias'}),
        (dict(classifier=dict(type='lt_mm.TauNormLinear', tau=0.5)), {'fc.weight', 'fc.bias'}),
        (dict(post_compensation=dict(class_counts=[3, 2, 1])), {'fc.weight', 'fc.bias'}),
    ],
)
def test_gradients_reach_what_is_to_be_trained(changes, expected):
    head, features = build(**changes), torch.randn(4, 5, requires_grad=True)
    loss = loss_of(head, features)
    loss.backward()
    assert loss.isfinite() and trained(head) == expected
    assert features.grad.any()


def test_the_loss_is_plain_cross_entropy_of_the_aligned_logits():
    head, features = build(alignment=LWS), torch.randn(4, 5)
    with torch.no_grad():
        head.alignment.scale.copy_(torch.tensor([1.0, 2.0, 0.5]))
    logits = (features @ head.fc.weight.T + head.fc.bias) * head.alignment.scale
    expected = F.cross_entropy(logits, torch.tensor(LABELS))
    torch.testing.assert_close(loss_of(head, features), expected)


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
    expected = F.cross_entropy(plain, torch.tensor(LABELS))
    torch.testing.assert_close(loss_of(head, features), expected)
    prior = torch.tensor([0.7, 0.2, 0.1])
    torch.testing.assert_close(scores_of(head, features), (plain - prior.log()).softmax(1))


def test_initial_weights_are_those_of_each_part():
    head = build(num_classes=50, in_channels=60, alignment=DISALIGN, counts=None)
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.1) and not head.fc.bias.any()
    assert torch.equal(head.alignment.confidence.weight, torch.full((1, 60), 0.1))
    head = build(classifier='cosine')
    torch.testing.assert_close(head.fc.weight.norm(dim=1), torch.ones(3))
    assert head.fc.temperature == cosine().fc.temperature == 1 / 30
    assert build(classifier='cosine', classifier_temperature=0.5).fc.temperature == 0.5
    linear = cosine(num_classes=100, in_channels=50, classifier='linear', counts=None)
    assert (
        linear.fc.weight.std().item() == pytest.approx(0.01, rel=0.1) and not linear.fc.bias.any()
    )


@pytest.mark.parametrize('name', ['cosine', 'tau_normalized', 'class_means'])
def test_a_classifier_by_name_is_the_layer_of_that_name(name):
    layers = dict(
        cosine=dict(type='lt_mm.CosineLinear', temperature=1 / 30),
        tau_normalized=dict(type='lt_mm.TauNormLinear'),
        class_means=dict(type='lt_mm.NearestClassMeanLinear'),
    )
    named, given = build(classifier=name), build(classifier=layers[name])
    assert type(named.fc) is type(given.fc) and repr(named.fc) == repr(given.fc)


def test_copies_and_pickles_are_heads_of_their_own(tmp_path):
    head, features = build(alignment=DISALIGN, classifier='cosine'), torch.randn(4, 5)
    expected = head((features,))
    torch.save(head, tmp_path / 'head.pth')
    for other in (
        copy.deepcopy(head),
        torch.load(tmp_path / 'head.pth', weights_only=False),
    ):
        assert type(other) is type(head)
        assert torch.equal(other((features,)), expected)
        nn.init.zeros_(other.fc.weight)
        assert not other((features,)).any() and torch.equal(head((features,)), expected)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(classifier='round'), "classifier of LongTailLinearClsHead is 'round'; use 'linear'"),
        (dict(freeze_classifier=True), 'freeze_classifier of LongTailLinearClsHead leaves nothin'),
        (dict(post_compensation=dict(class_counts=[1, 2])), '2 classes but PostCompensation has 3'),
        (dict(classifier_temperature=0.1), "classifier_temperature of .* 'linear' and has none"),
        (
            dict(classifier='tau_normalized', classifier_temperature=0.1),
            "the classifier is 'tau_normalized' and has none; set classifier='cosine'",
        ),
        (dict(alpha=math.inf), 'alpha of LongTailLinearClsHead is inf, but it must be finite'),
        (
            dict(classifier='class_means', alignment=dict(type='lt_mm.DisAlign')),
            'that alignment wo',
        ),
        (dict(classifier='class_means', post_compensation=dict()), 'that post_compensation would'),
        (dict(classifier=dict(type='lt_mm.TauNormLinear', tau='x')), "tau of TauNormLinear is 'x'"),
        (dict(classifier=dict(type='lt_mm.TauNormLinear', tau=-1)), 'is -1, but it must be 0 or m'),
        (dict(contrast=dict(type='lt_mm.GMLLoss', size=81.5)), 'size of the class queue is 81.5'),
        (dict(contrast=dict(type='lt_mm.GMLLoss', size=True)), 'size of the class queue is True'),
        (
            dict(contrast=dict(type='lt_mm.GMLLoss', widths='512')),
            "a width of ProjectionMLP is '5'",
        ),
        (dict(contrast=dict(type='lt_mm.GMLLoss', widths=(8, 0))), 'a width of ProjectionMLP is 0'),
        (dict(base='FCNHead'), "no known head; name one such as 'LinearClsHead'"),
        (dict(base='LinearClsHed'), "no known head; perhaps 'LinearClsHead'"),
        (dict(base='CosineClsHead'), 'which has these options already; name the plain head'),
    ],
)
def test_options_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ('trained', 'afterwards', 'told'), [(1.0, 1.0, 1), (0.2, 1.0, 1), (0.2, 0.8, 0), (0.0, 1.0, 0)]
)
def test_correcting_for_the_prior_twice_is_warned_of(trained, afterwards, told, recwarn):
    loss = dict(type='lt_mm.LogitAdjustedLoss', alpha=trained)
    build(loss=loss, post_compensation=dict(alpha=afterwards))
    assert len([w for w in recwarn if 'corrects for the prior twice' in str(w.message)]) == told


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_out_of_its_range_is_no_missing_one(temperature):
    with pytest.raises(ValueError, match=f'classifier_temperature of .* is {temperature}, but it'):
        cosine(classifier_temperature=temperature)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(temperature=0.1), 'temperature of .* use classifier_temperature'),
        (dict(gml=dict()), r"gml of .* use contrast=dict\(type='lt_mm.GMLLoss', ...\)"),
    ],
)
@pytest.mark.parametrize('kind', ['LongTailClsHead', 'CosineClsHead', 'GMLClsHead'])
def test_arguments_of_earlier_versions_name_their_successors(kind, old, new):
    with pytest.raises(TypeError, match=new):
        build(type=f'lt_mm.{kind}', **old)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('DecoupledClsHead', 'LongTailClsHead'),
        (
            'DecoupledVisionTransformerClsHead',
            "LongTailClsHead with base='VisionTransformerClsHead'",
        ),
        ('ContrastiveClsHead', 'CosineClsHead, with the same contrast and distillation'),
    ],
)
def test_heads_of_earlier_versions_name_their_successors(old, new):
    with pytest.raises(KeyError, match=f'lt_mm.{old} is gone; use lt_mm.{new}'):
        build(type=f'lt_mm.{old}')
