"""LDAM, label-aware smoothing, LADE, Seesaw and focal loss: what their arguments do."""

import math

import pytest
import torch
from torch.nn import functional as F

from lt_mm.functional import (
    label_aware_smoothing,
    lade_regularizer,
    lade_statistics,
    seesaw_cross_entropy,
    sigmoid_focal_loss,
    smoothed_cross_entropy,
)
from lt_mm.models.layers import CosineLinear
from lt_mm.models.losses import (
    FocalLoss,
    LabelAwareSmoothingLoss,
    LADELoss,
    LDAMLoss,
    SeesawLoss,
)
from lt_mm.structures import ClassCounts

COUNTS = [810, 160, 10]
LOGITS = torch.tensor([[0.2, -0.4, 0.9], [0.1, 0.8, -0.3], [-0.7, 0.3, 0.6], [0.5, 0.5, -0.9]])
TARGET = torch.tensor([0, 1, 2, 0])


def with_counts(loss, prior=None):
    loss.set_class_counts(ClassCounts(COUNTS).with_prior(prior))
    return loss


def ldam_by_hand(cosines):
    """-log of exp(s(z_y - m_y)) over itself plus the sum of exp(s z_j), j != y; s = 30."""
    total = 0.0
    for row, label in zip(cosines.tolist(), TARGET.tolist(), strict=True):
        margin = 0.5 * (10 / COUNTS[label]) ** 0.25
        own = 30 * (row[label] - margin)
        others = sum(math.exp(30 * z) for j, z in enumerate(row) if j != label)
        total += math.log(math.exp(own) + others) - own
    return total / len(cosines)


def test_ldam_applies_its_scale_once():
    features = torch.randn(4, 5)
    scaled, bare = CosineLinear(5, 3, temperature=1 / 30), CosineLinear(5, 3, temperature=1.0)
    bare.load_state_dict(scaled.state_dict())
    expected = pytest.approx(ldam_by_hand(bare(features).double()), rel=1e-4)
    assert with_counts(LDAMLoss())(scaled(features), TARGET).item() == expected
    loss = with_counts(LDAMLoss(scaled_logits=False))
    assert loss(bare(features), TARGET).item() == expected
    with pytest.raises(ValueError, match='the head has a scale of its own: leave scaled_logits'):
        loss(scaled(features), TARGET)


def test_ldam_without_margin_is_cross_entropy():
    torch.testing.assert_close(
        with_counts(LDAMLoss(max_margin=0.0))(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET)
    )


def test_ldam_margins_are_of_counts_and_the_adjustment_of_lade_of_the_prior():
    """A sampler changes the prior of what is trained on, not how many samples there are."""
    balanced = [1, 1, 1]
    assert with_counts(LDAMLoss(), balanced)(LOGITS, TARGET) == with_counts(LDAMLoss())(
        LOGITS, TARGET
    )
    las = LabelAwareSmoothingLoss
    assert with_counts(las(), balanced)(LOGITS, TARGET) == with_counts(las())(LOGITS, TARGET)
    torch.testing.assert_close(
        with_counts(LADELoss(regularizer_weight=0), balanced)(LOGITS, TARGET),
        F.cross_entropy(LOGITS, TARGET),
    )
    torch.testing.assert_close(
        with_counts(SeesawLoss(q=0), balanced)(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET)
    )


@pytest.mark.parametrize('share', ['others', 'all'])
def test_label_aware_smoothing(share):
    loss = with_counts(LabelAwareSmoothingLoss(0.4, 0.1, 'exponential', 0.5, share))
    smoothing = label_aware_smoothing(COUNTS, 0.4, 0.1, 'exponential', 0.5)
    expected = smoothed_cross_entropy(LOGITS, TARGET, smoothing, share).mean()
    torch.testing.assert_close(loss(LOGITS, TARGET), expected)


