"""MultiExpertClsHead: whose losses, whose gradients, what predictions are, and bad input."""

import copy

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from lt_mm.functional import mutual_divergence
from lt_mm.structures import ClassCounts

COUNTS = [70, 20, 10]
LABELS = [0, 1, 2, 1]
PLAIN = dict(type='lt_mm.LogitAdjustedLoss', alpha=0.0)
BALANCED = dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0)
MUTUAL = dict(type='lt_mm.MutualLoss', temperature=2.0)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(counts=COUNTS, **changes):
    cfg = {'type': 'lt_mm.MultiExpertClsHead', 'num_classes': 3, 'in_channels': 5} | changes
    head = MODELS.build(copy.deepcopy(cfg))
    head.init_weights()
    for part in head.modules():
        if counts and hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(counts))
    return head.train()


def samples_of(labels=LABELS):
    return [DataSample().set_gt_label(label) for label in labels]


def by_hand(head, features):
    """Logits of each expert without the head's own code."""
    return [
        features[:, index] @ expert.fc.weight.T + expert.fc.bias
        for index, expert in enumerate(head.experts)
    ]


def test_every_expert_has_its_own_loss_and_prior():
    head, features = (
        build(loss=[PLAIN, BALANCED, PLAIN | dict(loss_weight=2)]),
        torch.randn(4, 3, 5),
    )
    losses = head.loss((features,), samples_of())
    first, second, third = by_hand(head, features)
    target, prior = torch.tensor(LABELS), torch.tensor(COUNTS).div(100).log()
    assert list(losses) == ['expert0.loss_cls', 'expert1.loss_cls', 'expert2.loss_cls']
    torch.testing.assert_close(losses['expert0.loss_cls'], F.cross_entropy(first, target))
    torch.testing.assert_close(losses['expert1.loss_cls'], F.cross_entropy(second + prior, target))
    torch.testing.assert_close(losses['expert2.loss_cls'], 2 * F.cross_entropy(third, target))


def test_mmengine_adds_up_all_of_them():
    head = build(interplay=MUTUAL, cal_acc=True, topk=(1, 2))
    losses = head.loss((torch.randn(4, 3, 5),), samples_of())
    total, logged = BaseModel.parse_losses(None, losses)
    assert set(losses) == {
        *(f'expert{index}.loss_cls' for index in range(3)),
        *('loss_mutual', 'accuracy_top-1', 'accuracy_top-2'),
    }
    expected = sum(value for key, value in losses.items() if not key.startswith('accuracy'))
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(logged['loss'], expected)


def test_each_loss_reaches_its_own_expert_and_the_interplay_reaches_all():
    head = build(interplay=MUTUAL)
    features = torch.randn(4, 3, 5, requires_grad=True)
    losses = head.loss((features,), samples_of())
    for index in range(3):
        (gradient,) = torch.autograd.grad(
            losses[f'expert{index}.loss_cls'], features, retain_graph=True
        )
        reached = gradient.abs().sum((0, 2)) > 0
        assert reached.tolist() == [expert == index for expert in range(3)]
    sum(losses.values()).backward()
    # What DDP without find_unused_parameters asks for.
    assert all(value.grad is not None and value.grad.any() for value in head.parameters())
    logits = torch.stack(by_hand(head, features))
    torch.testing.assert_close(losses['loss_mutual'], mutual_divergence(logits, 2.0).mean())


def test_an_interplay_of_factor_zero_leaves_losses_and_gradients_as_without():
    features, taken = torch.randn(4, 3, 5), []
    plain = build()
    for interplay in (None, MUTUAL | dict(loss_weight=0.0)):
        head = build(interplay=interplay)
        head.load_state_dict(plain.state_dict())
        losses = head.loss((features,), samples_of())
        sum(losses.values()).backward()
        taken.append((losses, [value.grad for value in head.parameters()]))
    torch.testing.assert_close(taken[0], taken[1], rtol=0, atol=0)


def test_one_expert_is_the_plain_head():
    head = build(num_experts=1)
    plain = MODELS.build(dict(type='LinearClsHead', num_classes=3, in_channels=5)).eval()
    head.experts[0].fc.load_state_dict(plain.fc.state_dict())
    features = torch.randn(4, 1, 5)
    losses = head.loss((features,), samples_of())
    expected = plain.loss((features[:, 0],), samples_of())['loss']
    torch.testing.assert_close(losses, {'expert0.loss_cls': expected})
    torch.testing.assert_close(head.eval()((features,)), plain((features[:, 0],)))


def test_predictions_are_of_the_mean_logits_or_of_weighted_ones():
    head, features = build().eval(), torch.randn(4, 3, 5)
    logits = by_hand(head, features)
    torch.testing.assert_close(head.expert_logits((features,)), torch.stack(logits))
    torch.testing.assert_close(head((features,)), sum(logits) / 3)
    predicted = head.predict((features,), samples_of())
    scores = torch.stack([one.pred_score for one in predicted])
    torch.testing.assert_close(scores, (sum(logits) / 3).softmax(1))
    assert [one.pred_label.item() for one in predicted] == scores.argmax(1).tolist()
    assert [one.gt_label.item() for one in predicted] == LABELS
    assert 'expert_scores' not in predicted[0]
    head.expert_weights.copy_(torch.tensor([0.7, 0.1, 0.2]))
    weighted = 0.7 * logits[0] + 0.1 * logits[1] + 0.2 * logits[2]
    torch.testing.assert_close(head((features,)), weighted)
    resumed = build().eval()
    resumed.load_state_dict(head.state_dict())
    torch.testing.assert_close(resumed((features,)), weighted)


