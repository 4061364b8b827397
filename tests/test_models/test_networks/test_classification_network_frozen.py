"""What a frozen encoder keeps, which statistics of it move, and that two processes agree."""

import copy

import pytest
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

LWS = dict(type='lt_mm.LearnableWeightScaling')
MODEL = dict(
    type='lt_mm.LongTailClassifier',
    backbone=dict(
        type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4, out_indices=(3,)
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='lt_mm.LongTailClsHead', num_classes=4, in_channels=32),
)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def build_resnet(**changes):
    cfg = copy.deepcopy(MODEL | dict(freeze_encoder=True) | changes)
    return MODELS.build(cfg).train()


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    samples = [DataSample().set_gt_label(label) for label in range(4)]
    return 3 * torch.randn(4, 3, 8, 8, generator=generator), samples


def train(model, steps=2, seed=0):
    """Every key of the state that moved; parameters are those with a gradient, too."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    plain, wrapped = model, model
    if dist.is_initialized():
        wrapped = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
    for _ in range(steps):
        losses = wrapped(*data(seed), mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    after = plain.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def statistics(model):
    return {
        f'{name}.{part}'
        for name, layer in model.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
        for part in ('running_mean', 'running_var', 'num_batches_tracked')
    }


HEADS = {
    'cRT': (dict(), {'head.fc.weight', 'head.fc.bias'}),
    'LWS': (dict(alignment=LWS, freeze_classifier=True), {'head.alignment.scale'}),
    'MiSLAS': (
        dict(alignment=LWS),
        {'head.fc.weight', 'head.fc.bias', 'head.alignment.scale'},
    ),
}


@pytest.mark.parametrize('policy', ['eval', 'statistics'])
@pytest.mark.parametrize('head', HEADS)
def test_what_moves(policy, head):
    arguments, expected = HEADS[head]
    model = build_resnet(frozen_batch_norm=policy, head={**MODEL['head'], **arguments})
    assert train(model) == expected | (statistics(model) if policy == 'statistics' else set())
    assert all(p.grad is None for p in model.backbone.parameters())


@pytest.mark.parametrize('policy', ['eval', 'statistics'])
def test_statistics_that_normalise(policy):
    model = build_resnet(frozen_batch_norm=policy)
    inputs, _ = data()
    torch.nn.init.constant_(model.backbone.bn1.running_mean, 2.0)
    conv = model.backbone.conv1(inputs)
    got = model.backbone.bn1(conv)
    dims = (0, 2, 3)
    mean, var = conv.mean(dims), conv.var(dims, correction=0)
    if policy == 'eval':
        mean, var = torch.full((4,), 2.0), torch.ones(4)
    expected = (conv - mean.reshape(1, -1, 1, 1)) / (var.reshape(1, -1, 1, 1) + 1e-5).sqrt()
    torch.testing.assert_close(got, expected)
    if policy == 'statistics':
        moved = 0.9 * 2.0 + 0.1 * conv.mean(dims)
        torch.testing.assert_close(model.backbone.bn1.running_mean, moved)


def test_modes_of_all_parts():
    shifted = build_resnet(frozen_batch_norm='statistics')
    norms = [part for part in shifted.backbone.modules() if isinstance(part, nn.BatchNorm2d)]
    others = [part for part in shifted.backbone.modules() if not isinstance(part, nn.BatchNorm2d)]
    assert all(part.training for part in norms) and not any(part.training for part in others)
    assert shifted.training and shifted.head.training
    assert not any(part.training for part in shifted.eval().modules())
    shifted.train()
    assert all(part.training for part in norms)
    assert not any(part.training for part in build_resnet().backbone.modules())


def test_stages_that_the_backbone_freezes_keep_their_statistics():
    backbone = dict(MODEL['backbone'], frozen_stages=3)
    model = build_resnet(frozen_batch_norm='statistics', backbone=backbone)
    last = {name for name in statistics(model) if name.startswith('backbone.layer4.')}
    assert last and train(model) == {'head.fc.weight', 'head.fc.bias'} | last


def test_nothing_is_frozen_where_nothing_is_to_be():
    model = MODELS.build(copy.deepcopy(MODEL)).train()
    names = {name for name, _ in model.named_parameters()}
    assert train(model) == names | statistics(model)


def test_checkpoints_are_shared_with_mmpretrain():
    plain = MODELS.build(
        copy.deepcopy(
            MODEL
            | dict(
                type='ImageClassifier',
                head=dict(type='LinearClsHead', num_classes=4, in_channels=32),
            )
        )
    ).eval()
    train(plain.train())
    model = build_resnet(head={**MODEL['head'], 'alignment': LWS})
    assert not model.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    inputs, _ = data(1)
    torch.testing.assert_close(model.eval()(inputs), plain.eval()(inputs))
    cRT = build_resnet()
    train(cRT)
    assert not plain.load_state_dict(cRT.state_dict(), strict=False).missing_keys
    torch.testing.assert_close(cRT.eval()(inputs), plain.eval()(inputs))


def test_the_policy_with_a_contrast_of_several_views(build, batch):
    for policy in ('eval', 'statistics'):
        model = build(freeze_encoder=True, frozen_batch_norm=policy)
        before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        losses = model(*batch(3), mode='loss')
        model.parse_losses(losses)[0].backward()
        after = model.backbone.state_dict()
        moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
        shifted = {f'norm.{x}' for x in ('running_mean', 'running_var', 'num_batches_tracked')}
        assert moved == (shifted if policy == 'statistics' else set())
        assert all(p.grad is None for p in model.backbone.parameters())


def test_bad_input():
    with pytest.raises(ValueError, match="frozen_batch_norm of LongTailClassifier is 'train'; use"):
        build_resnet(frozen_batch_norm='train')
    with pytest.raises(ValueError, match="is 'statistics', but nothing is frozen; set freeze_enc"):
        build_resnet(freeze_encoder=False, frozen_batch_norm='statistics')
    backbone = dict(MODEL['backbone'], norm_eval=True)
    with pytest.raises(
        ValueError, match='no frozen layer has statistics that move; take norm_eval'
    ):
        build_resnet(backbone=backbone, frozen_batch_norm='statistics')
    assert train(build_resnet(backbone=backbone)) == {'head.fc.weight', 'head.fc.bias'}


def train_rank(rank):
    init_default_scope('mmpretrain')
    results = {}
    for name, (arguments, _) in HEADS.items():
        torch.manual_seed(0)
        model = build_resnet(head={**MODEL['head'], **arguments}, frozen_batch_norm='statistics')
        moved = train(model, steps=3, seed=rank)
        results[name] = (moved, {k: v.clone() for k, v in model.named_parameters()})
    return results


def test_two_processes_without_looking_for_unused_parameters(two_ranks):
    first, second = two_ranks(train_rank)
    for name, (_, expected) in HEADS.items():
        moved, weights = first[name]
        assert {key for key in moved if 'backbone' not in key} == expected
        for key, value in weights.items():
            assert torch.equal(value, second[name][1][key]), key
