"""RoutedClsHead: RIDE's second stage, image by image."""

import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from lt_mm.structures import ClassCounts


def make(**changes):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    cfg = dict(type='lt_mm.RoutedClsHead', num_classes=4, in_channels=6, routers=dict(top_k=2))
    head = MODELS.build({**cfg, 'experts': [dict()] * 3, **changes}).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


def samples(labels):
    return [DataSample().set_gt_label(int(label)) for label in labels]


def features(images=40, experts=3):
    return (torch.randn(images, experts, 6).double(),)


def naive_routes(head, feats):
    """For each image the mean logits and how many experts it asks."""
    logits, routed, used = head.expert_logits(feats), [], []
    for n in range(logits.shape[1]):
        number, mean = 1, logits[0, n]
        while number < head.num_experts:
            row = (feats[-1][n : n + 1, number - 1], mean[None])
            if not float(head.routers(number - 1, *row).sigmoid()) > head.threshold:
                break
            number += 1
            mean = logits[:number, n].mean(0)
        routed.append(mean)
        used.append(number)
    return torch.stack(routed), used


def test_predictions_ask_experts_one_by_one():
    head, feats = make().eval(), features()
    expected, used = naive_routes(head, feats)
    assert set(used) == {1, 2, 3}
    torch.testing.assert_close(head(feats), expected)
    predictions = head.predict(feats, samples([0] * 40))
    assert [int(sample.num_experts) for sample in predictions] == used
    scores = torch.stack([sample.pred_score for sample in predictions])
    torch.testing.assert_close(scores, expected.softmax(1))
    assert [int(sample.pred_label) for sample in predictions] == expected.argmax(1).tolist()
    assert len(head.predict(feats)) == 40


def test_no_image_wants_more_or_all_do():
    feats = features()
    head = make(threshold=0.0).eval()
    torch.testing.assert_close(head(feats), head.expert_logits(feats).mean(0))
    head = make(threshold=0.999999999).eval()
    torch.nn.init.constant_(head.routers.output[0].bias, -100)
    torch.testing.assert_close(head(feats), head.expert_logits(feats)[0])
    assert head(features(0)).shape == (0, 4)


def test_loss_against_loops():
    head, feats, labels = make(pos_weight=7.0), features(), torch.arange(40) % 4
    logits = head.expert_logits(feats)
    total, positive = 0.0, 0
    for n in range(40):
        right = [int(logits[: e + 1, n].mean(0).argmax()) == labels[n] for e in range(3)]
        for e in range(2):
            mean = logits[: e + 1, n].mean(0)[None]
            score = float(head.routers(e, feats[-1][n : n + 1, e], mean))
            wanted = not right[e] and any(right[e + 1 :])
            positive += wanted
            share = 1 / (1 + math.exp(-score))
            total -= 7 * math.log(share) if wanted else math.log(1 - share)
    losses = head.loss(feats, samples(labels))
    assert list(losses) == ['loss_routing'] and 0 < positive < 80
    torch.testing.assert_close(losses['loss_routing'].item(), total / 80, rtol=1e-5, atol=1e-6)


def test_only_the_routers_learn():
    head, feats = make(), features()
    feats[0].requires_grad_()
    head.loss(feats, samples(torch.arange(40) % 4))['loss_routing'].backward()
    learnt = {name.split('.')[0] for name, value in head.named_parameters() if value.requires_grad}
    assert learnt == {'routers'}
    assert all(value.grad.any() for value in head.routers.parameters())
    assert feats[0].grad is None


def test_the_experts_are_as_in_a_test_also_in_training():
    head = make(post_compensation=dict(class_counts=[70, 20, 9, 1])).train()
    feats = features()
    torch.testing.assert_close(head.expert_logits(feats), head.eval().expert_logits(feats))
    prior = ClassCounts([70, 20, 9, 1]).log_prior().double()
    own = head.experts[0].fc(feats[0][:, 0]) - prior
    torch.testing.assert_close(head.expert_logits(feats)[0], own)


def test_weights_of_the_experts_count_for_those_asked():
    head, feats = make(threshold=0.0).eval(), features(5)
    head.expert_weights.copy_(torch.tensor([0.5, 0.2, 0.3]))
    expected = torch.einsum('e,enc->nc', head.expert_weights, head.expert_logits(feats))
    torch.testing.assert_close(head(feats), expected)


def test_weights_of_the_first_stage_fit():
    settings = dict(num_classes=4, in_channels=6, experts=[dict()] * 3)
    settings['interplay'] = dict(type='lt_mm.DiversityLoss')
    init_default_scope('mmpretrain')
    first = MODELS.build(dict(type='lt_mm.MultiExpertClsHead', **settings))
    missing, unexpected = make(**settings).load_state_dict(first.state_dict(), strict=False)
    assert not unexpected and all(name.startswith('routers.') for name in missing)


def test_half_precision():
    head = make().float()
    feats = (features()[0].float(),)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = head.loss(feats, samples(torch.arange(40) % 4))['loss_routing']
        assert head(feats).isfinite().all()
    assert loss.isfinite() and loss.dtype == torch.float32


@pytest.mark.parametrize(
    'changes,message',
    [
        (dict(experts=[dict()]), 'number of experts of RoutedClsHead is 1'),
        (dict(routers=dict(top_k=5)), 'top_k of RoutedClsHead is 5'),
        (dict(pos_weight=0), 'pos_weight of RoutedClsHead is 0'),
        (dict(threshold=1), 'threshold of RoutedClsHead is 1'),
        (dict(expert_predictions=True), 'expert_predictions of RoutedClsHead is True'),
        (
            dict(distillation=dict(type='lt_mm.KDLoss')),
            'distillation of RoutedClsHead is KDLoss',
        ),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_soft_labels():
    soft = [DataSample().set_gt_score(torch.full((4,), 0.25)) for _ in range(2)]
    with pytest.raises(ValueError, match='needs hard labels'):
        make().loss(features(2), soft)
