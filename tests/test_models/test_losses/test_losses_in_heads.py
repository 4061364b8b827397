"""The losses inside a decode head of mmsegmentation and heads of mmpretrain."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from lt_mm.models.losses import LogitLoss
from lt_mm.structures import ClassCounts

BALANCED = dict(type='effective_number', beta=0.99)
LOSSES = [
    dict(type='lt_mm.WeightedCrossEntropyLoss', class_weight=dict(type='inverse', power=0.2)),
    dict(type='lt_mm.FocalLoss', class_weight=BALANCED),
    dict(type='lt_mm.FocalLoss', use_sigmoid=True, gamma=0.5),
    dict(type='lt_mm.LDAMLoss', class_weight=BALANCED, average='weights'),
    dict(type='lt_mm.LabelAwareSmoothingLoss'),
    dict(type='lt_mm.LADELoss'),
    dict(type='lt_mm.SeesawLoss'),
    dict(type='lt_mm.SeesawLoss', num_classes=3),
]


def build(scope, **config):
    init_default_scope(scope)
    registry = pytest.importorskip(f'{scope}.registry').MODELS
    torch.manual_seed(0)
    head = registry.build(config)
    head.init_weights()
    for part in head.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([60, 25, 15]))
    return head


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('head', ['FCNHead', 'lt_mm.CosineFCNHead'])
@pytest.mark.parametrize('ignored', [False, True])
def test_decode_head(loss, head, ignored):
    """With pixels to ignore, which crash mmsegmentation's own class weights."""
    head = build(
        'mmseg',
        type=head,
        in_channels=5,
        channels=5,
        num_convs=1,
        num_classes=3,
        concat_input=False,
        loss_decode=[loss, {**loss, 'loss_name': 'loss_other', 'loss_weight': 0.4}],
    )
    samples = []
    for _ in range(2):
        label = torch.randint(3, (1, 8, 8))
        label[:, :3] = 255
        if ignored:
            label[:] = 255
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
    losses = head.loss([torch.randn(2, 5, 4, 4)], samples, train_cfg=None)
    total = losses['loss_cls'] + losses['loss_other']
    total.backward()
    gradient = head.conv_seg.weight.grad
    assert (total == 0) == ignored and gradient.isfinite().all() and gradient.any() != ignored
    if 'num_classes' not in loss:
        torch.testing.assert_close(losses['loss_other'], 0.4 * losses['loss_cls'])


@pytest.mark.parametrize('loss', LOSSES)
def test_decode_head_that_names_no_label_to_ignore(loss):
    """DDRHead calls its losses with logits and labels alone; what is ignored, its head knows."""
    head = build(
        'mmseg',
        type='lt_mm.LongTailHead',
        base='DDRHead',
        in_channels=4,
        channels=4,
        num_classes=3,
        ignore_index=254,
        loss_decode=[loss, loss],
    )
    label = torch.randint(3, (1, 8, 8))
    label[:, :3] = 254
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    features = (torch.randn(1, 2, 8, 8), torch.randn(1, 4, 8, 8))
    for part in head.modules():
        if isinstance(part, torch.nn.Dropout2d):
            part.eval()
    told = copy.deepcopy(head.loss_decode[0])
    logits = [torch.nn.functional.interpolate(one, size=(8, 8), mode='bilinear')
              for one in head(features)]  # fmt: skip
    losses = head.loss(features, [sample], train_cfg=None)
    expected = told(logits[0], label, ignore_index=254)
    torch.testing.assert_close(losses['loss_context'], expected)
    assert losses['loss_spatial'].isfinite()


def test_hard_pixels_alone():
    """mmsegmentation's OHEM asks for the loss of each pixel before it weighs them."""
    head = build(
        'mmseg',
        type='FCNHead',
        in_channels=5,
        channels=5,
        num_convs=0,
        num_classes=3,
        concat_input=False,
        sampler=dict(type='OHEMPixelSampler', min_kept=10),
        loss_decode=dict(type='lt_mm.LabelAwareSmoothingLoss'),
    )
    label = torch.randint(3, (1, 8, 8))
    label[:, 0] = 255
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    head.eval()  # or dropout would draw anew
    features = [torch.randn(1, 5, 8, 8)]
    loss = head.loss(features, [sample], train_cfg=None)['loss_cls']
    logits = head(features)
    weight = head.sampler.sample(logits, label[:, None])
    assert weight.sum() == 10
    (criterion,) = (part for part in head.modules() if isinstance(part, LogitLoss))
    each = criterion(logits, label, reduction_override='none', ignore_index=255)
    torch.testing.assert_close(loss, (each * weight).sum() / 56)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('head', ['LinearClsHead', 'lt_mm.CosineClsHead'])
@pytest.mark.parametrize('soft', [False, True])
def test_classification_head(loss, head, soft):
    head = build('mmpretrain', type=head, num_classes=3, in_channels=5, loss=loss)
    assert isinstance(head.loss_module, LogitLoss)
    samples = [DataSample().set_gt_label(label) for label in (0, 0, 1, 2)]
    if soft:
        for sample in samples:
            sample.set_gt_score(torch.tensor([0.7, 0.0, 0.3]))
    (loss,) = head.loss((torch.randn(4, 5),), samples).values()
    loss.backward()
    assert loss.isfinite() and loss != 0 and head.fc.weight.grad.any()
