"""Losses between experts: what they are the mean of, their terms, counts and bad input."""

import math

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch.nn import functional as F

from lt_mm.functional import diversity_divergence, log_prior, mutual_divergence
from lt_mm.models.losses import DiversityLoss, HardCategoryLoss, MutualLoss
from lt_mm.structures import ClassCounts

COUNTS = [500, 100, 30, 5]
LOSSES = {
    'mutual': (MutualLoss, dict(temperature=2.0)),
    'diversity': (DiversityLoss, dict(class_factor=0.05)),
    'hard_category': (HardCategoryLoss, dict(num_hard=3)),
}


def logits_of(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def labels_of(shape):
    return torch.randint(4, shape, generator=torch.Generator().manual_seed(1))


def build(kind, **changes):
    cls, options = LOSSES[kind]
    loss = cls(**{**options, **changes})
    if hasattr(loss, 'set_class_counts'):
        loss.set_class_counts(ClassCounts(COUNTS))
    return loss


def naive_hard_terms(logits, labels, num_hard, detach=True):
    """NCL's three terms for (E, N, C) logits that have no prior added, logits masked with -inf."""
    adjusted = logits + log_prior(COUNTS).double()
    mask = torch.zeros(logits.shape[1:], dtype=torch.bool)
    for n, label in enumerate(labels.tolist()):
        row = logits[0, n].tolist()
        others = sorted((c for c in range(len(row)) if c != label), key=lambda c: -row[c])
        mask[n, [label, *others[: num_hard - 1]]] = True
    partial = adjusted.masked_fill(~mask, -torch.inf)
    hard = sum(F.cross_entropy(own, labels, reduction='none') for own in partial)
    values = []
    for own in (adjusted, partial):
        p, total = own.softmax(2), 0
        for i in range(len(p)):
            for j in range(len(p)):
                teacher = p[j].detach() if detach else p[j]
                # Masked probabilities are 0 for both, and 0 log 0 is 0.
                log_p, log_teacher = ((q + (q == 0)).log() for q in (p[i], teacher))
                total = total + (i != j) * (teacher * (log_teacher - log_p)).sum(1)
        values.append(total / (len(p) - 1))
    return hard, *values


def test_terms_of_the_hard_category_loss_are_ncls():
    logits, labels = logits_of((3, 6, 4)), labels_of((6,))
    losses = build('hard_category', mutual_weight=0.6, hard_mutual_weight=0.3)(logits, labels)
    hard, mutual, hard_mutual = naive_hard_terms(logits, labels, 3)
    assert list(losses) == ['loss_hard_cls', 'loss_mutual', 'loss_hard_mutual']
    expected = [hard.mean(), 0.6 * mutual.mean(), 0.3 * hard_mutual.mean()]
    torch.testing.assert_close(list(losses.values()), expected)


@pytest.mark.parametrize('detach', [True, False])
def test_gradients_of_the_hard_category_loss(detach):
    logits, labels = logits_of((3, 6, 4)).requires_grad_(), labels_of((6,))
    losses = build('hard_category', detach=detach)(logits, labels)
    (gradient,) = torch.autograd.grad(sum(losses.values()), logits)
    hard, mutual, hard_mutual = naive_hard_terms(logits, labels, 3, detach)
    total = (hard + 0.6 * mutual + 0.6 * hard_mutual).mean()
    torch.testing.assert_close(gradient, torch.autograd.grad(total, logits)[0])


def test_without_adjustment_the_hard_category_loss_needs_no_counts():
    logits, labels = logits_of((2, 6, 4)), labels_of((6,))
    losses = HardCategoryLoss(num_hard=4, alpha=0.0)(logits, labels)
    torch.testing.assert_close(losses['loss_mutual'], 0.6 * mutual_divergence(logits).mean())
    torch.testing.assert_close(losses['loss_hard_mutual'], losses['loss_mutual'])
    expected = sum(F.cross_entropy(own, labels) for own in logits)
    torch.testing.assert_close(losses['loss_hard_cls'], expected)
    with pytest.raises(RuntimeError, match='HardCategoryLoss needs class counts'):
        HardCategoryLoss(num_hard=4)(logits, labels)


@pytest.mark.parametrize('kind', LOSSES)
def test_a_mean_of_pixels_leaves_out_ignored_ones_and_has_weights(kind):
    loss, logits, labels = build(kind), logits_of((3, 2, 4, 3, 5)), labels_of((2, 3, 5))
    labels[0, 1:] = 255
    kept = labels != 255
    weight = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rows = logits.movedim(2, -1)[:, kept]
    alone = [
        {key: float(value) for key, value in loss(row[:, None], label[None]).items()}
        for row, label in zip(rows.unbind(1), labels[kept], strict=True)
    ]
    plain = loss(logits, labels, ignore_index=255)
    weighted = loss(logits, labels, weight, ignore_index=255)
    divided = loss(logits, labels, avg_factor=7, ignore_index=255)
    assert set(plain) == set(alone[0]) and all(key.startswith('loss_') for key in plain)
    for key in plain:
        values = torch.tensor([one[key] for one in alone], dtype=torch.float64)
        close = dict(rtol=1e-6, atol=1e-9, check_dtype=False)
        torch.testing.assert_close(plain[key], values.mean(), **close)
        torch.testing.assert_close(weighted[key], (values * weight[kept]).mean(), **close)
        torch.testing.assert_close(divided[key], values.sum() / 7, **close)


@pytest.mark.parametrize('kind', LOSSES)
def test_nothing_to_learn_from_is_a_zero_with_a_graph(kind):
    logits = logits_of((3, 2, 4, 3)).requires_grad_()
    losses = build(kind)(logits, torch.full((2, 3), -100))
    assert losses and all(value == 0 for value in losses.values())
    sum(losses.values()).backward()
    assert not logits.grad.any()
    empty = torch.zeros(2, 0, 4, requires_grad=True)
    losses = build(kind)(empty, torch.zeros(0, dtype=torch.int64))
    assert losses and all(value == 0 and value.requires_grad for value in losses.values())


@pytest.mark.parametrize('kind', LOSSES)
def test_a_factor_of_zero_means_absent(kind):
    logits, labels = logits_of((2, 3, 4)), labels_of((3,))
    cls, options = LOSSES[kind]
    # Not even class counts are asked for.
    assert cls(**{**options, 'loss_weight': 0.0})(logits, labels) == {}
    once, thrice = (build(kind, loss_weight=weight)(logits, labels) for weight in (1.0, -3.0))
    for key, value in once.items():
        torch.testing.assert_close(thrice[key], -3 * value)


def test_terms_of_the_hard_category_loss_can_be_left_out_one_by_one():
    logits, labels = logits_of((3, 6, 4)), labels_of((6,))
    everything = build('hard_category')(logits, labels)
    terms = dict(
        hard_weight='loss_hard_cls',
        mutual_weight='loss_mutual',
        hard_mutual_weight='loss_hard_mutual',
    )
    for argument, key in terms.items():
        losses = build('hard_category', **{argument: 0.0})(logits, labels)
        assert losses == {k: value for k, value in everything.items() if k != key}
    # Without hard categories, there may be more of them than classes.
    alone = build('hard_category', num_hard=30, hard_weight=0.0, hard_mutual_weight=0.0)
    assert list(alone(logits, labels)) == ['loss_mutual']


def test_soft_targets_change_nothing_where_labels_do_not_matter():
    logits = logits_of((3, 5, 4))
    soft = torch.full((5, 4), 0.25)
    for kind in ('mutual', 'diversity'):
        assert build(kind)(logits, soft) == build(kind)(logits, labels_of((5,)))
    pixels = logits_of((2, 3, 4, 2, 2))
    value = MutualLoss()(pixels, torch.full((3, 4, 2, 2), 0.25))['loss_mutual']
    torch.testing.assert_close(value, mutual_divergence(pixels).mean())


def test_class_wise_temperature_is_deferred_and_in_the_checkpoint():
    logits, labels = logits_of((3, 5, 4)), labels_of((5,))
    loss = build('diversity', temperature=1.5, loss_weight=-0.2)
    later = loss(logits, labels)['loss_diversity']
    loss.set_deferred(False)
    early = loss(logits, labels)['loss_diversity']
    expected = -0.2 * diversity_divergence(logits, 1.5).mean()
    torch.testing.assert_close(early, expected)
    assert later < 0 and not torch.allclose(early, later)
    resumed = DiversityLoss(temperature=1.5, class_factor=0.05)
    resumed.load_state_dict(loss.state_dict())
    torch.testing.assert_close(resumed(logits, labels)['loss_diversity'], early)
    # RIDE's arithmetic: w = C p f + 1 - f, divided by its maximum.
    weights = [4 * n / sum(COUNTS) * 0.05 + 0.95 for n in COUNTS]
    temperatures = torch.tensor([1.5 * weight / max(weights) for weight in weights])
    torch.testing.assert_close(
        later, -0.2 * diversity_divergence(logits, temperatures).mean(), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize('kind', LOSSES)
def test_one_expert_is_refused_even_where_the_factor_is_zero(kind):
    for weight in (1.0, 0.0):
        with pytest.raises(ValueError, match=r'\(1, 3, 4\) reached .*Loss.*give another one'):
            build(kind, loss_weight=weight)(logits_of((1, 3, 4)), labels_of((3,)))


@pytest.mark.parametrize(
    'kind, target, words',
    [
        ('mutual', torch.zeros(4, dtype=torch.int64), r'\(4,\) reached MutualLoss.*\(3,\)'),
        ('diversity', torch.zeros(3, 5), r'\(3, 5\) reached DiversityLoss.*\(3, 4\)'),
        ('hard_category', torch.zeros(3, 4), 'soft targets reached HardCategoryLoss'),
        ('hard_category', torch.tensor([0, 4, 1]), 'label 4 reached HardCategoryLoss'),
    ],
)
def test_targets_that_do_not_fit_are_named(kind, target, words):
    with pytest.raises(ValueError, match=words):
        build(kind)(logits_of((2, 3, 4)), target)


@pytest.mark.parametrize(
    'cls, options, words',
    [
        (MutualLoss, dict(temperature=0.0), 'temperature.* is 0.0'),
        (MutualLoss, dict(loss_weight=math.nan), 'loss_weight of MutualLoss is nan'),
        (DiversityLoss, dict(temperature=-1.0), 'temperature.* is -1.0'),
        (DiversityLoss, dict(class_factor=1.5), 'factor.* is 1.5'),
        (HardCategoryLoss, dict(alpha=math.inf), 'alpha of HardCategoryLoss is inf'),
        (HardCategoryLoss, dict(temperature=math.inf), 'temperature.* is inf'),
        (HardCategoryLoss, dict(hard_weight=math.nan), 'hard_weight of HardCategoryLoss is nan'),
    ],
)
def test_bad_arguments_are_named(cls, options, words):
    with pytest.raises(ValueError, match=words):
        cls(**options)


def test_bad_counts_are_named():
    labels = labels_of((3,))
    with pytest.raises(RuntimeError, match='DiversityLoss needs class counts'):
        DiversityLoss(class_factor=0.05)(logits_of((2, 3, 4)), labels)
    for kind in ('diversity', 'hard_category'):
        with pytest.raises(ValueError, match='5 classes'):
            build(kind)(logits_of((2, 3, 5)), labels)
    with pytest.raises(ValueError, match='num_hard is 3, but .* 2'):
        HardCategoryLoss(num_hard=3, alpha=0.0)(logits_of((2, 3, 2)), labels % 2)


@pytest.mark.parametrize('scope', ['mmseg', 'mmpretrain'])
def test_configs_of_both_tasks_find_them(scope):
    init_default_scope(scope)
    logits, labels = logits_of((2, 3, 4)).half(), labels_of((3,))
    for cls, options in LOSSES.values():
        loss = MODELS.build(dict(type=f'lt_mm.{cls.__name__}', **options))
        if hasattr(loss, 'set_class_counts'):
            loss.set_class_counts(ClassCounts(COUNTS))
        assert all(value.dtype == torch.float32 for value in loss(logits, labels).values())
