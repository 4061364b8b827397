"""ResLTClsHead: who learns from which image, by loops."""

import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from lt_mm.functional import logit_shift
from lt_mm.structures import ClassCounts

# By falling count: 1, 3 | 0, 4 | 2, 5.
COUNTS = [20, 90, 3, 80, 10, 0]
GROUP_OF_CLASS = [1, 0, 2, 0, 1, 2]


def make(counts=COUNTS, **changes):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    cfg = dict(type='lt_mm.ResLTClsHead', num_classes=6, in_channels=4, **changes)
    head = MODELS.build(cfg).double()
    for branch in head.branches:
        for weight in branch.parameters():
            torch.nn.init.normal_(weight)
    torch.nn.init.normal_(head.fc.weight)
    if counts:
        head.set_class_counts(ClassCounts(counts))
    return head


def samples(labels):
    return [DataSample().set_gt_label(int(label)) for label in labels]


def naive(logits, labels, beta):
    """The two terms in Python floats, from (3, N, C) logits."""

    def entropy(row, label):
        return math.log(sum(math.exp(v) for v in row)) - row[label]

    rows, own, seen, fused = logits.tolist(), 0.0, 0, 0.0
    for n, label in enumerate(labels):
        for branch in range(3):
            if GROUP_OF_CLASS[label] >= branch:
                own += entropy(rows[branch][n], label)
                seen += 1
        fused += entropy([sum(rows[b][n][c] for b in range(3)) for c in range(6)], label)
    return beta * own / seen, (1 - beta) * fused / len(labels)


@pytest.mark.parametrize('branch', ['norm', 'conv'])
def test_losses_against_loops(branch):
    head, labels = make(branch=branch, beta=0.7), [0, 1, 2, 3, 4, 5, 5]
    assert head.group_of_class.tolist() == GROUP_OF_CLASS
    feats = (torch.randn(7, 4, 3, 2).double(),)
    losses = head.loss(feats, samples(labels))
    expected = naive(head.expert_logits(feats), labels, 0.7)
    assert list(losses) == ['loss_branches', 'loss_fused']
    torch.testing.assert_close(losses['loss_branches'].item(), expected[0])
    torch.testing.assert_close(losses['loss_fused'].item(), expected[1])


def test_branches_of_maps_and_of_vectors():
    maps = torch.randn(5, 4, 3, 3).double()

    def normalised(maps, norm):
        centred = maps - maps.mean((0, 2, 3), keepdim=True)
        spread = maps.var((0, 2, 3), unbiased=False, keepdim=True)
        scaled = centred / (spread + norm.eps).sqrt() * norm.weight[:, None, None]
        return scaled + norm.bias[:, None, None]

    head = make(branch='norm').train()
    expected = head.fc(normalised(maps, head.branches[1]).mean((2, 3)))
    torch.testing.assert_close(head.expert_logits((maps,))[1], expected)
    head = make(branch='conv').train()
    one = head.branches[1]
    mapped = torch.einsum('oi,nihw->nohw', one.conv.weight[:, :, 0, 0], maps)
    expected = head.fc(normalised(mapped, one.bn).clamp(min=0).mean((2, 3)))
    torch.testing.assert_close(head.expert_logits((maps,))[1], expected)
    # A vector is a map of one place.
    vectors = maps[:, :, :1, :1]
    torch.testing.assert_close(head((vectors[:, :, 0, 0],)), head((vectors,)))


def test_branches_of_imagenet_are_no_linear_map():
    head = make(branch='conv').eval()
    a, b = torch.randn(2, 5, 4, 3, 3).double()
    zero = torch.zeros_like(a)
    logits = [head((maps,)) for maps in (a, b, a + b, zero)]
    assert (logits[0] + logits[1] - logits[2] - logits[3]).abs().max() > 0.1
    # Nor one of the means: places matter, so that the ReLU stands before the pooling.
    pooled = head((a.mean((2, 3), keepdim=True).expand_as(a),))
    assert (pooled - logits[0]).abs().max() > 0.1


def test_who_learns_from_an_image_of_the_head():
    head = make(branch='conv', beta=1.0)
    feats = (torch.randn(2, 4, 3, 3).double(),)
    losses = head.loss(feats, samples([1, 3]))
    assert list(losses) == ['loss_branches']
    losses['loss_branches'].backward()
    learnt = [[bool(w.grad.any()) for w in branch.parameters()] for branch in head.branches]
    assert learnt == [[True] * 3, [False] * 3, [False] * 3]
    # All branches have a gradient, if one of zero, so that DDP waits for none.
    head = make(branch='conv', beta=0.0)
    losses = head.loss(feats, samples([1, 3]))
    assert list(losses) == ['loss_fused']
    losses['loss_fused'].backward()
    assert all(w.grad.any() for branch in head.branches for w in branch.parameters())


