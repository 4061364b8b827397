"""What several decode heads refuse, and what they bear: an error that says what, or no harm."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

FCN = dict(type='FCNHead', num_convs=1, concat_input=False)
GML = dict(FCN, type='lt_mm.GMLFCNHead', contrast=dict(size=30, min_size=4, widths=(5,)))
ADJUSTED = dict(FCN, loss_decode=dict(type='lt_mm.LogitAdjustedLoss'))
MUTUAL = dict(type='lt_mm.MutualLoss')
EXPERTS = {'plain': [FCN, ADJUSTED], 'gml': [GML, GML]}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def build(experts, counts=True, **changes):
    common = dict(
        in_channels=4, in_index=0, channels=6, num_classes=3, norm_cfg=dict(type='BN'),
        dropout_ratio=0, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )  # fmt: skip
    head = MODELS.build(
        dict(common, type='lt_mm.MultiExpertDecodeHead', experts=experts, **changes)
    )
    if counts:
        set_class_counts(head, ClassCounts([70, 20, 10]))
    return head.train()


def batch(labels=None, size=8):
    labels = torch.randint(3, (2, 1, size, size)) if labels is None else labels
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in labels]
    return [torch.randn(2, 4, 4, 4)], samples


def test_no_expert():
    with pytest.raises(ValueError, match='has no experts; give a list with the configs of two'):
        build([])


def test_one_expert():
    head, (inputs, samples) = build([FCN]), batch()
    losses = head.loss(inputs, samples, None)
    assert {'expert0.loss_ce'} == {name for name in losses if 'loss' in name}
    assert torch.equal(head(inputs), head.experts[0](inputs))
    with pytest.raises(ValueError, match="interplay of .* is 'lt_mm.MutualLoss', but there is one"):
        build([FCN], interplay=MUTUAL)


@pytest.mark.parametrize(
    ('name', 'value', 'first'),
    [('num_classes', 4, 3), ('align_corners', True, False), ('ignore_index', 0, 255)],
)
def test_experts_that_differ(name, value, first):
    message = f'{name} is {first} for expert0 and {value} for expert2, but .* beside experts'
    with pytest.raises(ValueError, match=message):
        build([FCN, FCN, {**FCN, name: value}])


def test_heads_of_other_kinds():
    other = dict(type='DAHead', pam_channels=2)
    with pytest.raises(ValueError, match='expert1 is a DAHead, which gives more than one map'):
        build([FCN, other])
    with pytest.raises(ValueError, match='expert0 is a DDRHead, which gives more than one map'):
        losses = [dict(type='OhemCrossEntropy')] * 2
        head = build([dict(type='DDRHead', loss_decode=losses)] * 2)
        inputs, samples = batch()
        head.loss([torch.randn(2, 2, 4, 4), inputs[0]], samples, None)
    binary = dict(num_classes=2, out_channels=1, threshold=0.3)
    with pytest.raises(ValueError, match='out_channels=1 for 2 classes, but .* one output channel'):
        build([dict(FCN, **binary)] * 2)


@pytest.mark.parametrize('expert', [-1, 2])
def test_predictions_of_no_expert(expert):
    with pytest.raises(
        ValueError, match=f'predict_with .* is {expert}, but its experts are 0 to 1'
    ):
        build([FCN, FCN], predict_with=expert)


def test_compensation_twice():
    compensated = dict(FCN, type='lt_mm.LongTailHead', base='FCNHead', post_compensation=dict())
    build([FCN, compensated])
    with pytest.raises(ValueError, match='expert1 and MultiExpertDecodeHead both have a post_comp'):
        build([FCN, compensated], post_compensation=dict())


def test_a_missing_prior():
    inputs, samples = batch()
    with pytest.raises(
        RuntimeError, match='LogitAdjustedLoss needs class counts .*ClassCountsHook'
    ):
        build([FCN, ADJUSTED], counts=False).loss(inputs, samples, None)
    head = build([FCN, FCN], counts=False, post_compensation=dict())
    head.loss(inputs, samples, None)
    with pytest.raises(RuntimeError, match='PostCompensation has no class counts of the training'):
        head.eval()(inputs)


def test_queues_that_cannot_be_shared():
    with pytest.raises(ValueError, match='needs two GML experts or more, but there are 1 among 2'):
        build([FCN, GML], share_queue=True)
    message = r'expert1 has ClassQueue\(.*dim=6.* and expert2 ClassQueue\(.*dim=5.*key_channels'
    with pytest.raises(ValueError, match=message):
        build([FCN, GML, dict(GML, channels=5)], share_queue=True)
    wide = dict(GML, channels=5, contrast=dict(GML['contrast'], key_channels=6))
    losses = build([GML, wide], share_queue=True).loss(*batch(), None)
    assert losses['expert1.loss_gml'].isfinite()


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('index', [0, 1])
@pytest.mark.parametrize('kind', EXPERTS)
def test_an_expert_whose_logits_are_not_finite(kind, index, value):
    head, (inputs, samples) = build(EXPERTS[kind]), batch()
    with torch.no_grad():
        head.experts[index].convs[0].bn.bias[0] = value
        head.experts[index].conv_seg.weight.abs_()
    name = type(head.experts[index]).__name__
    message = rf'logits of expert{index} \({name}\) are not finite, so the mean .* lower'
    with pytest.raises(FloatingPointError, match=message):
        head.loss(inputs, samples, None)
    if kind == 'gml':
        assert not any(expert.contrast.queue.filled.any() for expert in head.experts)
    if value != value:
        metas = [dict(img_shape=(8, 8), pad_shape=(8, 8))] * 2
        with pytest.raises(FloatingPointError, match=message):
            head.eval().predict(inputs, metas, None)


@pytest.mark.parametrize('experts', EXPERTS.values(), ids=EXPERTS)
def test_a_batch_without_a_label_is_zero_loss(experts):
    head = build(experts, interplay=MUTUAL)
    inputs, samples = batch(torch.full((2, 1, 8, 8), 255))
    losses = head.loss(inputs, samples, None)
    losses = {name: value for name, value in losses.items() if 'loss' in name}
    assert 'loss_mutual' in losses and all(value == 0 for value in losses.values())
    sum(losses.values()).backward()
    for name, one in head.named_parameters():
        assert one.grad is not None and not one.grad.any(), name


@pytest.mark.parametrize('label', [3, 254, -1])
def test_a_label_that_is_no_class(label):
    labels = torch.randint(3, (2, 1, 8, 8))
    labels[1, 0, 7, 7] = label
    message = f'label {label} reached MultiExpertDecodeHead, which has 3 classes and ignores 255'
    with pytest.raises(ValueError, match=message):
        build([FCN, FCN]).loss(*batch(labels), None)


@pytest.mark.parametrize('experts', [3, 'FCNHead', FCN, [FCN, 'FCNHead']])
def test_experts_that_are_no_list_of_configs(experts):
    with pytest.raises(
        ValueError, match='experts of MultiExpertDecodeHead is .* a list with a con'
    ):
        build(experts)


def test_a_distillation_without_a_teacher():
    head, (inputs, samples) = build([FCN, FCN], distillation=dict(type='lt_mm.KDLoss')), batch()
    with pytest.raises(ValueError, match='distillation of MultiExpertDecodeHead has no teacher'):
        head.loss(inputs, samples, None)
