"""Many priors at once, fitted offsets and estimated priors, against naive loops."""

import math

import pytest
import torch

from lt_mm.functional.post_compensation import NEVER
from lt_mm.functional.prior_shift import (
    estimate_prior,
    fit_calibration,
    fit_class_offsets,
    line_predictions,
    soft_iou,
    soft_macro_accuracy,
)


def random_scores(number, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (number,), generator=generator)
    logits = torch.randn(number, classes, generator=generator)
    logits[torch.arange(number), labels] += 1.0
    return logits, labels


@pytest.mark.parametrize('rows', [0, 1, 2, 3, 21])
@pytest.mark.parametrize('pixels', [0, 1, 500])
def test_a_line_equals_each_of_its_points(rows, pixels):
    logits = torch.randn(7, pixels, generator=torch.Generator().manual_seed(1))
    slope = torch.linspace(-3, 0, 7)
    offsets = torch.linspace(-1, 2, rows)[:, None] * slope
    offsets[:, 4] = NEVER
    found = line_predictions(logits, offsets)
    assert found.shape == (rows, pixels)
    for row, offset in zip(found, offsets, strict=True):
        assert torch.equal(row, (logits + offset[:, None]).argmax(0))


def test_em_finds_the_prior_of_resampled_data():
    classes, prior = 4, torch.tensor([0.7, 0.2, 0.07, 0.03], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    means = 1.5 * torch.randn(classes, 5, generator=generator).double()
    true = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    labels = torch.multinomial(true, 20_000, replacement=True, generator=generator)
    points = means[labels] + torch.randn(20_000, 5, generator=generator)
    likelihood = -(points[:, None] - means).square().sum(-1) / 2
    probabilities = (likelihood + prior.log()).softmax(1)
    found = estimate_prior(probabilities, prior)
    assert (found - true).abs().max() < 0.02
    assert found.sum().item() == pytest.approx(1)


def test_one_step_of_em_restated():
    prior = torch.tensor([0.5, 0.5, 0.0])
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.8, 0.0]])
    expected = [0.0, 0.0, 0.0]
    for row in probabilities.tolist():
        joint = [p / s * s if s else 0.0 for p, s in zip(row, [0.5, 0.5, 0.0], strict=True)]
        expected = [e + j / sum(joint) / 2 for e, j in zip(expected, joint, strict=True)]
    found = estimate_prior(probabilities, prior, max_steps=1)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_em_without_data_or_with_other_shapes():
    prior = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(estimate_prior(torch.zeros(0, 2), prior), prior.double())
    with pytest.raises(ValueError, match='give \\(N, C\\) and \\(C,\\)'):
        estimate_prior(torch.zeros(3, 2), torch.ones(3))


def test_soft_figures_restated():
    logits, labels = random_scores(30, 4)
    labels = labels.clamp(max=2)
    weights = torch.rand(30, generator=torch.Generator().manual_seed(2)).double()
    probabilities = logits.double().softmax(1)
    ious, accuracies = [], []
    for c in range(3):
        own = [i for i in range(30) if labels[i] == c]
        inside = sum(float(weights[i] * probabilities[i, c]) for i in own)
        union = sum(float(weights[i]) for i in own) + sum(
            float(weights[i] * probabilities[i, c]) for i in range(30) if labels[i] != c
        )
        ious.append(inside / union)
        accuracies.append(inside / sum(float(weights[i]) for i in own))
    assert soft_iou(probabilities, labels, weights).item() == pytest.approx(sum(ious) / 3)
    found = soft_macro_accuracy(probabilities, labels, weights).item()
    assert found == pytest.approx(sum(accuracies) / 3)


def test_calibration_finds_temperature_and_biases():
    generator = torch.Generator().manual_seed(0)
    logits, bias = 2 * torch.randn(20_000, 3, generator=generator), torch.tensor([0.0, -1.0, 1.0])
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    ones, offsets = torch.ones(20_000), torch.tensor([0.5, 0.0, -0.5])
    shown = 3 * (logits + bias - offsets)
    temperature, found = fit_calibration(shown, labels, ones, offsets)
    assert temperature == pytest.approx(3, rel=0.05)
    torch.testing.assert_close(found - found[0], -bias.double(), atol=0.1, rtol=0)


def test_calibration_is_the_least_of_its_objective():
    scores, labels = random_scores(40, 4)
    scores, labels = scores[labels < 3][:25], labels[labels < 3][:25]
    weights = torch.linspace(0.1, 1, 25)
    offsets = torch.tensor([0.2, 0.0, -1.0, -torch.inf])
    temperature, bias = fit_calibration(scores, labels, weights, offsets)

    def objective(temperature, bias):
        total = 0.0
        for row, label, weight in zip(scores.tolist(), labels.tolist(), weights, strict=True):
            values = [row[c] / temperature + bias[c] + float(offsets[c]) for c in range(3)]
            top = max(values)
            log_sum = top + math.log(sum(math.exp(v - top) for v in values))
            total += float(weight / weights.sum()) * (log_sum - values[label])
        return total + sum(b * b for b in bias) / 50

    least = objective(temperature, bias.tolist())
    assert bias[3] == 0
    for step in (-0.05, 0.05):
        assert objective(temperature * (1 + step), bias.tolist()) > least
        for c in range(3):
            moved = bias.tolist()
            moved[c] += step
            assert objective(temperature, moved) > least