def test_a_loss_and_a_classifier_of_ones_own():
    loss = dict(type='lt_mm.LogitAdjustedLoss', alpha=1.0)
    head = make(loss=loss, classifier='cosine', cal_acc=True, beta=0.5)
    head.loss_module.set_class_counts(ClassCounts(COUNTS))
    feats, labels = (torch.randn(6, 4).double(),), torch.arange(6)
    losses = head.loss(feats, samples(labels))
    assert set(losses) == {'loss_branches', 'loss_fused', 'accuracy_top-1'}
    shifted = head(feats) + logit_shift(ClassCounts(COUNTS).log_prior())
    expected = 0.5 * torch.nn.functional.cross_entropy(shifted, labels)
    torch.testing.assert_close(losses['loss_fused'], expected)


def test_groups_of_the_paper_and_of_ones_own():
    own = make(groups=dict(lists=dict(head=[5, 0], body=[1], tail=[2, 3, 4])))
    assert own.group_of_class.tolist() == [0, 1, 2, 2, 2, 0]
    assert make(groups=dict(sizes=(1, 2, 3))).group_of_class.tolist() == [1, 0, 2, 1, 2, 2]
    cifar = MODELS.build(dict(type='lt_mm.ResLTClsHead', num_classes=100, in_channels=4))
    cifar.set_class_counts(ClassCounts(range(100, 0, -1)))
    assert cifar.group_of_class.tolist() == [0] * 35 + [1] * 35 + [2] * 30


def test_the_checkpoint_keeps_the_groups():
    fresh = make(None)
    fresh.load_state_dict(make().state_dict())
    assert fresh.group_of_class.tolist() == GROUP_OF_CLASS


def test_predictions_and_half_precision():
    head = make().float().eval()
    feats = (torch.randn(3, 4),)
    scores = torch.stack([sample.pred_score for sample in head.predict(feats)])
    torch.testing.assert_close(scores, head.expert_logits(feats).sum(0).softmax(1))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = head.loss(feats, samples([0, 1, 2]))
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


def test_the_sum_is_compensated_in_a_test():
    head, feats = make(post_compensation=dict()), (torch.randn(3, 4).double(),)
    for part in head.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts(COUNTS))
    plain = head.expert_logits(feats).sum(0)
    torch.testing.assert_close(head(feats), plain)
    plain = head.eval().expert_logits(feats).sum(0)
    expected = (plain - ClassCounts(COUNTS).log_prior())[:, :5]
    torch.testing.assert_close(head(feats)[:, :5], expected)
    # The last class has no sample.
    assert (head(feats)[:, 5] < -1e4).all()


@pytest.mark.parametrize(
    'option',
    [
        dict(alignment=dict(type='lt_mm.DisAlign')),
        dict(contrast=dict(type='lt_mm.SupConLoss')),
        dict(distillation=dict(type='lt_mm.KDLoss')),
    ],
)
def test_options_that_would_be_passed_by(option):
    (name,) = option
    with pytest.raises(ValueError, match=f'{name} of ResLTClsHead would not be used, since each i'):
        make(**option)


def test_bad_input():
    feats = (torch.randn(2, 4).double(),)
    with pytest.raises(RuntimeError, match='ResLTClsHead needs class counts.*ClassCountsHook'):
        make(None).loss(feats, samples([0, 1]))
    with pytest.raises(ValueError, match='none of the 2 classes in the tail group'):
        make([5, 4, 3, 2, 0, 0])
    with pytest.raises(ValueError, match='3 classes but ResLTClsHead has 6'):
        make([5, 4, 3])
    soft = [DataSample().set_gt_score(torch.full((6,), 1 / 6)) for _ in range(2)]
    with pytest.raises(ValueError, match='needs hard labels'):
        make().loss(feats, soft)
    with pytest.raises(ValueError, match='label 6 reached ResLTClsHead'):
        make().loss(feats, samples([0, 6]))
    for changes, message in (
        (dict(beta=1.5), 'beta of ResLTClsHead is 1.5'),
        (dict(branch='linear'), "branch of ResLTClsHead is 'linear'; use 'norm' or 'conv'"),
        (dict(groups=dict(sizes=(3, 3, 0))), 'none of the 0 classes in the tail group'),
        (dict(groups=dict(sizes=(3, 2, 2))), 'sum to 6'),
        (dict(groups=dict(lists=dict(a=[0], b=[1], c=[2]))), 'that hold all of the 6 classes'),
        (
            dict(groups=dict(shares=(0.5, 0.5), names=('a', 'b'))),
            'give three, for head, body, ',
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make(**changes)
    with pytest.raises(TypeError, match=r'give groups=dict\(sizes=\(3, 3, 0\)\)'):
        make(group_sizes=(3, 3, 0))
