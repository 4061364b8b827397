"""Who needs one more expert, by loops."""

import torch

from lt_mm.functional import routing_targets, running_means


def test_against_loops():
    torch.manual_seed(0)
    logits = torch.randn(4, 30, 3, dtype=torch.float64)
    labels = torch.randint(3, (30,))
    weights = torch.rand(4, dtype=torch.float64) + 0.1
    means = running_means(logits, weights)
    targets = routing_targets(means, labels)
    assert targets.shape == (3, 30) and targets.dtype == torch.bool
    seen = set()
    for n in range(30):
        right = []
        for e in range(4):
            joint = sum(weights[i] * logits[i, n] for i in range(e + 1)) / weights[: e + 1].sum()
            torch.testing.assert_close(means[e, n], joint)
            right.append(int(joint.argmax()) == int(labels[n]))
        for e in range(3):
            wanted = not right[e] and any(right[e + 1 :])
            assert bool(targets[e, n]) == wanted
            seen.add((e, wanted))
    assert len(seen) == 6


def test_of_pixels_and_in_half_precision():
    logits = torch.randn(2, 1, 3, 2, 2)
    means = running_means(logits.half(), torch.full((2,), 0.5))
    assert means.dtype == torch.float32
    torch.testing.assert_close(means[1], logits.half().float().mean(0))
    assert routing_targets(means, torch.zeros(1, 2, 2, dtype=torch.long)).shape == (1, 1, 2, 2)


def test_who_is_right_from_the_start_or_never_needs_nobody():
    logits = torch.zeros(3, 2, 2)
    logits[:, 0, 0] = 1
    logits[:, 1, 1] = 1
    means = running_means(logits, torch.ones(3))
    assert not routing_targets(means, torch.tensor([0, 0])).any()
