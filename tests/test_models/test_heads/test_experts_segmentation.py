"""Several decode heads as one: losses, interplay, means, queues and a teacher, naively again."""

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage, revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from lt_mm.models.counts import set_class_counts
from lt_mm.models.losses import KDLoss, MutualLoss
from lt_mm.models.teachers.frozen_network import TeacherOutput
from lt_mm.structures import ClassCounts

COUNTS = [60, 25, 12, 3]
PRIOR = torch.tensor(COUNTS).float().div(100).log().reshape(4, 1, 1)
COMMON = dict(
    in_channels=8, in_index=1, channels=6, num_classes=4, norm_cfg=dict(type='BN'),
    dropout_ratio=0, align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
)  # fmt: skip
FCN = dict(type='FCNHead', num_convs=1, concat_input=False)
FINER = dict(FCN, in_channels=4, in_index=0)
GML = dict(
    type='lt_mm.GMLFCNHead', num_convs=1, concat_input=False, keys_per_class=10**6,
    contrast=dict(size=400, min_size=60, widths=(5,)),
    loss_decode=dict(type='lt_mm.LogitAdjustedLoss'),
)  # fmt: skip
MUTUAL = dict(type='lt_mm.MutualLoss', temperature=2.0, loss_weight=0.7)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.manual_seed(0)


def build(experts, **changes):
    head = MODELS.build(
        dict(COMMON, type='lt_mm.MultiExpertDecodeHead', experts=experts, **changes)
    )
    head.init_weights()
    set_class_counts(head, ClassCounts(COUNTS))
    for expert in head.experts:
        torch.nn.init.normal_(expert.conv_seg.weight)
    return revert_sync_batchnorm(head).train()


def batch(size=16):
    inputs = [torch.randn(2, 4, size // 2, size // 2), torch.randn(2, 8, size // 4, size // 4)]
    labels = torch.randint(4, (2, 1, size, size))
    labels[:, :, : size // 4] = 255
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=one), metainfo=dict(img_path=str(i)))
        for i, one in enumerate(labels)
    ]
    return inputs, samples


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


def moved(head):
    return {
        name for name, one in head.named_parameters() if one.grad is not None and one.grad.any()
    }


def test_losses_are_those_of_each_expert_alone():
    experts = [FCN, dict(FCN, loss_decode=dict(type='lt_mm.LogitAdjustedLoss')), FINER]
    head, (inputs, samples) = build(experts), batch()
    losses = head.loss(inputs, samples, None)
    keys = ('loss_ce', 'loss_cls', 'loss_ce')
    assert losses.keys() == {
        f'expert{i}.{name}' for i, key in enumerate(keys) for name in (key, 'acc_seg')
    }
    for i, (expert, key) in enumerate(zip(head.experts, keys, strict=True)):
        own = copy.deepcopy(expert).loss(inputs, samples, None)
        assert torch.equal(losses[f'expert{i}.{key}'], own[key])


def test_experts_start_apart_and_common_arguments_yield():
    head = build([FCN, dict(FCN, channels=3), FCN], init_cfg=None)
    assert [expert.channels for expert in head.experts] == [6, 3, 6]
    first, _, third = (expert.convs[0].conv.weight for expert in head.experts)
    assert not torch.equal(first, third)
    config = dict(COMMON, type='lt_mm.MultiExpertDecodeHead', experts=[FCN] * 2)
    config['init_cfg'] = dict(type='Constant', val=0.25, override=dict(name='conv_seg'))
    head = MODELS.build(config)
    head.init_weights()
    assert all((expert.conv_seg.weight == 0.25).all() for expert in head.experts)


