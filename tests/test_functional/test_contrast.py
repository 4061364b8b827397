"""SupCon and BCL: against loops over the formulas, each other, and the Gaussian mixture."""

import math

import pytest
import torch
from torch.nn import functional as F

from lt_mm.functional import (
    balanced_contrastive_loss,
    class_log_likelihood,
    supervised_contrastive_loss,
)

LOSSES = [supervised_contrastive_loss, balanced_contrastive_loss]
TAU = 0.2


def unit_rows(count, seed=0, dim=5):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def naive(queries, labels, keys, key_labels, own, averaged):
    """One query at a time, in Python floats; None where there is no positive."""
    losses = []
    for i, (query, label) in enumerate(zip(queries.tolist(), labels.tolist(), strict=True)):
        others = [k for k in range(len(keys)) if own is None or k != int(own[i])]
        dots = {k: sum(a * b for a, b in zip(query, keys[k].tolist(), strict=True)) for k in others}
        positives = [k for k in others if int(key_labels[k]) == label]
        if not positives:
            losses.append(None)
            continue
        denominator = 0.0
        for c in {int(key_labels[k]) for k in others}:
            terms = [math.exp(dots[k] / TAU) for k in others if int(key_labels[k]) == c]
            denominator += sum(terms) / (len(terms) if averaged else 1)
        logs = [math.log(math.exp(dots[k] / TAU) / denominator) for k in positives]
        losses.append(-sum(logs) / len(logs))
    return losses


def check_against_naive(result, expected):
    loss, counted = result
    assert counted.tolist() == [value is not None for value in expected]
    wanted = torch.tensor([value or 0.0 for value in expected], dtype=torch.float64)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('loss', LOSSES)
def test_equals_a_loop_over_the_formula_without_self(loss):
    rows, labels = unit_rows(9), torch.tensor([0, 0, 0, 0, 1, 1, 2, 0, 4])
    own = torch.arange(9)
    expected = naive(rows, labels, rows, labels, own, loss is balanced_contrastive_loss)
    assert expected.count(None) == 2
    check_against_naive(loss(rows, labels, rows, labels, TAU, self_indices=own), expected)


@pytest.mark.parametrize('loss', LOSSES)
def test_equals_a_loop_over_the_formula_with_queries_at_the_end_of_the_keys(loss):
    keys, key_labels = unit_rows(9), torch.tensor([0, 3, 0, 0, 1, 1, 2, 0, 4])
    own = torch.tensor([7, 5, 6])
    queries, labels = keys[own], key_labels[own]
    expected = naive(queries, labels, keys, key_labels, own, loss is balanced_contrastive_loss)
    check_against_naive(loss(queries, labels, keys, key_labels, TAU, self_indices=own), expected)


@pytest.mark.parametrize('loss', LOSSES)
def test_equals_a_loop_over_the_formula_with_foreign_keys(loss):
    queries, labels = unit_rows(4), torch.tensor([0, 1, 2, 3])
    keys, key_labels = unit_rows(6, seed=1), torch.tensor([0, 1, 1, 2, 2, 2])
    expected = naive(queries, labels, keys, key_labels, None, loss is balanced_contrastive_loss)
    check_against_naive(loss(queries, labels, keys, key_labels, TAU), expected)


def test_prototypes_are_keys_and_positives_of_every_class():
    rows, labels = unit_rows(7), torch.tensor([0, 0, 0, 0, 1, 1, 3])
    prototypes, own = unit_rows(5, seed=1), torch.arange(7)
    joined, joined_labels = torch.cat([rows, prototypes]), torch.cat([labels, torch.arange(5)])
    expected = naive(rows, labels, joined, joined_labels, own, averaged=True)
    assert None not in expected
    check_against_naive(
        balanced_contrastive_loss(
            rows, labels, rows, labels, TAU, prototypes=prototypes, self_indices=own
        ),
        expected,
    )


def test_gradcheck_of_supcon():
    rows, labels = unit_rows(6).requires_grad_(), torch.tensor([0, 0, 1, 1, 1, 2])
    own = torch.arange(6)
    assert torch.autograd.gradcheck(
        lambda x: supervised_contrastive_loss(x, labels, x, labels, TAU, self_indices=own)[0],
        (rows,),
    )


def test_gradcheck_of_bcl():
    rows, labels = unit_rows(6).requires_grad_(), torch.tensor([0, 0, 1, 1, 1, 2])
    prototypes, own = unit_rows(4, seed=1).requires_grad_(), torch.arange(6)
    assert torch.autograd.gradcheck(
        lambda x, p: balanced_contrastive_loss(
            x, labels, x, labels, TAU, prototypes=p, self_indices=own
        )[0],
        (rows, prototypes),
    )


def test_bcl_of_balanced_foreign_keys_is_supcon_less_the_log_of_the_class_size():
    queries, labels = unit_rows(5), torch.tensor([0, 1, 2, 0, 1])
    keys, key_labels = unit_rows(12, seed=1), torch.arange(12) % 3
    supcon, _ = supervised_contrastive_loss(queries, labels, keys, key_labels, TAU)
    bcl, _ = balanced_contrastive_loss(queries, labels, keys, key_labels, TAU)
    torch.testing.assert_close(bcl, supcon - math.log(4))


def test_bcl_of_a_balanced_batch_lies_between_the_class_sizes_with_and_without_self():
    rows, labels, own = unit_rows(12), torch.arange(12) % 3, torch.arange(12)
    supcon, _ = supervised_contrastive_loss(rows, labels, rows, labels, TAU, self_indices=own)
    bcl, _ = balanced_contrastive_loss(rows, labels, rows, labels, TAU, self_indices=own)
    assert (bcl > supcon - math.log(4)).all()
    assert (bcl < supcon - math.log(3)).all()