def test_calibration_without_elements_changes_nothing():
    logits, nothing = torch.randn(2, 3), torch.zeros(0)
    none = fit_calibration(logits[:0], nothing.long(), nothing, torch.zeros(3))
    unseen = torch.tensor([0.0, 0.0, -torch.inf])
    only = fit_calibration(logits, torch.tensor([2, 2]), torch.ones(2), unseen)
    for temperature, bias in (none, only):
        assert temperature == 1 and bias.tolist() == [0, 0, 0]


def test_prior_of_scores_that_know_their_training_set_by_heart():
    """Rare classes get too little wherever they come; calibrated elsewhere, the prior is found."""
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(4, 5, generator=generator)

    def draw(prior):
        prior = torch.tensor(prior)
        labels = torch.multinomial(prior, 5000, replacement=True, generator=generator)
        x = means[labels] + torch.randn(5000, 5, generator=generator)
        likelihood = -torch.cdist(x, means).square() / 2
        # Overconfident, and further from the rare classes than they are.
        return 2.5 * (likelihood + trained.log() + torch.tensor([0.0, -0.5, -1.0, -3.0])), labels

    trained = torch.tensor([0.7, 0.2, 0.07, 0.03])
    logits, labels = draw([0.4, 0.3, 0.2, 0.1])
    seen = torch.bincount(labels).double() / len(labels)
    ratio = seen.log() - trained.double().log()
    temperature, bias = fit_calibration(logits, labels, torch.ones(5000), ratio)
    other, labels = draw([0.1, 0.2, 0.3, 0.4])
    probabilities = (other.double() / temperature + bias + ratio).softmax(1)
    true = torch.bincount(labels).double() / len(labels)
    assert (estimate_prior(probabilities, seen) - true).abs().max() < 0.02
    plain = estimate_prior(other.double().softmax(1), trained)
    assert (plain - true).abs().max() > 0.02


@pytest.mark.parametrize('goal', ['iou', 'accuracy'])
def test_fitted_offsets_gain_and_are_monotone(goal):
    prior = torch.tensor([0.8, 0.15, 0.05, 0.0]).log()
    generator = torch.Generator().manual_seed(0)
    labels = torch.multinomial(prior.exp(), 2000, replacement=True, generator=generator)
    logits = torch.randn(2000, 4, generator=generator) + prior.clamp(min=-5)
    logits[torch.arange(2000), labels] += 1.5
    weights, start = torch.ones(2000), torch.tensor([0.0, 0.0, 0.0, NEVER])
    figure = dict(iou=soft_iou, accuracy=soft_macro_accuracy)[goal]
    found = fit_class_offsets(logits, labels, weights, prior, start, goal, strength=0.0)
    before = figure((logits.double() + start).softmax(1), labels, weights)
    after = figure((logits.double() + found).softmax(1), labels, weights)
    assert after > before
    grid = [
        figure((logits.double() + torch.tensor([0, a, a + b, NEVER])).softmax(1), labels, weights)
        for a in torch.arange(0, 4, 0.2)
        for b in torch.arange(0, 4, 0.2)
    ]
    assert after > max(grid) - 0.002
    assert found[3] == NEVER
    assert (found[:3].diff() >= 0).all()
    held = fit_class_offsets(logits, labels, weights, prior, start, goal, strength=1e6)
    torch.testing.assert_close(held, start.double(), atol=0.02, rtol=0)


def test_offsets_in_any_order():
    logits, labels = random_scores(500, 3)
    logits[:, 2] += 2
    arguments = (logits, labels, torch.ones(500), torch.tensor([-0.1, -2.0, -3.0]), torch.zeros(3))
    free = fit_class_offsets(*arguments, 'accuracy', 0.0, monotone=False)
    bound = fit_class_offsets(*arguments, 'accuracy', 0.0)
    assert free[2] < free[1] - 0.5
    assert bound[2] >= bound[1]


def test_bad_input_of_the_fit():
    logits, labels = random_scores(5, 3)
    rest = (torch.ones(5), torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="goal is 'f1'"):
        fit_class_offsets(logits, labels, *rest, goal='f1')
    for strength in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match='strength'):
            fit_class_offsets(logits, labels, *rest, strength=strength)
    with pytest.raises(ValueError, match='no labelled element'):
        fit_class_offsets(logits[:0], labels[:0], rest[0][:0], *rest[1:])
    with pytest.raises(ValueError, match='adds less to a rarer class'):
        prior = torch.tensor([-1.0, -2.0, -3.0])
        fit_class_offsets(logits, labels, rest[0], prior, prior)
