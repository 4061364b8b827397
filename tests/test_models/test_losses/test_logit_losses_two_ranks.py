"""Losses of logits on two processes are those on one with the joint batch."""

import pytest
import torch
from mmengine.dist import all_reduce
from torch import nn

from lt_mm.models.losses import FocalLoss, LADELoss, LDAMLoss, SeesawLoss, WeightedCrossEntropyLoss
from lt_mm.structures import ClassCounts

# Images of rank 0 and of rank 1, step by step.
IMAGES = [(4, 4), (5, 2), (3, 0), (0, 0), (1, 6)]
INVERSE = dict(type='inverse', power=0.5)
CASES = {
    'ldam': (LDAMLoss, dict(class_weight=INVERSE)),
    'weighted': (WeightedCrossEntropyLoss, dict(class_weight=INVERSE, average='weights')),
    'focal': (FocalLoss, dict(use_sigmoid=True)),
    'lade': (LADELoss, dict(regularizer_weight=0.5)),
    'seesaw': (SeesawLoss, dict()),
    'seesaw_seen': (SeesawLoss, dict(num_classes=4)),
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
    """Loss, gradient and buffers of every step of a process that sees the batches of ranks."""
    torch.manual_seed(0)
    loss, layer = kind(**options), nn.Linear(6, 4).double()
    loss.set_class_counts(ClassCounts([50, 30, 15, 5]))
    history = []
    for step in range(len(IMAGES)):
        layer.zero_grad()
        features, labels = batch_of(step, ranks)
        value = loss(layer(features), labels, ignore_index=255)
        value.backward()
        gradient = layer.weight.grad
        all_reduce(gradient, op='mean')
        with torch.no_grad():
            layer.weight -= 0.1 * gradient
        buffers = {name: buffer.clone() for name, buffer in loss.named_buffers()}
        history.append((value.detach(), gradient.clone(), buffers))
    return history


def train_rank(rank):
    return {name: train([rank], *case) for name, case in CASES.items()}


@pytest.fixture(scope='module')
def both_ranks(two_ranks):
    return two_ranks(train_rank)


@pytest.mark.parametrize('name', CASES)
def test_mean_loss_gradient_and_buffers_are_those_of_the_joint_batch(both_ranks, name):
    joint = train([0, 1], *CASES[name])
    steps = zip(*(rank[name] for rank in both_ranks), joint, strict=True)
    for step, (first, second, expected) in enumerate(steps):
        close = dict(rtol=1e-6, atol=1e-9)
        torch.testing.assert_close((first[0] + second[0]) / 2, expected[0], **close)
        torch.testing.assert_close(first[1], expected[1], **close)
        assert expected[1].any() == any(count > 1 for count in IMAGES[step])
        assert torch.equal(first[1], second[1])
        for key, value in expected[2].items():
            assert torch.equal(first[2][key], value) and torch.equal(second[2][key], value)
