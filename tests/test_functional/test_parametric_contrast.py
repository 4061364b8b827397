"""PaCo: against a loop over the formula, cross-entropy, and odd input."""

import math

import pytest
import torch
from torch.nn import functional as F

from lt_mm.functional import (
    logit_adjusted_cross_entropy,
    parametric_contrastive_loss,
    supervised_contrastive_loss,
)

TAU = 0.2
LOG_PRIOR = torch.tensor([0.6, 0.3, 0.08, 0.02]).double().log()


def rows(count, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def inputs(count=6, foreign=5):
    """Queries that are the first keys, keys besides, and logits of four classes."""
    keys = rows(count + foreign)
    key_labels = torch.tensor([0, 0, 1, 0, 2, 1, 0, 3, 1, 1, 0])[: count + foreign]
    logits = 3 * rows(count, dim=4, seed=1)
    return keys[:count].clone(), key_labels[:count], keys, key_labels, logits


def naive(queries, labels, keys, key_labels, logits, log_prior, alpha, beta, own):
    losses = []
    for i in range(len(queries)):
        centres = [float(logits[i, c] + log_prior[c]) for c in range(logits.shape[1])]
        others = [k for k in range(len(keys)) if own is None or k != int(own[i])]
        dots = {k: float(sum(queries[i] * keys[k])) / TAU for k in others}
        denominator = sum(map(math.exp, centres)) + sum(map(math.exp, dots.values()))
        terms = [(beta, centres[int(labels[i])])]
        terms += [(alpha, dots[k]) for k in others if key_labels[k] == labels[i]]
        total = sum(weight * math.log(math.exp(s) / denominator) for weight, s in terms)
        losses.append(-total / sum(weight for weight, _ in terms))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize(('alpha', 'beta'), [(0.05, 1.0), (0.0, 1.0), (0.5, 0.3)])
@pytest.mark.parametrize('own', [torch.arange(6), None])
def test_equals_a_loop_over_the_formula(alpha, beta, own):
    queries, labels, keys, key_labels, logits = inputs()
    loss = parametric_contrastive_loss(
        queries, labels, keys, key_labels, logits, TAU,
        log_prior=LOG_PRIOR, alpha=alpha, beta=beta, self_indices=own,
    )  # fmt: skip
    expected = naive(queries, labels, keys, key_labels, logits, LOG_PRIOR, alpha, beta, own)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_gradcheck_of_queries_keys_and_centres():
    queries, labels, keys, key_labels, logits = inputs()
    tensors = [tensor.requires_grad_() for tensor in (queries, keys, logits)]
    assert torch.autograd.gradcheck(
        lambda q, k, z: parametric_contrastive_loss(
            q, labels, k, key_labels, z, TAU, log_prior=LOG_PRIOR, self_indices=torch.arange(6)
        ),
        tensors,
    )


def test_without_keys_it_is_logit_adjusted_cross_entropy():
    queries, labels, keys, key_labels, logits = inputs()
    loss = parametric_contrastive_loss(
        queries, labels, keys[:0], key_labels[:0], logits, TAU, log_prior=LOG_PRIOR
    )
    torch.testing.assert_close(loss, logit_adjusted_cross_entropy(logits, labels, LOG_PRIOR))


def test_a_single_query_that_is_the_only_key_meets_its_centres_only():
    queries, labels, _, _, logits = (tensor[:1] for tensor in inputs())
    logits.requires_grad_()
    queries.requires_grad_()
    loss = parametric_contrastive_loss(
        queries, labels, queries, labels, logits, TAU, self_indices=torch.zeros(1).long()
    )
    loss.sum().backward()
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels, reduction='none'))
    assert (queries.grad == 0).all() and logits.grad.isfinite().all()


def test_with_distant_centres_of_no_weight_it_is_supcon():
    queries, labels, keys, key_labels, logits = inputs()
    own = torch.arange(6)
    supcon, has_positive = supervised_contrastive_loss(
        queries, labels, keys, key_labels, TAU, self_indices=own
    )
    loss = parametric_contrastive_loss(
        queries, labels, keys, key_labels, logits - 60, TAU,
        alpha=1.0, beta=1e-15, self_indices=own,
    )  # fmt: skip
    assert has_positive.sum() >= 5
    torch.testing.assert_close(loss[has_positive], supcon[has_positive])


def test_empty_batch_is_a_zero_sum_with_a_graph():
    _, _, keys, key_labels, logits = inputs()
    queries, logits = keys[:0].clone().requires_grad_(), logits[:0].requires_grad_()
    loss = parametric_contrastive_loss(queries, key_labels[:0], keys, key_labels, logits, TAU)
    loss.sum().backward()
    assert loss.shape == (0,) and queries.grad.shape == (0, 5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    """At this temperature the exponentials overflow float16, and float32 too."""
    queries, labels, keys, key_labels, logits = inputs()
    lower = [tensor.to(dtype) for tensor in (queries, keys, logits)]
    own = torch.arange(6)

    def loss(q, k, z):
        return parametric_contrastive_loss(
            q, labels, k, key_labels, z, 0.005, log_prior=LOG_PRIOR, self_indices=own
        )

    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(*lower)
    assert value.dtype == torch.float32
    expected = loss(*(tensor.double() for tensor in lower))
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(alpha=-0.1), 'alpha is -0.1 and beta is 1.0'),
        (dict(alpha=math.nan), 'alpha is nan'),
        (dict(beta=0.0), 'alpha is 0.05 and beta is 0.0'),
        (dict(temperature=0.0), 'temperature must be one positive finite number'),
        (dict(class_logits=torch.zeros(5, 4)), r'class_logits has shape \(5, 4\), expected \(6, C'),
        (dict(log_prior=torch.zeros(3)), r'log_prior has shape \(3,\), but .* 4 classes'),
        (dict(key_labels=torch.zeros(3)), r'key_labels has shape \(3,\)'),
    ],
)
def test_bad_arguments(change, message):
    names = ('queries', 'labels', 'keys', 'key_labels', 'class_logits')
    arguments = dict(zip(names, inputs(), strict=True), temperature=TAU)
    with pytest.raises(ValueError, match=message):
        parametric_contrastive_loss(**{**arguments, **change})
