"""GMLLoss: eqs. 5 and 11 over the queue, absent classes, and who gets a gradient."""

import math

import pytest
import torch

from lt_mm.models.losses import GMLLoss
from lt_mm.structures import ClassCounts

COUNTS = [60, 25, 10, 5]


def make(**kwargs):
    torch.manual_seed(0)
    loss = GMLLoss(4, 6, **{'size': 30, 'min_size': 2, 'widths': (8, 5), **kwargs}).double()
    loss.set_class_counts(ClassCounts(COUNTS))
    return loss


def naive(loss, features, labels, alpha):
    """-log of eq. 11, one query at a time, in Python floats."""
    keys = loss.queue.keys()
    classes = [c for c, length in enumerate(keys.lengths.tolist()) for _ in range(length)]
    centres = loss.key_mlp(keys.features).tolist()
    total, used = 0.0, 0
    for query, label in zip(loss.query_mlp(features).tolist(), labels.tolist(), strict=True):
        if label not in classes:
            continue
        terms = {}
        for c in set(classes):
            own = [z for z, k in zip(centres, classes, strict=True) if k == c]
            dots = [sum(a * b for a, b in zip(query, z, strict=True)) for z in own]
            likelihood = sum(math.exp(dot / loss.temperature) for dot in dots) / len(own)
            terms[c] = likelihood * (COUNTS[c] / 100) ** alpha
        total -= math.log(terms[label] / sum(terms.values()))
        used += 1
    return total / used


@pytest.mark.parametrize('alpha', [0.0, 0.2, 1.0])
@pytest.mark.parametrize('present', [(0, 1, 2, 3), (0, 2)])
def test_equals_eqs_5_and_11(alpha, present):
    loss = make(alpha=alpha)
    labels = torch.tensor(present).repeat(6)
    loss.queue.enqueue(torch.randn(len(labels), 6), labels)
    features, targets = torch.randn(9, 6, dtype=torch.float64), torch.arange(9) % 4
    assert loss(features, targets).item() == pytest.approx(
        naive(loss, features, targets, alpha), rel=1e-5
    )


def test_gradcheck_of_features_through_both_networks():
    loss = make()
    loss.queue.enqueue(torch.randn(24, 6), torch.arange(24) % 4)
    features = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(5) % 4

    assert torch.autograd.gradcheck(lambda rows: loss(rows, labels), (features,))


def test_both_embeddings_learn_and_the_queue_does_not():
    loss = make()
    loss.queue.enqueue(torch.randn(24, 6), torch.arange(24) % 4)
    loss(torch.randn(5, 6, dtype=torch.float64), torch.arange(5) % 4).backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert not loss.queue.features.requires_grad


@pytest.mark.parametrize('rows', [0, 3])
def test_nothing_to_learn_from_is_zero_with_a_graph(rows):
    loss = make()
    if rows == 0:
        loss.queue.enqueue(torch.randn(8, 6), torch.arange(8) % 4)
    value = loss(torch.randn(rows, 6, dtype=torch.float64), torch.zeros(rows, dtype=torch.long))
    value.backward()
    assert value == 0
    assert all((p.grad == 0).all() for p in loss.parameters())


def test_key_channels_may_differ():
    loss = make(key_channels=3)
    loss.queue.enqueue(torch.randn(8, 3), torch.arange(8) % 4)
    assert loss(torch.randn(5, 6, dtype=torch.float64), torch.arange(5) % 4).isfinite()


def test_class_first_seen_after_many_steps():
    loss = make()
    for _ in range(20):
        loss.queue.enqueue(torch.randn(6, 6), torch.arange(6) % 3)
    before = loss(torch.randn(4, 6, dtype=torch.float64), torch.arange(4) % 4)
    loss.queue.enqueue(torch.randn(1, 6), torch.tensor([3]))
    after = loss(torch.randn(4, 6, dtype=torch.float64), torch.arange(4) % 4)
    assert before.isfinite() and after.isfinite()
    assert loss.queue.filled[3] == 1


def test_one_class():
    loss = GMLLoss(1, 6, size=4, min_size=1, widths=(5,))
    loss.set_class_counts(ClassCounts([9]))
    loss.queue.enqueue(torch.randn(2, 6), torch.zeros(2))
    assert loss(torch.randn(3, 6), torch.zeros(3, dtype=torch.long)).item() == pytest.approx(0)


def test_autocast_gives_a_finite_float32_loss():
    loss = make().float()
    loss.queue.enqueue(torch.randn(24, 6), torch.arange(24) % 4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(torch.randn(5, 6), torch.arange(5) % 4)
    assert value.dtype == torch.float32 and value.isfinite()
