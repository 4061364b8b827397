"""MultiExpertClsHead: whose losses, whose gradients, what predictions are, and bad input."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn import functional as F

from lt_mm.functional import mutual_divergence
from lt_mm.models.counts import set_class_counts
from lt_mm.models.heads import LongTailClsHead
from lt_mm.structures import ClassCounts

COUNTS = [70, 20, 10]
LABELS = [0, 1, 2, 1]
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
PLAIN = dict(ADJUSTED, alpha=0.0)
BALANCED = dict(ADJUSTED, alpha=1.0)
MUTUAL = dict(type='lt_mm.MutualLoss', temperature=2.0)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build(counts=COUNTS, **changes):
    cfg = dict(type='lt_mm.MultiExpertClsHead', num_classes=3, in_channels=5, experts=[dict()] * 3)
    cfg |= changes
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
    losses = PLAIN, BALANCED, PLAIN | dict(loss_weight=2)
    head, features = build(experts=[dict(loss=loss) for loss in losses]), torch.randn(4, 3, 5)
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
    head = build(experts=[dict()])
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
    head, features = build(expert_predictions=True, experts=[{}] * 2).eval(), torch.randn(4, 2, 5)
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
    experts = [dict(post_compensation=dict()), dict(loss=BALANCED)]
    head = build(experts=experts, loss=PLAIN).eval()
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
    cosine = build(classifier='cosine', classifier_temperature=0.1)
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


def test_experts_of_several_kinds_and_how_their_config_may_be_written():
    experts = (
        dict(classifier='cosine', classifier_temperature=0.5),
        dict(type='lt_mm.CosineClsHead', loss=PLAIN),
        dict(type=LongTailClsHead, base='StackedLinearClsHead', mid_channels=[4]),
        ConfigDict(alignment=dict(type='lt_mm.LearnableWeightScaling')),
    )
    head, features = build(experts=experts), torch.randn(4, 4, 5)
    assert [expert.classifier_path for expert in head.experts] == ['fc', 'fc', 'layers.1.fc', 'fc']
    temperatures = [getattr(expert.fc, 'temperature', None) for expert in head.experts]
    assert temperatures == [0.5, 1 / 30, None, None]
    losses = head.loss((features,), samples_of())
    sum(losses.values()).backward()
    assert all(value.grad is not None for value in head.parameters())
    scores = head.eval().predict((features,))[0].pred_score
    torch.testing.assert_close(scores.sum(), torch.tensor(1.0))


def test_an_expert_comes_before_what_all_have_in_common():
    loss, other = (dict(ADJUSTED, loss_weight=weight) for weight in (2.0, 3.0))
    common = dict(loss=loss, alpha=0.3)
    experts = [dict(), dict(loss=other), dict(alpha=0.0)]
    head = build(experts=experts, **common)
    assert [expert.loss_module.loss_weight for expert in head.experts] == [2, 3, 2]
    assert [expert.loss_module.alpha for expert in head.experts] == [0.3, 0.3, 0.0]
    # What was given stays as it was, and nothing is shared.
    assert common == dict(loss=dict(ADJUSTED, loss_weight=2.0), alpha=0.3)
    assert experts == [dict(), dict(loss=other), dict(alpha=0.0)]
    assert head.experts[0].loss_module is not head.experts[2].loss_module


def test_the_alpha_of_one_expert_is_its_own():
    experts = [dict(alpha=0.3), dict(), dict(loss=dict(ADJUSTED, alpha=0.0))]
    for common, expected in ((dict(), [0.3, 1.0, 0.0]), (dict(alpha=0.2), [0.3, 0.2, 0.0])):
        head = build(counts=None, experts=experts, loss=ADJUSTED, **common)
        beside = MODELS.build(ADJUSTED)
        for _ in range(2):
            assert [expert.loss_module.alpha for expert in head.experts] == expected
            set_class_counts(nn.ModuleList([head, beside]), ClassCounts(COUNTS))
        assert beside.alpha == common.get('alpha', 1.0)


def test_the_mean_logits_are_distilled_once():
    kd = dict(type='lt_mm.KDLoss', temperature=2.0, loss_weight=0.5)
    head, features = build(distillation=kd), torch.randn(4, 3, 5)
    head.expert_weights.copy_(torch.tensor([0.5, 0.2, 0.3]))
    taught = torch.randn(4, 3)
    losses = head.loss((features,), samples_of(), teacher_logits=taught)
    assert list(losses) == [*(f'expert{index}.loss_cls' for index in range(3)), 'loss_kd']
    mean = sum(w * own for w, own in zip((0.5, 0.2, 0.3), by_hand(head, features), strict=True))
    p, q = (taught / 2).softmax(1), (mean / 2).softmax(1)
    expected = 0.5 * 4 * (p * (p / q).log()).sum() / 4
    torch.testing.assert_close(losses['loss_kd'], expected)
    plain = build()
    plain.load_state_dict(head.state_dict())
    for name, value in plain.loss((features,), samples_of()).items():
        assert torch.equal(losses[name], value)
    with pytest.raises(ValueError, match='the distillation of MultiExpertClsHead has no teacher'):
        head.loss((features,), samples_of())
    with pytest.raises(ValueError, match=r'\(4, 2\), but those of MultiExpertClsHead have \(4'):
        head.loss((features,), samples_of(), teacher_logits=taught[:, :2])


LIST = 'but it must be a list with a config for each expert, such as'


@pytest.mark.parametrize(
    'changes, words',
    [
        (
            dict(experts=[]),
            'MultiExpertClsHead has no experts; give a list with the configs',
        ),
        (dict(experts=3), f'experts of MultiExpertClsHead is 3, {LIST}'),
        (dict(experts=dict(type='LinearClsHead')), LIST),
        (dict(experts='LinearClsHead'), LIST),
        (dict(experts=None), LIST),
        (dict(experts=[dict(), 2]), LIST),
        (dict(experts=['LinearClsHead'] * 2), LIST),
        (
            dict(experts=[dict()], interplay=MUTUAL),
            "is 'lt_mm.MutualLoss', but there is one exp",
        ),
        (
            dict(experts=[dict(), dict(type='LinearClsHead')]),
            'expert1 of MultiExpertClsHead is a LinearClsHead, but experts are lt_mm.LongTail',
        ),
        (dict(experts=[dict(type='lt_mm.ResLTClsHead', num_classes=6)]), 'is a ResLTClsHead, but'),
        (
            dict(experts=[dict(), dict(type='lt_mm.GMLClsHead')]),
            'with a contrast or a distillation.*leave contrast out, and give the distillation',
        ),
        (dict(contrast=dict(type='lt_mm.GMLLoss', size=9, min_size=1)), 'with a contrast'),
        (dict(experts=[dict(distillation=dict(type='lt_mm.KDLoss'))]), 'distillation beside exper'),
        (
            dict(experts=[dict(), dict(num_classes=4)]),
            'expert1 of .* num_classes=4, but all need',
        ),
        (
            dict(experts=[dict(), dict(post_compensation=dict())], post_compensation=dict()),
            'expert1 and MultiExpertClsHead both have a post_compensation, which would correct twi',
        ),
        (dict(classifier='square'), "classifier of .* 'square'"),
    ],
)
def test_bad_arguments_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        build(**changes)


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(num_experts=4), r'num_experts any more: give experts=\[dict\(\)\] \* 4'),
        (
            dict(loss=[PLAIN, BALANCED]),
            r'loss of .* is a list; .* experts=\[dict\(loss=...\), ',
        ),
        (
            dict(post_compensation=[None, dict()]),
            'post_compensation of .* is a list; give each ',
        ),
        (dict(temperature=0.1), 'temperature of .* has another name now; use classifier_temperatu'),
    ],
)
def test_arguments_of_earlier_versions_name_their_successors(changes, words):
    with pytest.raises(TypeError, match=words):
        build(**changes)


@pytest.mark.parametrize('shape', [(4, 5), (4, 2, 5), (4, 3, 6), (4, 3, 5, 1, 1)])
def test_features_that_do_not_fit_are_named(shape):
    with pytest.raises(ValueError, match=r'has 3 experts and in_channels=5.*\(N, 3, 5\)'):
        build()((torch.zeros(shape),))


def test_a_label_that_is_no_class_and_a_missing_prior_are_named():
    with pytest.raises(ValueError, match='label 3'):
        build().loss((torch.zeros(4, 3, 5),), samples_of([0, 1, 3, 2]))
    with pytest.raises(RuntimeError, match='LogitAdjustedLoss needs class counts'):
        build(counts=None, loss=BALANCED).loss((torch.zeros(4, 3, 5),), samples_of())