def test_lade_is_balanced_softmax_and_its_regulariser():
    loss = with_counts(LADELoss(regularizer_weight=0.3, penalty=0.2, loss_weight=2.0))
    log_prior = ClassCounts(COUNTS).log_prior()
    regularizer = lade_regularizer(lade_statistics(LOGITS, TARGET)[None], log_prior, 0.2)
    expected = 2 * (F.cross_entropy(LOGITS + log_prior, TARGET) + 0.3 * regularizer)
    torch.testing.assert_close(loss(LOGITS, TARGET), expected)


def test_seesaw_by_class_counts():
    expected = seesaw_cross_entropy(LOGITS, TARGET, torch.tensor(COUNTS).log(), 0.6, 1.5, 0.1)
    torch.testing.assert_close(
        with_counts(SeesawLoss(0.6, 1.5, 0.1))(LOGITS, TARGET), expected.mean()
    )


def test_seesaw_counts_what_it_sees_in_training():
    loss = SeesawLoss(num_classes=3)
    expected = seesaw_cross_entropy(LOGITS, TARGET, torch.tensor([2.0, 1.0, 1.0]).log())
    torch.testing.assert_close(loss(LOGITS, TARGET), expected.mean())
    loss(torch.randn(1, 3, 2, 2), torch.tensor([[[255, 1], [1, 255]]]), ignore_index=255)
    loss(LOGITS[:2], torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]))
    assert loss.seen.tolist() == [2.25, 3.75, 2]
    loss.eval()(LOGITS, TARGET)
    resumed = SeesawLoss(num_classes=3)
    resumed.load_state_dict(loss.state_dict())
    assert resumed.seen.tolist() == [2.25, 3.75, 2]


def test_seesaw_counts_beyond_the_whole_numbers_of_float32():
    loss = SeesawLoss(num_classes=3)
    loss.seen += 1e11
    loss(LOGITS, TARGET)
    assert (loss.seen - 1e11).tolist() == [2, 1, 1]


def test_seesaw_refuses_before_it_counts():
    loss = SeesawLoss(num_classes=3)
    for logits, target, message in (
        (LOGITS, torch.tensor([0, 1, 2, 3]), 'label 3 reached SeesawLoss'),
        (torch.randn(1, 4), torch.tensor([3]), 'num_classes of SeesawLoss is 3.*4 classes'),
    ):
        with pytest.raises(ValueError, match=message):
            loss(logits, target)
    assert loss.seen.tolist() == [0, 0, 0]


def test_sigmoid_focal_loss():
    loss = FocalLoss(gamma=1.5, use_sigmoid=True, alpha=0.3)
    torch.testing.assert_close(
        loss(LOGITS, TARGET), sigmoid_focal_loss(LOGITS, TARGET, 1.5, 0.3).mean()
    )


@pytest.mark.parametrize(
    ('kind', 'arguments', 'message'),
    [
        (FocalLoss, dict(gamma=-1), 'gamma of FocalLoss is -1'),
        (FocalLoss, dict(alpha=0.25), 'alpha of FocalLoss is 0.25 with use_sigmoid=False'),
        (FocalLoss, dict(alpha=2, use_sigmoid=True), 'alpha of FocalLoss is 2'),
        (LDAMLoss, dict(max_margin=-0.1), 'max_margin of LDAM is -0.1'),
        (LDAMLoss, dict(scale=0), 'scale of LDAMLoss is 0'),
        (LabelAwareSmoothingLoss, dict(share='K'), "share of LabelAwareSmoothingLoss is 'K'"),
        (LabelAwareSmoothingLoss, dict(shape='cubic'), "is 'cubic'; use one of concave"),
        (LabelAwareSmoothingLoss, dict(head_smoothing=1), 'head of label-aware smoothing is 1'),
        (LADELoss, dict(penalty=-1), 'penalty of LADELoss is -1'),
        (LADELoss, dict(regularizer_weight=math.nan), 'regularizer_weight of LADELoss is nan'),
        (SeesawLoss, dict(p=-1), 'p of SeesawLoss is -1'),
        (SeesawLoss, dict(q=math.inf), 'q of SeesawLoss is inf'),
        (SeesawLoss, dict(eps=0), 'eps of SeesawLoss is 0'),
    ],
)
def test_bad_arguments(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)
