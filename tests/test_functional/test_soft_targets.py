"""mix_hard_losses is the loss of each class by its share."""

import torch

from lt_mm.functional import mix_hard_losses


def squared(logits, label):
    return logits.gather(1, label.unsqueeze(1)).squeeze(1) ** 2 + 10 * label


def test_sum_over_classes_by_share():
    logits = torch.randn(3, 4, 2)
    target = torch.rand(3, 4, 2)
    target[0, 1:] = 0
    expected = torch.zeros(3, 2)
    for c in range(4):
        expected += target[:, c] * (logits[:, c] ** 2 + 10 * c)
    torch.testing.assert_close(mix_hard_losses(squared, logits, target), expected)


def test_calls_the_loss_as_often_as_a_target_has_classes():
    calls = []

    def counting(logits, label):
        calls.append(label)
        return squared(logits, label)

    target = torch.zeros(5, 100)
    target[:, 3], target[2, 70] = 0.4, 0.6
    mix_hard_losses(counting, torch.randn(5, 100), target)
    assert len(calls) == 2


def test_nothing_to_mix_is_a_zero_with_a_graph():
    for shape in ((0, 4), (3, 4)):
        logits = torch.randn(shape, requires_grad=True)
        result = mix_hard_losses(squared, logits, torch.zeros(shape))
        result.sum().backward()
        assert result.shape == shape[:1] and (result == 0).all() and (logits.grad == 0).all()
