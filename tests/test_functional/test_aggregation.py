"""Weighted experts, and how alike they judge two views."""

import math

import pytest
import torch

from lt_mm.functional import aggregate_logits, prediction_stability


def naive(first, second, weights):
    """Stability of each element, number by number, in Python floats."""
    experts, images, classes = first.shape[:3]
    places = first[0, 0, 0].numel()
    pair = [z.reshape(experts, images, classes, places).tolist() for z in (first, second)]
    rows = []
    for n in range(images):
        for p in range(places):
            both = []
            for z in pair:
                exps = [
                    math.exp(sum(weights[e] * z[e][n][c][p] for e in range(experts)))
                    for c in range(classes)
                ]
                both.append([value / sum(exps) for value in exps])
            dot = sum(a * b for a, b in zip(*both, strict=True))
            rows.append(dot / math.prod(math.sqrt(sum(a * a for a in one)) for one in both))
    return torch.tensor(rows, dtype=torch.float64).reshape(images, *first.shape[3:])


@pytest.mark.parametrize('shape', [(3, 4, 5), (2, 2, 3, 2, 4)])
def test_against_loops(shape):
    first, second = torch.randn(2, *shape, dtype=torch.float64).mul(3)
    weights = torch.rand(shape[0], dtype=torch.float64).softmax(0)
    expected = sum(weights[e] * first[e] for e in range(shape[0]))
    torch.testing.assert_close(aggregate_logits(first, weights), expected)
    stability = prediction_stability(first, second, weights)
    torch.testing.assert_close(stability, naive(first, second, weights.tolist()))
    torch.testing.assert_close(
        prediction_stability(first, first, weights), torch.ones_like(stability)
    )


def test_gradient_of_the_weights():
    first, second = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    scores = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda scores: prediction_stability(first, second, scores.softmax(0)), scores
    )


def test_half_precision_and_no_images():
    first, second = torch.randn(2, 3, 4, 5).mul(50)
    weights = torch.full((3,), 1 / 3)
    low = prediction_stability(first.half(), second.half(), weights)
    assert low.dtype == torch.float32
    expected = prediction_stability(first.half().float(), second.half().float(), weights)
    torch.testing.assert_close(low, expected)
    assert prediction_stability(first[:, :0], second[:, :0], weights).shape == (0,)


def test_what_does_not_fit():
    logits = torch.zeros(3, 4, 5)
    with pytest.raises(ValueError, match=r'weights of shape \(2,\), but logits of 3 experts'):
        aggregate_logits(logits, torch.ones(2))
    with pytest.raises(ValueError, match='two views of the same samples'):
        prediction_stability(logits, logits[:, :2], torch.ones(3))
