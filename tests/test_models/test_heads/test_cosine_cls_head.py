"""CosineClsHead: L_cls restated, predictions without the prior, and what it refuses."""

import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from lt_mm.models.layers import CosineLinear
from lt_mm.structures import ClassCounts

COUNTS = [60, 25, 15]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(counts=COUNTS, **changes):
    head = MODELS.build(
        {'type': 'lt_mm.CosineClsHead', 'num_classes': 3, 'in_channels': 5} | changes
    )
    head.init_weights()
    for part in head.modules():
        if counts and hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(counts))
    return head


def samples(labels, scores=None):
    made = [DataSample().set_gt_label(int(label)) for label in labels]
    for sample, score in zip(made, [] if scores is None else scores):
        sample.set_gt_score(score)
    return made


def naive(head, features, targets, alpha=1.0):
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
@pytest.mark.parametrize('alpha', [1.0, 0.3])
@pytest.mark.parametrize('soft', [False, True])
def test_loss_is_eq_7(classifier, alpha, soft):
    head = build(classifier=classifier, alpha=alpha).double()
    assert isinstance(head.fc, CosineLinear if classifier == 'cosine' else nn.Linear)
    features, labels = torch.randn(4, 5).double(), torch.tensor([0, 1, 2, 1])
    scores = torch.rand(4, 3).softmax(1).double() if soft else None
    losses = head.loss((torch.zeros(4, 9), features), samples(labels, scores))
    targets = scores if soft else nn.functional.one_hot(labels, 3)
    assert set(losses) == {'loss_cls'}
    # The prior of the counts is kept in float32.
    assert losses['loss_cls'].item() == pytest.approx(
        naive(head, features, targets, alpha), rel=1e-6
    )


def test_predictions_are_without_the_prior():
    head, features = build(temperature=0.5), torch.randn(4, 5)
    unit = nn.functional.normalize
    expected = (unit(features) @ unit(head.fc.weight).T / 0.5).softmax(1)
    predicted = torch.stack([sample.pred_score for sample in head.predict((features,))])
    torch.testing.assert_close(predicted, expected)


def test_loss_of_mmpretrain_and_of_a_module():
    features, labels = torch.randn(4, 5), [0, 1, 2, 1]
    loss = dict(type='CrossEntropyLoss', loss_weight=2.0)
    plain = build(loss=loss, alpha=0)
    value = plain.loss((features,), samples(labels))['loss_cls']
    expected = 2 * nn.functional.cross_entropy(plain((features,)), torch.tensor(labels))
    torch.testing.assert_close(value, expected)
    with pytest.warns(UserWarning, match="alpha=1.0 does not act on the loss of type 'Cross"):
        build(loss=loss, alpha=1.0)
    module = MODELS.build(loss)
    assert build(loss=module).loss_module is module


def test_alpha_of_the_loss_comes_first():
    assert build(alpha=0.2).loss_module.alpha == 0.2
    loss = dict(type='lt_mm.LogitAdjustedLoss', alpha=0.7, loss_weight=0.05)
    head = build(alpha=0.2, loss=loss)
    assert (head.loss_module.alpha, head.loss_module.loss_weight) == (0.7, 0.05)


def test_linear_classifier_starts_as_mmpretrains():
    head = build(num_classes=100, in_channels=50, classifier='linear', counts=None)
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.1) and not head.fc.bias.any()


def test_accuracy_where_asked_for():
    head, features, labels = build(cal_acc=True, topk=(1, 2)), torch.randn(8, 5), [0, 1, 2, 1] * 2
    losses = head.loss((features,), samples(labels))
    right = (head((features,)).argmax(1) == torch.tensor(labels)).float().mean() * 100
    assert losses['accuracy_top-1'].item() == pytest.approx(right.item())
    assert losses['accuracy_top-2'] >= losses['accuracy_top-1']
    with pytest.raises(ValueError, match='cal_acc of CosineClsHead has no meaning for soft'):
        head.loss((features,), samples(labels, torch.rand(8, 3)))


@pytest.mark.parametrize('label', [3, -1, -100, 255])
def test_a_label_that_is_no_class(label):
    message = f'label {label} reached CosineClsHead, which has 3 classes and ignores nothing'
    with pytest.raises(ValueError, match=message):
        build().loss((torch.randn(2, 5),), samples([0, label]))


def test_counts_missing_or_of_other_classes():
    with pytest.raises(RuntimeError, match='ClassCountsHook'):
        build(counts=None).loss((torch.randn(1, 5),), samples([0]))
    with pytest.raises(ValueError, match='classes'):
        build(counts=[1, 2]).loss((torch.randn(1, 5),), samples([0]))


def test_a_class_without_images_gives_finite_numbers():
    head = build(counts=[9, 1, 0])
    loss = head.loss((torch.randn(2, 5),), samples([0, 2]))['loss_cls']
    loss.backward()
    assert loss.isfinite() and head.fc.weight.grad.isfinite().all()


@pytest.mark.parametrize('classifier', ['cosine', 'linear'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_gives_a_float32_loss(classifier, dtype):
    head, features = build(classifier=classifier), torch.randn(4, 5)
    exact = head.loss((features,), samples([0, 1, 2, 1]))['loss_cls']
    with torch.autocast('cpu', dtype=dtype):
        loss = head.loss((features.to(dtype),), samples([0, 1, 2, 1]))['loss_cls']
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)


def test_another_classifier_is_refused():
    with pytest.raises(ValueError, match="CosineClsHead is 'round'; use 'cosine' or 'linear'"):
        build(classifier='round')


def test_a_loss_is_left_to_itself_where_the_head_sets_no_alpha(recwarn):
    build(loss=dict(type='lt_mm.LDAMLoss', scale=30.0))
    assert not [warning for warning in recwarn if 'alpha' in str(warning.message)]
    assert build().loss_module.alpha == 1.0
