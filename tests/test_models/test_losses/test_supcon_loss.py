"""SupConLoss: views, embedding, mean and weight."""

import math

import pytest
import torch

import lt_mm  # noqa: F401
from lt_mm.functional import supervised_contrastive_loss
from lt_mm.models.losses import SupConLoss
from lt_mm.models.losses.contrast_loss import ContrastBatch
from lt_mm.registry import MODELS

LABELS = torch.tensor([0, 1, 0, 2])


def make(**kwargs):
    torch.manual_seed(0)
    arguments = dict(num_classes=4, in_channels=6, widths=(8, 5), temperature=0.2)
    return MODELS.build(dict(type='lt_mm.SupConLoss', **arguments, **kwargs)).double()


def batch_of(queries, labels):
    nothing = torch.full_like(labels, -1)
    return ContrastBatch(
        queries, queries[-1].detach(), labels, nothing, nothing, torch.nn.Identity()
    )


def features(views, images, requires_grad=False):
    torch.manual_seed(1)
    return torch.randn(views, images, 6, dtype=torch.float64, requires_grad=requires_grad)


def test_wants_two_views():
    assert SupConLoss.num_query_views == 2


@pytest.mark.parametrize('views', [1, 2])
def test_mean_over_the_views_that_have_a_positive(views):
    loss = make(loss_weight=0.5)
    queries = features(views, 4)
    value = loss.contrast(batch_of(queries, LABELS))
    rows = loss.query_mlp(torch.cat(list(queries)))
    labels = torch.cat([LABELS] * views)
    terms, has_positive = supervised_contrastive_loss(
        rows, labels, rows, labels, 0.2, self_indices=torch.arange(len(rows))
    )
    assert has_positive.sum() == (2 if views == 1 else 8)
    assert set(value) == {'loss_supcon'}
    torch.testing.assert_close(value['loss_supcon'], 0.5 * terms[has_positive].mean())


def test_one_view_is_warned_of_once(recwarn):
    loss = make()
    for _ in range(2):
        loss.contrast(batch_of(features(1, 4), LABELS))
    assert [str(w.message)[:25] for w in recwarn] == ['SupConLoss sees one view ']


def test_two_views_of_one_image_attract_each_other_only():
    loss = make()
    value = loss.contrast(batch_of(features(2, 1), LABELS[:1]))['loss_supcon']
    assert value.item() == pytest.approx(0, abs=1e-12)


def test_gradcheck_through_the_mlp():
    loss = make()
    queries = features(2, 4, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda rows: loss.contrast(batch_of(rows, LABELS))['loss_supcon'], (queries,)
    )


@pytest.mark.parametrize('images', [0, 1, 3])
def test_nothing_to_learn_from_is_zero_with_a_graph(images):
    loss = make()
    value = loss.contrast(batch_of(features(1, images), torch.arange(images)))['loss_supcon']
    value.backward()
    assert value == 0
    assert all((parameter.grad == 0).all() for parameter in loss.parameters())


def test_float16_features_give_a_float32_loss():
    loss = make().float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss.contrast(batch_of(features(2, 4).half(), LABELS))['loss_supcon']
    assert value.dtype == torch.float32 and 0 < value < 100


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.inf, math.nan])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match='temperature of SupConLoss is'):
        SupConLoss(4, 6, temperature=temperature)


@pytest.mark.parametrize('label', [-1, 4])
def test_label_that_is_no_class(label):
    with pytest.raises(ValueError, match=f'label {label} reached SupConLoss'):
        make().contrast(batch_of(features(1, 1), torch.tensor([label])))
