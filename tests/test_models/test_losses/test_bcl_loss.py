"""BCLLoss: prototypes out of the classifier's weight, views, mean and weight."""

import math

import pytest
import torch

import lt_mm  # noqa: F401
from lt_mm.functional import balanced_contrastive_loss
from lt_mm.models.layers import CosineLinear
from lt_mm.models.losses import BCLLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS

LABELS = torch.tensor([0, 1, 0, 2])


def make(**kwargs):
    torch.manual_seed(0)
    arguments = dict(num_classes=4, in_channels=6, widths=(8, 5), temperature=0.2)
    return MODELS.build(dict(type='lt_mm.BCLLoss', **arguments, **kwargs)).double()


def classifier_of(num_classes=4, kind=torch.nn.Linear):
    torch.manual_seed(2)
    return kind(6, num_classes).double()


def batch_of(queries, labels, classifier):
    nothing = torch.full_like(labels, -1)
    return ContrastBatch(queries, queries[-1].detach(), labels, nothing, nothing, classifier)


def features(views, images, requires_grad=False):
    torch.manual_seed(1)
    return torch.randn(views, images, 6, dtype=torch.float64, requires_grad=requires_grad)


def test_wants_two_views():
    assert BCLLoss.num_query_views == 2


@pytest.mark.parametrize('views', [1, 2])
@pytest.mark.parametrize('kind', [torch.nn.Linear, CosineLinear])
def test_mean_over_views_against_views_and_embedded_class_weights(views, kind):
    loss, classifier = make(loss_weight=0.5), classifier_of(kind=kind)
    queries = features(views, 4)
    value = loss.contrast(batch_of(queries, LABELS, classifier))
    rows = loss.query_mlp(torch.cat(list(queries)))
    labels = torch.cat([LABELS] * views)
    terms, _ = balanced_contrastive_loss(
        rows,
        labels,
        torch.cat([rows, loss.prototype_mlp(classifier.weight)]),
        torch.cat([labels, torch.arange(4)]),
        0.2,
        self_indices=torch.arange(len(rows)),
    )
    assert set(value) == {'loss_bcl'}
    torch.testing.assert_close(value['loss_bcl'], 0.5 * terms.mean())


def test_gradients_reach_the_features_both_mlps_and_the_classifier():
    loss, classifier = make(), classifier_of()
    queries = features(2, 4, requires_grad=True)
    loss.contrast(batch_of(queries, LABELS, classifier))['loss_bcl'].backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad.any(), name
    assert queries.grad.any()
    # The absent class, too: its prototype repels.
    assert classifier.weight.grad.any(dim=1).all()


def test_gradcheck_through_the_mlps():
    loss, classifier = make(), classifier_of()
    queries = features(2, 4, requires_grad=True)

    def value(rows, weight):
        parameters = dict(weight=weight, bias=classifier.bias)
        stand_in = type('Classifier', (torch.nn.Module,), parameters)()
        return loss.contrast(batch_of(rows, LABELS, stand_in))['loss_bcl']

    weight = classifier.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (queries, weight))


def test_the_only_image_of_its_class_is_drawn_to_its_prototype():
    loss = make()
    queries = features(1, 1, requires_grad=True)
    value = loss.contrast(batch_of(queries, LABELS[:1], classifier_of()))['loss_bcl']
    value.backward()
    assert value > 0 and queries.grad.any()


def test_empty_batch_is_zero_with_a_graph():
    loss, classifier = make(), classifier_of()
    value = loss.contrast(batch_of(features(2, 0), LABELS[:0], classifier))['loss_bcl']
    value.backward()
    assert value == 0
    assert all((parameter.grad == 0).all() for parameter in loss.parameters())
    assert (classifier.weight.grad == 0).all()


def test_one_class_of_one_image_is_zero():
    loss = BCLLoss(1, 6, widths=(5,)).double()
    batch = batch_of(features(1, 1), torch.zeros(1, dtype=torch.int64), classifier_of(1))
    assert loss.contrast(batch)['loss_bcl'].item() == pytest.approx(0, abs=1e-12)


def test_float16_features_give_a_float32_loss():
    loss, classifier = make().float(), classifier_of().float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        batch = batch_of(features(2, 4).half(), LABELS, classifier)
        value = loss.contrast(batch)['loss_bcl']
    assert value.dtype == torch.float32 and 0 < value < 100


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.inf, math.nan])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match='temperature of BCLLoss is'):
        BCLLoss(4, 6, temperature=temperature)


@pytest.mark.parametrize('label', [-1, 4])
def test_label_that_is_no_class(label):
    with pytest.raises(ValueError, match=f'label {label} reached BCLLoss'):
        make().contrast(batch_of(features(1, 1), torch.tensor([label]), classifier_of()))


def test_classifier_of_other_classes():
    with pytest.raises(ValueError, match='has 3 rows but BCLLoss has 4 classes'):
        make().contrast(batch_of(features(1, 4), LABELS, classifier_of(3)))


def test_a_norm_in_both_mlps():
    loss = make(norm=dict(type='BN1d'))
    for mlp in (loss.query_mlp, loss.prototype_mlp):
        assert [type(layer).__name__ for layer in mlp.layers] == [
            'Linear', 'BatchNorm1d', 'ReLU', 'Linear',
        ]  # fmt: skip
    value = loss.contrast(batch_of(features(2, 4), LABELS, classifier_of()))['loss_bcl']
    value.backward()
    assert value.isfinite()
    assert all(parameter.grad is not None for parameter in loss.parameters())
