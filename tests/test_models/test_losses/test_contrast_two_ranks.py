"""SupCon, BCL and PaCo on two processes are those on one with the joint batch."""

import pytest
import torch
from mmengine.dist import all_reduce
from torch import nn

from lt_mm.models.layers import CosineLinear
from lt_mm.models.losses import BCLLoss, PaCoLoss, SupConLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.structures import ClassCounts

# Images of rank 0 and of rank 1, step by step.
IMAGES = [(4, 4), (5, 2), (3, 0), (0, 0), (1, 6)]
CASES = {
    'supcon': dict(loss=SupConLoss),
    'supcon_float64': dict(loss=SupConLoss, dtype=torch.float64),
    'bcl': dict(loss=BCLLoss),
    'bcl_float64': dict(loss=BCLLoss, dtype=torch.float64),
    'paco': dict(loss=PaCoLoss, size=9, momentum=0.8),
    'paco_float64': dict(loss=PaCoLoss, dtype=torch.float64, size=9, momentum=0.8),
    # Here a difference in the last bit of a key can become one of 2^-11 of it.
    'paco_float16_queue': dict(loss=PaCoLoss, size=9, momentum=0.8, half_queue=True),
}


def batch_of(model, views, step, ranks, dtype):
    """The batch that these ranks see at this step, images of one rank after another."""
    images, labels = [], []
    for rank in ranks:
        generator = torch.Generator().manual_seed(100 * step + rank)
        count = IMAGES[step][rank]
        images.append(torch.randn(2, count, 7, generator=generator).to(dtype))
        labels.append(torch.randint(4, (count,), generator=generator))
    features = model['encoder'](torch.cat(images, dim=1))
    labels = torch.cat(labels)
    nothing = torch.full_like(labels, -1)
    return ContrastBatch(
        features[:views], features[-1].detach(), labels, nothing, nothing, model['classifier']
    )


def train(ranks, loss, dtype=torch.float32, half_queue=False, **kwargs):
    """Loss, gradients and buffers of every step of a process that sees the batches of ranks."""
    torch.manual_seed(0)
    loss = loss(4, 6, widths=(8, 5), temperature=0.2, **kwargs)
    model = nn.ModuleDict(
        dict(encoder=nn.Linear(7, 6), classifier=CosineLinear(6, 4), loss=loss)
    ).to(dtype)
    if half_queue:
        loss.queue.half()
    for part in model.modules():
        if hasattr(part, 'set_class_counts'):
            part.set_class_counts(ClassCounts([50, 30, 15, 5]))
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.05)
    history = []
    for step in range(len(IMAGES)):
        optimizer.zero_grad()
        (value,) = loss.contrast(batch_of(model, loss.num_query_views, step, ranks, dtype)).values()
        value.backward()
        gradients = {}
        for name, parameter in parameters.items():
            # SupCon has no use for the classifier.
            if parameter.grad is not None:
                all_reduce(parameter.grad, op='mean')
                gradients[name] = parameter.grad.clone()
        optimizer.step()
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        history.append(dict(loss=value.detach(), gradients=gradients, buffers=buffers))
    return history


def train_rank(rank):
    return {name: train([rank], **case) for name, case in CASES.items()}


@pytest.fixture(scope='module')
def both_ranks(two_ranks):
    return two_ranks(train_rank)


@pytest.fixture(params=CASES)
def runs(request, both_ranks):
    """Histories of rank 0, of rank 1 and of one process with the joint batch."""
    case = CASES[request.param]
    tolerance = 1e-10 if case.get('dtype') == torch.float64 else 1e-5
    tolerance = 1e-3 if 'half_queue' in case else tolerance
    tolerance = dict(rtol=tolerance, atol=tolerance)
    return *(rank[request.param] for rank in both_ranks), train([0, 1], **case), tolerance


def test_mean_of_the_losses_is_the_joint_loss(runs):
    *both, joint, tolerance = runs
    for step, (first, second, expected) in enumerate(zip(*both, joint, strict=True)):
        assert (expected['loss'] > 0) == any(IMAGES[step]), step
        torch.testing.assert_close(
            (first['loss'] + second['loss']) / 2, expected['loss'], **tolerance
        )


def test_averaged_gradients_are_the_joint_gradients(runs):
    *both, joint, tolerance = runs
    for step, (first, second, expected) in enumerate(zip(*both, joint, strict=True)):
        assert len(expected['gradients']) >= 6
        for name, value in expected['gradients'].items():
            assert value.any() == any(IMAGES[step]), (step, name)
            assert torch.equal(first['gradients'][name], second['gradients'][name]), (step, name)
            torch.testing.assert_close(first['gradients'][name], value, **tolerance)


def test_buffers_are_alike_on_both_ranks_and_those_of_one_process(runs):
    *both, joint, tolerance = runs
    for first, second, expected in zip(*both, joint, strict=True):
        assert set(first['buffers']) == set(expected['buffers'])
        for name, value in expected['buffers'].items():
            assert torch.equal(first['buffers'][name], second['buffers'][name]), name
            torch.testing.assert_close(first['buffers'][name], value, **tolerance)
