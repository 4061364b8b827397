"""A classifier of several experts on two processes, in bfloat16, and beside plain networks."""

import copy

import pytest
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from lt_mm.models.backbones import plain_weights

IMAGES = (3, 5)
STEPS = 2
# Norms in eval mode: their statistics would be those of each rank's own images.
CIFAR = dict(type='lt_mm.ResNetCifar6n2', depth=8, widths=(4, 6, 8), norm_eval=True)
CASES = {
    'shared stage': dict(shared_stages=1),
    'nothing shared': dict(shared_stages=-1),
    'narrow': dict(shared_stages=2, width_factor=0.75),
    'recomputed': dict(shared_stages=0, with_cp=True),
    'frozen': dict(shared_stages=1, frozen_stages=2),
}


def build(shared_stages, width_factor=1.0, **of_network):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(
                type='lt_mm.MultiExpertResNet',
                backbone={**CIFAR, **of_network},
                num_experts=2,
                shared_stages=shared_stages,
                width_factor=width_factor,
            ),
            neck=dict(type='lt_mm.ExpertGlobalAveragePooling'),
            head=dict(
                type='lt_mm.MultiExpertClsHead',
                num_classes=3,
                in_channels=round(8 * width_factor),
                experts=[dict()] * 2,
                interplay=dict(type='lt_mm.MutualLoss'),
            ),
        )
    ).train()


def batch(step, ranks):
    """Images and data samples that these ranks see at this step."""
    images, samples = [], []
    for rank in ranks:
        generator = torch.Generator().manual_seed(10 * step + rank)
        images.append(torch.randn(IMAGES[rank], 3, 8, 8, generator=generator).double())
        labels = torch.randint(3, (IMAGES[rank],), generator=generator)
        samples += [DataSample().set_gt_label(int(label)) for label in labels]
    return torch.cat(images), samples


def train(case, ranks):
    """Losses and gradients of every step of a process that sees the batches of ranks."""
    model = build(**case).double()
    wrapped = model
    if dist.is_initialized():
        # Unused parameters would stop DDP at the second step.
        wrapped = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
        assert not wrapped.find_unused_parameters
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    history = []
    for step in range(STEPS):
        losses = wrapped(*batch(step, ranks), mode='loss')
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        history.append(({name: value.detach() for name, value in losses.items()}, gradients))
        optimizer.step()
    return history


def train_rank(rank):
    return {name: train(case, [rank]) for name, case in CASES.items()}


@pytest.fixture(scope='module')
def both_ranks(two_ranks):
    return two_ranks(train_rank)


@pytest.mark.parametrize('case', CASES)
def test_two_ranks_equal_one(both_ranks, case):
    joint = train(CASES[case], [0, 1])
    for first, second, expected in zip(*(rank[case] for rank in both_ranks), joint, strict=True):
        assert {'expert0.loss_cls', 'expert1.loss_cls', 'loss_mutual'} == set(expected[0])
        for name, value in expected[0].items():
            torch.testing.assert_close((first[0][name] + second[0][name]) / 2, value)
        for name, value in expected[1].items():
            assert torch.equal(first[1][name], second[1][name]), name
            torch.testing.assert_close(first[1][name], value, msg=name)


@pytest.mark.parametrize('case', ['shared stage', 'narrow', 'recomputed'])
def test_bfloat16_trains_every_parameter_nearly_as_float32_does(case):
    model = build(**CASES[case])
    images, samples = batch(0, [0, 1])
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            losses = model(images.float(), copy.deepcopy(samples), mode='loss')
        assert all(value.dtype == torch.float32 for value in losses.values())
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98


@torch.no_grad()
def test_predictions_are_the_mean_of_plain_networks():
    model = build(shared_stages=1).eval()
    images, _ = batch(0, [1])
    images = images.float()
    logits = []
    for expert in range(2):
        plain = MODELS.build(dict(CIFAR))
        plain.load_state_dict(plain_weights(model.backbone.state_dict(), expert))
        plain.eval()
        logits.append(model.head.experts[expert].fc(plain(images)[-1].mean(dim=(2, 3))))
    torch.testing.assert_close(model(images), (logits[0] + logits[1]) / 2)
