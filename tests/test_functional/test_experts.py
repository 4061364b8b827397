"""Divergences between experts and hard categories against naive float64 loops."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from lt_mm.functional import (
    class_wise_temperature,
    diversity_divergence,
    gather_categories,
    hard_categories,
    hard_category_mask,
    mutual_divergence,
)

SHAPES = {'images': (3, 5, 4), 'two_experts': (2, 5, 4), 'pixels': (3, 2, 4, 3, 2)}


def random_logits(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def probabilities(row, temperature):
    """Softmax of a list of numbers, with a temperature for each."""
    powers = [math.exp(z / t) for z, t in zip(row, temperature, strict=True)]
    return [power / sum(powers) for power in powers]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def each_element(logits):
    """The (E, C) lists of every element, in the order of a flattened (N, ...) result."""
    return logits.movedim(2, -1).flatten(1, -2).transpose(0, 1).tolist()


def naive_mutual(logits, t):
    values = []
    for experts in each_element(logits):
        p = [probabilities(row, [t] * len(row)) for row in experts]
        pairs = [(i, j) for i in range(len(p)) for j in range(len(p)) if i != j]
        values.append(sum(t * t * kl(p[j], p[i]) for i, j in pairs) / (len(p) - 1))
    return values


def naive_diversity(logits, temperatures):
    values, mean_t = [], sum(temperatures) / len(temperatures)
    for experts in each_element(logits):
        mean = [sum(column) / len(experts) for column in zip(*experts, strict=True)]
        p_mean = probabilities(mean, temperatures)
        divergences = [kl(p_mean, probabilities(row, temperatures)) for row in experts]
        values.append(mean_t**2 * sum(divergences))
    return values


@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize('temperature', [1.0, 2.5])
def test_divergences_equal_loops_over_pairs_elements_and_classes(shape, temperature):
    logits = random_logits(shape)
    element_shape = (shape[1], *shape[3:])
    mutual = mutual_divergence(logits, temperature)
    assert mutual.shape == element_shape and mutual.dtype == torch.float64
    assert mutual.flatten().tolist() == pytest.approx(naive_mutual(logits, temperature))
    diversity = diversity_divergence(logits, temperature)
    assert diversity.shape == element_shape
    expected = naive_diversity(logits, [temperature] * shape[2])
    assert diversity.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)
def test_class_wise_temperatures_are_of_the_logit_columns(shape):
    logits, temperatures = random_logits(shape), [2.0, 1.5, 1.0, 0.5]
    value = diversity_divergence(logits, torch.tensor(temperatures))
    assert value.flatten().tolist() == pytest.approx(naive_diversity(logits, temperatures))


def test_class_wise_temperature_is_that_of_the_public_code():
    counts, base, factor = [600, 300, 90, 10], 1.2, 0.05
    weights = [4 * n / 1000 * factor + 1 - factor for n in counts]
    expected = [base * weight / max(weights) for weight in weights]
    value = class_wise_temperature(counts, base, factor)
    assert value.tolist() == pytest.approx(expected) and value[0] == pytest.approx(base)
    assert class_wise_temperature(counts, base, 0.0).tolist() == pytest.approx([base] * 4)
    assert class_wise_temperature([5, 0], 1.0, 0.05)[1] == pytest.approx(0.95 / 1.05)


def test_gradients_of_mutual_divergence_reach_the_side_that_learns_alone():
    logits = random_logits((3, 4, 5)).requires_grad_()
    value = mutual_divergence(logits, 2.0).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    # The gradient of T^2 KL(p_j || p_i) for the logits of i is T (p_i - p_j).
    p = (logits.detach() / 2).softmax(2)
    others = [sum(2 * (p[i] - p[j]) for j in range(3) if j != i) / 2 for i in range(3)]
    torch.testing.assert_close(gradient, torch.stack(others))
    undetached = mutual_divergence(logits, 2.0, detach=False)
    assert torch.equal(undetached.detach(), mutual_divergence(logits, 2.0).detach())
    assert not torch.allclose(torch.autograd.grad(undetached.sum(), logits)[0], gradient)
    assert gradcheck(lambda z: mutual_divergence(z, 2.0, detach=False), logits)


def test_the_mean_of_diversity_gets_no_gradient():
    logits = random_logits((3, 4, 5)).requires_grad_()
    temperature = torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(diversity_divergence(logits, temperature).sum(), logits)
    p = (logits.detach() / temperature).softmax(2)
    p_mean = (logits.detach().mean(0) / temperature).softmax(1)
    torch.testing.assert_close(gradient, 0.8**2 * (p - p_mean) / temperature)


@pytest.mark.parametrize('divergence', [mutual_divergence, diversity_divergence])
def test_divergences_of_equal_far_and_no_logits(divergence):
    same = random_logits((1, 6, 4)).float().expand(3, -1, -1)
    assert divergence(same).abs().max() < 1e-5
    far = torch.tensor([[[500.0, -500.0]], [[-500.0, 500.0]]]).requires_grad_()
    value = divergence(far)
    value.sum().backward()
    assert value.item() > 100 and far.grad.isfinite().all()
    none = torch.zeros(3, 0, 4, requires_grad=True)
    value = divergence(none)
    assert value.shape == (0,)
    value.sum().backward()
    assert divergence(torch.zeros(3, 2, 1)).tolist() == [0, 0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('divergence', [mutual_divergence, diversity_divergence])
def test_half_precision_logits_are_compared_in_float32(divergence, dtype):
    half = random_logits((3, 5, 4)).to(dtype).requires_grad_()
    value = divergence(half)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, divergence(half.detach().float()))
    value.sum().backward()
    assert half.grad.dtype == dtype and half.grad.isfinite().all()


@pytest.mark.parametrize('shape', [(6, 5), (2, 5, 3, 2)])
def test_hard_categories_are_the_label_and_the_largest_others(shape):
    logits = random_logits(shape)
    labels = torch.randint(5, (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(1))
    categories = hard_categories(logits, labels, 3)
    assert categories.shape == (shape[0], 3, *shape[2:])
    mask = hard_category_mask(logits, labels, 3)
    assert mask.shape == logits.shape
    rows = logits.movedim(1, -1).flatten(0, -2).tolist()
    found = categories.movedim(1, -1).flatten(0, -2).tolist()
    masks = mask.movedim(1, -1).flatten(0, -2)
    for row, label, chosen, mask_row in zip(
        rows, labels.flatten().tolist(), found, masks, strict=True
    ):
        others = sorted((c for c in range(5) if c != label), key=lambda c: -row[c])[:2]
        assert chosen == [label, *others]
        assert mask_row.nonzero().flatten().tolist() == sorted(chosen)


def test_gathering_is_masking_with_minus_infinity():
    logits, labels = random_logits((3, 4, 6)), torch.tensor([0, 5, 2, 2])
    categories = hard_categories(logits[0], labels, 3)
    gathered = gather_categories(logits, categories)
    mask = hard_category_mask(logits[0], labels, 3)
    masked = logits.masked_fill(~mask, -torch.inf)
    for own, expected in zip(gathered, masked, strict=True):
        loss = F.cross_entropy(own, torch.zeros(4, dtype=torch.int64), reduction='none')
        torch.testing.assert_close(loss, F.cross_entropy(expected, labels, reduction='none'))
        torch.testing.assert_close(
            own.softmax(1), expected.softmax(1).gather(1, categories), rtol=1e-12, atol=0
        )
    assert gather_categories(logits.half(), categories).dtype == torch.float32


def test_all_classes_may_be_hard():
    logits, labels = random_logits((2, 4)), torch.tensor([3, 0])
    assert hard_category_mask(logits, labels, 4).all()
    half = hard_categories(logits.half(), labels, 2)
    assert torch.equal(half, hard_categories(logits, labels, 2))


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: mutual_divergence(torch.zeros(1, 2, 3)), r'\(1, 2, 3\).*two experts'),
        (lambda: diversity_divergence(torch.zeros(2, 3)), r'\(2, 3\).*two experts'),
        (lambda: mutual_divergence(torch.zeros(2, 2, 3), 0.0), 'temperature.* is 0.0'),
        (lambda: diversity_divergence(torch.zeros(2, 2, 3), math.inf), 'temperature.* is inf'),
        (lambda: diversity_divergence(torch.zeros(2, 2, 3), torch.ones(4)), '3 classes'),
        (lambda: class_wise_temperature([1, 2], 1.0, 1.0), 'factor.* is 1.0'),
        (lambda: class_wise_temperature([1, 2], -1.0), 'temperature.* is -1.0'),
        (lambda: hard_categories(torch.zeros(2, 3), torch.zeros(2), 4), 'num_hard is 4'),
        (lambda: hard_category_mask(torch.zeros(2, 3), torch.zeros(2), 1), 'num_hard is 1'),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
