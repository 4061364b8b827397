"""Classes without a training sample: never boosted, and pushed down like others."""

import pytest
import torch
from torch import nn

from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.layers import CosineLinear
from lt_mm.models.losses import GMLLoss, HardCategoryLoss, PaCoLoss, SeesawLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS
from lt_mm.structures import ClassCounts

# As pixels are counted; class 2 is never seen.
COUNTS = ClassCounts([9 * 10**9, 10**9, 0, 10**4])
LABELS = torch.tensor([0, 1, 3, 3, 0, 1])
LOSSES = {
    'LogitAdjustedLoss': {},
    'expert of the tail': dict(type='LogitAdjustedLoss', backward=2.0),
    'expert of the head': dict(type='LogitAdjustedLoss', alpha=-1.0),
    'LADELoss': {},
    'SeesawLoss': {},
    'seen': dict(type='SeesawLoss', num_classes=4),
    'LDAMLoss': dict(scale=5.0),
    'LabelAwareSmoothingLoss': dict(head_smoothing=0.1),
    'FocalLoss': dict(class_weight=dict(type='effective_number')),
    'WeightedCrossEntropyLoss': dict(class_weight=dict(type='inverse')),
}


def build(name):
    loss = MODELS.build({'type': name, **LOSSES[name]})
    loss.set_class_counts(COUNTS)
    return loss


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('cosine', [False, True])
def test_training_does_not_end_in_predictions_of_it(name, cosine):
    """A logit that the prior makes small is never pushed down and would win at test time."""
    torch.manual_seed(1)
    layer = CosineLinear(8, 4, temperature=0.2) if cosine else nn.Linear(8, 4)
    with torch.no_grad():
        # Begin where all is taken for the class that does not occur.
        layer.weight[2] = 1.0
    loss = build(name)
    if loss.class_weights is not None:
        # With the others, elements of the head would weigh nothing.
        loss.set_class_counts(ClassCounts([900, 100, 0, 10]))
    centres = torch.eye(8)[:4] * 4 + 1
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    for _ in range(150):
        features = centres[LABELS] + 0.5 * torch.randn(6, 8)
        optimizer.zero_grad()
        loss(layer(features), LABELS).backward()
        optimizer.step()
    features = (centres[LABELS] + 0.5 * torch.randn(50, 6, 8)).flatten(0, 1)
    assert (layer(features).argmax(1) == 2).float().mean() < 0.01


@pytest.mark.parametrize('name', LOSSES)
def test_its_label_in_a_validation_set_has_a_finite_loss(name):
    loss = build(name).eval()
    logits = torch.randn(4, 4, requires_grad=True)
    for target in (torch.tensor([2, 2, 0, 1]), torch.eye(4)):
        value = loss(logits, target)
        value.backward()
        assert value.isfinite() and logits.grad.isfinite().all()


# Of LADE's regulariser, the most frequent class has the greatest share.
@pytest.mark.parametrize('name', [name for name in LOSSES if name != 'LADELoss'])
def test_it_is_pushed_down_no_less_than_the_most_frequent_class(name):
    loss = build(name)
    loss(torch.randn(6, 4), LABELS)
    logits = torch.zeros(1, 4, requires_grad=True)
    loss(logits, torch.tensor([3])).backward()
    assert logits.grad[0, 2] >= logits.grad[0, 0] - 1e-6 and logits.grad[0, 2] > 0


def batch():
    torch.manual_seed(0)
    features = torch.randn(1, 6, 5, requires_grad=True)
    classifier = nn.Linear(5, 4)
    return ContrastBatch(
        features, features[0].detach(), LABELS, torch.arange(6), torch.arange(6), classifier
    )


def test_a_class_centre_of_paco_is_pushed_away():
    loss = PaCoLoss(4, 5, widths=(4,), size=8)
    loss.set_class_counts(COUNTS)
    given = batch()
    with torch.no_grad():
        given.classifier.bias[2] = 9.0
    loss.contrast(given)['loss_paco'].backward()
    assert given.classifier.bias.grad[2] > 0.1
    assert all(p.grad.isfinite().all() for p in given.classifier.parameters())


def test_gml_has_no_mixture_for_it():
    loss = GMLLoss(4, 5, size=40, min_size=2, widths=(4,))
    loss.set_class_counts(COUNTS)
    given = batch()
    value = loss.contrast(given)['loss_gml']
    value.backward()
    assert value.isfinite() and given.queries.grad.isfinite().all()


def test_hard_categories_of_ncl():
    loss = HardCategoryLoss(num_hard=4, mutual_weight=0.0, hard_mutual_weight=0.0)
    loss.set_class_counts(COUNTS)
    logits = torch.zeros(2, 1, 4, requires_grad=True)
    sum(loss(logits, torch.tensor([3])).values()).backward()
    torch.testing.assert_close(logits.grad[:, :, 2], logits.grad[:, :, 0])


def test_seesaw_spares_what_is_to_come_as_the_paper_does():
    """Only a class that is known to have no sample is punished in full before it was seen."""
    logits = torch.zeros(1, 3, requires_grad=True)
    for counts, spared in ((None, False), ([5, 4, 3], True), ([5, 4, 0], False)):
        loss, logits.grad = SeesawLoss(num_classes=3), None
        if counts is not None:
            loss.set_class_counts(ClassCounts(counts))
        loss(logits, torch.tensor([0]))
        loss.seen.copy_(torch.tensor([50.0, 50.0, 0.0]))
        loss.eval()(logits, torch.tensor([0])).backward()
        assert (logits.grad[0, 2] < 0.5 * logits.grad[0, 1]) == spared


def test_a_checkpoint_of_earlier_versions():
    buffer = ClassCountsBuffer('MyLoss')
    counts = torch.tensor([9, 0, 1])
    buffer.load_state_dict(dict(counts=counts, log_prior=(counts.clamp(min=1) / 11).log()))
    assert buffer.require_log_prior().isneginf().tolist() == [False, True, False]