def test_interplay_on_the_pixels_of_the_logits():
    head, (inputs, samples) = build([FCN, FCN, FCN], interplay=MUTUAL), batch()
    losses = head.loss(inputs, samples, None)
    logits = [expert(inputs).double() for expert in head.experts]
    terms = []
    for n in range(2):
        for i in range(4):
            for j in range(4):
                if samples[n].gt_sem_seg.data[0, 4 * i, 4 * j] == 255:
                    continue
                p = [F.softmax(one[n, :, i, j] / 2, dim=0) for one in logits]
                pairs = [(a, b) for a in p for b in p if a is not b]
                terms.append(sum((a * (a / b).log()).sum() for a, b in pairs) * 4 / 2)
    assert len(terms) == 2 * 12
    expected = 0.7 * sum(terms) / len(terms)
    torch.testing.assert_close(losses['loss_mutual'].double(), expected, rtol=1e-5, atol=1e-6)


def test_interplay_of_maps_of_different_sizes_is_at_the_larger():
    head, (inputs, samples) = build([FCN, FINER], interplay=MUTUAL), batch()
    found = head.loss(inputs, samples, None)['loss_mutual']
    coarse, fine = (expert(inputs) for expert in head.experts)
    coarse = F.interpolate(coarse, size=(8, 8), mode='bilinear', align_corners=False)
    labels = torch.stack([one.gt_sem_seg.data[0, ::2, ::2] for one in samples])
    loss = MutualLoss(temperature=2.0, loss_weight=0.7)
    expected = loss(torch.stack([coarse, fine]), labels, ignore_index=255)['loss_mutual']
    torch.testing.assert_close(found, expected)


def test_a_factor_of_zero_is_no_interplay():
    experts, (inputs, samples) = [FCN, FCN], batch()
    plain = build(experts)
    absent = build(experts, interplay=dict(MUTUAL, loss_weight=0.0))
    absent.load_state_dict(plain.state_dict())
    losses, expected = (head.loss(inputs, samples, None) for head in (absent, plain))
    assert losses.keys() == expected.keys()
    assert all(torch.equal(losses[name], value) for name, value in expected.items())


def test_gradients_reach_whom_they_should():
    head, (inputs, samples) = build([FCN, FCN], interplay=MUTUAL), batch()
    head.loss(inputs, samples, None)['expert0.loss_ce'].backward()
    assert moved(head) and all(name.startswith('experts.0.') for name in moved(head))
    head.zero_grad()
    head.loss(inputs, samples, None)['loss_mutual'].backward()
    found = head.experts[0].conv_seg.weight.grad
    # What teaches expert 0 is expert 1 as it is: a constant.
    first, second = (expert(inputs) / 2 for expert in head.experts)
    labelled = torch.stack([one.gt_sem_seg.data[0, ::4, ::4] for one in samples]) != 255
    first, second = (one.permute(0, 2, 3, 1)[labelled] for one in (first, second))
    kl = F.kl_div(first.log_softmax(1), second.detach().softmax(1), reduction='batchmean')
    (expected,) = torch.autograd.grad(0.7 * 4 * kl, head.experts[0].conv_seg.weight)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_prediction_is_the_weighted_mean():
    head, (inputs, _) = build([FCN, FINER, FCN]), batch()
    head.eval()
    coarse, fine, other = (expert(inputs) for expert in head.experts)
    coarse, other = (
        F.interpolate(one, size=(8, 8), mode='bilinear', align_corners=False)
        for one in (coarse, other)
    )
    torch.testing.assert_close(head(inputs), (coarse + fine + other) / 3)
    assert torch.equal(head.expert_logits(inputs), torch.stack([coarse, fine, other]))
    head.expert_weights.copy_(torch.tensor([0.5, 0.3, 0.2]))
    expected = 0.5 * coarse + 0.3 * fine + 0.2 * other
    torch.testing.assert_close(head(inputs), expected)
    metas = [dict(img_shape=(16, 16), pad_shape=(16, 16))] * 2
    upsampled = F.interpolate(expected, size=(16, 16), mode='bilinear', align_corners=False)
    torch.testing.assert_close(head.predict(inputs, metas, None), upsampled)
    state = head.state_dict()
    assert torch.equal(state['expert_weights'], head.expert_weights)


