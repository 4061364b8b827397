"""Losses with sigmoids in heads of several labels and of one output channel, and what says so."""

import pytest
import torch
from mmengine.structures import PixelData
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from lt_mm.models.losses import FocalLoss, WeightedCrossEntropyLoss
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts

LOSSES = [
    dict(type='lt_mm.FocalLoss', use_sigmoid=True, gamma=0.0),
    dict(type='lt_mm.WeightedCrossEntropyLoss', class_weight=None, use_sigmoid=True),
]
SOFTMAX = ['LogitAdjustedLoss', 'LDAMLoss', 'LabelAwareSmoothingLoss', 'LADELoss', 'SeesawLoss']


def test_the_example():
    loss = FocalLoss(use_sigmoid=True, gamma=0.0)
    logits, target = torch.tensor([[9.0, -9.0, 9.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction='sum')
    torch.testing.assert_close(loss(logits, target), expected)
    assert loss(logits, target).item() == pytest.approx(0.0004, abs=5e-5)


@pytest.mark.parametrize('config', LOSSES)
def test_multi_label_head_of_mmpretrain(config):
    losses = []
    for loss in (config, dict(type='mmpretrain.CrossEntropyLoss', use_sigmoid=True)):
        torch.manual_seed(0)
        head = MMPRETRAIN_MODELS.build(
            dict(type='mmpretrain.MultiLabelLinearClsHead', num_classes=3, in_channels=5, loss=loss)
        )
        samples = [DataSample().set_gt_label(label) for label in ([0, 2], [1], [], [0, 1, 2])]
        for sample in samples:
            sample.set_gt_score(torch.zeros(3).index_fill(0, sample.gt_label, 1.0))
        losses.append(head.loss((torch.randn(4, 5),), samples)['loss'])
        losses[-1].backward()
        assert head.fc.weight.grad.any()
    torch.testing.assert_close(*losses)


def decode_head(loss, **changes):
    torch.manual_seed(0)
    return MMSEG_MODELS.build(
        dict(
            type='mmseg.FCNHead',
            in_channels=5,
            channels=5,
            num_convs=0,
            num_classes=2,
            out_channels=1,
            threshold=0.5,
            concat_input=False,
            dropout_ratio=0,
            loss_decode=loss,
            **changes,
        )
    )


def batch(ignored=255):
    label = torch.randint(2, (1, 8, 8))
    label[:, :3] = ignored
    return [torch.randn(1, 5, 8, 8)], [SegDataSample(gt_sem_seg=PixelData(data=label))]


@pytest.mark.parametrize('config', LOSSES)
@pytest.mark.parametrize('listed', [False, True])
def test_binary_decode_head_of_mmsegmentation(config, listed):
    plain = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)
    torch.manual_seed(0)
    inputs, samples = batch()
    losses = []
    for loss in (config, plain):
        head = decode_head([loss, dict(loss, loss_name='loss_other')] if listed else loss)
        found = head.loss(inputs, samples, train_cfg=None)
        losses.append(sum(value for name, value in found.items() if 'loss' in name))
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize('average', ['elements', 'weights'])
def test_class_weights_of_a_binary_head(average):
    loss = WeightedCrossEntropyLoss([0.5, 3.0], use_sigmoid=True, average=average)
    logits, label = torch.randn(2, 1, 4), torch.tensor([[0, 1, 1, 255], [0, 0, 255, 0]])
    found = loss(logits, label, ignore_index=255)
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    plain = dict(ignore_index=255, reduction='none')
    each = F.cross_entropy(both, label, torch.tensor([0.5, 3.0]), **plain)
    divisor = 6 if average == 'elements' else 4 * 0.5 + 2 * 3
    torch.testing.assert_close(found, each.sum() / divisor)
    target = torch.tensor([[0.0], [1.0], [0.3]])
    found = loss(logits[0].T[:3], target, reduction_override='none')
    each = F.binary_cross_entropy_with_logits(logits[0].T[:3], target, reduction='none')
    torch.testing.assert_close(found[:2], each[:2, 0] * torch.tensor([0.5, 3.0]))
    counted = FocalLoss(use_sigmoid=True, class_weight=dict(type='inverse'))
    counted.set_class_counts(ClassCounts([90, 10]))
    assert counted(logits, label, ignore_index=255).isfinite()


@pytest.mark.parametrize('name', [*SOFTMAX, 'FocalLoss', 'WeightedCrossEntropyLoss'])
def test_softmaxes_tell_a_binary_head_what_to_do(name):
    options = dict(class_weight=None) if name.startswith('Weighted') else {}
    head = decode_head(dict(type=f'lt_mm.{name}', **options))
    head.loss_decode.set_class_counts(ClassCounts([90, 10]))
    with pytest.raises(ValueError, match=rf'{name} has .*num_classes=2 and out_channels=2.*Focal'):
        head.loss(*batch(), train_cfg=None)


def test_labels_of_a_binary_head():
    with pytest.raises(ValueError, match='label 2 reached FocalLoss, which has 2 classes'):
        FocalLoss(use_sigmoid=True)(torch.zeros(2, 1), torch.tensor([1, 2]))


@pytest.mark.parametrize('base', ['LinearClsHead', 'VisionTransformerClsHead'])
def test_a_head_of_one_class_is_refused_when_it_is_built(base):
    config = dict(type='lt_mm.LongTailClsHead', base=base, num_classes=1, in_channels=5)
    for loss in ({}, dict(loss=dict(type='mmpretrain.CrossEntropyLoss'))):
        with pytest.raises(ValueError, match='num_classes of .* is 1, but .* set num_classes=2'):
            MMPRETRAIN_MODELS.build({**config, **loss})
    MMPRETRAIN_MODELS.build({**config, 'loss': LOSSES[0]})


def test_a_decode_head_of_one_class_is_refused_when_it_is_built():
    config = dict(type='lt_mm.LongTailHead', base='FCNHead', in_channels=5, channels=5)
    for loss in ({}, dict(loss_decode=dict(type='lt_mm.LogitAdjustedLoss'))):
        with pytest.raises(ValueError, match='num_classes of .* is 1, but .* set num_classes=2'):
            MMSEG_MODELS.build({**config, 'num_classes': 1, **loss})


@pytest.mark.parametrize('name', ['LogitAdjustedLoss', 'LDAMLoss', 'LabelAwareSmoothingLoss'])
@pytest.mark.parametrize('left', [dict(use_sigmoid=False), dict(avg_non_ignore=True, x=1)])
def test_arguments_of_a_loss_that_a_config_inherits(name, left):
    for build in (MODELS.build, MMSEG_MODELS.build, MMPRETRAIN_MODELS.build):
        with pytest.raises(TypeError, match=f'{name} has no argument .*write _delete_=True'):
            build(dict(type=f'lt_mm.{name}', **left))


@pytest.mark.parametrize('name', [*SOFTMAX, 'FocalLoss', 'WeightedCrossEntropyLoss'])
@pytest.mark.parametrize('loss_name', ['cls', '', 'Loss', None])
def test_a_name_that_would_not_be_trained(name, loss_name):
    options = dict(class_weight=None) if name.startswith('Weighted') else {}
    with pytest.raises(ValueError, match="has no 'loss' in its name is logged and not trained"):
        MODELS.build(dict(type=name, loss_name=loss_name, **options))


@pytest.mark.parametrize('alpha', [[0.1, 0.9], (0.1, 0.9)])
def test_a_share_for_each_class(alpha):
    loss = FocalLoss(use_sigmoid=True, alpha=alpha, gamma=0.0)
    logits, labels = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    expected = []
    for n, label in enumerate(labels.tolist()):
        own = alpha[label] * log_p[n, label]
        expected.append(-(own + (1 - alpha[1 - label]) * log_q[n, 1 - label]))
    torch.testing.assert_close(
        loss(logits, labels, reduction_override='none'), torch.stack(expected)
    )
    with pytest.raises(ValueError, match='give one number for each class'):
        loss(torch.randn(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize('alpha', [[0.1, 1.9], [], 'x', [float('nan'), 0.5], [[0.1, 0.9]]])
def test_what_is_no_share(alpha):
    with pytest.raises(ValueError, match='alpha of FocalLoss is .* a list with one for each class'):
        FocalLoss(use_sigmoid=True, alpha=alpha)