def test_scores_of_each_expert_on_request():
    head, features = build(expert_predictions=True, num_experts=2).eval(), torch.randn(4, 2, 5)
    for index, sample in enumerate(head.predict((features,))):
        own = torch.stack([logits[index].softmax(0) for logits in by_hand(head, features)])
        torch.testing.assert_close(sample.expert_scores, own)
        assert sample.to_dict()['expert_scores'].shape == (2, 3)


def test_compensation_acts_on_every_expert_and_so_on_the_mean():
    head = build(post_compensation=dict(), expert_predictions=True)
    features, prior = torch.randn(4, 3, 5), torch.tensor(COUNTS).div(100).log()
    logits = torch.stack(by_hand(head, features))
    torch.testing.assert_close(head.expert_logits((features,)), logits)
    head.eval()
    torch.testing.assert_close(head((features,)), logits.mean(0) - prior)
    sample = head.predict((features,))[0]
    torch.testing.assert_close(sample.expert_scores, (logits[:, 0] - prior).softmax(1))


def test_compensation_of_the_one_expert_that_needs_it():
    head = build(num_experts=2, loss=[PLAIN, BALANCED], post_compensation=[dict(), None]).eval()
    features, prior = torch.randn(4, 2, 5), torch.tensor(COUNTS).div(100).log()
    first, second = by_hand(head, features)
    torch.testing.assert_close(head((features,)), (first - prior + second) / 2)


def test_classifiers_start_apart_and_as_those_of_a_single_head():
    head = build(num_classes=50, in_channels=60, counts=None)
    weights = [expert.fc.weight for expert in head.experts]
    assert all(weight.std().item() == pytest.approx(0.01, rel=0.1) for weight in weights)
    assert not torch.equal(weights[0], weights[1])
    wide = build(init_cfg=dict(type='Normal', std=2.0, override=dict(name='fc')), in_channels=500)
    assert wide.experts[1].fc.weight.std().item() == pytest.approx(2, rel=0.1)
    cosine = build(classifier='cosine', temperature=0.1)
    features = torch.randn(4, 3, 5)
    expected = F.cosine_similarity(features[:, 1, None], cosine.experts[1].fc.weight[None], dim=2)
    torch.testing.assert_close(cosine.expert_logits((features,))[1], 10 * expected)
    tau = build(classifier=dict(type='lt_mm.TauNormLinear', tau=0.5))
    assert all(expert.fc.tau == 0.5 for expert in tau.experts)


def test_soft_labels_of_mixup():
    head, features = build(interplay=MUTUAL), torch.randn(2, 3, 5)
    soft = torch.tensor([[0.5, 0.5, 0], [0, 0.2, 0.8]])
    samples = [DataSample().set_gt_score(score) for score in soft]
    losses = head.loss((features,), samples)
    first = by_hand(head, features)[0]
    torch.testing.assert_close(losses['expert0.loss_cls'], F.cross_entropy(first, soft))
    assert 'loss_mutual' in losses
    with pytest.raises(ValueError, match='cal_acc of MultiExpertClsHead'):
        build(cal_acc=True).loss((features,), samples)


def test_the_accuracy_in_training_is_that_of_the_mean_whatever_its_sign():
    head, features = build(cal_acc=True), torch.randn(4, 3, 5)
    with torch.no_grad():
        for expert in head.experts:
            expert.fc.bias -= 100
    labels = sum(by_hand(head, features)).argmax(1)
    labels[3] = (labels[3] + 1) % 3
    losses = head.loss((features,), samples_of(labels.tolist()))
    assert losses['accuracy_top-1'].item() == 75


@pytest.mark.parametrize('classifier', ['linear', 'cosine'])
def test_autocast(classifier):
    head = build(classifier=classifier, interplay=MUTUAL)
    features = torch.randn(4, 3, 5, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss((features,), samples_of())
        scores = head.eval().predict((features,))[0].pred_score
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert scores.dtype == torch.float32
    exact = head.train().loss((features,), samples_of())
    torch.testing.assert_close(losses, exact, rtol=0.05, atol=0.01)
    sum(losses.values()).backward()
    assert features.grad.isfinite().all()


def test_no_image():
    head = build(interplay=MUTUAL).eval()
    assert head.predict((torch.randn(0, 3, 5),)) == []


def test_the_expert_that_is_not_finite_is_named():
    head, features = build(), torch.randn(4, 3, 5)
    features[2, 1, 0] = torch.nan
    with pytest.raises(FloatingPointError, match='MultiExpertClsHead: the logits of expert 1'):
        head.loss((features,), samples_of())


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(num_experts=0), 'num_experts of MultiExpertClsHead is 0'),
        (dict(num_experts=1, interplay=MUTUAL), 'one expert and the interplay lt_mm.MutualLoss'),
        (dict(loss=[PLAIN, BALANCED]), 'loss of MultiExpertClsHead has 2 entries for 3 experts'),
        (dict(post_compensation=[None]), 'post_compensation of .* has 1 entries for 3'),
        (dict(classifier='square'), "classifier of .* 'square'"),
    ],
)
def test_bad_arguments_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        build(**changes)


@pytest.mark.parametrize('shape', [(4, 5), (4, 2, 5), (4, 3, 6), (4, 3, 5, 1, 1)])
def test_features_that_do_not_fit_are_named(shape):
    with pytest.raises(ValueError, match=r'num_experts=3 and in_channels=5.*\(N, 3, 5\)'):
        build()((torch.zeros(shape),))


def test_a_label_that_is_no_class_and_a_missing_prior_are_named():
    with pytest.raises(ValueError, match='label 3'):
        build().loss((torch.zeros(4, 3, 5),), samples_of([0, 1, 3, 2]))
    with pytest.raises(RuntimeError, match='LogitAdjustedLoss needs class counts'):
        build(counts=None, loss=BALANCED).loss((torch.zeros(4, 3, 5),), samples_of())