def test_one_expert_alone_predicts():
    head, (inputs, _) = build([FCN, FINER], post_compensation=dict(), predict_with=0), batch()
    expected = head.eval().experts[0](inputs) - PRIOR
    torch.testing.assert_close(head(inputs), expected)
    assert build([FCN, FINER], predict_with=1)(inputs).shape == (2, 4, 8, 8)


def test_compensation_of_each_expert_and_thus_of_the_mean():
    head, (inputs, samples) = build([FCN, FCN], post_compensation=dict()), batch()
    raw = torch.stack([expert(inputs) for expert in head.experts])
    assert torch.equal(head.expert_logits(inputs), raw)
    plain = build([FCN, FCN])
    plain.experts.load_state_dict(head.experts.state_dict())
    losses, expected = (one.loss(inputs, samples, None) for one in (head, plain))
    assert all(torch.equal(losses[name], value) for name, value in expected.items())
    raw = torch.stack([expert(inputs) for expert in head.eval().experts])
    torch.testing.assert_close(head.expert_logits(inputs), raw - PRIOR)
    torch.testing.assert_close(head(inputs), raw.mean(0) - PRIOR)


def test_losses_with_priors_of_their_own():
    """The experts of SADE: uniform, forward and backward prior."""
    adjusted = dict(type='lt_mm.LogitAdjustedLoss')
    losses = [dict(adjusted, alpha=0.0), adjusted, dict(adjusted, backward=2.0)]
    head = build([dict(FCN, loss_decode=loss) for loss in losses])
    inputs, samples = batch()
    found = head.loss(inputs, samples, None)
    labels = torch.stack([one.gt_sem_seg.data[0] for one in samples])
    shifts = [0, PRIOR, PRIOR - 2 * PRIOR.flip(0)]
    for i, (expert, shift) in enumerate(zip(head.experts, shifts, strict=True)):
        logits = F.interpolate(expert(inputs), size=(16, 16), mode='bilinear', align_corners=False)
        expected = F.cross_entropy(logits + shift, labels, ignore_index=255)
        torch.testing.assert_close(found[f'expert{i}.loss_cls'], expected)


def queues(head):
    contrasts = [getattr(expert, 'contrast', None) for expert in head.experts]
    return [contrast.queue for contrast in contrasts if contrast is not None]


@pytest.mark.parametrize('teacher', [False, True], ids=['own keys', 'teacher'])
@pytest.mark.parametrize('share', [False, True], ids=['own queues', 'one queue'])
def test_gml_experts(teacher, share):
    head, (inputs, samples) = build([FCN, GML, GML], share_queue=share), batch()
    offered = torch.randn(2, 6, 4, 4)
    if teacher:
        with head.taught_by(TeacherOutput(offered, torch.zeros(2, 4, 4, 4))):
            losses = head.loss(inputs, samples, None)
    else:
        losses = head.loss(inputs, samples, None)
    labels = torch.stack([one.gt_sem_seg.data[0, ::4, ::4] for one in samples])
    labelled = labels != 255
    first, second = queues(head)
    assert (first is second) == share
    for queue, expert in ((first, head.experts[1]), (second, head.experts[1 if share else 2])):
        source = offered if teacher else expert._forward_feature(inputs)
        expected = source.detach().permute(0, 2, 3, 1)[labelled].half()
        keys = queue.keys()
        # Once a step, however many experts there are.
        assert keys.lengths.tolist() == labels[labelled].bincount(minlength=4).tolist()
        distance = (keys.features[:, None] - expected).abs().amax(2)
        assert distance.min(0).values.max() < 2e-3 and distance.min(1).values.max() < 2e-3
    assert losses['expert1.loss_gml'] > 0 and losses['expert2.loss_gml'] > 0
    total(losses).backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in head.parameters())
    assert any(name.startswith('experts.2.contrast.key_mlp') for name in moved(head))


