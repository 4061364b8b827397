"""Losses between experts on two processes are those on one with the joint batch."""

import pytest
import torch
from mmengine.dist import all_reduce
from torch import nn

from lt_mm.models.losses import DiversityLoss, HardCategoryLoss, MutualLoss
from lt_mm.structures import ClassCounts

# Images of rank 0 and of rank 1, step by step.
IMAGES = [(4, 4), (5, 2), (3, 0), (0, 0), (1, 6)]
CASES = {
    'mutual': (MutualLoss, dict(temperature=2.0)),
    'diversity': (DiversityLoss, dict(class_factor=0.05)),
    'hard_category': (HardCategoryLoss, dict(num_hard=3)),
}


def batch_of(step, ranks):
    """Features and labels that these ranks see at this step, one of four to be ignored."""
    features, labels = [], []
    for rank in ranks:
        generator = torch.Generator().manual_seed(100 * step + rank)
        count = IMAGES[step][rank]
        features.append(torch.randn(count, 6, generator=generator, dtype=torch.float64))
        label = torch.randint(4, (count,), generator=generator)
        label[::4] = 255
        labels.append(label)
    return torch.cat(features), torch.cat(labels)


def train(ranks, kind, options):
    """Losses and gradient of every step of a process that sees the batches of ranks."""
    torch.manual_seed(0)
    loss, layers = kind(**options), nn.ModuleList(nn.Linear(6, 4).double() for _ in range(3))
    if hasattr(loss, 'set_class_counts'):
        loss.set_class_counts(ClassCounts([50, 30, 15, 5]))
    history = []
    for step in range(len(IMAGES)):
        layers.zero_grad()
        features, labels = batch_of(step, ranks)
        logits = torch.stack([layer(features) for layer in layers])
        losses = loss(logits, labels, ignore_index=255)
        sum(losses.values()).backward()
        gradient = torch.stack([layer.weight.grad for layer in layers])
        all_reduce(gradient, op='mean')
        with torch.no_grad():
            for layer, change in zip(layers, gradient, strict=True):
                layer.weight -= 0.1 * change
        history.append((torch.stack(list(losses.values())).detach(), gradient))
    return history


def train_rank(rank):
    return {name: train([rank], *case) for name, case in CASES.items()}


@pytest.fixture(scope='module')
def both_ranks(two_ranks):
    return two_ranks(train_rank)


@pytest.mark.parametrize('name', CASES)
def test_mean_losses_and_gradients_are_those_of_the_joint_batch(both_ranks, name):
    joint = train([0, 1], *CASES[name])
    steps = zip(*(rank[name] for rank in both_ranks), joint, strict=True)
    for step, (first, second, expected) in enumerate(steps):
        close = dict(rtol=1e-6, atol=1e-9)
        torch.testing.assert_close((first[0] + second[0]) / 2, expected[0], **close)
        torch.testing.assert_close(first[1], expected[1], **close)
        torch.testing.assert_close(second[1], first[1], rtol=0, atol=0)
        assert bool(expected[1].any()) is (sum(IMAGES[step]) > 0)
