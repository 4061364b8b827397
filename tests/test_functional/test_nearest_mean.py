"""Features and scores of the nearest class mean, element by element."""

import math

import pytest
import torch

from lt_mm.functional import nearest_mean_logits, normalize_features


def test_features():
    torch.manual_seed(0)
    features, centre = torch.randn(5, 3).double() + 4, torch.randn(3).double()
    assert torch.equal(normalize_features(features, 'un'), features)
    for kind, offset in (('l2n', [0.0] * 3), ('cl2n', centre.tolist())):
        got = normalize_features(features, kind, centre)
        for row, one in zip(features.tolist(), got.tolist(), strict=True):
            moved = [x - o for x, o in zip(row, offset, strict=True)]
            norm = math.hypot(*moved)
            assert one == pytest.approx([x / norm for x in moved], rel=1e-12)


def test_scores():
    torch.manual_seed(0)
    features, means = torch.randn(5, 3).double(), torch.randn(4, 3).double()
    l2, dot = (nearest_mean_logits(features, means, metric) for metric in ('l2', 'dot'))
    for n, x in enumerate(features.tolist()):
        for c, mean in enumerate(means.tolist()):
            squares = sum((a - b) ** 2 for a, b in zip(x, mean, strict=True))
            product = sum(a * b for a, b in zip(x, mean, strict=True))
            assert l2[n, c].item() == pytest.approx(-squares, rel=1e-12)
            assert dot[n, c].item() == pytest.approx(product / 3, rel=1e-12)


def test_means_that_are_close_together_are_told_apart():
    means = 1000 + torch.tensor([[0.0] * 64, [0.01] * 64])
    assert nearest_mean_logits(means + 1e-3, means).argmax(1).tolist() == [0, 1]


def test_degenerate_and_bad_input():
    assert normalize_features(torch.zeros(1, 3), 'l2n').tolist() == [[0, 0, 0]]
    assert nearest_mean_logits(torch.zeros(0, 3), torch.zeros(4, 3)).shape == (0, 4)
    with pytest.raises(ValueError, match="is 'l3n'; use 'un', 'l2n' or 'cl2n'"):
        normalize_features(torch.zeros(1, 3), 'l3n')
    with pytest.raises(ValueError, match="'cl2n' need a centre"):
        normalize_features(torch.zeros(1, 3), 'cl2n')
    with pytest.raises(ValueError, match="mean is 'cosine'; use 'l2' or 'dot'"):
        nearest_mean_logits(torch.zeros(1, 3), torch.zeros(4, 3), 'cosine')
