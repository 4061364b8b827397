"""ResLTClsHead and RoutedClsHead on two processes are those on one with the joint batch."""

import pytest
import torch
from mmengine.dist import all_reduce
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from lt_mm.structures import ClassCounts

# Labels of rank 0 and of rank 1, step by step; the last step has none on rank 1.
LABELS = [([1, 3, 0], [2]), ([5, 5], [1, 1, 4]), ([2, 0], [])]
SIZES = dict(num_classes=6, in_channels=4)
CASES = {
    'reslt': (dict(type='lt_mm.ResLTClsHead', beta=0.6, **SIZES), (4,)),
    'routed': (dict(type='lt_mm.RoutedClsHead', pos_weight=5.0, experts=[{}] * 3, **SIZES), (3, 4)),
}


def rows_of(rank, step, shape):
    generator = torch.Generator().manual_seed(10 * step + rank)
    count = len(LABELS[step][rank])
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64)


def train(ranks, cfg, shape):
    """Sum of losses and all gradients of each step, averaged over processes as DDP does."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    head = MODELS.build(cfg).double()
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Statistics are those of each rank's own images.
            module.eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    if hasattr(head, 'set_class_counts'):
        head.set_class_counts(ClassCounts([20, 90, 3, 80, 10, 1]))
    learning = [value for value in head.parameters() if value.requires_grad]
    history = []
    for step, labels in enumerate(LABELS):
        head.zero_grad()
        rows = torch.cat([rows_of(rank, step, shape) for rank in ranks])
        own = torch.tensor([label for rank in ranks for label in labels[rank]], dtype=torch.long)
        samples = [DataSample().set_gt_label(label[None]) for label in own]
        if not samples:
            # mmpretrain cannot stack the labels of no image.
            samples = [DataSample().set_gt_label(own)]
        total = sum(head.loss((rows,), samples).values())
        total.backward()
        values = [total.detach(), *(value.grad for value in learning)]
        for value in values:
            all_reduce(value, op='mean')
        history.append([value.clone() for value in values])
    return history


def train_rank(rank):
    return {name: train([rank], *case) for name, case in CASES.items()}


@pytest.fixture(scope='module')
def both_ranks(two_ranks):
    return two_ranks(train_rank)


@pytest.mark.parametrize('name', CASES)
def test_losses_and_gradients_are_those_of_the_joint_batch(both_ranks, name):
    joint = train([0, 1], *CASES[name])
    assert all(step[0] > 0 and any(value.any() for value in step[1:]) for step in joint)
    for rank in both_ranks:
        torch.testing.assert_close(rank[name], joint, rtol=1e-6, atol=1e-9)