def test_a_shared_queue_stays_shared():
    head, (inputs, samples) = build([GML, GML], share_queue=True), batch()
    head.loss(inputs, samples, None)
    other = build([GML, GML], share_queue=True)
    other.load_state_dict(head.state_dict())
    average = ExponentialMovingAverage(head).module
    for one in (other, average):
        first, second = queues(one)
        assert first is second and first is not queues(head)[0]
        assert torch.equal(first.keys().features, queues(head)[0].keys().features)


def test_half_precision():
    cosine = dict(FCN, type='lt_mm.CosineFCNHead')
    head, (inputs, samples) = build([FCN, cosine, FINER], interplay=MUTUAL), batch()
    expected = head.loss(inputs, samples, None)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = head.loss(inputs, samples, None)
        logits = head(inputs)
    total(losses).backward()
    assert logits.isfinite().all()
    assert all(one.grad.isfinite().all() for one in head.parameters())
    for name, value in expected.items():
        if 'loss' in name:
            torch.testing.assert_close(losses[name], value, rtol=0.05, atol=0.02)


def test_the_teacher_teaches_inside_the_context_alone():
    head, (inputs, samples) = build([GML, GML]), batch()
    with head.taught_by(TeacherOutput(torch.full((2, 6, 4, 4), 3.0), torch.zeros(2, 4, 4, 4))):
        head.loss(inputs, samples, None)
    assert all((queue.keys().features == 3.0).all() for queue in queues(head))
    head.loss(inputs, samples, None)
    assert not any((queue.keys().features == 3.0).all() for queue in queues(head))


@pytest.mark.parametrize('size', [8, 4], ids=['of one size', 'of a smaller teacher'])
def test_the_mean_is_distilled_once(size):
    kd = dict(type='lt_mm.KDLoss', temperature=2.0, loss_weight=0.7)
    head, (inputs, samples) = (
        build([FCN, FINER], distillation=kd, post_compensation=dict()),
        batch(),
    )
    head.expert_weights.copy_(torch.tensor([0.3, 0.7]))
    offered = torch.randn(2, 4, size, size)
    with head.taught_by(TeacherOutput(torch.zeros(2, 6, size, size), offered)):
        losses = head.loss(inputs, samples, None)
    assert 'loss_kd' in losses and not any('.loss_kd' in name for name in losses)
    coarse, fine = (expert(inputs) for expert in head.experts)
    coarse, offered = (
        F.interpolate(one, size=(8, 8), mode='bilinear', align_corners=False)
        for one in (coarse, offered)
    )
    p, q = (offered / 2).softmax(1), ((0.3 * coarse + 0.7 * fine) / 2).softmax(1)
    expected = 0.7 * 4 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(losses['loss_kd'], expected)
    total(losses).backward()
    assert {name.split('.')[1] for name in moved(head)} == {'0', '1'}


def test_an_expert_may_have_a_distillation_of_its_own():
    taught = dict(FCN, type='lt_mm.LongTailHead', base='FCNHead')
    taught['distillation'] = dict(type='lt_mm.KDLoss')
    head, (inputs, samples) = build([FCN, taught]), batch()
    offered = torch.randn(2, 4, 4, 4)
    with head.taught_by(TeacherOutput(torch.zeros(2, 6, 4, 4), offered)):
        losses = head.loss(inputs, samples, None)
    expected = KDLoss()(head.experts[1](inputs), offered)
    torch.testing.assert_close(losses['expert1.loss_kd'], expected)
    assert 'expert0.loss_kd' not in losses


def test_a_copy_after_a_step():
    head, (inputs, samples) = build([FCN, GML, GML], share_queue=True), batch()
    total(head.loss(inputs, samples, None)).backward()
    head(inputs)
    other = copy.deepcopy(head)
    assert torch.equal(other.eval()(inputs), head.eval()(inputs))
    assert queues(other)[0] is queues(other)[1] and queues(other)[0] is not queues(head)[0]
