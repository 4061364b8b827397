"""RIDE, SADE and NCL as configs of one head: the whole loss of each, restated in loops."""

import math

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from lt_mm.structures import ClassCounts

COUNTS = [60, 25, 10, 4, 1]
PRIOR = [count / 100 for count in COUNTS]
REVERSED = PRIOR[::-1]
HEAD = dict(type='lt_mm.MultiExpertClsHead', num_classes=5, in_channels=6, experts=[dict()] * 3)
ADJUSTED = dict(type='lt_mm.LogitAdjustedLoss')
NCL = dict(
    HEAD,
    loss=dict(ADJUSTED, alpha=1.0),
    interplay=dict(type='lt_mm.HardCategoryLoss', num_hard=3),
)
SADE = dict(
    HEAD,
    classifier='cosine',
    experts=[
        dict(loss=dict(ADJUSTED, alpha=0.0)),
        dict(loss=dict(ADJUSTED, alpha=1.0)),
        dict(loss=dict(ADJUSTED, alpha=1.0, backward=2.0)),
    ],
)
RIDE = dict(
    HEAD,
    classifier='cosine',
    loss=dict(
        type='lt_mm.LDAMLoss', scale=30, class_weight=dict(type='effective_number', beta=0.9999)
    ),
    interplay=dict(type='lt_mm.DiversityLoss', class_factor=0.05, loss_weight=-0.45),
)


def build(cfg):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    head = MODELS.build(cfg).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    for module in head.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(ClassCounts(COUNTS))
    return head


def losses_of(head):
    feats, labels = (torch.randn(8, 3, 6).double(),), [0, 1, 2, 3, 4, 0, 1, 4]
    samples = [DataSample().set_gt_label(label) for label in labels]
    losses = head.loss(feats, samples)
    return losses, head.expert_logits(feats).tolist(), labels


def total(losses):
    """What mmengine minimises."""
    return sum(value for key, value in losses.items() if 'loss' in key).item()


def log_softmax(row):
    top = max(row)
    normaliser = top + math.log(sum(math.exp(value - top) for value in row))
    return [value - normaliser for value in row]


def divergence(teacher, student):
    return sum(math.exp(t) * (t - s) for t, s in zip(teacher, student, strict=True))


def test_ncl():
    losses, logits, labels = losses_of(build(NCL))
    expected = 0.0
    for n, label in enumerate(labels):
        first = logits[0][n]
        others = sorted((c for c in range(5) if c != label), key=lambda c: -first[c])[:2]
        full = [[z[n][c] + math.log(PRIOR[c]) for c in range(5)] for z in logits]
        hard = [[row[c] for c in (label, *others)] for row in full]
        for place, rows in ((label, full), (0, hard)):
            log_p = [log_softmax(row) for row in rows]
            expected -= sum(row[place] for row in log_p)
            pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
            expected += 0.6 * sum(divergence(log_p[j], log_p[i]) for i, j in pairs) / 2
    assert total(losses) == pytest.approx(expected / len(labels))


def test_sade():
    losses, logits, labels = losses_of(build(SADE))
    shifts = [
        [0.0] * 5,
        [math.log(p) for p in PRIOR],
        [math.log(p) - 2 * math.log(q) for p, q in zip(PRIOR, REVERSED, strict=True)],
    ]
    for expert, shift in enumerate(shifts):
        expected = 0.0
        for n, label in enumerate(labels):
            row = [z + s for z, s in zip(logits[expert][n], shift, strict=True)]
            expected -= log_softmax(row)[label] / len(labels)
        assert losses[f'expert{expert}.loss_cls'].item() == pytest.approx(expected)
    assert len(losses) == 3


@pytest.mark.parametrize('deferred', [False, True])
def test_ride_before_and_after_reweighting_begins(deferred):
    head = build(RIDE)
    takers = [module for module in head.modules() if hasattr(module, 'set_deferred')]
    for module in takers:
        module.set_deferred(deferred)
    losses, logits, labels = losses_of(head)
    margins = [0.5 * (1 / count) ** 0.25 for count in COUNTS]
    weights = [(1 - 0.9999) / (1 - 0.9999**count) for count in COUNTS]
    weights = [5 * weight / sum(weights) if deferred else 1.0 for weight in weights]
    temperatures = [1.0] * 5
    if deferred:
        shares = [0.05 * 5 * p + 0.95 for p in PRIOR]
        temperatures = [share / max(shares) for share in shares]
    factor = (sum(temperatures) / 5) ** 2
    expected = 0.0
    for n, label in enumerate(labels):
        mean = [sum(z[n][c] for z in logits) / 3 / temperatures[c] for c in range(5)]
        for z in logits:
            row = list(z[n])
            row[label] -= 30 * margins[label]
            expected -= weights[label] * log_softmax(row)[label]
            cold = [z[n][c] / temperatures[c] for c in range(5)]
            expected -= 0.45 * factor * divergence(log_softmax(mean), log_softmax(cold))
    assert total(losses) == pytest.approx(expected / len(labels), rel=1e-4)