def test_bcl_does_not_move_when_every_key_of_a_class_is_doubled_and_supcon_does():
    queries, labels = unit_rows(4), torch.tensor([0, 1, 0, 1])
    keys, key_labels = unit_rows(6, seed=1), torch.tensor([0, 0, 1, 1, 2, 2])
    more = torch.tensor([0, 1, 2, 3, 4, 5, 4, 5, 4, 5])
    once = [loss(queries, labels, keys, key_labels, TAU)[0] for loss in LOSSES]
    often = [loss(queries, labels, keys[more], key_labels[more], TAU)[0] for loss in LOSSES]
    assert (often[0] > once[0] + 1e-3).all()
    torch.testing.assert_close(often[1], once[1])


def mixture(queries, keys, key_labels, num_classes, own=None):
    """Class log-likelihoods of GML over keys in any order."""
    order = key_labels.argsort(stable=True)
    ids = {} if own is None else dict(query_ids=own, key_ids=order)
    lengths = torch.bincount(key_labels, minlength=num_classes)
    return class_log_likelihood(queries, keys[order], lengths, TAU, **ids)


def test_denominator_of_bcl_is_the_sum_of_the_class_likelihoods_of_gml():
    rows, labels, own = unit_rows(9), torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 1]), torch.arange(9)
    loss, _ = balanced_contrastive_loss(rows, labels, rows, labels, TAU, self_indices=own)
    logits = rows @ rows.T / TAU
    positive = (labels[:, None] == labels) & ~torch.eye(9, dtype=torch.bool)
    attraction = (logits * positive).sum(1) / positive.sum(1)
    denominator = mixture(rows, rows, labels, 3, own).logsumexp(1)
    torch.testing.assert_close(loss, denominator - attraction)


def test_jensen_bounds_gml_on_a_balanced_set_by_supcon_eq_10():
    queries, labels = unit_rows(6), torch.arange(6) % 3
    keys, key_labels = unit_rows(12, seed=1), torch.arange(12) % 3
    gml = F.cross_entropy(mixture(queries, keys, key_labels, 3), labels, reduction='none')
    supcon, _ = supervised_contrastive_loss(queries, labels, keys, key_labels, TAU)
    assert (gml < supcon - math.log(4) - 1e-3).all()
    # Both are the same where all positives are equally near, as with one key a class.
    keys, key_labels = keys[:3], key_labels[:3]
    gml = F.cross_entropy(mixture(queries, keys, key_labels, 3), labels, reduction='none')
    supcon, _ = supervised_contrastive_loss(queries, labels, keys, key_labels, TAU)
    torch.testing.assert_close(gml, supcon)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('rows', [0, 1, 3])
def test_without_a_positive_loss_and_gradient_are_zero(loss, rows):
    queries, labels, own = unit_rows(rows).requires_grad_(), torch.arange(rows), torch.arange(rows)
    value, counted = loss(queries, labels, queries, labels, TAU, self_indices=own)
    value.sum().backward()
    assert value.tolist() == [0] * rows and counted.tolist() == [False] * rows
    assert (queries.grad == 0).all()


@pytest.mark.parametrize('loss', LOSSES)
def test_queries_without_keys(loss):
    queries = unit_rows(3).requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    value, counted = loss(queries, torch.arange(3), queries[:0], none, TAU)
    value.sum().backward()
    assert value.tolist() == [0, 0, 0] and not counted.any()
    assert (queries.grad == 0).all()


def test_one_class():
    rows, labels, own = (
        unit_rows(1).expand(4, -1),
        torch.zeros(4, dtype=torch.int64),
        torch.arange(4),
    )
    supcon, _ = supervised_contrastive_loss(rows, labels, rows, labels, TAU, self_indices=own)
    bcl, _ = balanced_contrastive_loss(rows, labels, rows, labels, TAU, self_indices=own)
    assert supcon.tolist() == pytest.approx([math.log(3)] * 4)
    assert bcl.tolist() == pytest.approx([0] * 4, abs=1e-12)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('loss', LOSSES)
def test_half_precision_is_summed_in_float32(loss, dtype):
    """At this temperature the exponentials overflow float16, and float32 too."""
    rows, labels = unit_rows(8).to(dtype), torch.arange(8) % 3
    own = torch.arange(8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _ = loss(rows, labels, rows, labels, 0.005, self_indices=own)
    exact = rows.double()
    expected, _ = loss(exact, labels, exact, labels, 0.005, self_indices=own)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('temperature', [0, -0.1, math.inf, math.nan])
@pytest.mark.parametrize('loss', LOSSES)
def test_bad_temperature(loss, temperature):
    rows, labels = unit_rows(2), torch.arange(2)
    with pytest.raises(ValueError, match='temperature must be one positive finite number'):
        loss(rows, labels, rows, labels, temperature)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(keys=torch.ones(4, 3)), r'queries \(4, 5\) and keys \(4, 3\)'),
        (dict(labels=torch.zeros(3)), r'labels has shape \(3,\), expected \(4,\): one per query'),
        (dict(key_labels=torch.zeros(5)), r'key_labels has shape \(5,\).*one per key'),
        (dict(self_indices=torch.zeros(1)), r'self_indices has shape \(1,\).*one per query'),
    ],
)
@pytest.mark.parametrize('loss', LOSSES)
def test_bad_shapes(loss, change, message):
    rows, labels = unit_rows(4), torch.arange(4)
    arguments = dict(queries=rows, labels=labels, keys=rows, key_labels=labels, temperature=TAU)
    with pytest.raises(ValueError, match=message):
        loss(**{**arguments, **change})
